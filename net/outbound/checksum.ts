/** The checksum of IP, TCP, UDP and ICMP (RFC 1071): the one's complement of the one's complement sum of all 16-bit words. */

/** Adds the words of `bytes[start, end)` to `sum`; an odd last byte counts as the upper half of a word. Up to 64 KiB, unfolded. */
export function addWords(sum: number, bytes: Uint8Array, start: number, end: number): number {
  // all numbers stay far below 2^31: 32,768 words are less than 2^31 together
  let at = start;
  let total = 0;
  for (; at + 7 < end; at += 8) {
    total += ((bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0)) +
      ((bytes[at + 2] ?? 0) << 8 | (bytes[at + 3] ?? 0)) +
      ((bytes[at + 4] ?? 0) << 8 | (bytes[at + 5] ?? 0)) + ((bytes[at + 6] ?? 0) << 8 | (bytes[at + 7] ?? 0));
  }
  for (; at + 1 < end; at += 2) total += (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
  if (at < end) total += (bytes[at] ?? 0) << 8;
  return sum + total;
}

/** What belongs into the header's field, for a sum that was made while the field was zero. */
export function checksumOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** Sums to this, the field included, when nothing was damaged. */
export const isIntact = (sum: number): boolean => checksumOf(sum) === 0;
