import { decodePath } from "../path_text.ts";
import { BLOCK, TarError } from "./entry.ts";

/** The fields of one header block, before extended headers are merged in. */
export interface RawHeader {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  /** The type flag as a character; "\0" is an old regular file. */
  readonly type: string;
  readonly linkName: string;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** GNU's own variant of the header (other fields stand where ustar has its prefix). */
  readonly gnu: boolean;
}

/** Whether all 512 bytes are zero. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/**
 * Reads one header block (POSIX.1-1988 ustar, GNU, star, V7).
 *
 * @throws {TarError} when the checksum or a number is wrong.
 */
export function parseHeader(block: Uint8Array): RawHeader {
  verifyChecksum(block);
  const magic = ascii(block, 257, 8);
  const gnu = magic === "ustar  \0";
  const ustar = magic.startsWith("ustar\0");
  const star = ustar && ascii(block, 508, 4) === "tar\0";
  const prefix = ustar ? text(block, 345, star ? 131 : 155) : "";
  const name = text(block, 0, 100);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    mode: parseNumber(block, 100, 8, "mode") & 0o7777,
    uid: parseNumber(block, 108, 8, "uid"),
    gid: parseNumber(block, 116, 8, "gid"),
    size: parseNumber(block, 124, 12, "size"),
    mtime: parseNumber(block, 136, 12, "mtime"),
    type: String.fromCharCode(block[156] ?? 0),
    linkName: text(block, 157, 100),
    deviceMajor: gnu || ustar ? parseNumber(block, 329, 8, "devmajor") : 0,
    deviceMinor: gnu || ustar ? parseNumber(block, 337, 8, "devminor") : 0,
    gnu,
  };
}

/** Whether a block has the checksum of a header. */
export function isTarHeader(block: Uint8Array): boolean {
  try {
    verifyChecksum(block);
    return true;
  } catch (error) {
    if (error instanceof TarError) return false;
    throw error;
  }
}

/** Sum of all bytes with the checksum field as spaces; old writers summed signed bytes, so both are accepted. */
function verifyChecksum(block: Uint8Array): void {
  let unsigned = 8 * 32, signed = 8 * 32;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  // text where a number should be: no tar archive at all
  const stored = octal(block, 148, 8);
  if (stored !== unsigned && stored !== signed) {
    throw new TarError("invalid tar header: the checksum does not match");
  }
}

/** A numeric field: octal text, or GNU's base-256 (big endian, two's complement) when the first bit is set. */
export function parseNumber(block: Uint8Array, offset: number, length: number, field: string): number {
  const first = block[offset] ?? 0;
  const value = first & 0x80 ? base256(block, offset, length) : octal(block, offset, length);
  if (!Number.isSafeInteger(value)) throw new TarError(`invalid tar header: bad number in field ${field}`);
  return value;
}

function base256(block: Uint8Array, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  const negative = (first & 0x40) !== 0;
  let value = negative ? BigInt((first & 0x3f) - 0x40) : BigInt(first & 0x3f);
  for (let i = offset + 1; i < offset + length; i++) value = (value << 8n) | BigInt(block[i] ?? 0);
  return Number(value);
}

/** NaN when it is no octal number; an empty field is 0. */
function octal(block: Uint8Array, offset: number, length: number): number {
  let at = offset, end = offset + length;
  const blank = (i: number) => block[i] === 0 || block[i] === 32;
  while (at < end && blank(at)) at++;
  while (end > at && blank(end - 1)) end--;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] ?? 0) - 48;
    // "0000644 \0garbage": some writers leave old bytes behind the terminator
    if (blank(at)) return value;
    if (digit < 0 || digit > 7) return NaN;
    value = value * 8 + digit;
  }
  return value;
}

/** A text field up to its first NUL. */
export function text(block: Uint8Array, offset: number, length: number): string {
  let end = offset;
  while (end < offset + length && block[end] !== 0) end++;
  return end === offset ? "" : decodePath(block.subarray(offset, end));
}

function ascii(block: Uint8Array, offset: number, length: number): string {
  return String.fromCharCode(...block.subarray(offset, offset + length));
}
