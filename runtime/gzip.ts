/**
 * gzip (RFC 1951, 1952) for rotated logs. A shim can run no program for it (a child would be a process of the container) and has no threads,
 * which Deno's streams need; node:zlib would cost every shim its memory. Fixed Huffman codes with one candidate a match: log
 * text shrinks to a fifth or so.
 */
import { O_CREAT, O_TRUNC, O_WRONLY } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { writeAll } from "./files.ts";

const CHUNK = 256 * 1024;
const WINDOW = 32 * 1024;
const MIN_MATCH = 4;
const MAX_MATCH = 258;
const HASH_BITS = 15;

const CRC = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  CRC[byte] = value;
}

/** First length and first distance of each code, and how many extra bits it has (RFC 1951, 3.2.5). */
function ladder(
  first: number,
  codes: number,
  bitsOf: (code: number) => number,
): { base: number; bits: number }[] {
  let base = first;
  return Array.from({ length: codes }, (_, code) => {
    const bits = bitsOf(code);
    const step = { base, bits };
    base += 1 << bits;
    return step;
  });
}
const LENGTHS = ladder(3, 28, (code) => code < 8 ? 0 : (code >> 2) - 1);
LENGTHS.push({ base: 258, bits: 0 });
const DISTANCES = ladder(1, 30, (code) => code < 4 ? 0 : (code >> 1) - 1);

function codeOf(table: { base: number }[], value: number): number {
  let [low, high] = [0, table.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((table[middle]?.base ?? 0) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Bits into bytes, least significant first. */
class BitWriter {
  readonly bytes: Uint8Array;
  length = 0;
  #held = 0;
  #count = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  put(value: number, bits: number): void {
    this.#held |= value << this.#count;
    this.#count += bits;
    while (this.#count >= 8) {
      this.bytes[this.length++] = this.#held & 0xff;
      this.#held >>>= 8;
      this.#count -= 8;
    }
  }

  /** Huffman codes go most significant bit first. */
  putCode(code: number, bits: number): void {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit++) reversed |= ((code >> bit) & 1) << (bits - 1 - bit);
    this.put(reversed, bits);
  }

  /** A literal byte, or 256 and up: the fixed code of RFC 1951, 3.2.6. */
  putSymbol(symbol: number): void {
    if (symbol < 144) this.putCode(0x30 + symbol, 8);
    else if (symbol < 256) this.putCode(0x190 + symbol - 144, 9);
    else if (symbol < 280) this.putCode(symbol - 256, 7);
    else this.putCode(0xc0 + symbol - 280, 8);
  }

  putMatch(length: number, distance: number): void {
    const lengthCode = codeOf(LENGTHS, length);
    const first = LENGTHS[lengthCode] ?? { base: 0, bits: 0 };
    this.putSymbol(257 + lengthCode);
    this.put(length - first.base, first.bits);
    const distanceCode = codeOf(DISTANCES, distance);
    const second = DISTANCES[distanceCode] ?? { base: 0, bits: 0 };
    this.putCode(distanceCode, 5);
    this.put(distance - second.base, second.bits);
  }

  /** Takes away the whole bytes. */
  drain(): Uint8Array {
    const whole = this.bytes.subarray(0, this.length);
    this.length = 0;
    return whole;
  }

  /** Fills the last byte with zeros. */
  align(): void {
    if (this.#count > 0) this.put(0, 8 - this.#count);
  }
}

/** One deflate block of `data`. */
function deflateBlock(bits: BitWriter, data: Uint8Array, heads: Int32Array): void {
  bits.put(0, 1);
  bits.put(1, 2);
  heads.fill(-1);
  const end = data.length;
  for (let at = 0; at < end;) {
    let length = 0;
    let candidate = -1;
    if (at + MIN_MATCH <= end) {
      // noUncheckedIndexedAccess: all within `end`
      const word = (data[at] as number) | (data[at + 1] as number) << 8 | (data[at + 2] as number) << 16 |
        (data[at + 3] as number) << 24;
      const slot = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
      candidate = heads[slot] as number;
      heads[slot] = at;
      if (candidate >= 0 && at - candidate <= WINDOW) {
        const most = Math.min(MAX_MATCH, end - at);
        while (length < most && data[candidate + length] === data[at + length]) length++;
      }
    }
    if (length >= MIN_MATCH) {
      bits.putMatch(length, at - candidate);
      at += length;
    } else {
      bits.putSymbol(data[at] as number);
      at++;
    }
  }
  bits.putSymbol(256);
}

/** Replaces file `from` by its compressed form `to`. A crash leaves `from` whole. */
export function compressFile(kernel: Syscalls, from: string, to: string): void {
  const source = kernel.open(from, 0);
  const temporary = `${to}.tmp`;
  const target = kernel.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0o640);
  try {
    writeAll(kernel, target, Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3));
    const input = new Uint8Array(CHUNK);
    const heads = new Int32Array(1 << HASH_BITS);
    const bits = new BitWriter(CHUNK * 2);
    let crc = -1;
    let total = 0;
    for (let count = kernel.read(source, input); count > 0; count = kernel.read(source, input)) {
      for (let index = 0; index < count; index++) {
        crc = (crc >>> 8) ^ (CRC[(crc ^ (input[index] as number)) & 0xff] as number);
      }
      total += count;
      deflateBlock(bits, input.subarray(0, count), heads);
      writeAll(kernel, target, bits.drain());
    }
    // An empty last block.
    bits.put(1, 1);
    bits.put(1, 2);
    bits.putSymbol(256);
    bits.align();
    writeAll(kernel, target, bits.drain());
    const trailer = new DataView(new ArrayBuffer(8));
    trailer.setInt32(0, ~crc, true);
    trailer.setUint32(4, total >>> 0, true);
    writeAll(kernel, target, new Uint8Array(trailer.buffer));
  } finally {
    kernel.close(source);
    kernel.close(target);
  }
  kernel.rename(temporary, to);
  kernel.unlink(from);
}
