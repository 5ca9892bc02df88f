/**
 * A set of addresses of one family as few ranges, written `172.17.0.0-172.17.0.5`. Addresses are handed out from below, so
 * that a network of thousands of containers still is a handful of ranges, and an IPv6 /64 is not larger than a /24.
 */
import { addressFromValue, type Family, formatAddress, parseAddress } from "../base/address.ts";

/** First and last address, both in the set. */
export type Range = readonly [first: bigint, last: bigint];

/** Reads what `formatRanges` wrote. @throws {EngineError} invalid */
export function parseRanges(texts: readonly string[]): Range[] {
  return texts.map((text): Range => {
    const [first = "", last = first] = text.split("-");
    return [parseAddress(first).value, parseAddress(last).value];
  });
}

/** Texts of the ranges, in order. */
export function formatRanges(family: Family, ranges: readonly Range[]): string[] {
  const text = (value: bigint) => formatAddress(addressFromValue(family, value));
  return ranges.map(([first, last]) => first === last ? text(first) : `${text(first)}-${text(last)}`);
}

/** The set with one more address; undefined when it was in the set. */
export function withValue(ranges: readonly Range[], value: bigint): Range[] | undefined {
  // Ranges are ascending and never touch each other, so that equal sets have equal texts.
  const index = ranges.findIndex(([, last]) => last >= value);
  const at = index < 0 ? ranges.length : index;
  const next = ranges[at];
  if (next && next[0] <= value) return undefined;
  const before = ranges[at - 1];
  const joinsBefore = before !== undefined && before[1] === value - 1n;
  const joinsNext = next !== undefined && next[0] === value + 1n;
  const joined: Range = [joinsBefore ? before[0] : value, joinsNext ? next[1] : value];
  return [...ranges.slice(0, joinsBefore ? at - 1 : at), joined, ...ranges.slice(joinsNext ? at + 1 : at)];
}

/** The set without the address; the same set when it was not in it. */
export function withoutValue(ranges: readonly Range[], value: bigint): Range[] {
  return ranges.flatMap(([first, last]): Range[] => {
    if (value < first || value > last) return [[first, last]];
    const left: Range[] = first < value ? [[first, value - 1n]] : [];
    const right: Range[] = value < last ? [[value + 1n, last]] : [];
    return [...left, ...right];
  });
}

/** The lowest value from `first` to `last` that is not in the set; undefined when all are. */
export function firstMissing(ranges: readonly Range[], first: bigint, last: bigint): bigint | undefined {
  let candidate = first;
  for (const [start, end] of ranges) {
    if (start > candidate) break;
    if (end >= candidate) candidate = end + 1n;
  }
  return candidate <= last ? candidate : undefined;
}

/** How many values from `first` to `last` are in the set. */
export function countWithin(ranges: readonly Range[], first: bigint, last: bigint): bigint {
  let count = 0n;
  for (const [start, end] of ranges) {
    const low = start > first ? start : first;
    const high = end < last ? end : last;
    if (low <= high) count += high - low + 1n;
  }
  return count;
}
