/**
 * Entries of a json-file log, from bytes to bytes: `{"log":"…","stream":"stdout","time":"…"}` becomes what a client
 * reads. Works on the bytes from both ends of a line, so that the usual entry costs no JSON parser and no string.
 */
import { rfc3339Nano } from "./clock.ts";
import type { LogsOptions } from "./types.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const HEAD = encoder.encode('{"log":"');
const TIME_MARK = encoder.encode('","time":"');
const STDOUT_MARK = encoder.encode('","stream":"stdout');
const STDERR_MARK = encoder.encode('","stream":"stderr');

/** What of a line is the entry: positions in the buffer that it was found in. */
interface Entry {
  /** 1 stdout, 2 stderr. */
  stream: number;
  /** The text, still escaped: `[from, to)`. */
  from: number;
  to: number;
  timeFrom: number;
  timeTo: number;
  /** Nothing between `from` and `to` is escaped but a newline at the end. */
  plain: boolean;
  /** `k=v,…` as the details option shows them. */
  attrs: string;
}

function matches(buffer: Uint8Array, at: number, mark: Uint8Array): boolean {
  if (at < 0) return false;
  for (let i = 0; i < mark.length; i++) if (buffer[at + i] !== mark[i]) return false;
  return true;
}

/** Nanoseconds since the epoch of the RFC 3339 time in `[from, to)`; undefined when it is none. */
export function parseTime(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return undefined;
  const millis = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(millis)) return undefined;
  return BigInt(millis) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

/** Docker's form of a time before a line: nine digits of fraction, always. */
function fixedTime(text: string): string {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  if (match) return `${match[1]}.${(match[2] ?? "").padEnd(9, "0")}Z `;
  const nanos = parseTime(text);
  return nanos === undefined ? `${text} ` : fixedTime(rfc3339Nano(nanos));
}

/** As url.QueryEscape of Go. */
function queryEscape(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}

/** Turns whole lines into output, gathered in one growing buffer until it is taken. */
export class LogFormatter {
  readonly #options: Pick<LogsOptions, "stdout" | "stderr" | "since" | "until" | "timestamps" | "details">;
  readonly #tty: boolean;
  /** Times must be understood at all. */
  readonly #timed: boolean;
  /** Grows to what is asked for. */
  #out = new Uint8Array(8 * 1024);
  #length = 0;
  #over = false;
  readonly #entry: Entry = { stream: 0, from: 0, to: 0, timeFrom: 0, timeTo: 0, plain: false, attrs: "" };

  constructor(options: LogsOptions, tty: boolean) {
    this.#options = options;
    this.#tty = tty;
    this.#timed = options.since !== undefined || options.until !== undefined;
  }

  /** An entry later than `until` has come: nothing that follows is wanted. */
  get over(): boolean {
    return this.#over;
  }

  /** Bytes waiting to be taken. */
  get length(): number {
    return this.#length;
  }

  /** What has been gathered; the caller owns it. */
  take(): Uint8Array {
    const chunk = this.#out.slice(0, this.#length);
    this.#length = 0;
    return chunk;
  }

