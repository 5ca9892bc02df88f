import { EngineError } from "../base/errors.ts";
import type {
  AttachHeader,
  ExitRecord,
  ShimMessage,
  ShimRequest,
  StartFailure,
} from "../runtime/protocol.ts";
import { LineSplitter, writeAll } from "./line_reader.ts";

/** A request without its number, which the client adds. */
type WithoutSeq<T> = T extends unknown ? Omit<T, "seq"> : never;
export type ShimOrder = WithoutSeq<ShimRequest>;
export type ShimAnswer = Extract<ShimMessage, { ok: true }>;

/** The shim's refusal of a start or an exec. */
export class ShimFailure extends Error {
  override readonly name = "ShimFailure";
  readonly failure: StartFailure;
  constructor(failure: StartFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

export interface ShimEvents {
  onExit?: (record: ExitRecord) => void;
  /** Processes of the container were killed for want of memory. */
  onOom?: () => void;
  onExecExit?: (event: { execId: string; exitCode: number; finishedAt: string }) => void;
  /** After a shutdown with `again`: it can be connected to in the new directory. */
  onReady?: () => void;
  /** The shim has closed the connection or died. Not called after `close()`. */
  onClose?: () => void;
}

interface Pending {
  resolve(answer: ShimAnswer): void;
  reject(error: Error): void;
}

/**
 * The engine's end of a shim's `ctl.sock`. Answers are matched by number; events are handed over in the order in which
 * they came, after the answers before them have been seen.
 */
export class ShimClient implements Disposable {
  readonly dir: string;
  readonly #conn: Deno.UnixConn;
  readonly #pending = new Map<number, Pending>();
  readonly #encoder = new TextEncoder();
  #events: ShimEvents = {};
  #early: (() => void)[] = [];
  #seq = 0;
  #closed = false;
  #writing: Promise<void> = Promise.resolve();

  private constructor(dir: string, conn: Deno.UnixConn) {
    this.dir = dir;
    this.#conn = conn;
    this.#read();
  }

  /** @throws {Error} Deno's own: nobody listens there. */
  static async connect(dir: string): Promise<ShimClient> {
    return new ShimClient(dir, await Deno.connect({ transport: "unix", path: `${dir}/ctl.sock` }));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sets who hears the shim's events. Those that came before (a shim repeats its exit to each new engine) follow at once. */
  listen(events: ShimEvents): void {
    this.#events = events;
    const early = this.#early;
    this.#early = [];
    for (const deliver of early) deliver();
  }

  /**
   * Sends an order and answers what the shim says.
   *
   * @throws {ShimFailure} the shim refuses.
   * @throws {EngineError} system: the shim is gone.
   */
  request(order: ShimOrder): Promise<ShimAnswer> {
    if (this.#closed) return Promise.reject(shimGone());
    const seq = ++this.#seq;
    const line = this.#encoder.encode(`${JSON.stringify({ seq, ...order })}\n`);
    return new Promise((resolve, reject) => {
      this.#pending.set(seq, { resolve, reject });
      this.#writing = this.#writing.then(() => writeAll(this.#conn, line)).catch(() => this.#lost());
    });
  }

  /** Ends the connection; `onClose` is not called. */
  close(): void {
    if (this.#closed) return;
    this.#events = {};
    this.#lost();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(2048);
    const lines = new LineSplitter();
    try {
      while (true) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        for (const line of lines.push(buffer.subarray(0, count))) {
          this.#take(JSON.parse(line) as ShimMessage);
        }
      }
    } catch {
      // Closed by us, reset by the shim's death, or no JSON: the connection is of no more use.
    }
    this.#lost();
  }

  #take(message: ShimMessage): void {
    if ("event" in message) {
      if (message.event === "ready") return this.#events.onReady?.();
      const deliver = () => {
        if (message.event === "exit") this.#events.onExit?.(message.record);
        else if (message.event === "oom") this.#events.onOom?.();
        else this.#events.onExecExit?.(message);
      };
      const known = message.event === "exit"
        ? this.#events.onExit
        : message.event === "oom"
        ? this.#events.onOom
        : this.#events.onExecExit;
      if (known === undefined) this.#early.push(deliver);
      else queueMicrotask(deliver);
      return;
    }
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (message.ok) pending?.resolve(message);
    else pending?.reject(new ShimFailure(message.error));
  }

  #lost(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed already.
    }
    for (const pending of this.#pending.values()) pending.reject(shimGone());
    this.#pending.clear();
    this.#events.onClose?.();
  }
}

function shimGone(): EngineError {
  return new EngineError("system", "the container's shim has ended unexpectedly");
}

/**
 * Opens a stream of the container's (or an exec's) standard streams on `<dir>/attach.sock`; ready when this answers.
 * What the container writes from then on arrives here. The caller closes it.
 */
export async function openAttach(dir: string, header: AttachHeader): Promise<AttachConn> {
  const conn = await Deno.connect({ transport: "unix", path: `${dir}/attach.sock` });
  try {
    await writeAll(conn, new TextEncoder().encode(`${JSON.stringify(header)}\n`));
    // The answer's line may come together with the first bytes of the stream.
    let head = new Uint8Array(0);
    const buffer = new Uint8Array(4096);
    while (true) {
      const count = await conn.read(buffer);
      if (count === null) throw new EngineError("system", "the shim closed the attach connection");
      const joined = new Uint8Array(head.length + count);
      joined.set(head);
      joined.set(buffer.subarray(0, count), head.length);
      head = joined;
      const end = head.indexOf(10);
      if (end < 0) continue;
      const answer = JSON.parse(new TextDecoder().decode(head.subarray(0, end))) as {
        ok: boolean;
        message?: string;
      };
      if (!answer.ok) throw new EngineError("system", answer.message ?? "the shim refused to attach");
      return new AttachConn(conn, head.slice(end + 1));
    }
  } catch (error) {
    conn.close();
    throw error;
  }
}

/** A connection to `attach.sock` after its header. */
export class AttachConn implements Disposable {
  readonly #conn: Deno.UnixConn;
  #first: Uint8Array | undefined;
  #closed = false;

  constructor(conn: Deno.UnixConn, first: Uint8Array) {
    this.#conn = conn;
    this.#first = first.length > 0 ? first : undefined;
  }

  /** Next output bytes, undefined at the end. A view of `buffer` or a block of its own: use it before the next call. */
  async read(buffer: Uint8Array): Promise<Uint8Array | undefined> {
    const first = this.#first;
    if (first !== undefined) {
      this.#first = undefined;
      return first;
    }
    const count = await this.#conn.read(buffer);
    return count === null ? undefined : buffer.subarray(0, count);
  }

  write(data: Uint8Array): Promise<void> {
    return writeAll(this.#conn, data);
  }

  /** End of stdin. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed by the other side meanwhile.
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
