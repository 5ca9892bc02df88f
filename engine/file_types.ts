import type { Platform } from "../image/platform.ts";
import type { PathStat } from "../fs/tree_job.ts";
import type { ContainerConfig, Filters } from "./types.ts";

export interface CommitRequest {
  /** Name of the new image, "name:tag". */
  readonly reference: string | undefined;
  readonly comment: string | undefined;
  readonly author: string | undefined;
  /** Lines of a Dockerfile. */
  readonly changes: readonly string[];
  /** Settings of the image that differ from the container's. */
  readonly config: ContainerConfig | undefined;
  /** Nothing in the container moves meanwhile. */
  readonly pause: boolean;
}

export type DiskUsageObject = "container" | "image" | "volume" | "build-cache";

/** The part of the engine that is about files: of containers, and of images that are given away; and about what may go. `id` as in `Engine`. */
export interface FileOperations {
  archiveStat(id: string, path: string): Promise<PathStat>;
  /** A tar archive of a path. Whoever gets the answer reads the chunks to their end or leaves their loop. */
  archiveRead(id: string, path: string): Promise<{ stat: PathStat; chunks: AsyncIterable<Uint8Array> }>;
  /** Unpacks a tar archive, compressed or not, into an existing directory. */
  archiveWrite(
    id: string,
    path: string,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
    input: ReadableStream<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  /** The whole tree as a tar archive; to be read like {@link archiveRead}. */
  exportContainer(id: string): Promise<AsyncIterable<Uint8Array>>;
  /** Kind: 0 modified, 1 added, 2 deleted. */
  changes(id: string): Promise<{ Path: string; Kind: number }[]>;
  commit(id: string, request: CommitRequest): Promise<{ Id: string }>;
  /**
   * Images as one archive; to be read like {@link archiveRead}. A name without a tag is all tags of its repository.
   * @param platform refused when one of them is for another.
   * @param as names that the archive gives to the images, in place of their own.
   */
  imageSave(
    names: readonly string[],
    platform?: Platform,
    as?: readonly string[],
  ): Promise<AsyncIterable<Uint8Array>>;
  diskUsage(objects: ReadonlySet<DiskUsageObject>): Promise<Record<string, unknown>>;
  pruneContainers(filters: Filters, signal: AbortSignal): Promise<Record<string, unknown>>;
  pruneImages(filters: Filters, signal: AbortSignal): Promise<Record<string, unknown>>;
}
