/** The keys that leave a container running: "ctrl-p,ctrl-q" unless said otherwise. */

import { CliError } from "../errors.ts";

const DEFAULT_KEYS = Uint8Array.of(16, 17);
const CTRL_SYMBOLS: Readonly<Record<string, number>> = {
  "@": 0,
  "[": 27,
  "\\": 28,
  "]": 29,
  "^": 30,
  "_": 31,
};

/** Bytes of a comma-separated sequence of keys; the default for "". Throws `CliError` with docker's text. */
export function parseDetachKeys(keys: string): Uint8Array {
  if (keys === "") return DEFAULT_KEYS;
  return Uint8Array.from(
    keys.split(",").map((key) => {
      const name = key.toLowerCase();
      if (key.length === 1) return key.charCodeAt(0);
      if (name === "del") return 127;
      const control = /^ctrl-(.)$/.exec(name)?.[1];
      const code = control === undefined
        ? undefined
        : /[a-z]/.test(control)
        ? control.charCodeAt(0) - 96
        : CTRL_SYMBOLS[control];
      if (code === undefined) {
        throw new CliError(`invalid detach keys (${keys}): Unknown character: '${name}'`);
      }
      return code;
    }),
  );
}

/** Watches input for the sequence. Bytes that may begin it are held back until the next ones decide. */
export class DetachWatcher {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What to send on of `input`, and whether the sequence was completed (nothing after it is sent). */
  feed(input: Uint8Array): { pass: Uint8Array; detached: boolean } {
    const pass: number[] = [];
    for (const byte of input) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { pass: Uint8Array.from(pass), detached: true };
        continue;
      }
      pass.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Uint8Array.from(pass), detached: false };
  }
}
