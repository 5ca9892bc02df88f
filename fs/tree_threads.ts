import { EngineError } from "../base/errors.ts";
import { workerUrl } from "../base/self.ts";
import type { BuildOrder } from "./build_job.ts";
import {
  CREDIT,
  type FromTreeWorker,
  GIVE_UP,
  type PathStat,
  type ToTreeWorker,
  type TreeFault,
  type TreeOrder,
  type TreeResults,
  WINDOW,
} from "./tree_job.ts";

/** How long a thread that has nothing to do is kept. */
const IDLE_MS = 10_000;
/** Bytes of an archive that go to a thread at once. */
const GATHERED = 1024 * 1024;

type Listener = (message: FromTreeWorker) => void;

class TreeThread {
  readonly #worker: Worker;
  listener: Listener = () => {};
  broken = false;
  idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#worker = new Worker(workerUrl("fs/tree_worker.ts"), { type: "module", name: "tree" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromTreeWorker>) => this.listener(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.broken = true;
      this.listener({ kind: "failed", fault: { message: event.message, errorKind: "system" } });
    };
  }

  post(message: ToTreeWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** It closes what it has open, which ending it from here would not. */
  end(): void {
    clearTimeout(this.idleTimer);
    if (this.broken) this.#worker.terminate();
    else this.post({ kind: "end" });
  }
}

function errorOf({ message, errorKind }: TreeFault): unknown {
  if (errorKind === "aborted") return new DOMException(message, "AbortError");
  return new EngineError(errorKind, message);
}

/** A tar archive that is being made: chunks come as they are asked for; leaving the loop gives up. */
export interface ArchiveStream {
  readonly stat: PathStat | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Threads that look into containers, started when they are needed and ended a while after. */
export class TreeThreads implements Disposable {
  readonly #size: number;
  readonly #idle: TreeThread[] = [];
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param size how many orders are carried out at once. */
  constructor(size = 4) {
    this.#size = size;
  }

  async #take(): Promise<TreeThread> {
    while (this.#running >= this.#size) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    const thread = this.#idle.pop() ?? new TreeThread();
    clearTimeout(thread.idleTimer);
    return thread;
  }

  #giveBack(thread: TreeThread): void {
    this.#running--;
    thread.listener = () => {};
    if (thread.broken || this.#idle.length > 0) thread.end();
    else {
      this.#idle.push(thread);
      thread.idleTimer = setTimeout(() => {
        const index = this.#idle.indexOf(thread);
        if (index < 0) return;
        this.#idle.splice(index, 1);
        thread.end();
      }, IDLE_MS);
      Deno.unrefTimer(Number(thread.idleTimer));
    }
    this.#waiting.shift()?.();
  }

  /**
   * Carries out an order that neither takes nor gives a stream.
   *
   * @throws {EngineError} not-found, invalid or system.
   */
  async run<O extends "stat" | "changes" | "layer" | "seal" | "mount" | "link" | BuildOrder["op"]>(
    order: Extract<TreeOrder, { op: O }>,
    signal?: AbortSignal,
  ): Promise<TreeResults[O]> {
    signal?.throwIfAborted();
    const thread = await this.#take();
    const flow = newFlow();
    const giveUp = () => Atomics.store(flow, GIVE_UP, 1);
    signal?.addEventListener("abort", giveUp);
    try {
      // while it waited for a thread, maybe
      signal?.throwIfAborted();
      return await new Promise<TreeResults[O]>((resolve, reject) => {
        thread.listener = (message) => {
          if (message.kind === "done") resolve(message.result as TreeResults[O]);
          else if (message.kind === "failed") reject(errorOf(message.fault));
        };
        thread.post({ kind: "order", order, flow: flow.buffer });
      });
    } finally {
      signal?.removeEventListener("abort", giveUp);
      this.#giveBack(thread);
    }
  }

