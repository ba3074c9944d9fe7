import assert from "node:assert/strict";
import http from "node:http";
import type net from "node:net";
import { after, before, beforeEach, test } from "node:test";

import { Recorder, recordingFetch } from "babylon-tasks";

import { DATABASE_URL, value } from "./database.ts";

const LOGPROB = { token: "YES", logprob: -0.5, bytes: null };
const ANSWER = {
  id: "x",
  model: "babylon@3",
  choices: [
    {
      index: 0,
      finish_reason: "stop",
      message: { role: "assistant", content: "YES" },
      logprobs: { content: [LOGPROB] },
      token_ids: [7],
    },
  ],
  usage: { prompt_tokens: 9, completion_tokens: 1 },
};
const CHUNKS = [
  {
    model: "babylon@3",
    prompt_token_ids: [1],
    choices: [
      {
        index: 0,
        delta: { role: "assistant", content: "Y" },
        token_ids: [1],
        logprobs: { content: [{ ...LOGPROB, token: "Y" }] },
      },
    ],
  },
  {
    choices: [
      {
        index: 0,
        delta: { content: "ES", reasoning: "hm" },
        token_ids: [2],
        logprobs: { content: [{ ...LOGPROB, token: "ES" }] },
      },
    ],
  },
  {
    choices: [{ index: 0, delta: {}, finish_reason: "stop" }],
    x_groq: { usage: { prompt_tokens: 1, completion_tokens: 2 } },
  },
];
const STREAMED = {
  method: "POST",
  body: JSON.stringify({ stream: true, messages: [{ role: "user", content: "YES or NO?" }] }),
};
const LIMIT = { timeout: 30_000 };
const STREAM = [": waiting\n\n", ...CHUNKS.map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`)];

const ENDLESS = "a stream that says one thing and no more";

let asked: Record<string, unknown>[] = [];
let agents: unknown[] = [];
let reply: { status: number; body: string } = { status: 200, body: "" };
let left = () => {}; // the client has closed its connection before the answer ended
const server = http.createServer(async (request, response) => {
  const parts: Buffer[] = [];
  for await (const part of request) {
    parts.push(part as Buffer);
  }
  asked.push(JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>);
  agents.push(request.headers["x-babylon-agent"]);
  response.writeHead(reply.status, { "content-type": "application/json" });
  if (reply.body === ENDLESS) {
    response.on("close", () => left());
    response.write(STREAM[1]);
    return;
  }
  for (const part of reply.body.match(/[^]{1,20}/g) ?? []) {
    response.write(part); // no part ends where a line does
  }
  response.end();
});
let url = "";

before(async () => {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}/v1/chat/completions`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});
beforeEach(async () => {
  [asked, agents] = [[], []];
  await value("TRUNCATE trajectories, llm_call_logs");
});

type Call = Record<string, unknown>;

/** What is recorded of requests that are made with a wrapped fetch in one step. */
async function recorded(
  fetch: typeof globalThis.fetch,
  ...bodies: Record<string, unknown>[]
): Promise<Call[]> {
  return recordedOf(async () => {
    for (const body of bodies) {
      const request = { messages: [{ role: "user", content: "YES or NO?" }], ...body };
      const response = await fetch(url, { method: "POST", body: JSON.stringify(request) });
      assert.equal(await response.text(), reply.body);
    }
  });
}

/** What is recorded of the work of one step. */
async function recordedOf(work: () => Promise<void>): Promise<Call[]> {
  const recorder = new Recorder({ database: DATABASE_URL });
  await recorder.record("agent-1", (trajectory) => trajectory.step().record(work));
  await recorder.close();
  assert.equal(recorder.recorded, 1);
  const steps = JSON.parse(String(await value(`SELECT "stepsJson" FROM trajectories`))) as {
    llmCalls: Call[];
  }[];
  return steps.flatMap((step) => step.llmCalls);
}

