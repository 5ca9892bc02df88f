import { BLOCK, TarError } from "./entry.ts";
import { isZeroBlock, parseNumber } from "./header.ts";
import { decimal } from "./pax.ts";

/** Stretches of a sparse file that hold data, in order, without overlap. */
export type SparseMap = readonly (readonly [offset: number, length: number])[];

/** A map of more stretches is refused: each costs memory. */
export const MAX_STRETCHES = 1_000_000;

/** Reads `count` entries of 24 bytes (two numbers of 12) of an old GNU sparse header; ends at an empty one. */
function oldEntries(block: Uint8Array, start: number, count: number): [number, number][] {
  const entries: [number, number][] = [];
  for (let at = start; at < start + count * 24; at += 24) {
    if (block[at] === 0) break;
    entries.push([parseNumber(block, at, 12, "sparse"), parseNumber(block, at + 12, 12, "sparse")]);
  }
  return entries;
}

/** The parts of an old GNU sparse header (type "S") in its first block. */
export function oldSparse(header: Uint8Array): { map: [number, number][]; extended: boolean; size: number } {
  return {
    map: oldEntries(header, 386, 4),
    extended: (header[482] ?? 0) !== 0,
    size: parseNumber(header, 483, 12, "realsize"),
  };
}

/** One of the blocks that continue an old GNU sparse map. */
export function oldSparseExtension(block: Uint8Array): { map: [number, number][]; extended: boolean } {
  if (isZeroBlock(block)) throw new TarError("invalid tar header: empty sparse map");
  return { map: oldEntries(block, 0, 21), extended: (block[504] ?? 0) !== 0 };
}

/** The map of PAX format 0.1, `offset,length,offset,length…`, or 0.0 with its records joined the same way. */
export function paxSparse(numbers: readonly number[]): SparseMap {
  if (numbers.length % 2 !== 0 || numbers.some((n) => !Number.isSafeInteger(n))) {
    throw new TarError("invalid tar header: malformed sparse map");
  }
  const map: [number, number][] = [];
  for (let i = 0; i < numbers.length; i += 2) map.push([numbers[i] ?? 0, numbers[i + 1] ?? 0]);
  return map;
}

/** Collects the map of PAX format 1.0, which stands in front of the data: decimal lines, padded to whole blocks. */
export class SparseMapReader {
  readonly #numbers: number[] = [];
  #line: number[] = [];

  /** Takes one block; answers the map when it is complete. */
  block(block: Uint8Array): SparseMap | undefined {
    for (let i = 0; i < BLOCK; i++) {
      const byte = block[i] ?? 0;
      if (byte !== 0x0a) {
        if (this.#line.length > 20) throw new TarError("invalid tar header: malformed sparse map");
        this.#line.push(byte);
        continue;
      }
      this.#numbers.push(decimal(new Uint8Array(this.#line)));
      this.#line = [];
      const count = this.#numbers[0] ?? 0;
      if (!(count <= MAX_STRETCHES)) throw new TarError("invalid tar header: malformed sparse map");
      if (this.#numbers.length === 1 + 2 * count) return paxSparse(this.#numbers.slice(1));
    }
    return undefined;
  }
}

/**
 * Checks that the stretches are in order, lie in the file, and hold `dataSize` bytes together. Empty ones (GNU tar
 * ends a map with one) are dropped.
 */
export function checkSparse(map: SparseMap, size: number, dataSize: number): SparseMap {
  let end = 0, total = 0;
  if (map.length > MAX_STRETCHES) throw new TarError("invalid tar header: sparse map too long");
  for (const [offset, length] of map) {
    if (offset < end || length < 0 || offset + length > size) {
      throw new TarError("invalid tar header: malformed sparse map");
    }
    end = offset + length;
    total += length;
  }
  if (total !== dataSize) throw new TarError("invalid tar header: sparse map does not match the data");
  return map.filter(([, length]) => length > 0);
}
