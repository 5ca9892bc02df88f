import { HOST_IMAGE } from "../image/host_image.ts";
import type { ImageStore } from "../image/image_store.ts";
import type { CacheRecord } from "./build/types.ts";
import { usersOf } from "./container_volumes.ts";
import type { EngineContext } from "./context.ts";
import { imagesOf } from "./image_mounts.ts";
import type { DiskUsageObject } from "./file_types.ts";
import { imageListView } from "./image_views.ts";
import { listView } from "./views.ts";
import { volumeUsage, volumeView } from "./volumes.ts";

/**
 * `GET /system/df`: bytes are those of the files, each layer counted once. An image is what it has on disk: unpacked layers,
 * and the bytes they came as, which are kept for `push` and `save`. `ImageUsage` is from version 1.52 of the API: what clients of
 * older versions compute takes layers that two used images share for reclaimable.
 */
export async function diskUsage(
  ctx: EngineContext,
  images: ImageStore,
  objects: ReadonlySet<DiskUsageObject>,
): Promise<Record<string, unknown>> {
  const view: Record<string, unknown> = {};
  const containers = ctx.containers.all();
  if (objects.has("image")) {
    const usage = images.usage();
    const list = images.list();
    const users = (id: string) => containers.filter(({ record }) => imagesOf(record).includes(id)).length;
    // berth/host is part of berth: prune leaves it
    const kept = list.filter(({ id, repoTags }) => users(id) > 0 || repoTags.includes(HOST_IMAGE));
    view["LayersSize"] = usage.total;
    view["Images"] = list.map((image) => {
      const { size, shared } = usage.image(image.id);
      return {
        ...imageListView(image, users(image.id)),
        Size: size,
        VirtualSize: size,
        SharedSize: shared,
      };
    });
    view["ImageUsage"] = {
      ActiveCount: list.filter(({ id }) => users(id) > 0).length,
      TotalCount: list.length,
      TotalSize: usage.total,
      Reclaimable: usage.total - usage.of(kept.map(({ id }) => id)),
    };
  }
  if (objects.has("container")) {
    view["Containers"] = await Promise.all(containers.map(async ({ record }) => {
      const sizeRw = await ctx.driver.usage(record.id);
      return listView(record, { sizeRw, sizeRootFs: sizeRw + imageSize(images, record.imageId) });
    }));
  }
  if (objects.has("volume")) {
    view["Volumes"] = await Promise.all(
      ctx.volumes.all().map(async (record) => ({
        ...volumeView(ctx, record),
        UsageData: { RefCount: usersOf(ctx, record.name).length, Size: await volumeUsage(ctx, record) },
      })),
    );
  }
  return view;
}

function imageSize(images: ImageStore, id: string): number {
  try {
    return images.getForContainer(id).size;
  } catch {
    return 0;
  }
}

/** The build cache's part of `GET /system/df`. `BuildCacheUsage` is, like `ImageUsage`, from version 1.52 of the API. */
export function buildCacheUsage(records: readonly CacheRecord[]): Record<string, unknown> {
  const sizeOf = (some: readonly CacheRecord[]) => some.reduce((sum, { size }) => sum + size, 0);
  // what an image has too is counted there
  const total = sizeOf(records.filter(({ shared }) => !shared));
  return {
    BuildCache: records.map((record) => ({
      ID: record.id,
      ...(record.parents.length === 0 ? {} : { Parents: record.parents }),
      Type: record.type,
      Description: record.description,
      InUse: record.inUse,
      Shared: record.shared,
      Size: record.size,
      CreatedAt: record.createdAt,
      LastUsedAt: record.lastUsedAt ?? null,
      UsageCount: record.usageCount,
    })),
    BuilderSize: total,
    BuildCacheUsage: {
      ActiveCount: records.filter(({ inUse }) => inUse).length,
      TotalCount: records.length,
      TotalSize: total,
      Reclaimable: total - sizeOf(records.filter(({ inUse, shared }) => inUse && !shared)),
    },
  };
}
