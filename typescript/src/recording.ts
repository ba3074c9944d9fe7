/** One trajectory while it is being recorded: steps, calls and actions in Babylon's shape. */

import { AsyncLocalStorage } from "node:async_hooks";

import {
  carried,
  NO_COMPLETION,
  readCompletion,
  type ReadMessage,
  readMessages,
  type SampledTokens,
} from "./completion.ts";
import { type Fields, number, present } from "./json.ts";
import { policyStep } from "./policy-names.ts";
import { shaping } from "./shaped-sampling.ts";

/** What is known of a trajectory from its start. */
export interface Facts {
  readonly id: string;
  readonly trajectoryId: string;
  readonly agentId: string;
  readonly started: Date;
  readonly window: string;
  readonly scenarioId: string;
  readonly archetype: string | undefined;
  readonly episodeId: string;
  readonly batchId: string | undefined;
  readonly isEvaluation: boolean;
  readonly metadata: Fields;
}

export interface Ending {
  readonly elapsedMs: number;
  readonly finalBalance: number | null | undefined;
  readonly finalPnl: number | null | undefined;
  readonly status: string | undefined;
}

/** A call as it is written: these keys are read here, the others are Babylon's and ours. */
export interface RecordedCall {
  readonly model: string;
  readonly purpose: string;
  readonly systemPrompt: string;
  readonly userPrompt: string;
  readonly response: string;
  readonly temperature: number;
  readonly maxTokens: number;
  readonly reasoning?: string;
  readonly actionType?: string;
  readonly messages?: readonly ReadMessage[];
  readonly modelVersion?: string;
  readonly policyStep?: number;
  readonly latencyMs?: number;
  readonly topP?: number;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
}

export interface RecordedStep {
  readonly stepNumber: number;
  timestamp: number;
  environmentState: Fields;
  providerAccesses: readonly Fields[];
  readonly llmCalls: RecordedCall[];
  action: { readonly actionType: string; readonly parameters: Fields; readonly success: boolean };
  reward: number;
}

/** The world as the agent sees it, before it acts; `pnl` is cumulative over the agent's life. */
export interface World {
  readonly balance?: number;
  readonly pnl?: number;
  readonly openPositions?: number;
  readonly activeMarkets?: number;
  /** Each with providerName, data and purpose. */
  readonly providers?: readonly Fields[];
  readonly environment?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  readonly now?: Date;
}

/** A request and, where they win over the completion, parts of its answer. */
export interface Call {
  readonly messages: readonly unknown[];
  readonly temperature: number;
  readonly maxTokens: number;
  readonly topP?: number | undefined;
  readonly tools?: readonly unknown[] | undefined;
  /** The request's other parameters: one that changes what is sampled is recorded, by name. */
  readonly parameters?: Fields | undefined;
  readonly purpose?: string;
  readonly actionType?: string;
  /** The checkpoint that answered; without it, it is read from a model name as `lineage@12`. */
  readonly policy?: number;
  readonly model?: string;
  readonly modelVersion?: string;
  readonly response?: string;
  readonly reasoning?: string;
  readonly logprobs?: readonly number[];
  readonly tokenIds?: readonly number[];
  readonly finishReason?: string;
  readonly latencyMs?: number;
  /** Which of several answers; the first by default. */
  readonly choice?: number;
  /** Keep the prompt's token ids, where the server reports them: ART 0.5.23 needs them. */
  readonly keepPromptIds?: boolean;
}

export interface Result {
  readonly success: boolean;
  readonly result?: Fields;
  readonly error?: string;
  readonly reasoning?: string;
  readonly correctness?: Fields;
}

export interface Finish {
  readonly finalBalance?: number | null | undefined;
  readonly finalPnl?: number | null | undefined;
  readonly status?: string | undefined;
  readonly now?: Date | undefined;
}

/** Where a wrapped `fetch` finds the step that its calls belong to. */
export const currentStep = new AsyncLocalStorage<AgentStep>();

/** One step; created by `Recording.step`. */
export class AgentStep {
  readonly #recording: Recording;
  readonly #step: RecordedStep;
  readonly #awaited: Promise<void>[] = [];

  constructor(recording: Recording, step: RecordedStep) {
    this.#recording = recording;
    this.#step = step;
  }

