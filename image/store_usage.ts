import type { ImageTables } from "./image_tables.ts";

/** Bytes of images on disk: unpacked layers and kept blobs, apparent sizes. */
export interface StoreUsage {
  /** Everything once, what belongs to no image included. */
  readonly total: number;
  /** An image's own bytes, and those of them that other images have as well: they stay when it is removed. */
  image(id: string): { readonly size: number; readonly shared: number };
  /** Bytes of some images together, everything once. */
  of(ids: readonly string[]): number;
}

/** @param total bytes of all layers and blobs. */
export function storeUsage(tables: ImageTables, total: number): StoreUsage {
  const sizes = new Map<string, number>();
  const users = new Map<string, number>();
  const parts = new Map<string, string[]>();
  for (const { imageId, part, size } of tables.parts()) {
    sizes.set(part, size);
    users.set(part, (users.get(part) ?? 0) + 1);
    const own = parts.get(imageId);
    if (own === undefined) parts.set(imageId, [part]);
    else own.push(part);
  }
  const sum = (names: Iterable<string>) => {
    let bytes = 0;
    for (const name of names) bytes += sizes.get(name) ?? 0;
    return bytes;
  };
  const partsOf = (id: string) => parts.get(id) ?? [];
  return {
    total,
    image: (id) => ({
      size: sum(partsOf(id)),
      shared: sum(partsOf(id).filter((part) => (users.get(part) ?? 0) > 1)),
    }),
    of: (ids) => sum(new Set(ids.flatMap(partsOf))),
  };
}
