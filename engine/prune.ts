import { EngineError, invalid } from "../base/errors.ts";
import { HOST_IMAGE } from "../image/host_image.ts";
import type { ImageStore } from "../image/image_store.ts";
import { matchesLabels } from "./container_filters.ts";
import type { EngineContext } from "./context.ts";
import { imageEvent } from "./image_events.ts";
import { parseFilterTime } from "./human_time.ts";
import { removeContainer } from "./remove.ts";
import type { Filters } from "./types.ts";

const running = new Set<string>();

/** One prune at a time for each kind of object, as in Docker. @throws {EngineError} conflict. */
export async function alone<T>(what: string, work: () => Promise<T>): Promise<T> {
  if (running.has(what)) throw new EngineError("conflict", "a prune operation is already running");
  running.add(what);
  try {
    return await work();
  } finally {
    running.delete(what);
  }
}

/** @throws {EngineError} invalid: a filter that is not known. */
export function checkPruneFilters(filters: Filters, known: readonly string[]): void {
  for (const key of filters.keys()) if (!known.includes(key)) throw invalid(`invalid filter '${key}'`);
}

/** Whether something passes `until`, `label` and `label!`. */
export function pruneSelector(
  filters: Filters,
): (createdAt: string, labels: Readonly<Record<string, string>>) => boolean {
  const untils = filters.get("until") ?? [];
  if (untils.length > 1) throw invalid("more than one until filter specified");
  const until = untils[0] === undefined ? Infinity : parseFilterTime(untils[0], Date.now());
  return (createdAt, labels) =>
    Date.parse(createdAt) < until && matchesLabels(filters.get("label") ?? [], labels) &&
    !(filters.get("label!") ?? []).some((label) => matchesLabels([label], labels));
}

/** Removes the containers that do not run. */
export function pruneContainers(
  ctx: EngineContext,
  filters: Filters,
  signal: AbortSignal,
): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
  checkPruneFilters(filters, ["until", "label", "label!"]);
  const selected = pruneSelector(filters);
  return alone("containers", async () => {
    const deleted: string[] = [];
    let reclaimed = 0;
    for (const container of ctx.containers.all()) {
      if (signal.aborted) break;
      const { record } = container;
      if (container.running || record.state.status === "starting" || record.state.status === "removing") {
        continue;
      }
      if (!selected(record.createdAt, record.config.Labels ?? {})) continue;
      const size = await ctx.driver.usage(record.id).catch(() => 0);
      try {
        await removeContainer(ctx, container, { force: false, volumes: false });
      } catch (error) {
        ctx.log.warn("cannot prune container", { id: record.id, error: String(error) });
        continue;
      }
      deleted.push(record.id);
      reclaimed += size;
    }
    ctx.events.publish("container", "prune", "", { reclaimed: String(reclaimed) });
    return { ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed };
  });
}

/** Removes images without names, or (`dangling=false`) all that no container uses. berth/host is part of berth and stays. */
export function pruneImages(
  ctx: EngineContext,
  images: ImageStore,
  filters: Filters,
  signal: AbortSignal,
): Promise<{ ImagesDeleted: Record<string, string>[] | null; SpaceReclaimed: number }> {
  checkPruneFilters(filters, ["dangling", "until", "label", "label!"]);
  const dangling = (filters.get("dangling") ?? []).map((value) => {
    if (!/^(1|0|t|f|true|false)$/i.test(value)) throw invalid(`invalid filter 'dangling=[${value}]'`);
    return /^(1|t|true)$/i.test(value);
  });
  const danglingOnly = dangling.every((value) => value);
  const selected = pruneSelector(filters);
  return alone("images", async () => {
    await images.collected();
    const before = images.usage().total;
    const deleted: Record<string, string>[] = [];
    const inUse = (id: string) => ctx.containers.usesImage(id);
    // children come before their parents, which only then have none
    for (const image of images.list()) {
      if (signal.aborted) break;
      const names = [...image.repoTags, ...image.repoDigests];
      if (inUse(image.id) || image.repoTags.includes(HOST_IMAGE)) continue;
      if (danglingOnly && names.length > 0) continue;
      if (!selected(image.createdAt, image.config.config?.Labels ?? {})) continue;
      for (const name of names.length === 0 ? [image.id] : names) {
        try {
          const items = images.remove(name, { force: false, noPrune: false, inUse: () => [] });
          for (const item of items) {
            if (item.Untagged !== undefined) {
              deleted.push({ Untagged: item.Untagged });
              imageEvent(ctx, "untag", image.id, image.id, image);
            } else if (item.Deleted !== undefined) {
              deleted.push({ Deleted: item.Deleted });
              if (item.Deleted === image.id) {
                imageEvent(ctx, "delete", image.id);
              }
            }
          }
        } catch (error) {
          // it has children, or its last name went with another one
          if (!(error instanceof EngineError && ["conflict", "not-found"].includes(error.kind))) throw error;
        }
      }
      // others have their turn after each image
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await images.collected();
    const reclaimed = Math.max(0, before - images.usage().total);
    ctx.events.publish("image", "prune", "", { reclaimed: String(reclaimed) });
    return { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed };
  });
}