  /** Run `work` and record each call that a `recordingFetch` makes in it; returns its result. */
  async record<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await currentStep.run(this, work);
    } finally {
      await Promise.all(this.#awaited.splice(0));
    }
  }

  /** Make `record` wait for an answer that is still being read. */
  await(answer: Promise<void>): void {
    this.#awaited.push(answer);
  }

  /** Record a call: an unchanged OpenAI completion, or its parts in `call`, which win. */
  llmCall(completion: unknown, call: Call): void {
    this.#recording.guarded("llmCall", () => {
      const read = completion == null ? NO_COMPLETION : readCompletion(completion, call.choice);
      const chat = readMessages(call.messages);
      const { promptTokens, completionTokens, toolCalls } = read;
      const tools = call.tools ?? [];
      const shaped = shaping(call.parameters ?? {});
      const model = call.model ?? read.model;
      const byTool = tools.length > 0 || toolCalls.length > 0;
      // What two prompts cannot express.
      const roles = chat.map((message) => message.role).join();
      const isPlain = roles === "system,user" && chat[0]?.content !== "";
      this.#step.llmCalls.push(
        present({
          model,
          modelVersion: call.modelVersion,
          systemPrompt: last(chat, "system"),
          userPrompt: last(chat, "user"),
          response: call.response ?? read.response,
          reasoning: call.reasoning || read.reasoning,
          temperature: number(call.temperature, "temperature"),
          maxTokens: Math.trunc(number(call.maxTokens, "maxTokens")),
          latencyMs: call.latencyMs,
          purpose: call.purpose ?? "action",
          actionType: call.actionType,
          topP: call.topP,
          finishReason: call.finishReason || read.finishReason,
          promptTokens,
          promptTokenIds: call.keepPromptIds ? read.promptTokenIds : undefined,
          completionTokens,
          policyStep: call.policy ?? policyStep(model),
          tools: tools.length > 0 ? tools : undefined,
          shaped: shaped.length > 0 ? shaped : undefined,
          toolCalls: toolCalls.length > 0 ? toolCalls : undefined,
          carries: byTool ? "tools" : carried(call.messages),
          messages: isPlain ? undefined : chat,
          ...recordedTokens(read.tokens, call),
        }) as unknown as RecordedCall,
      );
    });
  }

  /** Record what the agent did with the answer; the last action of a step counts. */
  action(actionType: string, parameters: Fields, done: Result): void {
    this.#recording.guarded("action", () => {
      const { success, result, error, reasoning, correctness } = done;
      this.#step.action = {
        actionType,
        parameters: { ...parameters },
        success,
        ...present({ result, error, reasoning, correctness }),
      };
    });
  }

  /** Record the environment's own reward for this step. */
  reward(value: number): void {
    this.#recording.guarded("reward", () => {
      this.#step.reward = number(value, "reward");
    });
  }
}

/** One trajectory; created by `Recorder.start`. Nothing here throws into the agent. */
export class Recording {
  readonly facts: Facts;
  readonly steps: RecordedStep[] = [];
  /** Why this trajectory cannot be written; its agent goes on. */
  broken: string | undefined;
  raised = false;
  readonly #begun = performance.now();
  readonly #handOver: (recording: Recording, ending: Ending) => void;
  readonly #warn: (message: string) => void;
  #finished = false;

  constructor(
    facts: Facts,
    handOver: (recording: Recording, ending: Ending) => void,
    warn: (message: string) => void,
  ) {
    this.facts = facts;
    this.#handOver = handOver;
    this.#warn = warn;
  }

  get trajectoryId(): string {
    return this.facts.trajectoryId;
  }

  /** The window, fixed at the start: an hour may end while the agent still works. */
  get window(): string {
    return this.facts.window;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Begin the next step. */
  step(world: World = {}): AgentStep {
    const recorded: RecordedStep = {
      stepNumber: this.steps.length,
      timestamp: 0,
      environmentState: {},
      providerAccesses: [],
      llmCalls: [],
      action: { actionType: "pending", parameters: {}, success: false },
      reward: 0,
    };
    this.guarded("step", () => {
      const { balance, pnl, openPositions, activeMarkets, providers, environment, now } = world;
      recorded.timestamp = (now ?? new Date()).getTime();
      recorded.environmentState = present({
        agentBalance: balance,
        agentPnL: pnl,
        openPositions,
        activeMarkets,
        ...environment,
      });
      recorded.providerAccesses = (providers ?? []).map((provider) => ({ ...provider }));
      this.steps.push(recorded);
    });
    return new AgentStep(this, recorded);
  }

  /** End the trajectory and pass it to the writer; returns at once. Ignored if repeated. */
  finish({ finalBalance, finalPnl, status, now }: Finish = {}): void {
    if (this.#finished) {
      this.#warn(`trajectory ${this.trajectoryId} was finished before; this time is ignored`);
      return;
    }
    this.#finished = true;
    let elapsedMs = 0;
    this.guarded("finish", () => {
      const began = this.facts.started.getTime();
      const elapsed = now ? now.getTime() - began : performance.now() - this.#begun;
      elapsedMs = Math.max(0, Math.trunc(elapsed));
    });
    this.#handOver(this, { elapsedMs, finalBalance, finalPnl, status });
  }

  /** Catch every error in recording: it costs this trajectory, never the agent. */
  guarded(doing: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.broken = `${doing}: ${String(error)}`;
      this.#warn(`trajectory ${this.trajectoryId} will not be written: ${this.broken}`);
    }
  }
}

function recordedTokens(read: SampledTokens, call: Call): Fields {
  const tokenIds = call.tokenIds ?? read.ids;
  if (call.logprobs !== undefined) {
    // They may differ from the completion's tokens, so its texts and bytes are dropped.
    return { tokenIds, logprobs: call.logprobs.map((one) => number(one, "a log-probability")) };
  }
  const { logprobs, texts, bytes } = read;
  if (logprobs === undefined || (texts === undefined && bytes === undefined)) {
    return { tokenIds, logprobs };
  }
  const entries = logprobs.map((logprob, place) => ({
    logprob,
    ...(texts && { token: texts[place] }),
    ...(bytes && { bytes: bytes[place] }),
  }));
  return { tokenIds, logprobs: entries };
}

function last(chat: readonly ReadMessage[], role: string): string {
  return chat.findLast((message) => message.role === role)?.content ?? "";
}
