/** MessagePack, as much as Fluentd's forward protocol takes to write and to read. */

import { concat } from "../../base/concat.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A moment that Fluentd reads with its nanoseconds: extension type 0. */
export interface EventTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Bytes stand for a string of any encoding, a number for whole seconds since the epoch. */
export type Packable =
  | string
  | Uint8Array
  | number
  | EventTime
  | readonly Packable[]
  | ReadonlyMap<string, Packable>;

const INT32_MAX = 2 ** 31 - 1;

/** Bytes of `value`, in the smallest form of its kind. @throws {RangeError} more than 65,535 entries. */
export function pack(value: Packable): Uint8Array {
  const parts: Uint8Array[] = [];
  append(parts, value);
  return concat(parts);
}

function append(parts: Uint8Array[], value: Packable): void {
  if (typeof value === "string") return appendText(parts, encoder.encode(value));
  if (value instanceof Uint8Array) return appendText(parts, value);
  if (typeof value === "number") {
    const wide = value > INT32_MAX;
    const bytes = new Uint8Array(wide ? 9 : 5);
    const view = new DataView(bytes.buffer);
    bytes[0] = wide ? 0xd3 : 0xd2;
    if (wide) view.setBigInt64(1, BigInt(value));
    else view.setInt32(1, value);
    parts.push(bytes);
  } else if (value instanceof Map) {
    appendCount(parts, value.size, 0x80, 0xde);
    for (const [key, entry] of value) {
      append(parts, key);
      append(parts, entry);
    }
  } else if (Array.isArray(value)) {
    appendCount(parts, value.length, 0x90, 0xdc);
    for (const entry of value) append(parts, entry);
  } else {
    const { seconds, nanoseconds } = value as EventTime;
    const bytes = new Uint8Array(10);
    const view = new DataView(bytes.buffer);
    bytes[0] = 0xd7;
    view.setUint32(2, seconds);
    view.setUint32(6, nanoseconds);
    parts.push(bytes);
  }
}

function appendText(parts: Uint8Array[], text: Uint8Array): void {
  const { length } = text;
  if (length < 32) parts.push(Uint8Array.of(0xa0 | length));
  else if (length < 0x100) parts.push(Uint8Array.of(0xd9, length));
  else if (length < 0x10000) parts.push(Uint8Array.of(0xda, length >> 8, length & 0xff));
  else parts.push(Uint8Array.of(0xdb, length >>> 24, length >> 16 & 0xff, length >> 8 & 0xff, length & 0xff));
  parts.push(text);
}

function appendCount(parts: Uint8Array[], count: number, fixed: number, long: number): void {
  if (count > 0xffff) throw new RangeError(`too many entries for a message: ${count}`);
  parts.push(count < 16 ? Uint8Array.of(fixed | count) : Uint8Array.of(long, count >> 8, count & 0xff));
}

/**
 * Reads one map of strings, which is what a server acknowledges with.
 *
 * @returns the map and how many bytes it took; undefined while it has not come whole.
 * @throws {Error} something else has come.
 */
export function readTextMap(bytes: Uint8Array): { map: Map<string, string>; length: number } | undefined {
  if (bytes.length === 0) return undefined;
  const count = bytes[0] ?? 0;
  if ((count & 0xf0) !== 0x80) throw new Error(`no map of MessagePack: 0x${count.toString(16)}`);
  const texts: string[] = [];
  let at = 1;
  while (texts.length < 2 * (count & 0x0f)) {
    const kind = bytes[at];
    if (kind === undefined) return undefined;
    const lengthBytes = (kind & 0xe0) === 0xa0 ? 0 : kind >= 0xd9 && kind <= 0xdb ? 1 << (kind - 0xd9) : -1;
    if (lengthBytes < 0) throw new Error(`no string of MessagePack: 0x${kind.toString(16)}`);
    if (bytes.length < at + 1 + lengthBytes) return undefined;
    let length = lengthBytes === 0 ? kind & 0x1f : 0;
    for (let i = 1; i <= lengthBytes; i++) length = length * 256 + (bytes[at + i] ?? 0);
    const start = at + 1 + lengthBytes;
    if (bytes.length < start + length) return undefined;
    texts.push(decoder.decode(bytes.subarray(start, start + length)));
    at = start + length;
  }
  const map = new Map<string, string>();
  for (let i = 0; i < texts.length; i += 2) map.set(texts[i] ?? "", texts[i + 1] ?? "");
  return { map, length: at };
}
