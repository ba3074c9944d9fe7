/** Convert a finished recording to the rows of Babylon's tables. */

import { present, storable, toJson } from "./json.ts";
import type { Ending, Facts, RecordedCall, RecordedStep } from "./recording.ts";
import { isPost, isTrade } from "./vocabulary.ts";

const INT4 = 2 ** 31 - 1;

/** Rows by the names of their columns. */
export interface Rows {
  readonly trajectory: Record<string, unknown>;
  readonly calls: readonly Record<string, unknown>[];
}

/** Make the row of `trajectories` and those of `llm_call_logs`. */
export function rowsOf(facts: Facts, steps: readonly RecordedStep[], ending: Ending): Rows {
  const done = steps.map((step) => step.action).filter((action) => action.success);
  const errors = steps.length - done.length;
  const reward = sum(steps.map((step) => step.reward));
  const metrics = {
    episodeLength: steps.length,
    finalStatus: ending.status ?? (errors > 0 ? "completed_with_errors" : "completed"),
    finalBalance: ending.finalBalance,
    finalPnL: ending.finalPnl,
    tradesExecuted: done.filter((action) => isTrade(action.actionType)).length,
    postsCreated: done.filter((action) => isPost(action.actionType)).length,
    errorCount: errors,
  };
  const trajectory = {
    id: facts.id,
    trajectoryId: facts.trajectoryId,
    agentId: facts.agentId,
    archetype: facts.archetype,
    startTime: utc(facts.started),
    endTime: utc(new Date(facts.started.getTime() + ending.elapsedMs)),
    durationMs: Math.min(INT4, ending.elapsedMs),
    windowId: facts.window,
    windowHours: 1,
    episodeId: facts.episodeId,
    scenarioId: facts.scenarioId,
    batchId: facts.batchId,
    stepsJson: toJson(steps),
    rewardComponentsJson: toJson({ environmentReward: reward }),
    metricsJson: toJson(present(metrics)),
    metadataJson: toJson(facts.metadata),
    totalReward: float(reward),
    episodeLength: steps.length,
    finalStatus: metrics.finalStatus,
    finalBalance: float(ending.finalBalance),
    finalPnL: float(ending.finalPnl),
    tradesExecuted: metrics.tradesExecuted,
    postsCreated: metrics.postsCreated,
    isTrainingData: !facts.isEvaluation,
    isEvaluation: facts.isEvaluation,
  };
  const calls = steps.flatMap((step) =>
    step.llmCalls.map((call, place) => callRow(facts.trajectoryId, step, place, call)),
  );
  return { trajectory, calls };
}

function callRow(
  trajectoryId: string,
  step: RecordedStep,
  place: number,
  call: RecordedCall,
): Record<string, unknown> {
  const id = `${trajectoryId}-call-${step.stepNumber}-${place}`;
  const { promptTokens, completionTokens, latencyMs, modelVersion, policyStep } = call;
  const extra = present({ modelVersion, policyStep });
  const both = promptTokens !== undefined && completionTokens !== undefined;
  return {
    id,
    trajectoryId,
    stepId: `${trajectoryId}-step-${step.stepNumber}`,
    callId: id,
    timestamp: utc(new Date(step.timestamp)),
    latencyMs: latencyMs === undefined ? undefined : Math.round(latencyMs),
    model: storable(call.model),
    purpose: call.purpose,
    actionType: call.actionType,
    systemPrompt: storable(call.systemPrompt),
    userPrompt: storable(call.userPrompt),
    messagesJson: toJson(
      call.messages ?? [
        { role: "system", content: call.systemPrompt },
        { role: "user", content: call.userPrompt },
      ],
    ),
    response: storable(call.response),
    reasoning: call.reasoning === undefined ? undefined : storable(call.reasoning),
    temperature: float(call.temperature),
    maxTokens: call.maxTokens,
    topP: float(call.topP),
    promptTokens,
    completionTokens,
    totalTokens: both ? promptTokens + completionTokens : undefined,
    metadata: Object.keys(extra).length > 0 ? toJson(extra) : undefined,
  };
}

// JSON has no NaN; Postgres reads one, and Infinity, from text.
function float(value: number | null | undefined): number | string | null | undefined {
  return value == null || Number.isFinite(value) ? value : String(value);
}

/** Babylon's columns have no time zone and mean UTC. */
function utc(moment: Date): string {
  return moment.toISOString().slice(0, -1);
}

/** Add without losing the small ones (Neumaier 1974): ten rewards of 0.1 are 1. */
function sum(values: readonly number[]): number {
  let [total, lost] = [0, 0];
  for (const value of values) {
    const next = total + value;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return Number.isFinite(total) ? total + lost : total;
}
