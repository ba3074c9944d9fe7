/** Read an OpenAI chat completion, from any client or as JSON. */

import { get, list, number } from "./json.ts";

// From vLLM with return_tokens_as_token_ids and from ART's servers, in place of a token's text.
const TOKEN_ID = /^token_id:(\d{1,9})$/;

/** One answer, with the ids, texts and bytes of its tokens as the server reported them. */
export interface Completion {
  readonly model: string;
  readonly response: string;
  readonly reasoning?: string | undefined;
  readonly tokens: SampledTokens;
  readonly finishReason?: string | undefined;
  readonly promptTokens?: number | undefined;
  readonly promptTokenIds?: readonly number[] | undefined;
  readonly completionTokens?: number | undefined;
  readonly toolCalls: readonly unknown[];
}

export interface SampledTokens {
  readonly logprobs?: readonly number[] | undefined;
  readonly ids?: readonly number[] | undefined;
  readonly texts?: readonly string[] | undefined;
  readonly bytes?: readonly unknown[] | undefined;
}

/** One message of the prompt, as text, with the tool calls that belong to it. */
export interface ReadMessage {
  role: string;
  content: string;
  tool_calls?: readonly unknown[];
  tool_call_id?: string;
}

export const NO_COMPLETION: Completion = { model: "", response: "", tokens: {}, toolCalls: [] };

/** Read choice `index`; throws TypeError for what is no completion. */
export function readCompletion(completion: unknown, index = 0): Completion {
  const choices = list(get(completion, "choices"));
  const choice = choices[index];
  if (choice === undefined) {
    throw new TypeError(`the completion has ${choices.length} choices, and not choice ${index}`);
  }
  const message = get(choice, "message");
  const usage = get(completion, "usage");
  // NVIDIA Dynamo's, of W&B's servers: of the whole answer, so of one choice.
  const extension = choices.length === 1 ? get(completion, "nvext") : undefined;
  const engine = get(extension, "engine_data");
  const prompt =
    get(completion, "prompt_token_ids") ??
    get(choice, "prompt_token_ids") ??
    get(engine, "prompt_token_ids");
  const promptTokenIds = list(prompt).map((id) => number(id, "a token id"));
  return {
    model: text(get(completion, "model")) ?? "",
    response: textOf(get(message, "content")),
    reasoning: text(get(message, "reasoning_content")) || text(get(message, "reasoning")),
    tokens: readTokens(choice, engine),
    finishReason: text(get(choice, "finish_reason")),
    promptTokens: count(get(usage, "prompt_tokens")) || promptTokenIds.length || undefined,
    promptTokenIds: promptTokenIds.length > 0 ? promptTokenIds : undefined,
    // For several answers the server reports only their sum.
    completionTokens: choices.length === 1 ? count(get(usage, "completion_tokens")) : undefined,
    toolCalls: list(get(message, "tool_calls")),
  };
}

/** Read a choice's tokens in the form of vLLM, ART's servers, W&B's, llama.cpp or OpenAI. */
function readTokens(choice: unknown, engine: unknown): SampledTokens {
  for (const [sampled, scored] of [
    [list(get(engine, "completion_token_ids")), list(get(engine, "completion_logprobs"))],
    [list(get(choice, "token_ids")), list(get(choice, "compact_logprobs"))],
  ] as const) {
    // Both, of the same tokens; what else there is may be of a stop token more or less.
    if (sampled.length > 0 && sampled.length === scored.length) {
      return {
        ids: sampled.map((id) => number(id, "a token id")),
        logprobs: scored.map((one) => number(one, "a log-probability")),
      };
    }
  }
  const beside = get(choice, "token_ids") ?? get(choice, "tokenIds");
  let ids = beside == null ? undefined : list(beside).map((id) => number(id, "a token id"));
  const entries = list(get(get(choice, "logprobs"), "content"));
  if (entries.length === 0) {
    return { ids };
  }
  const logprobs = entries.map((entry) => number(get(entry, "logprob"), "a log-probability"));
  const texts = entries.map((entry) => String(get(entry, "token")));
  const bytes = entries.map((entry) => get(entry, "bytes") ?? null);
  const matches = texts.map((token) => TOKEN_ID.exec(token)?.[1]);
  const inPlace = matches.map((digits) => (digits === undefined ? undefined : Number(digits)));
  const byEntry = entries.map((entry) => get(entry, "id")); // llama.cpp
  for (const named of [inPlace, byEntry]) {
    if (named.every((id) => typeof id === "number")) {
      if (ids !== undefined && !same(ids, named)) {
        return { logprobs }; // they contradict each other
      }
      ids = named;
    }
  }
  if (ids?.length !== logprobs.length) {
    ids = undefined; // not the same tokens: the ids would be wrong for the logprobs
  }
  return {
    logprobs,
    ids,
    texts: inPlace.some((id) => id !== undefined) ? undefined : texts,
    bytes: bytes.every((one) => one === null) ? undefined : bytes,
  };
}

/** Read messages as role and text; text parts are joined, `carried` reports the others. */
export function readMessages(messages: readonly unknown[]): ReadMessage[] {
  return messages.map((message) => {
    const read: ReadMessage = {
      role: String(get(message, "role")),
      content: textOf(get(message, "content")),
    };
    const calls = list(get(message, "tool_calls"));
    if (calls.length > 0) {
      read.tool_calls = calls;
    }
    const answers = get(message, "tool_call_id");
    if (answers != null) {
      read.tool_call_id = String(answers);
    }
    return read;
  });
}

/** Name what messages contain besides text. */
export function carried(messages: readonly unknown[]): "tools" | "images" | undefined {
  let kind: "images" | undefined;
  for (const message of messages) {
    const role = String(get(message, "role"));
    const called = list(get(message, "tool_calls")).length > 0 || get(message, "function_call");
    if (called || role === "tool" || role === "function") {
      return "tools";
    }
    const others = list(get(message, "content")).filter((part) => textOfPart(part) === undefined);
    if (others.some((part) => /^(tool|function)/.test(text(get(part, "type")) ?? ""))) {
      return "tools";
    }
    // An image, audio, a thought: none of them is text, so they are all reported alike.
    kind = others.length > 0 ? "images" : kind;
  }
  return kind;
}

/** A text, or the parts of one that are text, joined. */
function textOf(content: unknown): string {
  const parts = list(content).map((part) => textOfPart(part) ?? "");
  return text(content) ?? parts.join("");
}

/** The text of a part that is nothing else. */
function textOfPart(part: unknown): string | undefined {
  const kind = get(part, "type") ?? "text";
  const isText = kind === "text" || kind === "input_text" || kind === "output_text";
  return isText ? text(get(part, "text")) : undefined;
}

function same(ids: readonly number[], others: readonly unknown[]): boolean {
  return ids.length === others.length && ids.every((id, place) => id === others[place]);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function count(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
