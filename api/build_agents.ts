import { encodeFrame, FRAME, type Frame } from "../base/build_session.ts";
import type { BuildOutbox } from "./build_outbox.ts";

/** Streams of agents; those of uploads and of the output are small numbers. */
const FIRST_STREAM = 1_000_000;
const READ_SIZE = 32 * 1024;

/** Sockets of the engine's that lead to ssh agents at the other end of a build session. They are gone when the session is. */
export class AgentRelay implements Disposable {
  readonly #outbox: BuildOutbox;
  readonly #listeners = new Map<string, { readonly path: string; readonly listener: Deno.UnixListener }>();
  readonly #open = new Map<number, { readonly conn: Deno.UnixConn; written: Promise<void> }>();
  #last = FIRST_STREAM;

  constructor(outbox: BuildOutbox) {
    this.#outbox = outbox;
  }

  /** A socket that leads to the agent `name`: `path`, or an earlier one's path. Only the engine may connect to it. */
  listen(name: string, path: string): string {
    const known = this.#listeners.get(name);
    if (known !== undefined) return known.path;
    const listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, 0o600);
    this.#listeners.set(name, { path, listener });
    void this.#accept(name, listener);
    return path;
  }

  /** Bytes that an agent has answered, or the end of them. */
  take({ kind, stream, payload }: Frame): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    // answers of agents are short, and asked for one by one: nothing has to hold them back
    open.written = open.written
      .then(() => kind === FRAME.end ? this.#close(stream) : writeAll(open.conn, payload))
      .catch(() => this.#close(stream));
  }

  [Symbol.dispose](): void {
    for (const { path, listener } of this.#listeners.values()) {
      listener.close();
      try {
        Deno.removeSync(path);
      } catch {
        // Deno has removed it
      }
    }
    this.#listeners.clear();
    for (const stream of [...this.#open.keys()]) this.#close(stream);
  }

  async #accept(name: string, listener: Deno.UnixListener): Promise<void> {
    try {
      for await (const conn of listener) {
        const stream = ++this.#last;
        this.#open.set(stream, { conn, written: Promise.resolve() });
        this.#outbox.send({ kind: "ssh", stream, name });
        void this.#forward(stream, conn);
      }
    } catch {
      // closed with the session
    }
  }

  async #forward(stream: number, conn: Deno.UnixConn): Promise<void> {
    const space = new Uint8Array(READ_SIZE);
    try {
      for (let count = await conn.read(space); count !== null; count = await conn.read(space)) {
        await this.#outbox.bytes(encodeFrame(FRAME.data, stream, space.subarray(0, count)));
      }
    } catch {
      // closed
    }
    await this.#outbox.bytes(encodeFrame(FRAME.end, stream, new Uint8Array()));
    this.#close(stream);
  }

  #close(stream: number): void {
    const open = this.#open.get(stream);
    if (!this.#open.delete(stream)) return;
    try {
      open?.conn.close();
    } catch {
      // closed already
    }
  }
}

async function writeAll(conn: Deno.UnixConn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await conn.write(bytes.subarray(done));
}
