/** The recorder: agents pass finished trajectories, and they are written behind them. */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { Fields } from "./json.ts";
import { type Ending, type Finish, Recording } from "./recording.ts";
import { rowsOf } from "./rows.ts";
import { windowId, windowStart } from "./windows.ts";
import { type Encoded, encoded, isAway, TrajectoryWriter } from "./writer.ts";

const BATCH_ROWS = 100;
const BATCH_BYTES = 4 * 2 ** 20;
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [100, 15_000];

export interface RecorderOptions {
  /** Babylon's address; DATABASE_URL by default. */
  readonly database?: string;
  /** How many finished trajectories may wait while the database is away. */
  readonly capacity?: number;
  /** How many bytes these may have. */
  readonly capacityBytes?: number;
  /** Called with each warning; console.warn by default. */
  readonly warn?: (message: string) => void;
}

export interface Start {
  readonly scenarioId?: string;
  /** Agents of one archetype are compared with each other. */
  readonly archetype?: string;
  /** The window of a replay; that of `now` by default. */
  readonly window?: string;
  readonly now?: Date;
  readonly episodeId?: string;
  readonly batchId?: string;
  readonly isEvaluation?: boolean;
  readonly metadata?: Fields;
}

/** Never blocks and never throws into the agent. Close it at the end: that writes what waits. */
export class Recorder {
  /** Written. */
  recorded = 0;
  /** Never tried, or the database was away to the end. */
  dropped = 0;
  /** Refused by the database, or recorded incorrectly. */
  failed = 0;
  /** Their work threw; still written. */
  raised = 0;
  /** Abandoned without `finish`, or still open at `close`; nothing was written. */
  unfinished = 0;

  readonly #capacity: number;
  readonly #capacityBytes: number;
  readonly #warn: (message: string) => void;
  readonly #writer: TrajectoryWriter;
  readonly #open = new Set<string>();
  readonly #abandoned = new FinalizationRegistry<string>((id) => this.#leave(id));
  readonly #stopping = new AbortController();
  #waiting: Encoded[] = [];
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #closed = false;

  /** Throws TypeError where there is no address. Connects with the first trajectory. */
  constructor(options: RecorderOptions = {}) {
    const database = options.database ?? process.env["DATABASE_URL"];
    if (!database) {
      throw new TypeError("no database: set DATABASE_URL, or give `database`");
    }
    this.#capacity = options.capacity ?? 1000;
    this.#capacityBytes = options.capacityBytes ?? 64 * 2 ** 20;
    this.#warn = options.warn ?? ((message) => console.warn(`babylon-tasks: ${message}`));
    this.#writer = new TrajectoryWriter(database, this.#warn);
  }

  /** Begin a trajectory; `finish` ends it. Throws RangeError for an invalid window or moment. */
  start(agentId: string, options: Start = {}): Recording {
    const started = options.now ?? new Date();
    const window = options.window ?? windowId(started);
    windowStart(window);
    const scenarioId = options.scenarioId || window; // as in Babylon's recorder
    const episodeId = options.episodeId || `${scenarioId}-${started.getTime()}`.slice(-100);
    const isEvaluation = options.isEvaluation ?? false;
    const recording = new Recording(
      {
        id: randomUUID(),
        trajectoryId: randomUUID(),
        agentId,
        started,
        window,
        scenarioId,
        archetype: options.archetype,
        episodeId,
        batchId: options.batchId,
        isEvaluation,
        metadata: { isTrainingData: !isEvaluation, gameKnowledge: {}, ...options.metadata },
      },
      (finished, ending) => this.#take(finished, ending),
      this.#warn,
    );
    this.#open.add(recording.trajectoryId);
    this.#abandoned.register(recording, recording.trajectoryId, recording);
    return recording;
  }

  /**
   * Record the work of an agent as one trajectory, which ends with it; returns its result.
   *
   * Work that throws is recorded up to that point, with the status `timeout` (TimeoutError),
   * `terminated` (AbortError) or `error`; the error goes on to the agent.
   */
  async record<T>(
    agentId: string,
    work: (trajectory: Recording) => Promise<T>,
    options: Start = {},
  ): Promise<T> {
    const recording = this.start(agentId, options);
    const ending: Finish = {};
    try {
      return await work(recording);
    } catch (error) {
      recording.raised = !recording.finished;
      Object.assign(ending, { status: statusOf(error) });
      throw error;
    } finally {
      if (!recording.finished) {
        recording.finish(ending);
      }
    }
  }

