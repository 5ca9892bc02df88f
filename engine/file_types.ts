import type { PathStat } from "../fs/tree_job.ts";

/** The part of the engine that is about the files of containers. `id` as in `Engine`. */
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
}
