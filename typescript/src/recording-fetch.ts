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
    if (!response.ok || response.body === null) {
      return response;
    }
    const [body, text] = passedOn(response.body);
    step.await(
      recordAnswer(step, asked, text, begun, options.keepPromptIds).catch(() => {
        // The client has the same error, or has given up the answer.
      }),
    );
    const passed = new Response(body, response);
    Object.defineProperty(passed, "url", { value: response.url });
    return passed;
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

/**
 * Pass a body on as fast as it comes, and give the text of what came.
 *
 * Not a clone: that would be read to its end, and recorded, where the client has given it up. It
 * does not wait for the client either, who may read once the step is over.
 */
function passedOn(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): [ReadableStream<Uint8Array<ArrayBuffer>>, Promise<string>] {
  const reader = body.getReader();
  let givenUp = false;
  let text = Promise.resolve("");
  const client = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      text = (async () => {
        const decoder = new TextDecoder();
        let came = "";
        try {
          for (let part = await reader.read(); !part.done; part = await reader.read()) {
            came += decoder.decode(part.value, { stream: true });
            if (!givenUp) {
              controller.enqueue(part.value);
            }
          }
        } catch (error) {
          controller.error(error);
          throw error;
        }
        if (!givenUp) {
          controller.close();
        }
        return came + decoder.decode();
      })();
    },
    cancel(reason) {
      givenUp = true; // nothing more comes, and what came is recorded only if it is a whole answer
      return reader.cancel(reason);
    },
  });
  return [client, text];
}

async function recordAnswer(
  step: AgentStep,
  asked: Fields,
  answer: Promise<string>,
  begun: number,
  keepPromptIds = false,
): Promise<void> {
  const text = await answer;
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
      tools: [...list(asked["tools"]), ...list(asked["functions"])],
      parameters: asked,
      latencyMs,
      choice,
      // Clients act upon the first; what earned the step's reward is the last with purpose action.
      purpose: choice === 0 ? "action" : "other",
      keepPromptIds,
    });
  }
}
