import { EngineError, messageOf } from "../base/errors.ts";
import { workerUrl } from "../base/self.ts";
import { O_CLOEXEC, O_RDONLY } from "../ffi/constants.ts";
import { kernel } from "../ffi/kernel.ts";
import { decompress, detectCompression, GrowthGuard, MAGIC_BYTES, sniff } from "./compression/mod.ts";
import type { WhiteoutFormat } from "./graph_driver.ts";
import type { GrowingFile } from "./growing_file.ts";
import {
  DEFAULT_LIMITS,
  END,
  type UnpackInto,
  type UnpackLimits,
  type UnpackResult,
  type WorkerAnswer,
  type WorkerFault,
  type WorkerJob,
} from "./unpack_job.ts";

export interface UnpackOptions {
  /** The archive, compressed or not: a part of a file, a stream, or a file that is being written. */
  readonly source:
    | { readonly path: string; readonly offset?: number; readonly length?: number }
    | { readonly stream: AsyncIterable<Uint8Array> }
    | { readonly growing: GrowingFile };
  /** Existing empty directory, mode and owner as the layer's root shall have them by default. */
  readonly dir: string;
  readonly whiteouts: WhiteoutFormat;
  /** Keep going when an owner is outside of the user namespace (a namespace of one id only). */
  readonly ignoreChownErrors?: boolean;
  /** See TarReaderOptions: only when the caller checks the diff id. */
  readonly allowMissingEnd?: boolean;
  /** False: nobody asks for the digests, which are "" then. */
  readonly digests?: boolean;
  /** The archive is no layer; `dir` is the root of the tree. */
  readonly into?: UnpackInto;
  readonly limits?: Partial<UnpackLimits>;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly resolve: (result: UnpackResult) => void;
  readonly reject: (error: unknown) => void;
}

/** One thread that unpacks, and the job it is at. */
class UnpackThread {
  readonly #worker: Worker;
  #pending: Pending | undefined;
  broken = false;

  constructor() {
    this.#worker = new Worker(workerUrl("fs/unpack_worker.ts"), { type: "module", name: "unpack" });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => {
      if (data.kind === "ready") return;
      const pending = this.#pending;
      this.#pending = undefined;
      if (data.kind === "done") pending?.resolve(data.result);
      else pending?.reject(errorOf(data.fault));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.broken = true;
      this.#pending?.reject(new EngineError("system", `unpacking failed: ${event.message}`));
      this.#pending = undefined;
    };
  }

  run(job: WorkerJob): Promise<UnpackResult> {
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#worker.postMessage(job);
    });
  }

  terminate(): void {
    if (this.broken) this.#worker.terminate();
    else this.#worker.postMessage(END);
  }
}

function errorOf(fault: WorkerFault): unknown {
  if (fault.errorKind === "aborted") return new DOMException(fault.message, "AbortError");
  return new EngineError(fault.errorKind, fault.message, { hint: fault.hint });
}

/**
 * Threads that unpack layers, started as they are needed and ended by {@link UnpackPool.close}. Constant memory, whatever
 * the archives hold.
 */
export class UnpackPool implements Disposable {
  readonly #size: number;
  readonly #idle: UnpackThread[] = [];
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #nextId = 1;

  /** @param size how many layers are unpacked at once. */
  constructor(size = 2) {
    this.#size = size;
  }

