/** Put a streamed chat completion together again, with its log-probabilities and token ids. */

import { get, list } from "./json.ts";

interface Choice {
  index: number;
  finish_reason: unknown;
  message: { role: "assistant"; content: string; reasoning?: string; tool_calls?: ToolCall[] };
  logprobs?: { content: unknown[] };
  token_ids?: unknown[];
  prompt_token_ids?: unknown;
}

interface ToolCall {
  id: unknown;
  type: "function";
  function: { name: string; arguments: string };
}

/** Read the text of a whole event stream; undefined if it ends before each choice has. */
export function streamedCompletion(text: string): unknown {
  const choices = new Map<number, Choice>();
  const whole: Record<string, unknown> = {};
  for (const line of text.split(/\r\n|\n|\r/)) {
    const data = line.startsWith("data:") ? line.slice(5).trim() : "";
    if (data !== "" && data !== "[DONE]") {
      const chunk: unknown = JSON.parse(data);
      whole["model"] ??= get(chunk, "model");
      whole["prompt_token_ids"] ??= get(chunk, "prompt_token_ids");
      whole["usage"] = get(chunk, "usage") ?? get(get(chunk, "x_groq"), "usage") ?? whole["usage"];
      for (const part of list(get(chunk, "choices"))) {
        addTo(choices, part);
      }
    }
  }
  const read = [...choices.values()].sort((one, other) => one.index - other.index);
  const complete = read.length > 0 && read.every((choice) => choice.finish_reason != null);
  return complete ? { ...whole, choices: read } : undefined;
}

function addTo(choices: Map<number, Choice>, part: unknown): void {
  const index = Number(get(part, "index") ?? 0);
  const choice = choices.get(index) ?? {
    index,
    finish_reason: null,
    message: { role: "assistant", content: "" },
  };
  choices.set(index, choice);
  const { message } = choice;
  const delta = get(part, "delta");
  message.content += textOf(get(delta, "content"));
  const reasoning = textOf(get(delta, "reasoning_content")) || textOf(get(delta, "reasoning"));
  if (reasoning !== "") {
    message.reasoning = (message.reasoning ?? "") + reasoning;
  }
  for (const called of list(get(delta, "tool_calls"))) {
    addCall((message.tool_calls ??= []), called);
  }
  const entries = list(get(get(part, "logprobs"), "content"));
  if (entries.length > 0) {
    (choice.logprobs ??= { content: [] }).content.push(...entries);
  }
  const ids = get(part, "token_ids");
  if (ids != null) {
    (choice.token_ids ??= []).push(...list(ids));
  }
  choice.prompt_token_ids ??= get(part, "prompt_token_ids");
  choice.finish_reason = get(part, "finish_reason") ?? choice.finish_reason;
}

function addCall(calls: ToolCall[], called: unknown): void {
  const place = Number(get(called, "index") ?? calls.length);
  const call = (calls[place] ??= {
    id: get(called, "id"),
    type: "function",
    function: { name: "", arguments: "" },
  });
  call.function.name += textOf(get(get(called, "function"), "name"));
  call.function.arguments += textOf(get(get(called, "function"), "arguments"));
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
