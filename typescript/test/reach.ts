/** Say for each address on standard input what comes of writing nothing there. */

import { json } from "node:stream/consumers";

import { TrajectoryWriter } from "../src/writer.ts";

const said: string[] = [];
for (const address of (await json(process.stdin)) as string[]) {
  try {
    const writer = new TrajectoryWriter(address, () => {});
    await writer.write([]).finally(() => writer.close());
    said.push("written");
  } catch (error) {
    said.push(String(error));
  }
}
console.log(JSON.stringify(said));
