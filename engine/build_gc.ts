/** `builder.gc` of daemon.json: what the build cache may take. Read at the start, whether anything is ever built or not. */
import { parseRamBytes } from "../base/ram_bytes.ts";

/** Bytes; 0: no such bound. */
export interface GcBounds {
  /** Is never taken away. */
  readonly reservedSpace: number;
  readonly maxUsedSpace: number;
  /** Of the disk that the data root is on. */
  readonly minFreeSpace: number;
}

export interface GcRule extends GcBounds {
  /** What images have as well. */
  readonly all: boolean;
  /** Docker's filters of a build prune. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
}

export interface GcSettings {
  readonly enabled: boolean;
  /** In order; empty: one rule with `bounds`. */
  readonly policy: readonly GcRule[];
  /** undefined: the engine's own. */
  readonly bounds: GcBounds | undefined;
}

export const DEFAULT_GC: GcSettings = { enabled: true, policy: [], bounds: undefined };

type Json = Readonly<Record<string, unknown>>;
type Refuse = (problem: string) => Error;

/**
 * The directive `builder`, with dockerd's names and its older ones (moby: daemon/config/builder.go).
 *
 * @param refuse makes the error of what is wrong.
 */
export function gcSettings(value: unknown, refuse: Refuse): GcSettings {
  const builder = objectOf(value, "builder", refuse);
  const gc = objectOf(builder?.["gc"], "builder.gc", refuse);
  if (gc === undefined) return DEFAULT_GC;
  const enabled = boolOf(gc["enabled"], "builder.gc.enabled", refuse) ?? true;
  const policy = gc["policy"] ?? [];
  if (!Array.isArray(policy)) throw refuse("builder.gc.policy: must be a list");
  const bounds = boundsOf(gc, "builder.gc", {
    reservedSpace: ["defaultReservedSpace", "defaultKeepStorage"],
    maxUsedSpace: ["defaultMaxUsedSpace"],
    minFreeSpace: ["defaultMinFreeSpace"],
  }, refuse);
  return {
    enabled,
    policy: policy.map((rule: unknown, index) => ruleOf(rule, `builder.gc.policy[${index}]`, refuse)),
    bounds: Object.values(bounds).every((bytes) => bytes === 0) ? undefined : bounds,
  };
}

function ruleOf(value: unknown, where: string, refuse: Refuse): GcRule {
  const rule = objectOf(value, where, refuse) ?? {};
  const filter = rule["filter"] ?? [];
  if (!Array.isArray(filter) || !filter.every((one) => typeof one === "string")) {
    throw refuse(`${where}.filter: must be a list of strings`);
  }
  const filters: Record<string, string[]> = {};
  for (const one of filter) {
    const [, name, wanted] = /^([^=]+)=(.*)$/.exec(one) ?? [];
    if (name === undefined || wanted === undefined) {
      throw refuse(`${where}.filter: invalid filter '${one}': must be name=value`);
    }
    (filters[name] ??= []).push(wanted);
  }
  return {
    all: boolOf(rule["all"], `${where}.all`, refuse) ?? false,
    filters,
    ...boundsOf(rule, where, {
      reservedSpace: ["reservedSpace", "keepStorage"],
      maxUsedSpace: ["maxUsedSpace"],
      minFreeSpace: ["minFreeSpace"],
    }, refuse),
  };
}

function boundsOf(
  from: Json,
  where: string,
  names: Readonly<Record<keyof GcBounds, readonly string[]>>,
  refuse: Refuse,
): GcBounds {
  const sizeOf = (keys: readonly string[]) => {
    const key = keys.find((one) => from[one] !== undefined && from[one] !== "");
    if (key === undefined) return 0;
    const value = from[key];
    const bytes = typeof value === "number" ? value : parseRamBytes(String(value));
    if (bytes === undefined || !Number.isSafeInteger(bytes) || bytes < 0) {
      throw refuse(`${where}.${key}: invalid size: '${value}'`);
    }
    return bytes;
  };
  return {
    reservedSpace: sizeOf(names.reservedSpace),
    maxUsedSpace: sizeOf(names.maxUsedSpace),
    minFreeSpace: sizeOf(names.minFreeSpace),
  };
}

function objectOf(value: unknown, where: string, refuse: Refuse): Json | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) throw refuse(`${where}: must be an object`);
  return value as Json;
}

function boolOf(value: unknown, where: string, refuse: Refuse): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "boolean") throw refuse(`${where}: must be true or false`);
  return value;
}

/**
 * How much of the cache may stay. As in BuildKit, a rule without any bound keeps nothing, and what is reserved wins over everything else.
 *
 * @param used bytes of the cache; `free`: of the disk.
 * @returns undefined: all of it.
 */
export function bytesToKeep(
  { reservedSpace, maxUsedSpace, minFreeSpace }: GcBounds,
  { used, free }: { readonly used: number; readonly free: number },
): number | undefined {
  if (reservedSpace === 0 && maxUsedSpace === 0 && minFreeSpace === 0) return 0;
  const missing = Math.max(0, minFreeSpace - free);
  let keep = maxUsedSpace === 0 ? undefined : maxUsedSpace;
  if (missing > 0) keep = Math.max(0, Math.min(keep ?? Infinity, used - missing));
  else if (keep === undefined && minFreeSpace > 0) return undefined;
  const most = Math.max(keep ?? 0, reservedSpace);
  return most >= used ? undefined : most;
}