  /**
   * Begins an archive of a path, or of the whole tree. Answers once the path is found; whoever gets the answer must read
   * the chunks or leave their loop, which is when the thread is free again.
   *
   * @param over called when the thread has left the container.
   * @throws {EngineError} not-found, invalid or system; from the chunks as well.
   */
  async archive(
    order: Extract<TreeOrder, { op: "archive" | "export" }>,
    over: () => void | Promise<void> = () => {},
  ): Promise<ArchiveStream> {
    const thread = await this.#take();
    const flow = newFlow();
    const queue: FromTreeWorker[] = [];
    let wake = () => {};
    let ended = false;
    const next = async (): Promise<FromTreeWorker> => {
      for (;;) {
        const message = queue.shift();
        if (message !== undefined) return message;
        await new Promise<void>((resolve) => wake = resolve);
      }
    };
    const finish = async () => {
      this.#giveBack(thread);
      await over();
    };
    thread.listener = (message) => {
      if (message.kind === "ready") return;
      ended ||= message.kind === "done" || message.kind === "failed";
      queue.push(message);
      wake();
    };
    thread.post({ kind: "order", order, flow: flow.buffer });
    let closing: Promise<void> | undefined;
    const close = () =>
      closing ??= (async () => {
        Atomics.store(flow, GIVE_UP, 1);
        allow(flow);
        while (!ended) await new Promise<void>((resolve) => wake = resolve);
        await finish();
      })();
    // no generator: one that is left before its first step would never get to its end
    const iterator: AsyncIterator<Uint8Array, void, undefined> = {
      async next() {
        if (closing !== undefined) return { done: true, value: undefined };
        const message = await next();
        if (message.kind === "chunk") {
          allow(flow);
          return { done: false, value: message.chunk };
        }
        await close();
        if (message.kind === "failed") throw errorOf(message.fault);
        return { done: true, value: undefined };
      },
      async return() {
        await close();
        return { done: true, value: undefined };
      },
    };
    const chunks = { [Symbol.asyncIterator]: () => iterator };
    if (order.op === "export") return { stat: undefined, chunks };
    const first = await next();
    if (first.kind === "stat") return { stat: first.stat, chunks };
    await finish();
    if (first.kind === "failed") throw errorOf(first.fault);
    throw new EngineError("system", `unexpected answer ${first.kind}`);
  }

  /**
   * Unpacks a tar archive into a directory of a container.
   *
   * @throws {EngineError} not-found, invalid or system; what `chunks` throws.
   */
  async extract(
    order: Extract<TreeOrder, { op: "extract" }>,
    chunks: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    signal?.throwIfAborted();
    const thread = await this.#take();
    let credit = WINDOW;
    const spare: ArrayBuffer[] = [];
    let wake = () => {};
    let outcome: FromTreeWorker | undefined;
    thread.listener = (message) => {
      if (message.kind === "taken") {
        credit++;
        spare.push(message.buffer);
      } else if (message.kind === "done" || message.kind === "failed") outcome = message;
      wake();
    };
    const until = async (condition: () => boolean) => {
      while (!condition()) await new Promise<void>((resolve) => wake = resolve);
    };
    const aborted = () => wake();
    signal?.addEventListener("abort", aborted);
    try {
      signal?.throwIfAborted();
      thread.post({ kind: "order", order, flow: newFlow().buffer });
      try {
        for await (const chunk of gathered(chunks, spare)) {
          await until(() => credit > 0 || outcome !== undefined || signal?.aborted === true);
          signal?.throwIfAborted();
          if (outcome !== undefined) break;
          credit--;
          thread.post({ kind: "chunk", chunk }, [chunk.buffer]);
        }
      } catch (error) {
        if (outcome === undefined) {
          thread.post({ kind: "abort" });
          await until(() => outcome !== undefined);
        }
        throw error;
      }
      if (outcome === undefined) thread.post({ kind: "eof" });
      await until(() => outcome !== undefined);
      if (outcome?.kind === "failed") throw errorOf(outcome.fault);
    } finally {
      signal?.removeEventListener("abort", aborted);
      this.#giveBack(thread);
    }
  }

  /** Ends the threads that have nothing to do. */
  close(): void {
    for (const thread of this.#idle.splice(0)) thread.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The same bytes in larger pieces, which belong to the caller: each message to a thread has its price. So has new memory, which
 * is why `spare` is taken first.
 */
async function* gathered(
  chunks: AsyncIterable<Uint8Array>,
  spare: ArrayBuffer[],
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const empty = () => new Uint8Array(spare.pop() ?? new ArrayBuffer(GATHERED));
  let buffer = empty();
  let used = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const step = Math.min(chunk.length - at, GATHERED - used);
      buffer.set(chunk.subarray(at, at + step), used);
      used += step;
      at += step;
      if (used < GATHERED) continue;
      yield buffer;
      buffer = empty();
      used = 0;
    }
  }
  if (used > 0) yield buffer.subarray(0, used);
}

function newFlow(): Int32Array<SharedArrayBuffer> {
  const flow = new Int32Array(new SharedArrayBuffer(8));
  flow[CREDIT] = WINDOW;
  return flow;
}

function allow(flow: Int32Array<SharedArrayBuffer>): void {
  Atomics.add(flow, CREDIT, 1);
  Atomics.notify(flow, CREDIT);
}
