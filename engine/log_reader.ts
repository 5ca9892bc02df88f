/** Reads a container's json-file log for `GET /containers/{id}/logs`. */
import { LogFormatter } from "./log_entry.ts";
import {
  closeAll,
  openLogFiles,
  openNextFile,
  readFrom,
  seekSince,
  seekTail,
  wasRotated,
} from "./log_files.ts";
import type { LogsOptions } from "./types.ts";

export interface LogFiles {
  /** The current file; rotated ones stand beside it with `.1`, `.2` … and perhaps `.gz`. */
  readonly path: string;
}

/** What a follower needs to know of the container. */
export interface LogSource {
  /** Output is raw rather than framed. */
  readonly tty: boolean;
  /** False once the container has ended and everything of it is in the log. */
  running(): boolean;
  /** Calls back when the answer of `running` changes; answers how to stop that. */
  onChange(callback: () => void): () => void;
}

/** A chunk of output is passed on when it has grown to this. */
const CHUNK = 64 * 1024;
/** Without any sign a follower looks again after this long: notifications are a courtesy of the kernel, not a promise. */
const LOOK_AGAIN_MS = 1000;
/** The same when the kernel gives no notifications (its limit of watches is reached). */
const POLL_MS = 100;
/** Read at once of what a container has just printed. */
const FOLLOWED_AT_ONCE = 32 * 1024;
const NEWLINE = 0x0a;

/** Cuts a stream of bytes into lines for the formatter; keeps what has no end yet. */
class LineFeeder {
  #rest: Uint8Array | undefined;
  #skip: number;
  readonly #formatter: LogFormatter;

  constructor(formatter: LogFormatter, skip: number) {
    this.#formatter = formatter;
    this.#skip = skip;
  }

  /** Feeds the lines of `chunk`, stopping now and then for output to be taken: yields at those points. */
  *feed(chunk: Uint8Array): Generator<Uint8Array> {
    let data = chunk;
    if (this.#rest !== undefined) {
      data = new Uint8Array(this.#rest.length + chunk.length);
      data.set(this.#rest);
      data.set(chunk, this.#rest.length);
      this.#rest = undefined;
    }
    let from = 0;
    for (let to = data.indexOf(NEWLINE); to >= 0; to = data.indexOf(NEWLINE, from)) {
      if (this.#skip > 0) this.#skip--;
      else this.#formatter.line(data, from, to);
      from = to + 1;
      if (this.#formatter.length >= CHUNK) yield this.#formatter.take();
    }
    if (from < data.length) this.#rest = data.slice(from);
  }

  /** The file is over: a line without an end was torn by a crash. */
  drop(): void {
    this.#rest = undefined;
  }
}

/**
 * The log's entries, ready for the wire: framed (stream 1 or 2, three zeros, length as 32 bits big endian), raw for a
 * terminal. With `follow` it goes on until the container has ended and its log is drained, `until` has passed, or
 * `signal` is aborted; then it ends without an error.
 */
export async function* readLogs(
  files: LogFiles,
  options: LogsOptions,
  source: LogSource,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const formatter = new LogFormatter(options, source.tty);
  let open = openLogFiles(files.path);
  let follower: Follower | undefined;
  try {
    let skip = 0;
    if (options.tail !== undefined) ({ files: open, skip } = await seekTail(open, Math.max(0, options.tail)));
    else if (options.since !== undefined) open = seekSince(open, options.since);
    const feeder = new LineFeeder(formatter, skip);
    if (options.follow) follower = new Follower(files.path, source, options.until, signal);
    const done = () => signal.aborted || formatter.over;
    for (const [i, log] of open.entries()) {
      for await (const chunk of readFrom(log)) {
        for (const piece of feeder.feed(chunk)) {
          yield piece;
          if (done()) return;
        }
        if (formatter.over) break;
      }
      if (i < open.length - 1) feeder.drop();
      if (done()) break;
    }
    if (formatter.length > 0) yield formatter.take();
    let current = open.at(-1)?.compressed ? undefined : open.pop();
    closeAll(open);
    open = current ? [current] : [];
    // One for all that is to come: followers look often.
    const block = new Uint8Array(FOLLOWED_AT_ONCE);
    while (follower && !done() && !follower.expired()) {
      // Asked before reading: what was written before the end is then read in any case.
      const running = source.running();
      const rotated = current === undefined || wasRotated(files.path, current.inode);
      let progress = false;
      if (current) {
        if (current.file.seekSync(0, Deno.SeekMode.Current) > current.file.statSync().size) {
          // Rotation without a second file starts over in the same one.
          current.file.seekSync(0, Deno.SeekMode.Start);
          feeder.drop();
        }
        for await (const chunk of readFrom(current, block)) {
          progress = true;
          yield* feeder.feed(chunk);
          if (done()) break;
        }
      }
      if (formatter.length > 0) yield formatter.take();
      if (rotated) {
        const next = openNextFile(files.path, current?.inode ?? null);
        if (next) {
          closeAll(open);
          current = next;
          open = [next];
          feeder.drop();
          continue;
        }
      }
      if (progress) continue;
      if (!running) break;
      await follower.wait();
    }
  } finally {
    follower?.[Symbol.dispose]();
    closeAll(open);
  }
}

/** Sleeps until something may have happened to the log. */
class Follower {
  readonly #unsubscribe: () => void;
  readonly #signal: AbortSignal;
  readonly #until: bigint | undefined;
  #watcher: Deno.FsWatcher | undefined;
  #wake: (() => void) | undefined;
  #pending = false;
  readonly #onEvent = () => {
    this.#pending = true;
    this.#wake?.();
  };

  constructor(path: string, source: LogSource, until: bigint | undefined, signal: AbortSignal) {
    this.#signal = signal;
    this.#until = until;
    this.#unsubscribe = source.onChange(this.#onEvent);
    signal.addEventListener("abort", this.#onEvent);
    try {
      // The directory, since rotation puts another file in the place of this one.
      this.#watcher = Deno.watchFs(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: false });
      void this.#watch(this.#watcher);
    } catch {
      this.#watcher = undefined;
    }
  }

  async #watch(watcher: Deno.FsWatcher): Promise<void> {
    try {
      for await (const event of watcher) if (event.kind !== "access") this.#onEvent();
    } catch {
      // Closed, or the kernel's queue is full: the next look comes by time.
    }
  }

  expired(): boolean {
    return this.#until !== undefined && BigInt(Date.now()) * 1_000_000n > this.#until;
  }

  async wait(): Promise<void> {
    if (this.#pending || this.#signal.aborted) {
      this.#pending = false;
      return;
    }
    let limit = this.#watcher ? LOOK_AGAIN_MS : POLL_MS;
    if (this.#until !== undefined) {
      limit = Math.min(limit, Math.max(1, Number(this.#until / 1_000_000n) + 1 - Date.now()));
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limit);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
    this.#pending = false;
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#signal.removeEventListener("abort", this.#onEvent);
    try {
      this.#watcher?.close();
    } catch {
      // closed by an error of its own
    }
  }
}
