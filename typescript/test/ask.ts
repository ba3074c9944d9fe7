/** Ask as Babylon's agents do, by the client libraries that they use; standard input says what. */

import { text } from "node:stream/consumers";

import { createGroq } from "@ai-sdk/groq";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  generateText,
  jsonSchema,
  type ModelMessage,
  Output,
  streamText,
  type ToolSet,
} from "ai";
import OpenAI from "openai";

const PARAMETERS = { type: "object", properties: {} } as const;
const TOOLS: ToolSet = { trade: { inputSchema: jsonSchema(PARAMETERS) } };

interface Asked {
  client: "groq" | "openai-compatible" | "openai";
  model: string;
  stream?: boolean;
  messages: ModelMessage[];
  maxOutputTokens?: number;
  stop?: string[];
  tools?: boolean;
  json?: boolean;
  temperature?: number;
  /** Give up once there is an answer at this address. */
  abortOn?: string;
  apiKey?: string;
}

interface Answer {
  text: string;
  model: string | undefined;
  finishReason: string;
  inputTokens: number | undefined;
  outputTokens: number | undefined;
  tools: { name: string; input: unknown }[];
}

const { baseURL, apiKey, asked } = JSON.parse(await text(process.stdin)) as {
  baseURL: string;
  apiKey: string;
  asked: Asked[];
};
const results = await Promise.all(
  asked.map(async (one) => {
    try {
      return one.client === "openai" ? await askOpenAI(one) : await askAiSdk(one);
    } catch (error) {
      return refusal(error);
    }
  }),
);
console.log(JSON.stringify(results));

async function askAiSdk(one: Asked): Promise<Answer> {
  const common = { baseURL, apiKey: one.apiKey ?? apiKey };
  const provider =
    one.client === "groq"
      ? createGroq(common)
      : createOpenAICompatible({ name: "babylon", includeUsage: true, ...common });
  const request = {
    model: provider(one.model),
    messages: one.messages,
    maxRetries: 0,
    allowSystemInMessages: true,
    ...(one.maxOutputTokens !== undefined && { maxOutputTokens: one.maxOutputTokens }),
    ...(one.stop && { stopSequences: one.stop }),
    ...(one.json && { output: Output.json() }),
    ...(one.temperature !== undefined && { temperature: one.temperature }),
    ...(one.abortOn !== undefined && { abortSignal: abortedOn(one.abortOn) }),
    ...(one.tools && { tools: TOOLS }),
  };
  if (one.stream !== true) {
    const found = await generateText(request);
    const { inputTokens, outputTokens } = found.usage;
    return {
      text: found.text,
      model: found.response.modelId,
      finishReason: found.finishReason,
      inputTokens,
      outputTokens,
      tools: named(found.toolCalls),
    };
  }
  let failure: unknown;
  const found = streamText({ ...request, onError: ({ error }) => void (failure = error) });
  let whole = "";
  for await (const part of found.textStream) {
    whole += part;
  }
  request.abortSignal?.throwIfAborted();
  if (failure !== undefined) {
    throw failure;
  }
  const { inputTokens, outputTokens } = await found.usage;
  const { modelId } = await found.response;
  return {
    text: whole,
    model: modelId,
    finishReason: await found.finishReason,
    inputTokens,
    outputTokens,
    tools: named(await found.toolCalls),
  };
}

async function askOpenAI(one: Asked): Promise<Answer> {
  const client = new OpenAI({ baseURL, apiKey: one.apiKey ?? apiKey, maxRetries: 0 });
  const request = {
    model: one.model,
    messages: one.messages as OpenAI.ChatCompletionMessageParam[],
    ...(one.maxOutputTokens !== undefined && { max_tokens: one.maxOutputTokens }),
    ...(one.stop && { stop: one.stop }),
    ...(one.tools && {
      tools: [{ type: "function" as const, function: { name: "trade", parameters: PARAMETERS } }],
    }),
  };
  const found =
    one.stream === true
      ? await client.chat.completions
          .stream({ ...request, stream_options: { include_usage: true } })
          .finalChatCompletion()
      : await client.chat.completions.create(request);
  const calls = found.choices[0]?.message.tool_calls ?? [];
  return {
    text: found.choices[0]?.message.content ?? "",
    model: found.model,
    finishReason: found.choices[0]?.finish_reason ?? "",
    inputTokens: found.usage?.prompt_tokens,
    outputTokens: found.usage?.completion_tokens,
    tools: calls.flatMap((call) =>
      call.type === "function"
        ? { name: call.function.name, input: JSON.parse(call.function.arguments) as unknown }
        : [],
    ),
  };
}

function named(calls: { toolName: string; input: unknown }[]) {
  return calls.map(({ toolName: name, input }) => ({ name, input }));
}

function abortedOn(address: string): AbortSignal {
  const controller = new AbortController();
  void fetch(address).then(() => controller.abort());
  return controller.signal;
}

function refusal(error: unknown) {
  // What a stream says of an error reaches some clients as text.
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const status = APICallError.isInstance(error)
    ? error.statusCode
    : error instanceof OpenAI.APIError
      ? (error.status as number | undefined)
      : undefined;
  const again = APICallError.isInstance(error) ? error.isRetryable : undefined;
  return { error: name, status, message, again };
}
