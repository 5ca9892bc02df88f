/** COPY, ADD and WORKDIR on trees of files, by the threads of {@link TreeThreads}. */
import type { BuildResults, CopyOptions, CopyResult, CopySource, FileSelection } from "./build_job.ts";
import type { ViewSpec } from "./tree_job.ts";
import type { TreeThreads } from "./tree_threads.ts";

export type { CopyOptions, CopyResult, CopySource, FileSelection, SourceTree } from "./build_job.ts";

/**
 * Digest of what a copy of these files would take, `sha256:…`: what a cache key is made of. Times are no part of it.
 *
 * @throws {EngineError} not-found: `"/nope": not found`
 */
export async function digestFiles(
  threads: TreeThreads,
  selection: FileSelection,
  signal?: AbortSignal,
): Promise<BuildResults["digest"]> {
  return await threads.run({ op: "digest", selection }, signal);
}

/**
 * Copies into a writable view, in BuildKit's way: contents of directories, links in the destination resolved inside its root,
 * missing directories made.
 *
 * @param dest absolute; ends in "/" when it must be a directory.
 * @throws {EngineError} not-found: `"/nope": not found`; invalid: `cannot copy to non-directory: /x`
 */
export async function copyFiles(
  threads: TreeThreads,
  view: ViewSpec,
  dest: string,
  sources: readonly CopySource[],
  options: CopyOptions,
  signal?: AbortSignal,
): Promise<CopyResult> {
  return await threads.run({ op: "copy", view, dest, sources, options }, signal);
}

/** WORKDIR: makes a directory where it is missing; `entries` of the answer is 0 when it was there. */
export async function makeDirectory(
  threads: TreeThreads,
  view: ViewSpec,
  path: string,
  options: CopyOptions,
  signal?: AbortSignal,
): Promise<CopyResult> {
  return await threads.run({ op: "mkdir", view, path, options }, signal);
}
