/** Durations as Docker's lists show them, and times as its filters take them. */
import { invalid } from "../base/errors.ts";

/** A rough duration in words, "3 minutes", "About an hour" (go-units HumanDuration). */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(milliseconds / 60_000);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(milliseconds / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(milliseconds / 3_600_000 / 24 / 365)} years`;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration in Go's form, "1h30m", "1.5s"; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text);
  if (!match) return text === "0" ? 0 : undefined;
  let sum = 0;
  for (const [, number, unit = "s"] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    sum += Number(number) * (UNIT_MS[unit] ?? 0);
  }
  return match[1] === "-" ? -sum : sum;
}

/**
 * Milliseconds since the epoch of a time in a filter: seconds since the epoch (with a fraction), a duration before
 * now, or a date.
 *
 * @throws EngineError invalid.
 */
export function parseFilterTime(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  const date = Date.parse(text);
  if (Number.isNaN(date) || !/^\d{4}-/.test(text)) {
    throw invalid(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
  }
  return date;
}
