/**
 * From a container's own file to a log server. How far that has come stands in a file beside it, so that a new engine goes on where the
 * last one was: after a `kill -9` some lines come twice, none is left out. A server that is away is tried again and again; what rotation
 * throws away meanwhile is lost, which is how much Docker's own cache holds.
 */
import { isDoneWithin } from "../../base/deadline.ts";
import { messageOf } from "../../base/errors.ts";
import type { Container } from "../container.ts";
import { parseTime } from "../log_entry.ts";
import { fromHumanSize, logFile } from "../log_options.ts";
import { readLogs } from "../log_reader.ts";
import type { Logger } from "../log.ts";
import type { LogLine, LogOptions, LogSink, RemoteLogDriver } from "./driver.ts";

/** How far a log has been sent: the time of the last entry, and how many entries of that very time. */
interface Position {
  readonly since: string;
  readonly count: number;
}

const START: Position = { since: "", count: 0 };
const POSITION_FILE = "log-forwarded.json";
const SAVE_EVERY_MS = 500;
/** Lines that are handed over at once. */
const BATCH_LINES = 500;
/** What is read ahead of a server that does not keep up; the rest waits in the file. */
const READ_AHEAD = 1_000_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 10_000;
/** `2026-01-02T03:04:05.000000000Z ` before each line that is read with its time. */
const TIME_LENGTH = 31;
const FRAME_HEAD = 8;
const NEWLINE = 0x0a;
const STDERR = 2;

const decoder = new TextDecoder();

/** Sends one container's log, through all of its runs, until it is removed. */
export class LogForwarder {
  readonly #container: Container;
  readonly #driver: RemoteLogDriver;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #sink: LogSink | undefined;
  #queue: LogLine[] = [];
  #queued = 0;
  readonly #waiters = new Set<() => void>();
  #running = false;
  #again = false;
  #reading = false;
  #position: Position;
  #saved = 0;
  #failing = false;
  #dropped = 0;
  #idle: Promise<void> = Promise.resolve();

  /** @param sink that is open already, from the check at the start. */
  constructor(container: Container, driver: RemoteLogDriver, log: Logger, sink?: LogSink) {
    this.#container = container;
    this.#driver = driver;
    this.#log = log;
    this.#sink = sink;
    this.#position = this.#load();
  }

