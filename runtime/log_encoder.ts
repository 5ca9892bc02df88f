/**
 * Many entries of a json-file log at once. A loop over bytes in JavaScript takes longer than all the kernel's work for them, so it is
 * WebAssembly's (log_entries.wat), sixteen bytes at a time: some ten times as fast as {@link escapeInto}.
 */
import { LOG_ENTRIES_PROGRAM } from "./log_entries_program.ts";

/** Most of the output that is encoded at once: what a pipe holds. */
export const CHUNK = 64 * 1024;
/** Room before the input for what belongs before it: the header of a frame, or the start of a line that came earlier. */
const CARRY = 16 * 1024;
/** Loads and stores of sixteen bytes reach beyond what is theirs. */
const SLACK = 64;
/** Longest text of an entry with every byte escaped, and what comes before it. */
const LONGEST_ENTRY = 16 * 1024 * 6 + 8;

// What is where in the memory.
const AFTER = 0;
const AFTER_SIZE = 4 * 1024;
const INPUT = AFTER + AFTER_SIZE + CARRY + SLACK;
const OUTPUT = INPUT + CHUNK + SLACK;

const encoder = new TextEncoder();

/** Instances are the module's own: numbers and bytes, and no state but the memory. */
type Entries = (
  at: number,
  end: number,
  out: number,
  limit: number,
  after: number,
  length: number,
) => [at: number, out: number];

export class LogEncoder {
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #entries: Entries;
  #after = "";
  #length = 0;
  /** Where the input that is not encoded yet begins, and where all of it ends. */
  #at = INPUT;
  #end = INPUT;
  /** Where the output ends. */
  #out = OUTPUT;

  /** @throws {WebAssembly.CompileError} when this processor, or this V8, has no vectors of sixteen bytes */
  constructor() {
    const module = new WebAssembly.Module(Uint8Array.fromHex(LOG_ENTRIES_PROGRAM));
    const { memory, entries } = new WebAssembly.Instance(module).exports;
    // what log_entries.wat exports
    this.#memory = new Uint8Array((memory as WebAssembly.Memory).buffer as ArrayBuffer);
    this.#entries = entries as unknown as Entries;
  }

  /**
   * Where to read to: what is put in here need not be copied by {@link take}.
   *
   * @param before bytes that may be used before it, until then
   */
  readBuffer(before: number): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(INPUT - before, INPUT + CHUNK);
  }

  /** Takes the next input, {@link CHUNK} bytes at most: the start of a line that came earlier, then what has come now. */
  take(carried: Uint8Array, data: Uint8Array): void {
    if (data.buffer !== this.#memory.buffer || data.byteOffset !== INPUT) this.#memory.set(data, INPUT);
    this.#at = INPUT - carried.length;
    this.#end = INPUT + data.length;
    this.#memory.set(carried, this.#at);
  }

  /** The input that is not encoded yet. */
  get rest(): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(this.#at, this.#end);
  }

  /** Whether what was encoded last was the end of a line. */
  get atLineStart(): boolean {
    return this.#memory[this.#at - 1] === NEWLINE;
  }

  /** The entries that have not been {@link clear cleared}. */
  get output(): Uint8Array<ArrayBuffer> {
    return this.#memory.subarray(OUTPUT, this.#out);
  }

  clear(): void {
    this.#out = OUTPUT;
  }

  /** What follows an entry's text: the escaped end of the line first. False when it is too long for here. */
  setAfter(after: string): boolean {
    if (after === this.#after) return true;
    const room = this.#memory.subarray(AFTER, AFTER + AFTER_SIZE - SLACK);
    const { read, written } = encoder.encodeInto(after, room);
    this.#after = read === after.length ? after : "";
    this.#length = written;
    return read === after.length;
  }

  /**
   * Encodes lines, and the parts of those that are too long for one entry. What is left of the input is the start of a line.
   *
   * @param most no entry begins after so many bytes of output
   * @param oneLine what comes after the end of this line waits
   * @returns whether it stopped because there is no room for more: the output is to be taken and cleared then.
   */
  encode(most: number, oneLine: boolean): boolean {
    const limit = Math.min(OUTPUT + most, this.#memory.length - SLACK - LONGEST_ENTRY - this.#length);
    let end = this.#end;
    if (oneLine) {
      const newline = this.#memory.indexOf(NEWLINE, this.#at);
      if (newline >= 0 && newline < end) end = newline + 1;
    }
    [this.#at, this.#out] = this.#entries(this.#at, end, this.#out, limit, AFTER, this.#length);
    return this.#out >= limit;
  }
}

const NEWLINE = 0x0a;

let shared: LogEncoder | undefined;
let missing = false;

/** The shim's one: it does one thing at a time. Undefined where there cannot be one. It takes some 300 KB, so it is made when it is needed. */
export function logEncoder(): LogEncoder | undefined {
  if (shared === undefined && !missing) {
    try {
      shared = new LogEncoder();
    } catch {
      missing = true;
    }
  }
  return shared;
}