  /** Adds one line, `[from, to)` without its newline. What is no entry (torn by a crash) is left out. */
  line(buffer: Uint8Array, from: number, to: number): void {
    if (this.#over) return;
    const entry = this.#entry;
    if (!this.#locate(buffer, from, to)) {
      const again = tornTail(buffer, from, to);
      if (again === undefined || !this.#locate(buffer, again, to)) {
        this.#parsed(buffer, from, to);
        return;
      }
    }
    if (!this.#wanted(entry.stream)) return;
    let prefix: string | undefined;
    if (this.#timed || this.#options.timestamps || this.#options.details) {
      const time = decoder.decode(buffer.subarray(entry.timeFrom, entry.timeTo));
      if (!this.#inTime(time)) return;
      prefix = this.#prefix(time, entry.attrs);
    }
    const start = this.#open((entry.to - entry.from) + (prefix?.length ?? 0) * 3);
    if (prefix !== undefined) this.#text(prefix);
    if (entry.plain) this.#copy(buffer, entry.from, entry.to);
    else this.#unescape(buffer, entry.from, entry.to);
    this.#close(start, entry.stream);
  }

  /** The rare way: attributes, other orders of fields. */
  #parsed(buffer: Uint8Array, from: number, to: number): void {
    let value: { log?: unknown; stream?: unknown; time?: unknown; attrs?: unknown };
    try {
      value = JSON.parse(decoder.decode(buffer.subarray(from, to)));
    } catch {
      return;
    }
    if (typeof value !== "object" || value === null || typeof value.log !== "string") return;
    const stream = value.stream === "stderr" ? 2 : 1;
    const time = typeof value.time === "string" ? value.time : "";
    if (!this.#wanted(stream) || !this.#inTime(time)) return;
    const attrs = typeof value.attrs === "object" && value.attrs !== null
      ? Object.entries(value.attrs).map(([k, v]) => `${queryEscape(k)}=${queryEscape(String(v))}`).sort()
        .join(",")
      : "";
    const start = this.#open(0);
    this.#text((this.#prefix(time, attrs) ?? "") + value.log);
    this.#close(start, stream);
  }

  #wanted(stream: number): boolean {
    return stream === 2 ? this.#options.stderr : this.#options.stdout;
  }

  #inTime(text: string): boolean {
    if (!this.#timed) return true;
    const time = parseTime(text);
    const { since, until } = this.#options;
    if (time === undefined) return true;
    if (since !== undefined && time < since) return false;
    if (until !== undefined && time > until) {
      this.#over = true;
      return false;
    }
    return true;
  }

  #prefix(time: string, attrs: string): string | undefined {
    const { timestamps, details } = this.#options;
    if (!timestamps && !details) return undefined;
    return (timestamps ? fixedTime(time) : "") + (details ? `${attrs} ` : "");
  }

  /** Finds the parts of a usual entry; false when it is not one. */
  #locate(buffer: Uint8Array, from: number, to: number): boolean {
    if (!matches(buffer, from, HEAD)) return false;
    const timeTo = to - 2;
    if (buffer[timeTo] !== QUOTE || buffer[to - 1] !== 0x7d) return false;
    const timeFrom = buffer.lastIndexOf(QUOTE, timeTo - 1) + 1;
    const streamTo = timeFrom - TIME_MARK.length;
    if (timeTo - timeFrom > 40 || !matches(buffer, streamTo, TIME_MARK)) return false;
    const logTo = streamTo - STDOUT_MARK.length;
    const logFrom = from + HEAD.length;
    if (logTo < logFrom) return false;
    const entry = this.#entry;
    if (matches(buffer, logTo, STDOUT_MARK)) entry.stream = 1;
    else if (matches(buffer, logTo, STDERR_MARK)) entry.stream = 2;
    else return false;
    // The first quote ends the text, or stands in it with a backslash, or the line was torn.
    const quote = buffer.indexOf(QUOTE, logFrom);
    if (quote !== logTo && !isEscaped(buffer, quote, logFrom)) return false;
    const backslash = buffer.indexOf(BACKSLASH, logFrom);
    const ends = backslash === logTo - 2 && buffer[logTo - 1] === 0x6e;
    entry.plain = quote === logTo && (backslash < 0 || backslash >= logTo || ends);
    entry.from = logFrom;
    entry.to = logTo;
    entry.timeFrom = timeFrom;
    entry.timeTo = timeTo;
    entry.attrs = "";
    return true;
  }

  /** Room for one more frame; answers where it starts. */
  #open(size: number): number {
    this.#reserve(size + 16);
    const start = this.#length;
    if (!this.#tty) this.#length += 8;
    return start;
  }