test("an answer is recorded as it was sampled", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const [call] = await recorded(recordingFetch(), {
    model: "babylon",
    max_tokens: 16,
    temperature: 0.7,
  });
  const { tokenIds, logprobs, policyStep, temperature, topP, maxTokens, response } = call ?? {};
  assert.deepEqual(
    { tokenIds, logprobs, policyStep, temperature, topP, maxTokens, response },
    {
      tokenIds: [7],
      logprobs: [{ logprob: -0.5, token: "YES" }],
      policyStep: 3,
      temperature: 0.7,
      topP: 1,
      maxTokens: 16,
      response: "YES",
    },
  );
  const { logprobs: byUs, return_token_ids, temperature: theirs } = asked[0] ?? {};
  assert.deepEqual([byUs, return_token_ids, theirs], [true, true, 0.7]);
});

test("a streamed answer is put together again", async () => {
  reply = { status: 200, body: `${STREAM.join("")}data: [DONE]\n\n` };
  const [call] = await recorded(recordingFetch(), { model: "babylon", stream: true });
  const { tokenIds, response, reasoning, promptTokens, completionTokens, finishReason } =
    call ?? {};
  assert.deepEqual(
    { tokenIds, response, reasoning, promptTokens, completionTokens, finishReason },
    {
      tokenIds: [1, 2],
      response: "YES",
      reasoning: "hm",
      promptTokens: 1,
      completionTokens: 2,
      finishReason: "stop",
    },
  );
  assert.equal((call?.["logprobs"] as unknown[]).length, 2);
});

