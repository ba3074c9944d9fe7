/** A `fetch` that records chat completions, for clients that take one: the AI SDK's, OpenAI's. */

import { type Fields, get, list } from "./json.ts";
import { type AgentStep, currentStep } from "./recording.ts";
import { streamedCompletion } from "./streamed-completion.ts";

export interface RecordingFetchOptions {
  /** The `fetch` that is wrapped; the global one by default. */
  readonly fetch?: typeof globalThis.fetch;
  /**
   * What is added to a request that does not set it; by default what an exact record needs.
   *
   * `logprobs` and `return_token_ids`; `temperature` and `top_p` of 1, so that no server fills in
   * its own unseen. Give `{}` for a provider that refuses them: Groq answers 400.
   */
  readonly asks?: Fields;
  /** Keep the prompt's token ids, where the server reports them: ART 0.5.23 needs them. */
  readonly keepPromptIds?: boolean;
}

const EXACT = { logprobs: true, return_token_ids: true, temperature: 1, top_p: 1 };

/**
 * Wrap `fetch`: what it asks a chat model inside of `step.record(...)` is recorded in that step.
 *
 * Everything else passes unchanged. Answers reach the client as the server sent them; a failed
 * request is not recorded, nor an answer that was given up before its end.
 */
export function recordingFetch(options: RecordingFetchOptions = {}): typeof globalThis.fetch {
  const asks = options.asks ?? EXACT;
  return async (input, init) => {
    const send = options.fetch ?? globalThis.fetch;
    const step = currentStep.getStore();
    const asked = step === undefined ? undefined : chatRequest(input, init, asks);
    if (step === undefined || asked === undefined) {
      return send(input, init);
    }
    const begun = performance.now();
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
    headers.delete("content-length"); // that of the body without what is added
    const response = await send(input, { ...init, headers, body: JSON.stringify(asked) });
    if (response.ok) {
      const copy = response.clone();
      step.await(
        recordAnswer(step, asked, copy, begun, options.keepPromptIds).catch(() => {
          // The client has the same error, or has given up the answer.
        }),
      );
    }
    return response;
  };
}

function chatRequest(
  input: string | URL | Request,
  init: RequestInit | undefined,
  asks: Fields,
): Fields | undefined {
  const address = input instanceof Request ? input.url : String(input);
  const isChat =
    /\/chat\/completions(\?|$)/.test(address) && init?.method?.toUpperCase() === "POST";
  if (!isChat || typeof init.body !== "string") {
    return undefined;
  }
  try {
    const body: unknown = JSON.parse(init.body);
    return Array.isArray(get(body, "messages")) ? { ...asks, ...(body as Fields) } : undefined;
  } catch {
    return undefined; // the server will say so
  }
}

async function recordAnswer(
  step: AgentStep,
  asked: Fields,
  response: Response,
  begun: number,
  keepPromptIds = false,
): Promise<void> {
  const text = await response.text();
  const latencyMs = performance.now() - begun;
  const completion = asked["stream"] === true ? streamedCompletion(text) : JSON.parse(text);
  if (completion === undefined) {
    return;
  }
  const topP = asked["top_p"];
  for (const choice of list(get(completion, "choices")).keys()) {
    step.llmCall(completion, {
      messages: list(asked["messages"]),
      temperature: Number(asked["temperature"] ?? 1),
      topP: typeof topP === "number" ? topP : undefined,
      maxTokens: Number(asked["max_completion_tokens"] ?? asked["max_tokens"] ?? 0),
      tools: list(asked["tools"]),
      latencyMs,
      choice,
      keepPromptIds,
    });
  }
}
