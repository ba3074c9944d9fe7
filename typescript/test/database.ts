/** The test's database, and a way to it that can be cut. */

import net from "node:net";

import pg from "pg";

export const DATABASE_URL = process.env["DATABASE_URL"] ?? "";

/** Ask for one value. */
export async function value(query: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: DATABASE_URL });
  await client.connect();
  try {
    const found = await client.query({ text: query, rowMode: "array" });
    return (found.rows as unknown[][])[0]?.[0];
  } finally {
    await client.end();
  }
}

/** A port that leads to the database while it is open. */
export class Way {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #open = true;

  private constructor() {
    const there = new URL(DATABASE_URL);
    this.#server = net.createServer((socket) => {
      if (!this.#open) {
        socket.destroy();
        return;
      }
      const onward = net.connect(Number(there.port), there.hostname);
      for (const [one, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.#sockets.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  static async opened(): Promise<Way> {
    const way = new Way();
    await new Promise<void>((done) => way.#server.listen(0, "127.0.0.1", done));
    return way;
  }

  get url(): string {
    const address = new URL(DATABASE_URL);
    address.host = `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
    return address.href;
  }

  cut(): void {
    this.#open = false;
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  mend(): void {
    this.#open = true;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}