  get #options(): LogOptions {
    return this.#container.record.hostConfig.LogConfig?.Config ?? {};
  }

  /** Sends what has come and what comes, until the present run has ended and all of it is sent. */
  run(): void {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    this.#again = false;
    this.#reading = true;
    this.#idle = Promise.all([this.#read(), this.#send()]).then(() => {
      this.#running = false;
      // A run that began meanwhile has found us busy.
      if ((this.#again || this.#container.running) && !this.#stop.signal.aborted) this.run();
    });
  }

  /** Lines that `mode=non-blocking` has left out. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Resolves when everything is sent, or after `timeout` milliseconds. */
  async drained(timeout: number): Promise<void> {
    await isDoneWithin(this.#idle, timeout);
  }

  close(): void {
    this.#stop.abort();
    this.#notify();
    this.#sink?.close();
    this.#sink = undefined;
  }

  /** Fills the queue. With `mode=non-blocking` what does not fit is dropped, otherwise it waits for room. */
  async #read(): Promise<void> {
    const options = this.#options;
    const limit = fromHumanSize(options["max-buffer-size"] ?? "") ?? READ_AHEAD;
    const drops = options["mode"] === "non-blocking";
    try {
      for await (const line of this.#lines()) {
        if (drops && this.#queued + line.text.length > limit && this.#queue.length > 0) {
          this.#dropped++;
          continue;
        }
        this.#queue.push(line);
        this.#queued += line.text.length;
        this.#notify();
        while (!drops && this.#queued > limit && !this.#stop.signal.aborted) await this.#changed();
      }
    } catch (error) {
      this.#log.warn("cannot read the log of a container", {
        id: this.#container.id,
        error: messageOf(error),
      });
    }
    this.#reading = false;
    this.#notify();
  }

  /** What has not been sent yet, and what comes, to the end of the run. */
  async *#lines(): AsyncGenerator<LogLine> {
    const container = this.#container;
    const { since, count } = this.#position;
    let skip = count;
    const source = {
      tty: false,
      running: () => container.running,
      onChange: (callback: () => void) => container.watch(callback),
    };
    const options = {
      stdout: true,
      stderr: true,
      follow: true,
      since: since === "" ? undefined : parseTime(since),
      until: undefined,
      timestamps: true,
      details: false,
      tail: undefined,
    };
    const chunks = readLogs({ path: logFile(container.record) }, options, source, this.#stop.signal);
    for await (const chunk of chunks) {
      for (const line of linesOf(chunk)) {
        if (line.time === since && skip > 0) skip--;
        else yield line;
      }
    }
  }

  async #send(): Promise<void> {
    let pause = FIRST_RETRY_MS;
    while (!this.#stop.signal.aborted) {
      if (this.#queue.length === 0) {
        if (!this.#reading) break;
        await this.#changed();
        continue;
      }
      const batch = this.#queue.slice(0, BATCH_LINES);
      try {
        this.#sink ??= await this.#driver.open(this.#container.record, this.#options);
        await this.#sink.send(batch);
        this.#sent(batch);
        pause = FIRST_RETRY_MS;
      } catch (error) {
        this.#failed(error);
        await this.#pause(pause);
        pause = Math.min(pause * 2, LONGEST_RETRY_MS);
      }
    }
    this.#save();
    this.#sink?.close();
    this.#sink = undefined;
  }

  #sent(batch: readonly LogLine[]): void {
    this.#queue.splice(0, batch.length);
    let { since, count } = this.#position;
    for (const { time, text } of batch) {
      this.#queued -= text.length;
      [since, count] = time === since ? [since, count + 1] : [time, 1];
    }
    this.#position = { since, count };
    this.#notify();
    if (Date.now() - this.#saved > SAVE_EVERY_MS) this.#save();
    if (!this.#failing) return;
    this.#failing = false;
    this.#log.info("the log server answers again", { id: this.#container.id });
  }

  #failed(error: unknown): void {
    this.#sink?.close();
    this.#sink = undefined;
    if (this.#failing || this.#stop.signal.aborted) return;
    this.#failing = true;
    this.#log.warn("cannot send the log of a container; trying again", {
      id: this.#container.id,
      error: messageOf(error),
    });
  }

  #notify(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** The queue is another, or nobody fills it any more. */
  #changed(): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter = () => {
        this.#waiters.delete(waiter);
        resolve();
      };
      this.#waiters.add(waiter);
    });
  }

  /** More lines do not hurry who waits after a failure; only the end does. */
  async #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#stop;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
    });
  }

  get #positionPath(): string {
    return `${this.#container.record.dir}/${POSITION_FILE}`;
  }

  #load(): Position {
    try {
      const { since, count } = JSON.parse(Deno.readTextFileSync(this.#positionPath)) as Partial<Position>;
      return typeof since === "string" && typeof count === "number" ? { since, count } : START;
    } catch {
      return START;
    }
  }

  #save(): void {
    this.#saved = Date.now();
    try {
      const temporary = `${this.#positionPath}.tmp`;
      Deno.writeTextFileSync(temporary, JSON.stringify(this.#position));
      Deno.renameSync(temporary, this.#positionPath);
    } catch (error) {
      // The container's directory has gone with it.
      if (error instanceof Deno.errors.NotFound) return;
      this.#log.warn("cannot note how far a log was sent", {
        id: this.#container.id,
        error: messageOf(error),
      });
    }
  }
}

/** Lines out of frames with times, as the log's reader makes them. */
export function* linesOf(chunk: Uint8Array): Generator<LogLine> {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  for (let at = 0; at + FRAME_HEAD <= chunk.length;) {
    const stream = chunk[at] === STDERR ? "stderr" : "stdout";
    const length = view.getUint32(at + 4);
    const body = chunk.subarray(at + FRAME_HEAD, at + FRAME_HEAD + length);
    at += FRAME_HEAD + length;
    const partial = body[body.length - 1] !== NEWLINE;
    yield {
      stream,
      time: decoder.decode(body.subarray(0, TIME_LENGTH - 1)),
      text: body.subarray(TIME_LENGTH, partial ? body.length : body.length - 1),
      partial,
    };
  }
}
