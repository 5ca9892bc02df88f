/** Operations on volumes, as the API offers them (moby: volume/service). */
import { EngineError, invalid } from "../base/errors.ts";
import { treeSize } from "../fs/container_dirs.ts";
import { matchesLabels, matchesPattern } from "./container_filters.ts";
import { usersOf } from "./container_volumes.ts";
import type { EngineContext } from "./context.ts";
import { alone, checkPruneFilters } from "./prune.ts";
import type { Filters } from "./types.ts";
import { ANONYMOUS_LABEL, type VolumeRecord, type VolumeRequest } from "./volume_record.ts";

type Ctx = Pick<EngineContext, "volumes" | "containers" | "events" | "log">;

/** A volume as the API shows it. */
export interface VolumeView {
  readonly CreatedAt: string;
  readonly Driver: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Mountpoint: string;
  readonly Name: string;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly Scope: "local";
  readonly UsageData?: { readonly RefCount: number; readonly Size: number };
}

/** The part of the engine that is about volumes. */
export interface VolumeOperations {
  volumeCreate(request: VolumeRequest): VolumeView;
  /** @throws {EngineError} not-found. */
  volumeInspect(name: string): VolumeView;
  volumeList(filters: Filters): VolumeView[];
  /** With `force` one that is not there is fine. @throws {EngineError} not-found, conflict. */
  volumeRemove(name: string, force: boolean): Promise<void>;
  pruneVolumes(
    filters: Filters,
    signal: AbortSignal,
  ): Promise<{ VolumesDeleted: string[] | null; SpaceReclaimed: number }>;
}

export function volumeView(ctx: Pick<EngineContext, "volumes">, record: VolumeRecord): VolumeView {
  const { name, driver, labels, options } = record;
  return {
    CreatedAt: `${record.createdAt.slice(0, 19)}Z`,
    Driver: driver,
    Labels: Object.keys(labels).length === 0 ? null : labels,
    Mountpoint: ctx.volumes.path(name),
    Name: name,
    Options: Object.keys(options).length === 0 ? null : options,
    Scope: "local",
  };
}

/** Bytes of a volume's files. One that is a mount of something else has no size, as in Docker. */
export async function volumeUsage(
  ctx: Pick<Ctx, "volumes">,
  { name, options }: VolumeRecord,
): Promise<number> {
  if (Object.keys(options).length > 0) return -1;
  return await treeSize(ctx.volumes.path(name)).catch(() => 0);
}

export function volumeOperations(ctx: Ctx): VolumeOperations {
  const { volumes, events } = ctx;
  const remove = async (name: string) => {
    await volumes.remove(name, usersOf(ctx, name));
    events.publish("volume", "destroy", name, { driver: "local" });
  };
  return {
    volumeCreate(request) {
      const { record, fresh } = volumes.create(request);
      if (fresh) events.publish("volume", "create", record.name, { driver: record.driver });
      return volumeView(ctx, record);
    },
    volumeInspect: (name) => volumeView(ctx, volumes.get(name)),
    volumeList(filters) {
      const selected = selector(ctx, filters);
      return volumes.all().filter(selected).map((record) => volumeView(ctx, record));
    },
    async volumeRemove(name, force) {
      if (force && volumes.find(name) === undefined) return;
      await remove(name);
    },
    pruneVolumes(filters, signal) {
      checkPruneFilters(filters, ["label", "label!", "all"]);
      const all = flagOf(filters, "all") ?? false;
      const labels = filters.get("label") ?? [], without = filters.get("label!") ?? [];
      return alone("volumes", async () => {
        const deleted: string[] = [];
        let reclaimed = 0;
        for (const record of volumes.all()) {
          if (signal.aborted) break;
          // Who has said where a volume's files come from (`-o device=…`) wants to keep it.
          if (Object.keys(record.options).length > 0) continue;
          if (!all && record.labels[ANONYMOUS_LABEL] === undefined) continue;
          if (labels.length > 0 && !matchesLabels(labels, record.labels)) continue;
          if (without.some((label) => matchesLabels([label], record.labels))) continue;
          if (usersOf(ctx, record.name).length > 0) continue;
          const size = await volumeUsage(ctx, record);
          try {
            await remove(record.name);
          } catch (error) {
            // somebody has begun to use it
            if (error instanceof EngineError && ["conflict", "not-found"].includes(error.kind)) continue;
            ctx.log.warn("cannot prune volume", { name: record.name, error: String(error) });
            continue;
          }
          deleted.push(record.name);
          reclaimed += Math.max(0, size);
        }
        events.publish("volume", "prune", "", { reclaimed: String(reclaimed) });
        return { VolumesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed };
      });
    },
  };
}

function flagOf(filters: Filters, key: string): boolean | undefined {
  const values = filters.get(key);
  if (values === undefined || values.length === 0) return undefined;
  const all = values.map((value) => {
    if (/^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw invalid(`invalid filter '${key}=[${values.join(" ")}]'`);
  });
  if (new Set(all).size > 1) throw invalid(`invalid filter '${key}=[${values.join(" ")}]'`);
  return all[0];
}

/** Filters of the list: name (a pattern, which a part of it is too), driver, label, dangling. */
function selector(ctx: Ctx, filters: Filters): (record: VolumeRecord) => boolean {
  checkPruneFilters(filters, ["dangling", "name", "driver", "label"]);
  const names = filters.get("name") ?? [];
  const drivers = filters.get("driver") ?? [];
  const labels = filters.get("label") ?? [];
  const dangling = flagOf(filters, "dangling");
  return (record) =>
    (names.length === 0 || matchesPattern(names, record.name)) &&
    (drivers.length === 0 || drivers.includes(record.driver)) &&
    (labels.length === 0 || matchesLabels(labels, record.labels)) &&
    (dangling === undefined || dangling === (usersOf(ctx, record.name).length === 0));
}
