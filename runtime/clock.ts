/**
 * Wall-clock time with microseconds. Date.now() knows milliseconds only; the monotonic clock refines it, and is set
 * anew when the two have drifted apart (the clock was set, the machine slept).
 */
let offset = Date.now() - performance.now();

/** RFC 3339 with up to nine digits and no trailing zeros, UTC: Go's time.RFC3339Nano. */
export function timestamp(): string {
  const coarse = Date.now();
  let now = offset + performance.now();
  if (now < coarse - 2 || now > coarse + 3) {
    offset = coarse - performance.now();
    now = coarse;
  }
  return formatTime(now);
}

/** @param ms milliseconds since the epoch, with a fraction */
export function formatTime(ms: number): string {
  const whole = Math.floor(ms / 1000);
  const micros = Math.min(999_999, Math.floor((ms - whole * 1000) * 1000));
  const seconds = new Date(whole * 1000).toISOString().slice(0, 19);
  const fraction = String(micros).padStart(6, "0").replace(/0+$/, "");
  return fraction === "" ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}
