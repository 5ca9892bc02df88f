import type { TreeThreads } from "../fs/tree_threads.ts";
import type { Container } from "./container.ts";
import { diffSource } from "./container_tree.ts";
import type { EngineContext } from "./context.ts";

/** What a container has changed of its image's files: Kind 0 modified, 1 added, 2 deleted. */
export async function containerChanges(
  ctx: EngineContext,
  threads: TreeThreads,
  container: Container,
): Promise<{ Path: string; Kind: number }[]> {
  const changes = await threads.run({ op: "changes", source: diffSource(ctx, container) });
  return changes.map(({ path, kind }) => ({ Path: path, Kind: kind }));
}
