/**
 * IPv4 and IPv6 addresses and prefixes as values: read as strictly as Go's net/netip reads them (no octets with
 * leading zeros, no short forms), written in RFC 5952's form. Docker's clients see the texts and the errors.
 */
import { invalid } from "./errors.ts";

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** The address as a number, the first byte the most significant one. */
  readonly value: bigint;
  /** Of a link-local address: the interface; empty for all others. */
  readonly zone: string;
}

/** An address and how many of its leading bits are the network's. The address may have bits beyond them. */
export interface Prefix {
  readonly address: Address;
  readonly bits: number;
}

/** 32 or 128. */
export const bitLength = (family: Family): number => family === 4 ? 32 : 128;

const addressOf = (family: Family, value: bigint, zone = ""): Address => ({ family, value, zone });

/** The largest value of an address of the family. */
const lastValue = (family: Family): bigint => (1n << BigInt(bitLength(family))) - 1n;

/** Go's `ParseAddr("…"): what is wrong`. */
function unreadable(text: string, what: string, at?: string): Error {
  const where = at === undefined ? "" : ` (at ${JSON.stringify(at)})`;
  return invalid(`ParseAddr(${JSON.stringify(text)}): ${what}${where}`);
}

/**
 * Reads `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0` or `::ffff:192.0.2.1`.
 * @throws {EngineError} invalid, with the text of Go's netip.ParseAddr
 */
export function parseAddress(text: string): Address {
  const first = /[.:%]/.exec(text)?.[0];
  if (first === ".") return addressOf(4, parseQuad(text, text));
  if (first === ":") return parseV6(text);
  throw unreadable(text, first === "%" ? "missing IPv6 address" : "unable to parse IP");
}

/** As `parseAddress`; undefined for what is no address. */
export function tryParseAddress(text: string): Address | undefined {
  try {
    return parseAddress(text);
  } catch {
    return undefined;
  }
}

/** Four decimal octets; `whole` is the text that is named in errors. */
function parseQuad(quad: string, whole: string): bigint {
  const octets = quad.split(".");
  let value = 0n;
  for (const [index, octet] of octets.entries()) {
    const odd = octet.search(/[^0-9]/);
    const start = octets.slice(0, index).join(".").length + (index > 0 ? 1 : 0);
    if (odd >= 0) throw unreadable(whole, "unexpected character", quad.slice(start + odd));
    if (octet === "") {
      const at = quad.slice(index === octets.length - 1 ? start - 1 : start);
      throw unreadable(whole, "IPv4 field must have at least one digit", at);
    }
    if (octet.length > 1 && octet.startsWith("0")) {
      throw unreadable(whole, "IPv4 field has octet with leading zero");
    }
    if (octet.length > 3 || Number(octet) > 255) throw unreadable(whole, "IPv4 field has value >255");
    if (index > 3) throw unreadable(whole, "IPv4 address too long");
    value = value << 8n | BigInt(octet);
  }
  if (octets.length < 4) throw unreadable(whole, "IPv4 address too short");
  return value;
}

function parseV6(text: string): Address {
  const percent = text.indexOf("%");
  const zone = percent < 0 ? "" : text.slice(percent + 1);
  if (percent >= 0 && zone === "") throw unreadable(text, "zone must be a non-empty string");
  const body = percent < 0 ? text : text.slice(0, percent);
  const halves = body.split("::");
  if (halves.length > 2 || body.includes(":::")) throw unreadable(text, "multiple :: in address");
  const [head = [], tail = []] = halves.map((half, index) =>
    fieldsOf(half, text, index === halves.length - 1)
  );
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 && missing > 0) throw unreadable(text, "address string too short");
  if (missing < 0) throw unreadable(text, "trailing garbage after address");
  if (halves.length === 2 && missing === 0) {
    throw unreadable(text, "the :: must expand to at least one field of zeros");
  }
  const fields = [...head, ...new Array<number>(halves.length === 2 ? missing : 0).fill(0), ...tail];
  return addressOf(6, fields.reduce((value, field) => value << 16n | BigInt(field), 0n), zone);
}

