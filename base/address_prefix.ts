/** Prefixes, `192.0.2.0/24`: what they contain, where they end, which of them overlap. Arithmetic only. */
import { invalid } from "./errors.ts";
import {
  type Address,
  addressFromValue,
  bitLength,
  compareAddresses,
  type Family,
  formatAddress,
  isMapped,
  parseAddress,
  type Prefix,
  unmapAddress,
} from "./address.ts";

function unreadable(text: string, what: string): Error {
  return invalid(`netip.ParsePrefix(${JSON.stringify(text)}): ${what}`);
}

/**
 * Reads an address and a length. Bits beyond the length are kept: `10.1.2.3/8` names an interface's address as well.
 * @throws {EngineError} invalid, with the text of Go's netip.ParsePrefix
 */
export function parsePrefix(text: string): Prefix {
  const slash = text.lastIndexOf("/");
  if (slash < 0) throw unreadable(text, "no '/'");
  let address: Address;
  try {
    address = parseAddress(text.slice(0, slash));
  } catch (error) {
    throw unreadable(text, error instanceof Error ? error.message : String(error));
  }
  if (address.zone !== "") throw unreadable(text, "IPv6 zones cannot be present in a prefix");
  const bits = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]*)$/.test(bits)) {
    throw unreadable(text, `bad bits after slash: ${JSON.stringify(bits)}`);
  }
  if (Number(bits) > bitLength(address.family)) throw unreadable(text, "prefix length out of range");
  return { address, bits: Number(bits) };
}

/** As `parsePrefix`; undefined for what is none. */
export function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}

export const formatPrefix = ({ address, bits }: Prefix): string => `${formatAddress(address)}/${bits}`;

/** `::ffff:10.0.0.0/104` as 10.0.0.0/8; a length shorter than the mapping becomes 0, as in Docker's API. */
export const unmapPrefix = ({ address, bits }: Prefix): Prefix =>
  isMapped(address) ? { address: unmapAddress(address), bits: Math.max(0, bits - 96) } : { address, bits };

/** How many addresses a prefix has. */
export const prefixSize = ({ address, bits }: Prefix): bigint =>
  1n << BigInt(bitLength(address.family) - bits);

/** The prefix without bits beyond its length. */
export function masked(prefix: Prefix): Prefix {
  return { address: firstAddress(prefix), bits: prefix.bits };
}

/** The network's own address. */
export function firstAddress(prefix: Prefix): Address {
  const { family, value } = prefix.address;
  return addressFromValue(family, value - value % prefixSize(prefix));
}

/** The last address; of an IPv4 network the broadcast address. */
export function lastAddress(prefix: Prefix): Address {
  return addressFromValue(prefix.address.family, firstAddress(prefix).value + prefixSize(prefix) - 1n);
}

/** Is the address, of the same family and without a zone, in the prefix? */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.address.family !== address.family || address.zone !== "") return false;
  return firstAddress(prefix).value <= address.value && address.value <= lastAddress(prefix).value;
}

/** Do two prefixes have an address in common? One of them then contains the other. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  const wide = a.bits < b.bits ? a : b;
  return prefixContains(wide, firstAddress(wide === a ? b : a));
}

/** By address, then the wider one first. */
export const comparePrefixes = (a: Prefix, b: Prefix): number =>
  compareAddresses(a.address, b.address) || a.bits - b.bits;

export const samePrefix = (a: Prefix, b: Prefix): boolean => comparePrefixes(a, b) === 0;

/** The prefix of one address: /32 or /128. */
export const hostPrefix = (address: Address): Prefix => ({ address, bits: bitLength(address.family) });

/** An IPv4 prefix length as a mask, `255.255.0.0`. @throws {RangeError} */
export function netmask(bits: number): string {
  if (!(bits >= 0 && bits <= 32)) throw new RangeError(`No IPv4 prefix length: ${bits}`);
  return formatAddress(addressFromValue(4, (1n << 32n) - (1n << BigInt(32 - bits))));
}

/** The prefix of a family that holds all addresses. */
export const everything = (family: Family): Prefix => ({ address: addressFromValue(family, 0n), bits: 0 });
