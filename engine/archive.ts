import { EngineError } from "../base/errors.ts";
import { decompress, sniff } from "../fs/compression/mod.ts";
import type { PathStat } from "../fs/tree_job.ts";
import type { TreeThreads } from "../fs/tree_threads.ts";
import type { Container } from "./container.ts";
import { openTree, volumeModes } from "./container_tree.ts";
import { containerEvent, type EngineContext } from "./context.ts";

export type { PathStat } from "../fs/tree_job.ts";

export interface ArchiveTarget {
  readonly noOverwriteDirNonDir: boolean;
  /** Files belong to the container's user. */
  readonly copyUidGid: boolean;
}

/** What a path in a container is. @throws {EngineError} not-found */
export async function statArchive(
  ctx: EngineContext,
  threads: TreeThreads,
  container: Container,
  given: string,
  path: string,
): Promise<PathStat> {
  const tree = await openTree(ctx, container, { writable: false, volumes: true });
  try {
    return await threads.run({ op: "stat", view: tree.view, path });
  } catch (error) {
    throw explain(error, given, path);
  } finally {
    await tree.release();
  }
}

/** A path of a container as a tar archive. Whoever gets the answer reads the chunks or leaves their loop. */
export async function readArchive(
  ctx: EngineContext,
  threads: TreeThreads,
  container: Container,
  given: string,
  path: string,
): Promise<{ stat: PathStat; chunks: AsyncIterable<Uint8Array> }> {
  const tree = await openTree(ctx, container, { writable: false, volumes: true });
  try {
    const { stat, chunks } = await threads.archive({ op: "archive", view: tree.view, path }, tree.release);
    if (stat === undefined) throw new EngineError("system", "no answer");
    containerEvent(ctx, container.record, "archive-path");
    return { stat, chunks };
  } catch (error) {
    await tree.release();
    throw explain(error, given, path);
  }
}

/** Unpacks a tar archive (compressed or not) into an existing directory of a container. */
export async function writeArchive(
  ctx: EngineContext,
  threads: TreeThreads,
  container: Container,
  given: string,
  path: string,
  target: ArchiveTarget,
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const { User: user } = container.record.config;
  const { compression, chunks } = await sniff(input);
  const tree = await openTree(ctx, container, { writable: true, volumes: true });
  try {
    await threads.extract(
      {
        op: "extract",
        view: tree.view,
        path,
        options: {
          noOverwriteDirNonDir: target.noOverwriteDirNonDir,
          owner: target.copyUidGid && user ? user : undefined,
          readOnlyRoot: container.record.hostConfig.ReadonlyRootfs ?? false,
          volumes: volumeModes(container),
        },
      },
      decompress(compression, chunks),
      signal,
    );
  } catch (error) {
    throw explain(error, given, path);
  } finally {
    await tree.release();
  }
  containerEvent(ctx, container.record, "extract-to-dir");
}

/** The whole file system of a container as a tar archive, without its volumes. */
export async function exportContainer(
  ctx: EngineContext,
  threads: TreeThreads,
  container: Container,
): Promise<AsyncIterable<Uint8Array>> {
  const tree = await openTree(ctx, container, { writable: false, volumes: false });
  try {
    const { chunks } = await threads.archive({ op: "export", view: tree.view }, tree.release);
    containerEvent(ctx, container.record, "export");
    return chunks;
  } catch (error) {
    await tree.release();
    throw error;
  }
}

/** @param given how the client named the container. */
function explain(error: unknown, given: string, path: string): unknown {
  if (!(error instanceof EngineError) || error.kind !== "not-found") return error;
  return new EngineError("not-found", `Could not find the file ${path} in container ${given}`, {
    cause: error,
  });
}
