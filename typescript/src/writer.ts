/** Write finished trajectories, many in one transaction; safe to repeat and behind a pooler. */

import net from "node:net";

import pg from "pg";

import { toJson } from "./json.ts";
import type { Rows } from "./rows.ts";
import { takeTls } from "./tls.ts";

// Of today's Babylon; that of 7a46248b has no archetype.
const TRAJECTORY = [
  "id", "trajectoryId", "agentId", "startTime", "endTime", "durationMs", "windowId", "windowHours",
  "episodeId", "scenarioId", "batchId", "stepsJson", "rewardComponentsJson", "metricsJson",
  "metadataJson", "totalReward", "episodeLength", "finalStatus", "finalBalance", "finalPnL",
  "tradesExecuted", "postsCreated", "isTrainingData", "isEvaluation",
];
const CALL = [
  "id", "trajectoryId", "stepId", "callId", "timestamp", "latencyMs", "model", "purpose",
  "actionType", "systemPrompt", "userPrompt", "messagesJson", "response", "reasoning",
  "temperature", "maxTokens", "topP", "promptTokens", "completionTokens", "totalTokens", "metadata",
];
const WAIT_MS = 30_000;

/** A finished trajectory as it waits: the JSON of its rows. */
export interface Encoded {
  readonly trajectoryId: string;
  readonly trajectory: string;
  readonly calls: readonly string[];
  readonly bytes: number;
}

/** Encode rows once, at the end of a trajectory: what waits has a known size. */
export function encoded(rows: Rows): Encoded {
  const trajectory = toJson(rows.trajectory);
  const calls = rows.calls.map((call) => toJson(call));
  const bytes = [trajectory, ...calls].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return { trajectoryId: String(rows.trajectory["trajectoryId"]), trajectory, calls, bytes };
}

/** Writes over one connection, opened when first needed and again after it was lost. */
export class TrajectoryWriter {
  readonly #pool: pg.Pool;
  readonly #schema: string;
  readonly #warn: (message: string) => void;
  #socket: net.Socket | undefined;
  #statements: { readonly trajectories: string; readonly calls: string | undefined } | undefined;

  constructor(database: string, warn: (message: string) => void) {
    this.#warn = warn;
    const address = parsed(database);
    const schema = address.searchParams.get("schema");
    // Prisma's own parameters. `pgbouncer` needs nothing more: no statement is prepared here.
    for (const name of ["schema", "pgbouncer", "connection_limit", "pool_timeout"]) {
      address.searchParams.delete(name);
    }
    this.#schema = schema === null ? "" : `${pg.escapeIdentifier(schema)}.`;
    const tls = takeTls(address);
    const opened = () => (this.#socket = new net.Socket());
    this.#pool = new pg.Pool({
      Client: class extends pg.Client {
        constructor(config?: pg.ClientConfig) {
          super({ ...config, ssl: tls(), stream: opened });
        }
      },
      connectionString: address.href,
      max: 1,
      application_name: "babylon-tasks recorder",
      connectionTimeoutMillis: WAIT_MS,
      query_timeout: WAIT_MS,
      keepAlive: true,
      allowExitOnIdle: true,
    });
    // Without listeners a connection that is lost, idle or between two queries, ends the process.
    const lost = () => {
      this.#statements = undefined; // the next write opens another, and its database may be another
    };
    this.#pool.on("error", lost);
    this.#pool.on("connect", (client) => client.on("error", lost));
  }

  /** Write all of them, or none; what is there already stays as it is. */
  async write(batch: readonly Encoded[]): Promise<void> {
    const client = await this.#pool.connect();
    let failed: Error | undefined;
    try {
      const statements = (this.#statements ??= await this.#prepared(client));
      await client.query("BEGIN");
      await client.query(statements.trajectories, [rows(batch.map((one) => one.trajectory))]);
      const calls = batch.flatMap((one) => one.calls);
      if (calls.length > 0 && statements.calls !== undefined) {
        await client.query(statements.calls, [rows(calls)]);
      }
      await client.query("COMMIT");
    } catch (error) {
      failed = error as Error;
      throw error;
    } finally {
      if (failed !== undefined && isAway(failed)) {
        this.#statements = undefined;
        client.release(failed);
      } else if (failed !== undefined) {
        await client.query("ROLLBACK").then(
          () => client.release(),
          (error: Error) => client.release(error),
        );
      } else {
        client.release();
      }
    }
  }

  /** Fail at once what is being written: pg would wait for a silent server for half a minute. */
  abort(): void {
    this.#socket?.destroy();
  }

  /** Close the connection. */
  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #prepared(client: pg.PoolClient) {
    const [trajectories, calls] = [`${this.#schema}trajectories`, `${this.#schema}llm_call_logs`];
    const found = await client.query<{ logs: boolean; archetypes: boolean }>(
      `SELECT to_regclass($1) IS NOT NULL AS logs, EXISTS (
         SELECT FROM pg_attribute
         WHERE attrelid = to_regclass($2) AND attname = 'archetype' AND NOT attisdropped
       ) AS archetypes`,
      [calls, trajectories],
    );
    const { logs, archetypes } = found.rows[0] ?? { logs: false, archetypes: false };
    if (!logs) {
      this.#warn("there is no table llm_call_logs: calls are written in their steps alone");
    }
    const columns = archetypes ? [...TRAJECTORY, "archetype"] : TRAJECTORY;
    return {
      trajectories: insert(trajectories, columns, "trajectoryId"),
      calls: logs ? insert(calls, CALL, "callId") : undefined,
    };
  }
}

function parsed(database: string): URL {
  try {
    return new URL(database);
  } catch {
    // Its own error has the address in it, and with it the password.
    throw new TypeError("the database's address is no URL: use postgresql://USER:PASSWORD@HOST/NAME");
  }
}

/** Check whether trying again makes sense: nothing was said about the rows themselves. */
export function isAway(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  if (!(error instanceof pg.DatabaseError) || typeof code !== "string") {
    return true;
  }
  // Connections, resources, an end or a restart, conflicts; a standby; statements of a pooler.
  return /^(08|28|3D|40|53|55|57|58)/.test(code) || ["25006", "26000", "42P05"].includes(code);
}

function insert(table: string, columns: readonly string[], key: string): string {
  const names = columns.map((name) => pg.escapeIdentifier(name)).join(", ");
  const isCall = key === "callId";
  const [column, now] = isCall ? ["", ""] : [`, "updatedAt"`, `, now() AT TIME ZONE 'UTC'`];
  return (
    `INSERT INTO ${table} (${names}${column}) SELECT ${names}${now} ` +
    `FROM json_populate_recordset(NULL::${table}, $1) ON CONFLICT ("${key}") DO NOTHING`
  );
}

function rows(encoded: readonly string[]): string {
  return `[${encoded.join(",")}]`;
}
