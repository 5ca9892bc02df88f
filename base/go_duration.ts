/** Durations as Go writes and reads them. */
import { invalid } from "./errors.ts";

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  "µs": 1e3,
  "μs": 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
/** int64: 292 years. */
const LONGEST = 2 ** 63;

/**
 * Go's time.ParseDuration in nanoseconds: "1m30s", "1.5h", "0".
 *
 * @throws {EngineError} invalid, in Go's words.
 */
export function goDuration(text: string): number {
  const [, sign = "", rest = ""] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (rest === "0") return 0;
  if (/^\d+(?:\.\d*)?$/.test(rest)) throw invalid(`time: missing unit in duration ${JSON.stringify(text)}`);
  let total = 0;
  let matched = 0;
  for (const [whole, number = "", unit = ""] of rest.matchAll(/(\d+\.?\d*|\.\d+)([^\d.]+)/g)) {
    const factor = UNITS[unit];
    if (factor === undefined) {
      throw invalid(`time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}`);
    }
    total += Math.round(Number(number) * factor);
    matched += whole.length;
  }
  if (rest === "" || matched !== rest.length || total >= LONGEST) {
    throw invalid(`time: invalid duration ${JSON.stringify(text)}`);
  }
  return sign === "-" ? -total : total;
}

/** Go's time.Duration as text: 90 s is "1m30s", 0 is "0s". */
export function goDurationText(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < 0) return `-${goDurationText(-nanoseconds)}`;
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const hours = Math.floor(nanoseconds / 3600e9);
  const minutes = Math.floor(nanoseconds % 3600e9 / 60e9);
  const seconds = `${Math.round(nanoseconds % 60e9) / 1e9}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
