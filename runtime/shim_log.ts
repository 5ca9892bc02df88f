/** The container's log, in the format of Docker's json-file driver. */
import { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { note } from "../base/note.ts";
import { timestamp } from "./clock.ts";
import { escapeInto, jsonString, MAX_EXPANSION } from "./json_text.ts";
import { CHUNK, type LogEncoder, logEncoder } from "./log_encoder.ts";
import { rotate } from "./log_rotation.ts";
import type { LogSpec } from "./spec.ts";

/** Longest line in one entry: the copier of Docker's daemon reads into a buffer of this size. */
const MAX_LINE = 16 * 1024;
/** Room for the longest entry with every byte escaped, and for many usual ones. What is not used takes no memory. */
const BUFFER = 128 * 1024;
/** A container that prints so much at once has an encoder made; what others print goes entry by entry. */
const MANY = 4 * 1024;
const NEWLINE = 0x0a;
/** What follows an entry's text begins with it, unless the line goes on. */
const ESCAPED_NEWLINE = "\\n";

const encoder = new TextEncoder();
const PREFIX = encoder.encode('{"log":"');

/** What is left of a line whose end has not come yet. */
interface Pending {
  readonly bytes: Uint8Array;
  length: number;
  /** Time of the first part of a line that was too long: all its parts carry it. */
  since: string | undefined;
  /** After the text and the line's end: stream, attributes, up to the time. */
  readonly middle: string;
}

/** Writes entries; each write(2) holds whole entries, as many as one call of {@link write} has completed. */
export class LogWriter {
  readonly #kernel: Syscalls;
  readonly #spec: LogSpec;
  readonly #attrs: string;
  readonly #pending = new Map<number, Pending>();
  #buffer: Uint8Array | undefined;
  #filled = 0;
  #fd: number;
  #size: number;
  #failing = false;
  #encoder: LogEncoder | undefined;

  /** @throws {SysError} when the file cannot be opened. */
  constructor(kernel: Syscalls, spec: LogSpec) {
    this.#kernel = kernel;
    this.#spec = spec;
    this.#attrs = spec.attrs === undefined || Object.keys(spec.attrs).length === 0
      ? ""
      : `,"attrs":{${
        Object.entries(spec.attrs).toSorted(byKey).map(([k, v]) => `${jsonString(k)}:${jsonString(v)}`).join(
          ",",
        )
      }}`;
    this.#fd = this.#open(0);
    this.#size = kernel.fstat(this.#fd).size;
  }

  /**
   * Where to read output to that is for {@link write}, which spares it a copy.
   *
   * @param before the caller's own bytes before it, which `write` uses as well
   */
  readBuffer(before: number): Uint8Array | undefined {
    return this.#encoder?.readBuffer(before);
  }

  /** @param stream 1 stdout, 2 stderr */
  write(stream: number, data: Uint8Array): void {
    const pending = this.#pendingOf(stream);
    const now = timestamp();
    if (data.length >= MANY) this.#encoder ??= logEncoder();
    if (this.#encoder?.setAfter(after(pending, now)) === true) this.#many(this.#encoder, pending, data, now);
    else this.#singly(pending, data, now);
  }

  #many(entries: LogEncoder, pending: Pending, data: Uint8Array, now: string): void {
    for (let from = 0; from < data.length; from += CHUNK) {
      entries.take(pending.bytes.subarray(0, pending.length), data.subarray(from, from + CHUNK));
      while (this.#encode(entries, pending, now));
      pending.bytes.set(entries.rest);
      pending.length = entries.rest.length;
    }
    this.#flushEncoded(entries);
  }

  /** Answers whether there is more to encode. */
  #encode(entries: LogEncoder, pending: Pending, now: string): boolean {
    const { since } = pending;
    const { maxSize } = this.#spec;
    entries.setAfter(after(pending, since ?? now));
    const before = entries.rest.length;
    // the file is full, but stays the newest one until there is another entry
    const overdue = maxSize > 0 && this.#size >= maxSize;
    const room = maxSize === 0 ? Infinity : overdue ? 1 : maxSize - this.#size;
    // what comes after the end of a line that began earlier has another time
    const full = entries.encode(room, since !== undefined);
    if (entries.rest.length < before) pending.since = entries.atLineStart ? undefined : since ?? now;
    if (overdue && entries.output.length > 0) this.#rotate();
    if (full) this.#flushEncoded(entries);
    return entries.rest.length > 0 && (full || pending.since !== since);
  }

  #flushEncoded(entries: LogEncoder): void {
    if (entries.output.length > 0) this.#put(entries.output);
    entries.clear();
  }

  #singly(pending: Pending, data: Uint8Array, now: string): void {
    const ending = encoder.encode(after(pending, now));
    // of the line that began earlier
    let first = pending.since === undefined ? ending : encoder.encode(after(pending, pending.since));
    let start = 0;
    while (start < data.length) {
      const newline = data.indexOf(NEWLINE, start);
      const end = newline < 0 ? data.length : newline;
      const room = MAX_LINE - pending.length;
      // A line may fill the buffer only together with its end.
      if (end - start >= room) {
        pending.since ??= now;
        this.#entry(pending, data, start, start + room, first.subarray(ESCAPED_NEWLINE.length));
        start += room;
      } else if (newline < 0) {
        pending.bytes.set(data.subarray(start), pending.length);
        pending.length += end - start;
        break;
      } else {
        this.#entry(pending, data, start, end, first);
        pending.since = undefined;
        first = ending;
        start = end + 1;
      }
    }
    this.#flush();
  }

  /** The streams have ended: a last line without its end is written as it is. */
  end(): void {
    const now = timestamp();
    for (const pending of this.#pending.values()) {
      if (pending.length === 0) continue;
      const ending = encoder.encode(after(pending, pending.since ?? now));
      this.#entry(pending, pending.bytes, 0, 0, ending.subarray(ESCAPED_NEWLINE.length));
    }
    this.#flush();
    this.#kernel.close(this.#fd);
  }

  #pendingOf(stream: number): Pending {
    let pending = this.#pending.get(stream);
    if (pending === undefined) {
      const name = stream === 2 ? "stderr" : "stdout";
      const middle = `","stream":"${name}"${this.#attrs},"time":"`;
      pending = { bytes: new Uint8Array(MAX_LINE), length: 0, since: undefined, middle };
      this.#pending.set(stream, pending);
    }
    return pending;
  }

  /** One entry: what is pending, then `data[from, to)`, then `ending`. */
  #entry(pending: Pending, data: Uint8Array, from: number, to: number, ending: Uint8Array): void {
    const buffer = this.#buffer ??= new Uint8Array(BUFFER);
    const most = PREFIX.length + (pending.length + to - from) * MAX_EXPANSION + ending.length;
    const full = this.#spec.maxSize > 0 && this.#size + this.#filled >= this.#spec.maxSize;
    if (full || this.#filled + most > buffer.length) this.#flush();
    if (full && this.#size >= this.#spec.maxSize) this.#rotate();
    const out = most > buffer.length ? this.#grow(most) : buffer;
    let at = copy(out, this.#filled, PREFIX);
    if (pending.length > 0 && to > from) {
      // put together first: a character may have come in two pieces
      pending.bytes.set(data.subarray(from, to), pending.length);
      at = escapeInto(out, at, pending.bytes, 0, pending.length + to - from);
    } else if (pending.length > 0) at = escapeInto(out, at, pending.bytes, 0, pending.length);
    else at = escapeInto(out, at, data, from, to);
    pending.length = 0;
    this.#filled = copy(out, at, ending);
  }

  /** Very long attributes. The buffer is empty when this is called. */
  #grow(size: number): Uint8Array {
    return this.#buffer = new Uint8Array(size);
  }

  #flush(): void {
    if (this.#filled > 0 && this.#buffer !== undefined) this.#put(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  /**
   * A full disk must end neither the container nor its shim: what does not fit is dropped, up to a whole entry, and
   * said once in the shim's own log.
   */
  #put(data: Uint8Array): void {
    try {
      const written = this.#kernel.write(this.#fd, data);
      if (written === data.length) {
        this.#size += written;
        this.#failing = false;
        return;
      }
      this.#lose(`${data.length - written} bytes did not fit`);
      // Keep the entries that are whole.
      const whole = data.lastIndexOf(NEWLINE, Math.max(0, written - 1)) + 1;
      this.#kernel.ftruncate(this.#fd, this.#size + whole);
      this.#size += whole;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#lose(error.message);
    }
  }

  #lose(reason: string): void {
    if (!this.#failing) note(`log ${this.#spec.path}: entries are lost: ${reason}`);
    this.#failing = true;
  }

  #rotate(): void {
    try {
      rotate(this.#kernel, this.#spec);
      const fd = this.#open(O_TRUNC);
      this.#kernel.close(this.#fd);
      this.#fd = fd;
      this.#size = 0;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#lose(error.message);
    }
  }

  #open(flags: number): number {
    return this.#kernel.open(this.#spec.path, O_WRONLY | O_APPEND | O_CREAT | flags, 0o640);
  }
}

/** What follows an entry's text when its line is complete. */
function after({ middle }: Pending, time: string): string {
  return `${ESCAPED_NEWLINE}${middle}${time}"}\n`;
}

function copy(output: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let index = 0; index < bytes.length; index++) output[at + index] = bytes[index] as number;
  return at + bytes.length;
}

function byKey([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
