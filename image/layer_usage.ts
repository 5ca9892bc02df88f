import type { ImageTables } from "./image_tables.ts";
import type { Image } from "./types.ts";

/** Bytes of all layers, each counted once, and what an image shares of its own with others. The build cache's own layers are not images'. */
export function layerUsage(tables: ImageTables): { layersSize: number; shared: (image: Image) => number } {
  const users = new Map<string, number>();
  const sizes = new Map<string, number>();
  for (const { id } of tables.images()) {
    for (const chainId of tables.stack(id)) users.set(chainId, (users.get(chainId) ?? 0) + 1);
  }
  let layersSize = 0;
  const others = new Set(tables.layersBesideImages());
  for (const id of tables.layerIds()) {
    const size = tables.layer(id)?.size ?? 0;
    sizes.set(id, size);
    if (!others.has(id)) layersSize += size;
  }
  const sharedBytes = (id: string) => (users.get(id) ?? 0) > 1 ? sizes.get(id) ?? 0 : 0;
  return {
    layersSize,
    shared: ({ chainIds }) => chainIds.reduce((sum, id) => sum + sharedBytes(id), 0),
  };
}
