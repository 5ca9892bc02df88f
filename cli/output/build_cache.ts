/** Records of the build cache as lists show them. */

import { goTimeOf, humanDuration } from "./durations.ts";
import type { Row } from "./list_format.ts";
import { humanSizeShort } from "./units.ts";

export interface CacheRecord {
  readonly ID: string;
  readonly Parents?: readonly string[] | null;
  readonly Type?: string;
  readonly Description?: string;
  readonly Size: number;
  readonly CreatedAt: string;
  readonly LastUsedAt?: string | null;
  readonly UsageCount?: number;
  readonly InUse?: boolean;
  readonly Shared?: boolean;
}

const ago = (time: string): string => `${humanDuration((Date.now() - Date.parse(time)) / 1000)} ago`;

/** @param short ids are cut. What a build has in its hands is marked with a star. */
export function cacheRow(record: CacheRecord, short: boolean): Row {
  const cut = (id: string) => short ? id.slice(0, 12) : id;
  const { LastUsedAt: used } = record;
  return {
    ID: () => `${cut(record.ID)}${record.InUse ? "*" : ""}`,
    Parent: () => cut((record.Parents ?? []).join(", ")),
    CacheType: () => record.Type ?? "",
    Description: () => record.Description ?? "",
    Size: () => humanSizeShort(record.Size),
    CreatedAt: () => goTimeOf(record.CreatedAt),
    CreatedSince: () => ago(record.CreatedAt),
    LastUsedAt: () => used ? goTimeOf(used) : "",
    LastUsedSince: () => used ? ago(used) : "",
    UsageCount: () => String(record.UsageCount ?? 0),
    InUse: () => String(record.InUse ?? false),
    Shared: () => String(record.Shared ?? false),
  };
}

/** Bytes of the cache that no image shares. */
export const cacheSize = (records: readonly CacheRecord[]): number =>
  records.reduce((sum, { Size, Shared }) => sum + (Shared ? 0 : Size), 0);

/** In docker's order: what was used longest ago comes first, what was never used before that. */
export function byLastUse(a: CacheRecord, b: CacheRecord): number {
  const time = ({ LastUsedAt }: CacheRecord) => LastUsedAt ? Date.parse(LastUsedAt) : -Infinity;
  const [first, second] = [time(a), time(b)];
  if (first !== second) return first < second ? -1 : 1;
  return a.ID < b.ID ? -1 : a.ID > b.ID ? 1 : 0;
}