test("tool calls of a stream are put together too", async () => {
  const part = (index: number, called: unknown, finish?: string) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, finish_reason: finish, delta: { tool_calls: [{ index, ...(called as object) }] } }] })}\n\n`;
  reply = {
    status: 200,
    body:
      part(0, { id: "c", function: { name: "trade", arguments: '{"a":' } }) +
      part(0, { function: { arguments: "1}" } }, "tool_calls"),
  };
  const [call] = await recorded(recordingFetch(), { model: "m", stream: true });
  assert.deepEqual(call?.["toolCalls"], [
    { id: "c", type: "function", function: { name: "trade", arguments: '{"a":1}' } },
  ]);
  assert.equal(call?.["carries"], "tools");
});

test("functions of a request are tools under their older name", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const [call] = await recorded(recordingFetch(), { model: "m", functions: [{ name: "trade" }] });
  assert.equal(call?.["carries"], "tools");
});

test("a stream that breaks off and a refusal are not recorded", async () => {
  reply = { status: 200, body: STREAM.slice(0, 2).join("") };
  assert.deepEqual(await recorded(recordingFetch(), { stream: true }), []);
  reply = { status: 429, body: JSON.stringify({ error: { message: "later" } }) };
  assert.deepEqual(await recorded(recordingFetch(), {}, {}), []);
  assert.equal(asked.length, 3);
});

test("what the client gives up is not recorded, nor read to its end", LIMIT, async () => {
  reply = { status: 200, body: ENDLESS };
  const closed = new Promise<void>((done) => (left = done));
  const calls = await recordedOf(async () => {
    const reader = (await recordingFetch()(url, STREAMED)).body?.getReader();
    assert.match(new TextDecoder().decode((await reader?.read())?.value), /babylon@3/);
    await reader?.cancel();
  });
  assert.deepEqual(calls, []);
  await closed;
});

test("nor what a signal ends; the client learns of it", LIMIT, async () => {
  reply = { status: 200, body: ENDLESS };
  const enough = new AbortController();
  const calls = await recordedOf(async () => {
    const response = await recordingFetch()(url, { ...STREAMED, signal: enough.signal });
    enough.abort();
    await assert.rejects(response.text(), { name: "AbortError" });
  });
  assert.deepEqual(calls, []);
});

test("an answer that its client reads later, or up to [DONE], is recorded", LIMIT, async () => {
  reply = { status: 200, body: `${STREAM.join("")}data: [DONE]\n\n` };
  let later: Response | undefined;
  const calls = await recordedOf(async () => {
    later = await recordingFetch()(url, STREAMED);
    const reader = (await recordingFetch()(url, STREAMED)).body?.getReader();
    let text = "";
    while (!text.includes("[DONE]")) {
      text += new TextDecoder().decode((await reader?.read())?.value);
    }
    await reader?.cancel();
  });
  assert.deepEqual(
    calls.map((call) => call["response"]),
    ["YES", "YES"],
  );
  assert.deepEqual([later?.url, await later?.text()], [url, reply.body]);
});

test("a client that counts the bytes of its request itself is answered", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const body = JSON.stringify({ messages: [{ role: "user", content: "YES or NO?" }] });
  const headers = { "Content-Length": String(body.length), "x-babylon-agent": "agent-7" };
  const request = new Request(url, { method: "POST", headers, body });
  const calls = await recordedOf(async () => {
    for (const [input, init] of [
      [url, { method: "POST", headers, body }],
      [request, { method: "POST", body }],
    ] as const) {
      assert.equal(await (await recordingFetch()(input, init)).text(), reply.body);
    }
  });
  assert.equal(calls.length, 2);
  assert.deepEqual(agents, ["agent-7", "agent-7"]);
});

test("what a parameter of the request shaped is recorded as such", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const calls = await recorded(
    recordingFetch(),
    { response_format: { type: "json_object" }, top_k: 40 },
    { frequency_penalty: 0.5, seed: 4 },
    { temperature: "1" },
    { top_k: -1, min_p: 0, logit_bias: {}, response_format: { type: "text" }, presence_penalty: 0 },
    { nvext: { extra_fields: ["engine_data"] }, stop: ["\n"], repetition_penalty: null },
  );
  assert.deepEqual(
    calls.map((call) => call["shaped"]),
    [["response_format", "top_k"], ["frequency_penalty"], ["temperature"], undefined, undefined],
  );
});

test("so is what we add ourselves", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const [call] = await recorded(recordingFetch({ asks: { logprobs: true, top_k: 20 } }), {});
  assert.deepEqual(call?.["shaped"], ["top_k"]);
});

test("several answers are recorded, each, and the first is the one that is acted upon", async () => {
  const [choice] = ANSWER.choices;
  const choices = [choice, { ...choice, index: 1, token_ids: [8] }];
  reply = { status: 200, body: JSON.stringify({ ...ANSWER, choices }) };
  const calls = await recorded(recordingFetch(), { n: 2 });
  assert.deepEqual(
    calls.map((call) => [call["tokenIds"], call["purpose"]]),
    [
      [[7], "action"],
      [[8], "other"],
    ],
  );
});

test("a provider that refuses what we would add is asked for nothing more", async () => {
  reply = { status: 200, body: JSON.stringify(ANSWER) };
  const [call] = await recorded(recordingFetch({ asks: {} }), { model: "qwen/qwen3-32b" });
  assert.deepEqual(Object.keys(asked[0] ?? {}).sort(), ["messages", "model"]);
  assert.equal(call?.["temperature"], 1);
});

test("outside of a step nothing is changed", async () => {
  reply = { status: 200, body: "{}" };
  await recordingFetch()(url, { method: "POST", body: '{"messages":[]}' });
  assert.deepEqual(asked, [{ messages: [] }]);
});

test("in a step another request is not changed", async () => {
  reply = { status: 200, body: "{}" };
  const recorder = new Recorder({ database: DATABASE_URL });
  await recorder.record("agent-1", async (trajectory) => {
    const fetch = recordingFetch();
    await trajectory.step().record(async () => {
      await fetch(url.replace("chat/completions", "embeddings"), {
        method: "POST",
        body: '{"messages":[]}',
      });
      await fetch(url, { method: "POST", body: '{"messages":"?"}' });
    });
  });
  await recorder.close();
  assert.deepEqual(asked, [{ messages: [] }, { messages: "?" }]);
});
