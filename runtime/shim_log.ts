/** The container's log, in the format of Docker's json-file driver. */
import { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { timestamp } from "./clock.ts";
import { escapeInto, jsonString, MAX_EXPANSION } from "./json_text.ts";
import { encodeLines } from "./log_text.ts";
import { rotate } from "./log_rotation.ts";
import { note } from "../base/note.ts";
import type { LogSpec } from "./spec.ts";

/** Longest line in one entry: the copier of Docker's daemon reads into a buffer of this size. */
const MAX_LINE = 16 * 1024;
/** Room for the longest entry with every byte escaped, and for many usual ones. What is not used takes no memory. */
const BUFFER = 512 * 1024;
/** From this size on a piece of output is worth a string, see {@link encodeLines}. */
const MANY = 2 * 1024;
/** What is encoded at once; less where lines are so short that their entries would not fit. */
const MOST_AT_ONCE = 64 * 1024;
const NEWLINE = 0x0a;

const encoder = new TextEncoder();
const PREFIX_TEXT = '{"log":"';
const PREFIX = encoder.encode(PREFIX_TEXT);
const ESCAPED_NEWLINE = encoder.encode("\\n");

/** What is left of a line whose end has not come yet. */
interface Pending {
  readonly bytes: Uint8Array;
  length: number;
  /** Time of the first part of a line that was too long: all its parts carry it. */
  since: Uint8Array | undefined;
  /** After the text: stream, attributes, up to the time. */
  readonly middle: Uint8Array;
  readonly middleText: string;
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
  #atOnce = MOST_AT_ONCE;

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

  /** @param stream 1 stdout, 2 stderr */
  write(stream: number, data: Uint8Array): void {
    const pending = this.#pendingOf(stream);
    const time = timestamp();
    const now = encoder.encode(time);
    let start = 0;
    let singly = 0;
    while (start < data.length) {
      if (
        start >= singly && pending.length === 0 && pending.since === undefined && data.length - start >= MANY
      ) {
        const next = this.#many(pending, data, start, time);
        if (next > start) {
          start = next;
          continue;
        }
        singly = -next;
      }
      const newline = data.indexOf(NEWLINE, start);
      const end = newline < 0 ? data.length : newline;
      const room = MAX_LINE - pending.length;
      // A line may fill the buffer only together with its end.
      if (end - start >= room) {
        this.#entry(pending, data, start, start + room, false, pending.since ??= now);
        start += room;
      } else if (newline < 0) {
        pending.bytes.set(data.subarray(start), pending.length);
        pending.length += end - start;
        break;
      } else {
        this.#entry(pending, data, start, end, true, pending.since ?? now);
        pending.since = undefined;
        start = end + 1;
      }
    }
    this.#flush();
  }

  /** Writes the lines that come next, all at once. Answers the position after them, negated when they are to be written one by one. */
  #many(pending: Pending, data: Uint8Array, start: number, time: string): number {
    let end = start;
    while (end - start < this.#atOnce && end < data.length) {
      // The last end of a line that is near enough for all lines up to there to be short.
      const newline = data.lastIndexOf(NEWLINE, end + MAX_LINE - 1);
      if (newline < end) break;
      end = newline + 1;
    }
    if (end - start < MANY) return -data.length;
    const buffer = this.#buffer ??= new Uint8Array(BUFFER);
    if (this.#filled > 0) this.#flush();
    const after = `${pending.middleText}${time}"}\n`;
    const filled = encodeLines(buffer, 0, data.subarray(start, end), PREFIX_TEXT, after);
    if (filled < 0) {
      this.#atOnce = Math.max(MANY, this.#atOnce >> 1);
      return -end;
    }
    // Another file begins within these: entry by entry, then.
    if (this.#spec.maxSize > 0 && this.#size + filled >= this.#spec.maxSize) return -end;
    this.#atOnce = Math.min(MOST_AT_ONCE, this.#atOnce * 2);
    this.#filled = filled;
    return end;
  }

  /** The streams have ended: a last line without its end is written as it is. */
  end(): void {
    const now = encoder.encode(timestamp());
    for (const pending of this.#pending.values()) {
      if (pending.length > 0) this.#entry(pending, pending.bytes, 0, 0, false, pending.since ?? now);
    }
    this.#flush();
    this.#kernel.close(this.#fd);
  }

  #pendingOf(stream: number): Pending {
    let pending = this.#pending.get(stream);
    if (pending === undefined) {
      const name = stream === 2 ? "stderr" : "stdout";
      const middleText = `","stream":"${name}"${this.#attrs},"time":"`;
      pending = {
        bytes: new Uint8Array(MAX_LINE),
        length: 0,
        since: undefined,
        middle: encoder.encode(middleText),
        middleText,
      };
      this.#pending.set(stream, pending);
    }
    return pending;
  }

  /** One entry: what is pending, then `data[from, to)`. */
  #entry(
    pending: Pending,
    data: Uint8Array,
    from: number,
    to: number,
    complete: boolean,
    time: Uint8Array,
  ): void {
    const buffer = this.#buffer ??= new Uint8Array(BUFFER);
    const most = (pending.length + to - from) * MAX_EXPANSION + pending.middle.length + 64;
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
    if (complete) at = copy(out, at, ESCAPED_NEWLINE);
    at = copy(out, at, pending.middle);
    at = copy(out, at, time);
    out[at++] = 0x22;
    out[at++] = 0x7d;
    out[at++] = NEWLINE;
    this.#filled = at;
  }

  /** Very long attributes. The buffer is empty when this is called. */
  #grow(size: number): Uint8Array {
    return this.#buffer = new Uint8Array(size);
  }

  /**
   * A full disk must end neither the container nor its shim: what does not fit is dropped, up to a whole entry, and
   * said once in the shim's own log.
   */
  #flush(): void {
    if (this.#filled === 0 || this.#buffer === undefined) return;
    const data = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
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

function copy(output: Uint8Array, at: number, bytes: Uint8Array): number {
  for (let index = 0; index < bytes.length; index++) output[at + index] = bytes[index] as number;
  return at + bytes.length;
}

function byKey([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
