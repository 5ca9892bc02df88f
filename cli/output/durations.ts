/** Durations and times as Go and Docker's command line write and read them. */
import { goDuration } from "../../base/go_duration.ts";

/** "About a minute", "3 hours", "2 weeks": go-units' HumanDuration, which `ps` and `images` show. */
export function humanDuration(seconds: number): string {
  const s = Math.trunc(seconds);
  if (s < 1) return "Less than a second";
  if (s === 1) return "1 second";
  if (s < 60) return `${s} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(seconds / 3600 / 24 / 365)} years`;
}

const pad = (n: number, width = 2): string => String(n).padStart(width, "0");

/** Go's `time.Time.String()` of a moment in the local zone: "2024-05-01 12:00:00 +0200 CEST". */
export function goTimeString(epochSeconds: number): string {
  const date = new Date(epochSeconds * 1000);
  const minutes = -date.getTimezoneOffset();
  const offset = `${minutes < 0 ? "-" : "+"}${pad(Math.trunc(Math.abs(minutes) / 60))}${
    pad(Math.abs(minutes) % 60)
  }`;
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())} ${offset} ${
      zoneName(date, offset)
    }`;
}

/** Go's `time.Time.String()` of a time in RFC 3339, in that time's own zone: "2024-05-01 12:00:00.5 +0000 UTC". */
export function goTimeOf(rfc3339: string): string {
  const match = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.exec(rfc3339);
  if (!match) return rfc3339;
  const [, day = "", time = "", fraction = "", zone = ""] = match;
  const offset = zone === "Z" ? "+0000" : zone.replace(":", "");
  const date = new Date(rfc3339);
  const local = -date.getTimezoneOffset();
  const given = Number(`${offset[0]}1`) * (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(3)));
  const name = zone === "Z" ? "UTC" : local === given ? zoneName(date, offset) : offset;
  return `${day} ${time}${fraction.replace(/\.?0+$/, "")} ${offset} ${name}`;
}

/** Abbreviation of the local zone, or its offset where it has none ("+03"), as Go shows it. */
function zoneName(date: Date, offset: string): string {
  if (offset === "+0000") return "UTC";
  const part = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(date)
    .find((p) => p.type === "timeZoneName")?.value ?? offset;
  return part.startsWith("GMT") ? offset.replace(/00$/, "") : part;
}

/** RFC 3339 in the local zone with nine digits, as `docker events` prints times. */
export function rfc3339Nano(epochNs: bigint): string {
  const seconds = Number(epochNs / 1_000_000_000n);
  const nanos = String(epochNs % 1_000_000_000n).padStart(9, "0");
  const date = new Date(seconds * 1000);
  const minutes = -date.getTimezoneOffset();
  const zone = minutes === 0
    ? "Z"
    : `${minutes < 0 ? "-" : "+"}${pad(Math.trunc(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}T` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${nanos}${zone}`;
}

/**
 * What `--since` and `--until` send: seconds since 1970 with up to nine decimals. Takes a duration before now ("10m"),
 * an RFC 3339 time with or without its parts ("2024-05-01T10:00", local when it names no zone), or a Unix time.
 *
 * @throws Error with docker's text when it is none of them.
 */
export function apiTimestamp(text: string, now: Date = new Date()): string {
  // "0" is the beginning of time, although it is a duration as well.
  if (text !== "0" && /^[+-]?(\d|\.)/.test(text)) {
    try {
      return ((now.getTime() * 1e6 - goDuration(text)) / 1e9).toFixed(9).replace(/\.?0+$/, "");
    } catch {
      // Not a duration: a time, then.
    }
  }
  const match =
    /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:\d{2})?$/.exec(
      text,
    );
  if (match) {
    const [, day, hour = "00", minute = "00", second = "00", fraction = "", zone = ""] = match;
    const millis = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`);
    if (Number.isNaN(millis)) throw new Error(`parsing time ${JSON.stringify(text)}: out of range`);
    return `${Math.trunc(millis / 1000)}.${fraction.padEnd(9, "0")}`;
  }
  if (/^\d+(\.\d{1,9})?$/.test(text)) return text;
  throw new Error(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
}
