import type { TreeThreads } from "../fs/tree_threads.ts";
import { exportContainer, readArchive, statArchive, writeArchive } from "./archive.ts";
import { containerChanges } from "./changes.ts";
import type { EngineContext } from "./context.ts";
import type { FileOperations } from "./file_types.ts";

/** The part of the engine that is about the files of containers. */
export function fileOperations(ctx: EngineContext, threads: TreeThreads): FileOperations {
  const find = (id: string) => ctx.containers.find(id);
  return {
    archiveStat: async (id, path) => await statArchive(ctx, threads, find(id), id, path),
    archiveRead: async (id, path) => await readArchive(ctx, threads, find(id), id, path),
    archiveWrite: async (id, path, options, input, signal) =>
      await writeArchive(ctx, threads, find(id), id, path, options, input, signal),
    exportContainer: async (id) => await exportContainer(ctx, threads, find(id)),
    changes: async (id) => await containerChanges(ctx, threads, find(id)),
  };
}
