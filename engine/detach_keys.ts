import { invalid } from "../base/errors.ts";

/** ctrl-p ctrl-q */
const DEFAULT_KEYS = Uint8Array.of(16, 17);

/**
 * Bytes of a detach sequence in Docker's form: single characters and `ctrl-X` (a-z @ [ \ ] ^ _), separated by commas.
 *
 * @throws {EngineError} invalid.
 */
export function parseDetachKeys(text: string | undefined): Uint8Array {
  if (text === undefined || text === "") return DEFAULT_KEYS;
  const bytes = text.split(",").map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-zA-Z@[\\\]^_])$/.exec(key)?.[1];
    if (control === undefined) throw invalid(`Invalid detach keys (${text}) provided`);
    return control.toUpperCase().charCodeAt(0) - 64;
  });
  if (bytes.some((byte) => byte > 127)) throw invalid(`Invalid detach keys (${text}) provided`);
  return Uint8Array.from(bytes);
}

/**
 * Finds the detach sequence in what a client types. The beginning of a sequence is held back until it is clear that it
 * is none, so that the container never sees a part of it.
 */
export class DetachScanner {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What to pass on, and whether the sequence was complete (what follows it is dropped). */
  push(chunk: Uint8Array): { data: Uint8Array; detached: boolean } {
    const keys = this.#keys;
    const out = new Uint8Array(chunk.length + keys.length);
    let length = 0;
    for (const byte of chunk) {
      if (byte === keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === keys.length) return { data: out.subarray(0, length), detached: true };
        continue;
      }
      out.set(keys.subarray(0, this.#matched), length);
      length += this.#matched;
      this.#matched = 0;
      if (byte === keys[0] && keys.length > 1) this.#matched = 1;
      else out[length++] = byte;
    }
    return { data: out.subarray(0, length), detached: false };
  }
}
