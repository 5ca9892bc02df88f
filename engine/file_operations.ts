import type { TreeThreads } from "../fs/tree_threads.ts";
import type { ImageStore } from "../image/image_store.ts";
import { exportContainer, readArchive, statArchive, writeArchive } from "./archive.ts";
import { containerChanges } from "./changes.ts";
import { commitContainer } from "./commit.ts";
import type { EngineContext } from "./context.ts";
import { diskUsage } from "./disk_usage.ts";
import { imageEvent } from "./image_events.ts";
import { packLayers } from "./image_packing.ts";
import type { FileOperations } from "./file_types.ts";
import { pruneContainers, pruneImages } from "./prune.ts";

/** The part of the engine that is about the files of containers. */
export function fileOperations(
  ctx: EngineContext,
  images: ImageStore,
  threads: TreeThreads,
): FileOperations {
  const find = (id: string) => ctx.containers.find(id);
  return {
    archiveStat: async (id, path) => await statArchive(ctx, threads, find(id), id, path),
    archiveRead: async (id, path) => await readArchive(ctx, threads, find(id), id, path),
    archiveWrite: async (id, path, options, input, signal) =>
      await writeArchive(ctx, threads, find(id), id, path, options, input, signal),
    exportContainer: async (id) => await exportContainer(ctx, threads, find(id)),
    changes: async (id) => await containerChanges(ctx, threads, find(id)),
    commit: async (id, request) => await commitContainer(ctx, images, threads, find(id), request),
    imageSave: async (names, platform, as) => {
      const { images: saved, chunks } = await images.save(
        names,
        platform,
        (image) => packLayers(ctx, images, image),
        as,
      );
      for (const id of saved) imageEvent(ctx, "save", id);
      return chunks;
    },
    diskUsage: async (objects) => await diskUsage(ctx, images, objects),
    pruneContainers: async (filters, signal) => await pruneContainers(ctx, filters, signal),
    pruneImages: async (filters, signal) => await pruneImages(ctx, images, filters, signal),
  };
}
