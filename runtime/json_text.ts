/**
 * JSON strings as Docker's json-file driver writes them, which is Go's encoding/json with HTML escaping: control characters
 * as \u00xx but for \n and \r, `<`, `>`, `&`, U+2028 and U+2029 as \u escapes, each byte that is no UTF-8 as \ufffd.
 */

/** Bytes below 0x80 that stand for themselves. */
const PLAIN = new Uint8Array(256);
for (let byte = 0x20; byte < 0x80; byte++) PLAIN[byte] = 1;
for (const char of '"\\<>&') PLAIN[char.charCodeAt(0)] = 0;

const HEX = new TextEncoder().encode("0123456789abcdef");
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;
const ZERO = 0x30;

/** Most bytes that one byte can become. */
export const MAX_EXPANSION = 6;

/**
 * Writes `input[from, to)` escaped to `output` at `at`, which has room for {@link MAX_EXPANSION} times as much.
 * Answers the position after it.
 */
export function escapeInto(
  output: Uint8Array,
  at: number,
  input: Uint8Array,
  from: number,
  to: number,
): number {
  let index = from;
  let out = at;
  while (index < to) {
    // noUncheckedIndexedAccess: an index below `to` is within the array
    const byte = input[index] as number;
    if (PLAIN[byte] === 1) {
      output[out++] = byte;
      index++;
    } else if (byte < 0x80) {
      out = escapeAscii(output, out, byte);
      index++;
    } else {
      const length = sequenceLength(input, index, to);
      if (length === 0) {
        out = escapeUnicode(output, out, 0xff, 0xfd);
        index++;
      } else if (
        length === 3 && byte === 0xe2 && input[index + 1] === 0x80 &&
        ((input[index + 2] as number) & 0xfe) === 0xa8
      ) {
        out = escapeUnicode(output, out, 0x20, 0x28 | ((input[index + 2] as number) & 1));
        index += 3;
      } else {
        for (const end = index + length; index < end; index++) output[out++] = input[index] as number;
      }
    }
  }
  return out;
}

function escapeAscii(output: Uint8Array, at: number, byte: number): number {
  const short = byte === 0x0a ? 0x6e : byte === 0x0d ? 0x72 : byte === 0x22 || byte === BACKSLASH ? byte : 0;
  if (short === 0) return escapeUnicode(output, at, 0, byte);
  output[at] = BACKSLASH;
  output[at + 1] = short;
  return at + 2;
}

function escapeUnicode(output: Uint8Array, at: number, high: number, low: number): number {
  output[at] = BACKSLASH;
  output[at + 1] = LOWER_U;
  output[at + 2] = high === 0 ? ZERO : HEX[high >> 4] as number;
  output[at + 3] = high === 0 ? ZERO : HEX[high & 15] as number;
  output[at + 4] = HEX[low >> 4] as number;
  output[at + 5] = HEX[low & 15] as number;
  return at + 6;
}

/** Length of the UTF-8 sequence at `index`, 0 when it is none (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
function sequenceLength(input: Uint8Array, index: number, to: number): number {
  const first = input[index] as number;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (index + length > to) return 0;
  const second = input[index + 1] as number;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let offset = 2; offset < length; offset++) {
    if (((input[index + offset] as number) & 0xc0) !== 0x80) return 0;
  }
  return length;
}

/** A whole text as a JSON string with its quotes. */
export function jsonString(text: string): string {
  const input = new TextEncoder().encode(text);
  const output = new Uint8Array(input.length * MAX_EXPANSION);
  return `"${new TextDecoder().decode(output.subarray(0, escapeInto(output, 0, input, 0, input.length)))}"`;
}