  /** Wait until everything passed is written or refused; false if time runs out. */
  async flush(timeoutMs = 10_000): Promise<boolean> {
    const timeout = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: timeout.signal }).catch(() => undefined);
    await Promise.race([this.#writing, late]);
    timeout.abort();
    return this.#writing === undefined;
  }

  /** Write what waits for at most `timeoutMs`, then stop; the rest is dropped and counted. */
  async close(timeoutMs = 10_000): Promise<void> {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    for (const id of [...this.#open]) {
      this.#leave(id);
    }
    const written = await this.flush(timeoutMs);
    this.#stopping.abort();
    if (!written) {
      this.#writer.abort();
    }
    await this.#writing;
    this.dropped += this.#waiting.length;
    this.#waiting = [];
    await this.#writer.close();
    const { recorded, dropped, failed, unfinished } = this;
    if (dropped + failed + unfinished > 0) {
      this.#warn(`recorder closed: ${JSON.stringify({ recorded, dropped, failed, unfinished })}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #take(recording: Recording, ending: Ending): void {
    this.#abandoned.unregister(recording);
    const known = this.#open.delete(recording.trajectoryId);
    this.raised += recording.raised ? 1 : 0;
    let row: Encoded | undefined;
    recording.guarded("rows", () => {
      row = encoded(rowsOf(recording.facts, recording.steps, ending));
    });
    if (row === undefined || recording.broken !== undefined) {
      this.failed += 1;
      return;
    }
    const full =
      this.#waiting.length >= this.#capacity || this.#bytes + row.bytes > this.#capacityBytes;
    if (this.#closed || full) {
      // Those open at close() have been counted as unfinished.
      this.dropped += this.#closed && !known ? 0 : 1;
      const why = this.#closed ? "the recorder is closed" : "the buffer is full";
      this.#warn(`trajectory ${recording.trajectoryId} is dropped: ${why}`);
      return;
    }
    this.#waiting.push(row);
    this.#bytes += row.bytes;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    await Promise.resolve(); // what is finished in the same turn is written together
    let [most, wait] = [BATCH_ROWS, FIRST_WAIT_MS];
    while (this.#waiting.length > 0 && !this.#stopping.signal.aborted) {
      const batch = this.#next(most);
      try {
        await this.#writer.write(batch);
        this.recorded += batch.length;
        wait = FIRST_WAIT_MS;
        most = BATCH_ROWS;
      } catch (error) {
        if (isAway(error)) {
          this.#warn(`${this.#waiting.length} trajectories wait: ${String(error)}`);
          const { signal } = this.#stopping;
          await sleep(wait * Math.random(), undefined, { signal, ref: false }).catch(
            () => undefined,
          );
          wait = Math.min(LONGEST_WAIT_MS, wait * 2);
          continue;
        }
        if (batch.length > 1) {
          most = Math.ceil(batch.length / 2); // one of them is refused, the others are not
          continue;
        }
        this.failed += 1;
        this.#warn(
          `trajectory ${batch[0]?.trajectoryId} was refused, and is lost: ${String(error)}`,
        );
        most = BATCH_ROWS;
      }
      this.#waiting.splice(0, batch.length);
      this.#bytes -= batch.reduce((sum, one) => sum + one.bytes, 0);
    }
  }

  #next(most: number): readonly Encoded[] {
    let bytes = 0;
    const over = this.#waiting.findIndex((one) => (bytes += one.bytes) > BATCH_BYTES);
    return this.#waiting.slice(0, Math.min(most, over < 0 ? most : Math.max(1, over)));
  }

  #leave(id: string): void {
    if (this.#open.delete(id)) {
      this.unfinished += 1;
      this.#warn(`trajectory ${id} was abandoned without finish`);
    }
  }
}

function statusOf(error: unknown): string {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  return { TimeoutError: "timeout", AbortError: "terminated" }[name] ?? "error";
}
