/** How much of the build cache a client lets stay. */
import { statfs } from "node:fs/promises";
import type { Builder } from "../engine/build/types.ts";
import { bytesToKeep, type GcBounds } from "../engine/build_gc.ts";
import type { Engine } from "../engine/types.ts";

/** Bytes that may stay, 0 for none; undefined: nothing has to go. */
export async function bytesThatMayStay(
  engine: Engine,
  builder: Builder,
  bounds: GcBounds,
): Promise<number | undefined> {
  const { reservedSpace, maxUsedSpace, minFreeSpace } = bounds;
  if (minFreeSpace === 0) return Math.max(reservedSpace, maxUsedSpace);
  const { DockerRootDir } = await engine.info();
  const { bavail, bsize } = await statfs(String(DockerRootDir));
  const used = builder.cacheRecords().reduce((sum, { size, shared }) => sum + (shared ? 0 : size), 0);
  return bytesToKeep(bounds, { used, free: bavail * bsize });
}
