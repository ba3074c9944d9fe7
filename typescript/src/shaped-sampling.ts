/** Which parameters of a request change what is sampled without showing in log-probabilities. */

import { type Fields, list } from "./json.ts";

// As babylon_tasks/shaped_sampling.py, which a test compares.
const HARMLESS = new Set([
  "model", "messages", "n", "max_tokens", "max_completion_tokens", "stop", "seed", "logprobs",
  "top_logprobs", "stream", "stream_options", "return_token_ids", "return_tokens_as_token_ids",
  "chat_template_kwargs", "user", "metadata", "store", "service_tier", "safety_identifier",
  "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
  "parallel_tool_calls",
]);
const NEUTRAL: Readonly<Record<string, readonly string[]>> = {
  frequency_penalty: ["0"],
  presence_penalty: ["0"],
  repetition_penalty: ["1"],
  top_k: ["0", "-1"],
  min_p: ["0"],
  logit_bias: ["{}"],
  response_format: ['{"type":"text"}'],
  tools: ["[]"],
  tool_choice: ['"none"'],
  functions: ["[]"],
  function_call: ['"none"'],
};

/** List by name the parameters that shape the sample; null counts as not given. */
export function shaping(request: Fields): readonly string[] {
  return Object.entries(request)
    .filter(([name, value]) => value != null && !HARMLESS.has(name) && !isNeutral(name, value))
    .map(([name]) => name)
    .sort();
}

function isNeutral(name: string, value: unknown): boolean {
  if (name === "temperature" || name === "top_p") {
    return typeof value === "number"; // it is recorded by itself
  }
  if (name === "nvext") {
    // Dynamo's: it may ask for fields of the answer, or shape it.
    const isObject = typeof value === "object" && !Array.isArray(value);
    return isObject && Object.keys(value ?? {}).every((field) => field === "extra_fields");
  }
  return list(NEUTRAL[name]).includes(JSON.stringify(value));
}
