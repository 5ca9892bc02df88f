import { invalid } from "../../base/errors.ts";

/** Growth is only judged beyond this: small archives of zeros may compress without bound, and cost nothing. */
const JUDGED_FROM = 1024 ** 3;
/**
 * Times that data may grow when it is decompressed. Text and programs grow 3 to 20 times, a disk image with free space 50 or
 * so; gzip's most is 1032, zstd has none.
 */
export const MAX_RATIO = 200;

/** Guards against compression bombs: counts what goes into a decoder and what comes out. */
export class GrowthGuard {
  readonly #maxRatio: number;
  #taken = 0;
  #given = 0;

  constructor(maxRatio: number = MAX_RATIO) {
    this.#maxRatio = maxRatio;
  }

  async *input(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.#taken += chunk.length;
      yield chunk;
    }
  }

  /** @throws {EngineError} invalid when the data has grown too much. */
  async *output(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.#given += chunk.length;
      checkGrowth(this.#taken, this.#given, this.#maxRatio);
      yield chunk;
    }
  }
}

/** @throws {EngineError} invalid when `given` bytes are too many to have come out of `taken`. */
export function checkGrowth(taken: number, given: number, maxRatio: number): void {
  if (given > JUDGED_FROM && given > taken * maxRatio) {
    throw invalid(`archive grows more than ${maxRatio} times when it is decompressed: refused`);
  }
}
