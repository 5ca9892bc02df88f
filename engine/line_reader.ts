/** Splits a byte stream into lines without copying more than the unfinished one. */
import { concat } from "../base/concat.ts";

export class LineSplitter {
  #rest: Uint8Array[] = [];
  readonly #decoder = new TextDecoder();

  /** Complete lines in `chunk`, without their newline. `chunk` may be reused afterwards. */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    while (true) {
      const end = chunk.indexOf(10, from);
      if (end < 0) break;
      lines.push(this.#take(chunk.subarray(from, end)));
      from = end + 1;
    }
    if (from < chunk.length) this.#rest.push(chunk.slice(from));
    return lines;
  }

  #take(end: Uint8Array): string {
    if (this.#rest.length === 0) return this.#decoder.decode(end);
    const whole = concat([...this.#rest, end]);
    this.#rest = [];
    return this.#decoder.decode(whole);
  }
}

/** Writes all of `data`: one write of a connection may take a part only. */
export async function writeAll(
  to: { write(data: Uint8Array): Promise<number> },
  data: Uint8Array,
): Promise<void> {
  for (let at = 0; at < data.length;) at += await to.write(at === 0 ? data : data.subarray(at));
}
