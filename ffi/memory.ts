/**
 * Memory whose address the kernel is given: strings and small structs.
 *
 * A ring of 64 KiB at a fixed address. Space is never freed but used again after the ring has gone round, so what
 * was taken for one call is intact during it (a call takes at most a few paths of 4 KiB). Larger pieces get a buffer of
 * their own, the last few of which are kept alive for the same reason.
 */
import { decodePath, encodePath } from "../base/path_text.ts";

const RING = 64 * 1024;
const LARGE = 8 * 1024;

const encoder = new TextEncoder();

let ring: Uint8Array<ArrayBuffer> | undefined;
let base = 0;
let used = 0;
const large: Uint8Array[] = [];

/** Address of a buffer's first byte. The buffer must stay referenced as long as the address is used. */
export function addressOf(buffer: Uint8Array): number {
  // user space ends at 2^47 (2^48 on arm64): a double holds every address exactly
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer as Uint8Array<ArrayBuffer>)));
}

/** A piece of memory with its address. */
export interface Block {
  readonly address: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
}

function take(size: number): { address: number; bytes: Uint8Array<ArrayBuffer> } {
  if (size > LARGE) {
    const bytes = new Uint8Array(size);
    large.push(bytes);
    if (large.length > 8) large.shift();
    return { address: addressOf(bytes), bytes };
  }
  if (ring === undefined) {
    ring = new Uint8Array(RING);
    base = addressOf(ring);
  }
  if (used + size > RING) used = 0;
  const start = used;
  used = (used + size + 7) & ~7;
  return { address: base + start, bytes: ring.subarray(start, start + size) };
}

/** `size` zeroed bytes, aligned to 8, valid until the end of the call they are taken for. */
export function block(size: number): Block {
  const { address, bytes } = take(size);
  bytes.fill(0);
  return { address, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/**
 * Address of `text` as a C string, valid until the end of the call it is taken for.
 *
 * @throws {TypeError} when the text holds a NUL: the kernel would see a shorter path than the one that was checked.
 */
export function cString(text: string): number {
  const { address, bytes } = take(cStringSize(text));
  writeCString(bytes, text);
  return address;
}

/** Bytes that are enough for `text` as a C string: a UTF-16 unit needs three at most. */
export const cStringSize = (text: string): number => text.length * 3 + 1;

/** @throws {TypeError} when the text holds a NUL. */
export function writeCString(bytes: Uint8Array, text: string): void {
  if (text.includes("\0")) throw new TypeError(`String holds a NUL: ${JSON.stringify(text)}`);
  // names that are no UTF-8, see base/path_text.ts
  const strange = text.isWellFormed() ? undefined : encodePath(text);
  if (strange) bytes.set(strange);
  const written = strange?.length ?? encoder.encodeInto(text, bytes).written;
  bytes[written] = 0;
}

/** NULL for null. */
export function cStringOrNull(text: string | null): number {
  return text === null ? 0 : cString(text);
}

/** Bytes up to the first NUL, as text. */
export function fromCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodePath(end < 0 ? bytes : bytes.subarray(0, end));
}

/** A `char *[]` with its strings behind it in one buffer; keep the answer referenced while the kernel reads it. */
export function cStringArray(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const encoded = encodeStrings(texts);
  const memory = new Uint8Array(stringArraySize(encoded));
  writeStringArray(memory, addressOf(memory), encoded);
  return memory;
}

/** Address of a `char *[]`, valid until the end of the call it is taken for. */
export function heldStringArray(texts: readonly string[]): number {
  const encoded = encodeStrings(texts);
  const { address, bytes } = take(stringArraySize(encoded));
  writeStringArray(bytes, address, encoded);
  return address;
}

/** @throws {TypeError} when a text holds a NUL. */
export function encodeStrings(texts: readonly string[]): Uint8Array[] {
  return texts.map((text) => {
    if (text.includes("\0")) throw new TypeError(`String holds a NUL: ${JSON.stringify(text)}`);
    return encoder.encode(text);
  });
}

/** Bytes that the array and its strings take together. */
export function stringArraySize(encoded: readonly Uint8Array[]): number {
  return encoded.reduce((sum, bytes) => sum + bytes.length + 1, (encoded.length + 1) * 8);
}

/** Writes the pointers, NULL, and the strings to `memory`, which the kernel sees at `address`. */
export function writeStringArray(
  memory: Uint8Array<ArrayBuffer>,
  address: number,
  encoded: readonly Uint8Array[],
): void {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  let offset = (encoded.length + 1) * 8;
  for (const [index, bytes] of encoded.entries()) {
    view.setBigUint64(index * 8, BigInt(address + offset), true);
    memory.set(bytes, offset);
    memory[offset + bytes.length] = 0;
    offset += bytes.length + 1;
  }
  view.setBigUint64(encoded.length * 8, 0n, true);
}
