import { concat } from "../concat.ts";
import { decodePath, encodePath } from "../path_text.ts";
import { TarError, type TarTime } from "./entry.ts";

/** Records of a PAX extended header in order; a key may come twice (GNU.sparse.offset does). Values are bytes. */
export type PaxRecords = readonly (readonly [key: string, value: Uint8Array])[];

export const XATTR_PREFIX = "SCHILY.xattr.";

/**
 * Parses `LENGTH KEY=VALUE\n` records.
 *
 * @throws {TarError} when a record does not add up.
 */
export function parsePax(payload: Uint8Array): PaxRecords {
  const records: [string, Uint8Array][] = [];
  let at = 0;
  while (at < payload.length) {
    // some writers fill the payload with NULs
    if (payload[at] === 0) break;
    const space = payload.indexOf(0x20, at);
    const length = space < 0 || space - at > 10 ? NaN : decimal(payload.subarray(at, space));
    const end = at + length;
    const equals = Number.isNaN(length) ? -1 : payload.indexOf(0x3d, space);
    if (!(end <= payload.length) || equals < 0 || equals >= end || payload[end - 1] !== 0x0a) {
      throw new TarError("invalid tar header: malformed PAX record");
    }
    const key = decodePath(payload.subarray(space + 1, equals));
    const value = payload.subarray(equals + 1, end - 1);
    if (key === "" || (value.includes(0) && !key.startsWith(XATTR_PREFIX))) {
      throw new TarError("invalid tar header: malformed PAX record");
    }
    records.push([key, value]);
    at = end;
  }
  return records;
}

/** The payload of an extended header; the inverse of {@link parsePax}. */
export function formatPax(records: PaxRecords): Uint8Array<ArrayBuffer> {
  return concat(records.flatMap(([key, value]) => {
    const head = encodePath(`${key}=`);
    // the length counts its own digits
    const rest = 1 + head.length + value.length + 1;
    let length = rest + String(rest).length;
    if (String(length).length !== String(rest).length) length = rest + String(length).length;
    return [encodePath(`${length} `), head, value, new Uint8Array([0x0a])];
  }));
}

/** A decimal number in a record; NaN when it is none. */
export function decimal(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes) {
    if (byte < 48 || byte > 57) return NaN;
    value = value * 10 + byte - 48;
  }
  return bytes.length === 0 ? NaN : value;
}

/** `-1.5` is [-2, 500_000_000]. Undefined when it is no number. */
export function parsePaxTime(text: string): TarTime | undefined {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) return undefined;
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] !== "-") return [seconds, nanoseconds];
  return nanoseconds === 0 ? [-seconds, 0] : [-seconds - 1, 1_000_000_000 - nanoseconds];
}

export function formatPaxTime([seconds, nanoseconds]: TarTime): string {
  if (nanoseconds === 0) return String(seconds);
  if (seconds >= 0) return `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
  return `-${-seconds - 1}.${String(1_000_000_000 - nanoseconds).padStart(9, "0")}`;
}
