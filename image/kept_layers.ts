import { createHash } from "node:crypto";
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
   * @param digest of the part, when it has been seen to unpack to the layer. Otherwise that is found out here, and bytes
   * that do not are passed over.
   */
  async keep(diffId: string, part: ArchivePart, digest: string | undefined): Promise<void> {
    const content = this.#content;
    if (content.layerBlobs(diffId).length > 0) return;
    const compression = await compressionOf(part);
    const mediaType = layerMediaType(compression);
    if (digest === undefined && await hashOf(decompress(compression, partBytes(part))) !== diffId) return;
    if (mediaType !== undefined && digest !== undefined && Deno.statSync(part.path).size === part.length) {
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

async function hashOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
}