  /**
   * Unpacks one archive. What was made so far stays in `dir` after a failure: remove it.
   *
   * @throws {EngineError} invalid when the archive is bad, system when the machine refuses (no space left on device).
   * @throws {DOMException} AbortError after `signal`.
   */
  async unpack(options: UnpackOptions): Promise<UnpackResult> {
    options.signal?.throwIfAborted();
    while (this.#running >= this.#size) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    const thread = this.#idle.pop() ?? new UnpackThread();
    try {
      // while it waited for a thread, maybe
      options.signal?.throwIfAborted();
      return await this.#unpackWith(thread, options);
    } finally {
      this.#running--;
      if (thread.broken) thread.terminate();
      else this.#idle.push(thread);
      this.#waiting.shift()?.();
    }
  }

  async #unpackWith(thread: UnpackThread, options: UnpackOptions): Promise<UnpackResult> {
    const abort = new SharedArrayBuffer(4);
    const job = {
      kind: "unpack",
      id: this.#nextId++,
      dir: options.dir,
      whiteouts: options.whiteouts,
      ignoreChownErrors: options.ignoreChownErrors ?? false,
      allowMissingEnd: options.allowMissingEnd ?? false,
      digests: options.digests ?? true,
      ...(options.into === undefined ? {} : { into: options.into }),
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      abort,
    } as const;
    const giveUp = () => Atomics.store(new Int32Array(abort), 0, 1);
    options.signal?.addEventListener("abort", giveUp);
    try {
      const { source } = options;
      if ("stream" in source) return await runWithStream(thread, job, source.stream, giveUp);
      if ("growing" in source) return await runWithGrowing(thread, job, source.growing);
      const part = partOf(source);
      const compression = await compressionAt(part);
      if (compression === "xz" || compression === "bzip2") {
        return await runWithStream(thread, job, byProgram(compression, readPart(part), job.limits), giveUp);
      }
      return await thread.run({ ...job, source: { kind: "file", ...part } });
    } finally {
      options.signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Ends the threads; jobs under way are lost. */
  close(): void {
    for (const thread of this.#idle.splice(0)) thread.terminate();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

interface FilePart {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

function partOf({ path, offset = 0, length }: { path: string; offset?: number; length?: number }): FilePart {
  return { path, offset, length: length ?? Deno.statSync(path).size - offset };
}

async function compressionAt(part: FilePart) {
  using file = await Deno.open(part.path);
  await file.seek(part.offset, Deno.SeekMode.Start);
  const head = new Uint8Array(Math.min(MAGIC_BYTES, part.length));
  const read = await file.read(head) ?? 0;
  return detectCompression(head.subarray(0, read));
}

async function* readPart({ path, offset, length }: FilePart): AsyncGenerator<Uint8Array, void, undefined> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  for (let left = length; left > 0;) {
    const chunk = new Uint8Array(Math.min(left, 256 * 1024));
    const read = await file.read(chunk);
    if (read === null) return;
    left -= read;
    yield chunk.subarray(0, read);
  }
}

/** The thread reads what there is and sleeps until there is more. */
async function runWithGrowing(
  thread: UnpackThread,
  job: Omit<WorkerJob, "source">,
  file: GrowingFile,
): Promise<UnpackResult> {
  // opened here: by the time the thread would do it the file may have another name
  const fd = kernel.open(file.path(), O_RDONLY | O_CLOEXEC);
  try {
    return await thread.run({ ...job, source: { kind: "growing", fd, growth: file.growth.shared } });
  } finally {
    kernel.close(fd);
  }
}

/** Decompresses what the thread cannot: it is in the layer's directory, where there are no programs. */
function byProgram(
  compression: "xz" | "bzip2",
  chunks: AsyncIterable<Uint8Array>,
  limits: UnpackLimits,
): AsyncIterable<Uint8Array> {
  const guard = new GrowthGuard(limits.maxRatio);
  return guard.output(decompress(compression, guard.input(chunks)));
}

/** Feeds the thread through a pipe: its reads block, and a full pipe blocks us. */
async function runWithStream(
  thread: UnpackThread,
  job: Omit<WorkerJob, "source">,
  stream: AsyncIterable<Uint8Array>,
  giveUp: () => void,
): Promise<UnpackResult> {
  const sniffed = await sniff(stream);
  const { compression } = sniffed;
  const chunks = compression === "xz" || compression === "bzip2"
    ? byProgram(compression, sniffed.chunks, job.limits)
    : sniffed.chunks;
  const [readEnd, writeEnd] = kernel.pipe2(0);
  let input: Deno.FsFile;
  try {
    // the only way to have a descriptor written to without blocking this thread
    input = Deno.openSync(`/proc/self/fd/${writeEnd}`, { write: true });
  } catch (error) {
    kernel.close(readEnd);
    throw error;
  } finally {
    kernel.close(writeEnd);
  }
  let streamError: unknown;
  let finished = false;
  const pump = async () => {
    try {
      for await (const chunk of chunks) {
        if (finished) return;
        for (let at = 0; at < chunk.length;) at += await input.write(chunk.subarray(at));
      }
    } catch (error) {
      // the thread has given up: its own error says why
      if (error instanceof Deno.errors.BrokenPipe) return;
      streamError = error ?? new Error(messageOf(error));
      giveUp();
    } finally {
      input.close();
    }
  };
  const pumping = pump();
  try {
    const result = await thread.run({ ...job, source: { kind: "pipe", fd: readEnd } });
    // nothing is behind the archive's end but padding; the stream is read to its end all the same
    await pumping;
    if (streamError !== undefined) throw streamError;
    return result;
  } catch (error) {
    throw streamError ?? error;
  } finally {
    finished = true;
    kernel.close(readEnd);
  }
}
