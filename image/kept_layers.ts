import { decompress } from "../fs/compression/mod.ts";
import type { ArchivePart } from "./archive_spool.ts";
import type { ContentStore } from "./content_store.ts";
import { compressionOf, LAYER_TAR, layerMediaType, partBytes } from "./layer_media.ts";

/**
 * Keeps the bytes that layers were unpacked from: only with them `save` and `push` can give an image away as it came.
 * What is kept here is held until disposed of; by then the layers must be in the database.
 */
export class KeptLayers implements Disposable {
  readonly #content: ContentStore;
  readonly #held: Disposable[] = [];

  constructor(content: ContentStore) {
    this.#content = content;
  }

  /**
   * @param digest of the part, if it is known.
   * @param whole the part is a file of its own, which may be linked in place of being copied.
   */
  async keep(diffId: string, part: ArchivePart, digest: string | undefined, whole: boolean): Promise<void> {
    const content = this.#content;
    if (content.layerBlobs(diffId).length > 0) return;
    const compression = await compressionOf(part);
    const mediaType = layerMediaType(compression);
    if (mediaType !== undefined && whole && digest !== undefined) {
      this.#held.push(content.hold([digest]));
      if (content.get(digest) === undefined) {
        const link = content.temporary();
        Deno.linkSync(part.path, link);
        content.adopt(link, { digest, size: part.length });
      }
      content.setLayerBlob(diffId, digest, mediaType);
      return;
    }
    // bzip2 and xz are no layers to a registry
    const bytes = mediaType === undefined ? decompress(compression, partBytes(part)) : partBytes(part);
    const blob = await content.ingest(bytes);
    this.#held.push(blob);
    content.setLayerBlob(diffId, blob.digest, mediaType ?? LAYER_TAR);
  }

  [Symbol.dispose](): void {
    for (const hold of this.#held.splice(0)) hold[Symbol.dispose]();
  }
}
