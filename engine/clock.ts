/** Wall-clock times in Docker's forms. */

let last = 0n;

/**
 * Nanoseconds since the epoch, UTC. Never answers the same value twice and never goes back by less than a second:
 * events and log positions are told apart by it. (A clock that is set back farther than that is believed.)
 */
export function nowNanos(): bigint {
  let now = BigInt(Date.now()) * 1_000_000n;
  if (now <= last && last - now < 1_000_000_000n) now = last + 1n;
  last = now;
  return now;
}

/** `2026-01-02T03:04:05.678901234Z`, Go's RFC3339Nano: trailing zeros of the fraction are cut. */
export function rfc3339Nano(nanos: bigint): string {
  const seconds = new Date(Number(nanos / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = (nanos % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  return fraction === "" ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}

export function nowRfc3339(): string {
  return rfc3339Nano(nowNanos());
}

/** Milliseconds between two RFC 3339 times; 0 when either cannot be read. */
export function millisBetween(from: string, to: string): number {
  const span = Date.parse(to) - Date.parse(from);
  return Number.isFinite(span) ? span : 0;
}