/** The 16-bit fields of one side of `::`. The very last one of an address may be an IPv4 address: two fields. */
function fieldsOf(half: string, whole: string, last: boolean): number[] {
  if (half === "") return [];
  const texts = half.split(":");
  return texts.flatMap((field, index) => {
    if (field.includes(".")) {
      if (!last || index !== texts.length - 1) {
        throw unreadable(
          whole,
          "embedded IPv4 address must replace the final 2 fields of the address",
          field,
        );
      }
      const quad = Number(parseQuad(field, whole));
      return [quad >>> 16, quad & 0xffff];
    }
    const rest = texts.slice(index).join(":");
    if (field === "") {
      if (index === texts.length - 1 && index > 0) {
        throw unreadable(whole, "colon must be followed by more characters", ":");
      }
      throw unreadable(whole, "each colon-separated field must have at least one digit", rest);
    }
    const odd = field.search(/[^0-9a-fA-F]/);
    if (odd === 0) {
      throw unreadable(whole, "each colon-separated field must have at least one digit", rest);
    }
    if (odd > 0) throw unreadable(whole, "unexpected character, want colon", rest.slice(odd));
    if (field.length > 4) throw unreadable(whole, "each group must have 4 or fewer digits", rest);
    return [parseInt(field, 16)];
  });
}

/** RFC 5952: lower case, the first longest run of two or more zero fields as `::`, IPv4-mapped addresses with dots. */
export function formatAddress(address: Address): string {
  if (address.family === 4) return quadText(address.value);
  const zone = address.zone === "" ? "" : `%${address.zone}`;
  if (isMapped(address)) return `::ffff:${quadText(address.value & 0xffff_ffffn)}${zone}`;
  const fields = Array.from({ length: 8 }, (_, i) => Number(address.value >> BigInt(112 - 16 * i) & 0xffffn));
  let [start, length] = [-1, 1];
  for (let i = 0; i < 8;) {
    let end = i;
    while (end < 8 && fields[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    i = end + 1;
  }
  const hex = (part: number[]) => part.map((field) => field.toString(16)).join(":");
  if (start < 0) return hex(fields) + zone;
  return `${hex(fields.slice(0, start))}::${hex(fields.slice(start + length))}${zone}`;
}

const quadText = (value: bigint): string =>
  [24n, 16n, 8n, 0n].map((shift) => value >> shift & 0xffn).join(".");

/** Is it an IPv4 address written as IPv6, `::ffff:192.0.2.1`? */
export const isMapped = ({ family, value }: Address): boolean => family === 6 && value >> 32n === 0xffffn;

/** The IPv4 address of an IPv4-mapped one; every other address as it is. */
export const unmapAddress = (address: Address): Address =>
  isMapped(address) ? addressOf(4, address.value & 0xffff_ffffn) : address;

/** Is it 0.0.0.0 or `::`? */
export const isUnspecified = ({ value }: Address): boolean => value === 0n;

/** 169.254.0.0/16 and fe80::/10, as Go's IsLinkLocalUnicast. */
export const isLinkLocal = ({ family, value }: Address): boolean =>
  family === 4 ? value >> 16n === 0xa9fen : value >> 118n === 0x3fan;

/** 127.0.0.0/8 and ::1. */
export const isLoopback = ({ family, value }: Address): boolean =>
  family === 4 ? value >> 24n === 127n : value === 1n;

/** 224.0.0.0/4 and ff00::/8. */
export const isMulticast = ({ family, value }: Address): boolean =>
  family === 4 ? value >> 28n === 0xen : value >> 120n === 0xffn;

/** Negative, zero or positive; all IPv4 addresses come before IPv6. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.zone === b.zone ? 0 : a.zone < b.zone ? -1 : 1;
}

/** The address `count` further on (back when negative); undefined beyond the ends of the family. */
export function addressAfter(address: Address, count: bigint | number = 1): Address | undefined {
  const value = address.value + BigInt(count);
  if (value < 0n || value > lastValue(address.family)) return undefined;
  return addressOf(address.family, value, address.zone);
}

/** The address with this number. @throws {RangeError} outside the family */
export function addressFromValue(family: Family, value: bigint): Address {
  if (value < 0n || value > lastValue(family)) throw new RangeError(`No IPv${family} address: ${value}`);
  return addressOf(family, value);
}

/** 4 or 16 bytes, in network order. */
export function addressBytes({ family, value }: Address): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bitLength(family) / 8);
  for (let i = bytes.length - 1; i >= 0; i--, value >>= 8n) bytes[i] = Number(value & 0xffn);
  return bytes;
}

/** @throws {RangeError} unless there are 4 or 16 bytes */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 4 && bytes.length !== 16) throw new RangeError(`No address: ${bytes.length} bytes`);
  const value = bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
  return addressOf(bytes.length === 4 ? 4 : 6, value);
}
