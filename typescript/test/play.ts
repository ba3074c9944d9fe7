/** Record what standard input says, for the test that compares the rows with Python's. */

import { text } from "node:stream/consumers";

import {
  type Call,
  Recorder,
  type Result,
  type Start,
  windowId,
  windowStart,
  type World,
} from "babylon-tasks";

interface Played {
  agent: string;
  start: Start & { now: string };
  steps: {
    world: World & { now: string };
    calls: { completion: unknown; call: Call }[];
    actions: { type: string; parameters: Record<string, unknown>; done: Result }[];
    reward?: number;
  }[];
  finish: { finalBalance?: number; finalPnl?: number; status?: string; now: string };
}

const given = JSON.parse(await text(process.stdin)) as {
  trajectories: Played[];
  moments: string[];
  windows: string[];
};
const recorder = new Recorder({ warn: (message) => console.error(message) });
const ids: string[] = [];
for (const { agent, start, steps, finish } of given.trajectories) {
  const trajectory = recorder.start(agent, { ...start, now: new Date(start.now) });
  ids.push(trajectory.trajectoryId);
  for (const { world, calls, actions, reward } of steps) {
    const step = trajectory.step({ ...world, now: new Date(world.now) });
    for (const { completion, call } of calls) {
      step.llmCall(completion, call);
    }
    for (const { type, parameters, done } of actions) {
      step.action(type, parameters, done);
    }
    if (reward !== undefined) {
      step.reward(reward);
    }
  }
  trajectory.finish({ ...finish, now: new Date(finish.now) });
}
await recorder.close();
const { recorded, dropped, failed } = recorder;
console.log(
  JSON.stringify({
    ids,
    counts: { recorded, dropped, failed },
    windows: given.moments.map((moment) => windowId(new Date(moment))),
    starts: given.windows.map(startOf),
  }),
);

function startOf(window: string): string | null {
  try {
    return windowStart(window).toISOString();
  } catch {
    return null;
  }
}