  #close(start: number, stream: number): void {
    if (this.#tty) return;
    const size = this.#length - start - 8;
    const out = this.#out;
    out[start] = stream;
    out[start + 1] = out[start + 2] = out[start + 3] = 0;
    out[start + 4] = size >>> 24;
    out[start + 5] = size >>> 16;
    out[start + 6] = size >>> 8;
    out[start + 7] = size;
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#out.length) return;
    const larger = new Uint8Array(Math.max(this.#out.length * 2, this.#length + size));
    larger.set(this.#out.subarray(0, this.#length));
    this.#out = larger;
  }

  #text(text: string): void {
    this.#reserve(text.length * 3);
    this.#length += encoder.encodeInto(text, this.#out.subarray(this.#length)).written;
  }

  /** Text with at most a `\n` at its end. */
  #copy(buffer: Uint8Array, from: number, to: number): void {
    const newline = to - from >= 2 && buffer[to - 2] === BACKSLASH;
    const end = newline ? to - 2 : to;
    if (end - from < 24) {
      let at = this.#length;
      // an index below `end` is within the buffer
      for (let i = from; i < end; i++) this.#out[at++] = buffer[i] as number;
    } else {
      this.#out.set(buffer.subarray(from, end), this.#length);
    }
    this.#length += end - from;
    if (newline) this.#out[this.#length++] = NEWLINE;
  }

  /** JSON's escapes to bytes. The result is never longer than the input. */
  #unescape(buffer: Uint8Array, from: number, to: number): void {
    const out = this.#out;
    let at = this.#length;
    for (let i = from; i < to; i++) {
      const byte = buffer[i] as number;
      if (byte !== BACKSLASH) {
        out[at++] = byte;
        continue;
      }
      const kind = buffer[++i] as number;
      if (kind !== 0x75) {
        out[at++] = SHORT_ESCAPES.get(kind) ?? kind;
        continue;
      }
      let code = hex4(buffer, i + 1);
      i += 4;
      const low = code >= 0xd800 && code < 0xdc00 && buffer[i + 1] === BACKSLASH && buffer[i + 2] === 0x75
        ? hex4(buffer, i + 3)
        : 0;
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
      if (code < 0x80) {
        out[at++] = code;
      } else if (code < 0x800) {
        out[at++] = 0xc0 | code >> 6;
        out[at++] = 0x80 | code & 0x3f;
      } else if (code < 0x10000) {
        out[at++] = 0xe0 | code >> 12;
        out[at++] = 0x80 | code >> 6 & 0x3f;
        out[at++] = 0x80 | code & 0x3f;
      } else {
        out[at++] = 0xf0 | code >> 18;
        out[at++] = 0x80 | code >> 12 & 0x3f;
        out[at++] = 0x80 | code >> 6 & 0x3f;
        out[at++] = 0x80 | code & 0x3f;
      }
    }
    this.#length = at;
  }
}

/** b f n r t */
const SHORT_ESCAPES = new Map([[0x62, 0x08], [0x66, 0x0c], [0x6e, 0x0a], [0x72, 0x0d], [0x74, 0x09]]);

function hex4(buffer: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = buffer[at + i] as number;
    value = value << 4 | (byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57);
  }
  return value;
}

/** An odd number of backslashes stands before a quote that is part of the text. */
function isEscaped(buffer: Uint8Array, at: number, from: number): boolean {
  let count = 0;
  while (at - 1 - count >= from && buffer[at - 1 - count] === BACKSLASH) count++;
  return count % 2 === 1;
}

/**
 * A writer that was killed in the middle of an entry leaves half a line, and the next entry follows on the same
 * line: where that one starts.
 */
function tornTail(buffer: Uint8Array, from: number, to: number): number | undefined {
  for (let at = to - HEAD.length; at > from; at--) {
    if (buffer[at] === 0x7b && matches(buffer, at, HEAD)) return at;
  }
  return undefined;
}
