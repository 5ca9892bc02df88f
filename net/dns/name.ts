/**
 * Domain names (RFC 1035, 3.1 and 4.1.4). In memory a name is its text in lower case without the last dot, "" for the
 * root. A byte that a name of a host would not have is written as `\ddd`, a dot inside a label as `\.` (RFC 4343, 2.1), so
 * that two names are the same exactly when their texts are.
 */

/** A packet that breaks the format. */
export class DnsFormatError extends Error {
  override readonly name = "DnsFormatError";
}

const MAX_NAME = 255;
const MAX_LABEL = 63;
const HEADER = 12;
const POINTER = 0xc0;

const encoder = new TextEncoder();

export interface ReadName {
  readonly name: string;
  /** Offset of what follows the name. */
  readonly end: number;
}

/**
 * The name at `offset`. A pointer must lead before everything that this name has been read from, so it ends after a few.
 *
 * @throws {DnsFormatError}
 */
export function readName(bytes: Uint8Array, offset: number): ReadName {
  const labels: string[] = [];
  let at = offset;
  let limit = offset;
  let end: number | undefined;
  let length = 1;
  for (;;) {
    const size = byteAt(bytes, at);
    if (size === 0) return { name: labels.join("."), end: end ?? at + 1 };
    if ((size & POINTER) === POINTER) {
      const target = pointerTarget(bytes, at, limit);
      end ??= at + 2;
      at = limit = target;
      continue;
    }
    if (size > MAX_LABEL) throw new DnsFormatError(`label type ${size >> 6}`);
    length += size + 1;
    if (length > MAX_NAME) throw new DnsFormatError("name is longer than 255 bytes");
    if (at + 1 + size > bytes.length) throw new DnsFormatError("name is cut");
    labels.push(labelText(bytes.subarray(at + 1, at + 1 + size)));
    at += size + 1;
  }
}

/**
 * Offset of what follows the name at `offset`. The pointer at its end is checked, but not followed, so the work
 * is in proportion to the bytes however many names share a target.
 *
 * @throws {DnsFormatError}
 */
export function skipName(bytes: Uint8Array, offset: number): number {
  let at = offset;
  for (;;) {
    const size = byteAt(bytes, at);
    if (size === 0) return at + 1;
    if ((size & POINTER) === POINTER) {
      pointerTarget(bytes, at, offset);
      return at + 2;
    }
    if (size > MAX_LABEL) throw new DnsFormatError(`label type ${size >> 6}`);
    at += size + 1;
    if (at - offset >= MAX_NAME) throw new DnsFormatError("name is longer than 255 bytes");
  }
}

function byteAt(bytes: Uint8Array, at: number): number {
  const value = bytes[at];
  if (value === undefined) throw new DnsFormatError("name is cut");
  return value;
}

function pointerTarget(bytes: Uint8Array, at: number, limit: number): number {
  const target = (byteAt(bytes, at) & ~POINTER) << 8 | byteAt(bytes, at + 1);
  if (target < HEADER || target >= limit) {
    throw new DnsFormatError("name points forward, to itself or into the header");
  }
  return target;
}

function labelText(label: Uint8Array): string {
  let text = "";
  for (const byte of label) {
    if (byte >= 0x41 && byte <= 0x5a) text += String.fromCharCode(byte + 0x20);
    else if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}

/**
 * The text under which a name of the user's is found (a container's, an alias): each dot separates labels, and a
 * backslash is a character like others. Nothing asks for a name that is too long for a packet, so it may be.
 */
export function nameFromText(text: string): string {
  return text.replace(/\.$/, "").split(".").map((label) => labelText(encoder.encode(label))).join(".");
}

/**
 * The name in wire format, uncompressed.
 *
 * @throws {DnsFormatError} when it does not fit into one.
 */
export function encodeName(name: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  let label: number[] = [];
  const endLabel = () => {
    if (label.length === 0 || label.length > MAX_LABEL) {
      throw new DnsFormatError(`label of ${label.length} bytes`);
    }
    bytes.push(label.length, ...label);
    label = [];
  };
  for (const [part] of name.matchAll(/\\\d{3}|\\.|[^]/g)) {
    if (part === ".") endLabel();
    else if (part.length === 4) label.push(Number(part.slice(1)));
    else label.push(part.charCodeAt(part.length - 1));
  }
  if (name !== "") endLabel();
  bytes.push(0);
  if (bytes.length > MAX_NAME) throw new DnsFormatError("name is longer than 255 bytes");
  return new Uint8Array(bytes);
}
