import assert from "node:assert/strict";
import net from "node:net";
import { afterEach, beforeEach, test } from "node:test";

import { Recorder, type RecorderOptions, type Recording } from "babylon-tasks";
import pg from "pg";

import { DATABASE_URL, value, Way } from "./database.ts";

const WINDOW = "2026-01-31T09:00";
const MESSAGES = [
  { role: "system", content: "trade" },
  { role: "user", content: "YES or NO?" },
];
const PATIENCE_MS = 60_000;
const LIMIT = { timeout: 20_000 }; // less than pg's own patience, 30 s

let said: string[] = [];

beforeEach(async () => {
  said = [];
  await value("TRUNCATE trajectories, llm_call_logs");
});

function recorder(options: RecorderOptions = {}): Recorder {
  return new Recorder({ database: DATABASE_URL, warn: (one) => said.push(one), ...options });
}

function play(to: Recorder, agent = "agent-1", scenarioId = "m-1"): Recording {
  const trajectory = to.start(agent, { window: WINDOW, scenarioId });
  const step = trajectory.step({ balance: 1000, pnl: 0 });
  step.llmCall(undefined, {
    messages: MESSAGES,
    temperature: 1,
    maxTokens: 16,
    model: "babylon@3",
    response: "YES",
    logprobs: [-0.5],
    tokenIds: [7],
  });
  step.action("TRADE", { marketId: "m-1", side: "buy_yes" }, { success: true });
  trajectory.finish({ finalBalance: 1010, finalPnl: 10 });
  return trajectory;
}

const count = () => value("SELECT count(*)::int FROM trajectories");

test("many trajectories are written in one transaction", async () => {
  const one = recorder();
  for (let number = 0; number < 150; number += 1) {
    play(one, `agent-${number}`);
  }
  await one.close();
  assert.equal(one.recorded, 150);
  assert.equal(await count(), 150);
  assert.equal(await value("SELECT count(*)::int FROM llm_call_logs"), 150);
  assert.equal(await value("SELECT count(DISTINCT xmin::text)::int FROM trajectories"), 2);
});

test("a trajectory that is refused loses nothing but itself", async () => {
  const one = recorder();
  for (let number = 0; number < 40; number += 1) {
    play(one, `agent-${number}`, number === 17 ? "s".repeat(101) : "m-1");
  }
  await one.close();
  assert.deepEqual([one.recorded, one.failed, one.dropped], [39, 1, 0]);
  assert.equal(await count(), 39);
  assert.match(said.join("\n"), /was refused, and is lost: .*too long/);
});

test("what is finished while the database is away is written once, when it returns", async () => {
  const way = await Way.opened();
  const one = recorder({ database: way.url, capacity: 3 });
  play(one, "before");
  assert.ok(await one.flush(PATIENCE_MS));
  way.cut();
  for (let number = 0; number < 5; number += 1) {
    play(one, `during-${number}`);
  }
  assert.equal(one.dropped, 2);
  assert.equal(await one.flush(200), false);
  way.mend();
  assert.ok(await one.flush(PATIENCE_MS));
  await one.close();
  way.close();
  assert.deepEqual([one.recorded, one.dropped, one.failed], [4, 2, 0]);
  assert.equal(await count(), 4);
});

test("what waits is bounded in bytes", async () => {
  const way = await Way.opened();
  way.cut();
  const one = recorder({ database: way.url, capacityBytes: 10_000 });
  for (let number = 0; number < 100; number += 1) {
    play(one);
  }
  assert.ok(one.dropped > 80 && one.dropped < 100, String(one.dropped));
  await one.close(100);
  way.close();
  assert.deepEqual([one.recorded, one.dropped], [0, 100]);
});

test("a database that takes connections and says nothing does not keep it from closing", LIMIT, async () => {
  const silent = net.createServer((socket) => socket.resume());
  await new Promise<void>((done) => silent.listen(0, "127.0.0.1", done));
  const { port } = silent.address() as net.AddressInfo;
  const one = recorder({ database: `postgresql://me:hush@127.0.0.1:${port}/none` });
  play(one);
  await one.close(500);
  silent.close();
  assert.deepEqual([one.recorded, one.dropped], [0, 1]);
  await new Promise((done) => silent.once("close", done)); // its connection is closed too
});

