/** Ask with `recordingFetch` what standard input says, one step for each, and record it. */

import { text } from "node:stream/consumers";

import { Recorder, recordingFetch, type RecordingFetchOptions } from "babylon-tasks";

const { agent, url, apiKey, options, asked } = JSON.parse(await text(process.stdin)) as {
  agent: string;
  url: string;
  apiKey: string;
  options: RecordingFetchOptions;
  asked: Record<string, unknown>[];
};
const recorder = new Recorder({ warn: (message) => console.error(message) });
const fetch = recordingFetch(options);
await recorder.record(agent, async (trajectory) => {
  for (const body of asked) {
    await trajectory.step().record(async () => {
      const response = await fetch(`${url}/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      await response.text();
      if (!response.ok) {
        throw new Error(`${response.status}`);
      }
    });
  }
});
await recorder.close();