test("nor does one that falls silent while it writes", LIMIT, async () => {
  const one = recorder();
  play(one);
  assert.ok(await one.flush(PATIENCE_MS));
  const holding = new pg.Client({ connectionString: DATABASE_URL });
  await holding.connect();
  await holding.query("BEGIN; LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE");
  play(one);
  await one.close(500);
  await holding.end();
  assert.deepEqual([one.recorded, one.dropped], [1, 1]);
});

test("work that throws is recorded up to that point, and the error goes on", async () => {
  const one = recorder();
  const failures: [Error, string][] = [
    [new TypeError("no"), "error"],
    [new DOMException("late", "TimeoutError"), "timeout"],
    [new DOMException("enough", "AbortError"), "terminated"],
  ];
  for (const [failure, status] of failures) {
    const work = async (trajectory: Recording) => {
      trajectory.step({ pnl: 1 });
      throw failure;
    };
    await assert.rejects(one.record(status, work, { window: WINDOW }), failure);
  }
  const answer = await one.record("completed", async (done) => done.trajectoryId);
  await one.close();
  assert.deepEqual([one.recorded, one.raised], [4, 3]);
  assert.equal(await value(`SELECT bool_and("finalStatus" = "agentId") FROM trajectories`), true);
  assert.equal(
    await value(`SELECT "agentId" FROM trajectories WHERE "trajectoryId" = '${answer}'`),
    "completed",
  );
});

test("an agent learns nothing of what is recorded wrongly", async () => {
  const one = recorder();
  const trajectory = one.start("agent-1");
  const step = trajectory.step();
  step.llmCall({ choices: [] }, { messages: MESSAGES, temperature: 1, maxTokens: 1 });
  step.reward("high" as unknown as number);
  trajectory.finish();
  trajectory.finish();
  one.start("agent-2");
  await one.close();
  play(one);
  assert.deepEqual([one.recorded, one.failed, one.unfinished, one.dropped], [0, 1, 1, 1]);
  assert.equal(await count(), 0);
});

test("a window is fixed at the start, and a wrong one is a bug of the caller", async () => {
  const one = recorder();
  assert.throws(() => one.start("agent-1", { window: "yesterday" }), /is not a window id/);
  assert.throws(() => one.start("agent-1", { now: new Date("nonsense") }), RangeError);
  const trajectory = one.start("agent-1", { now: new Date("2026-01-31T09:59:59Z") });
  trajectory.finish({ now: new Date("2026-01-31T10:00:30Z") });
  await one.close();
  assert.equal(
    await value(`SELECT "windowId" || ' ' || "durationMs" FROM trajectories`),
    `${WINDOW} 31000`,
  );
});

test("an address that is none is refused without its password", () => {
  assert.throws(
    () => recorder({ database: "postgresql://me:hush@[" }),
    (error: Error) => !JSON.stringify([error.message, { ...error }]).includes("hush"),
  );
  assert.throws(() => recorder({ database: "" }), /set DATABASE_URL/);
});

test("the rights that the document names are enough, behind Prisma's parameters too", async () => {
  await value("DROP ROLE IF EXISTS recording_agents");
  await value("CREATE ROLE recording_agents LOGIN PASSWORD 'p'");
  await value("GRANT INSERT ON trajectories, llm_call_logs TO recording_agents");
  await value(`GRANT SELECT ("trajectoryId") ON trajectories TO recording_agents`);
  await value(`GRANT SELECT ("callId") ON llm_call_logs TO recording_agents`);
  const address = new URL(DATABASE_URL);
  [address.username, address.password] = ["recording_agents", "p"];
  address.search = "?schema=public&pgbouncer=true&connection_limit=1";
  const one = recorder({ database: address.href });
  play(one);
  await one.close();
  await value("DROP OWNED BY recording_agents");
  await value("DROP ROLE recording_agents");
  assert.deepEqual([one.recorded, said], [1, []]);
});

afterEach(() => {
  assert.ok(!said.join().includes(new URL(DATABASE_URL).password));
});
