import { EngineError } from "../base/errors.ts";
import { decompress, sniff } from "../fs/compression/mod.ts";
import type { Blob, ContentStore, LayerBlob } from "./content_store.ts";
import { digestOf } from "./digest.ts";
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_LAYER_GZIP,
  OCI_LAYER_ZSTD,
  OCI_MANIFEST,
} from "./registry/media_types.ts";
import { ociManifestSchema, parseJson } from "./schemas.ts";

/** A layer as it is pushed. */
export interface PushLayer extends Blob {
  readonly diffId: string;
}

/** What a push sends: the blobs first, the manifest last. */
export interface PushPlan {
  readonly mediaType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: string;
  /** Bottom first. */
  readonly layers: readonly PushLayer[];
  readonly config: { readonly digest: string; readonly bytes: Uint8Array<ArrayBuffer> };
}

export interface PushedImage {
  readonly id: string;
  readonly configJson: string;
  readonly diffIds: readonly string[];
}

/**
 * The manifest of an image: the one that it was pulled with, so that it keeps its digest, or a new one of Docker's
 * schema 2. The blobs that are named in the plan must be held by the caller before anything else runs.
 *
 * @throws {EngineError} when the bytes of a layer are not stored.
 */
export async function planPush(content: ContentStore, image: PushedImage): Promise<PushPlan> {
  const config = { digest: image.id, bytes: new TextEncoder().encode(image.configJson) };
  for (const stored of content.manifests(image.id)) {
    const bytes = await content.read(stored.digest);
    const { layers } = parseJson(new TextDecoder().decode(bytes), ociManifestSchema, "image manifest");
    const complete = layers.length === image.diffIds.length &&
      layers.every(({ digest, size }) => content.get(digest)?.size === size);
    if (!complete) continue;
    return {
      mediaType: stored.mediaType,
      bytes,
      digest: stored.digest,
      layers: layers.map(({ digest, size }, i) => ({ digest, size, diffId: image.diffIds[i] ?? "" })),
      config,
    };
  }
  const layers: (PushLayer & { zstd: boolean })[] = [];
  for (const diffId of image.diffIds) layers.push({ ...await packedLayer(content, diffId), diffId });
  const oci = layers.some(({ zstd }) => zstd);
  const gzip = oci ? OCI_LAYER_GZIP : DOCKER_LAYER;
  const manifest = {
    schemaVersion: 2,
    mediaType: oci ? OCI_MANIFEST : DOCKER_MANIFEST,
    config: { mediaType: oci ? OCI_CONFIG : DOCKER_CONFIG, size: config.bytes.length, digest: config.digest },
    layers: layers.map(({ digest, size, zstd }) => ({
      mediaType: zstd ? OCI_LAYER_ZSTD : gzip,
      size,
      digest,
    })),
  };
  // three spaces, as Docker: the same image then gets the same digest
  const bytes = new TextEncoder().encode(JSON.stringify(manifest, null, 3));
  return { mediaType: manifest.mediaType, bytes, digest: await digestOf(bytes), layers, config };
}

/** A compressed blob of a layer; one is made of the plain archive where there is none yet. */
async function packedLayer(content: ContentStore, diffId: string): Promise<Blob & { zstd: boolean }> {
  let plain: LayerBlob | undefined;
  for (const blob of content.layerBlobs(diffId)) {
    const kind = await compressionOf(content.path(blob.digest));
    if (kind === "gzip" || kind === "zstd") {
      return { digest: blob.digest, size: blob.size, zstd: kind === "zstd" };
    }
    plain ??= blob;
  }
  if (plain === undefined) {
    throw new EngineError(
      "system",
      `layer ${diffId} cannot be pushed: its archive is not stored; load or build the image again`,
    );
  }
  const { chunks, compression } = await sniff(fileChunks(content.path(plain.digest)));
  using packed = await content.ingest(gzip(decompress(compression, chunks)));
  content.setLayerBlob(diffId, packed.digest, DOCKER_LAYER);
  return { digest: packed.digest, size: packed.size, zstd: false };
}

async function compressionOf(path: string): Promise<string> {
  const { compression, chunks } = await sniff(fileChunks(path));
  await chunks.return();
  return compression;
}

async function* fileChunks(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  using file = await Deno.open(path);
  for (;;) {
    const chunk = new Uint8Array(256 * 1024);
    const read = await file.read(chunk);
    if (read === null) return;
    yield chunk.subarray(0, read);
  }
}

/** The same bytes give the same archive: the header holds no time. */
async function* gzip(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const { createGzip } = await import("node:zlib");
  const { Readable } = await import("node:stream");
  const packing = createGzip({ chunkSize: 256 * 1024 });
  const copied = (async function* () {
    for await (const chunk of chunks) yield chunk.slice();
  })();
  const source = Readable.from(copied, { objectMode: true });
  source.on("error", (error: Error) => packing.destroy(error));
  source.pipe(packing);
  for await (const chunk of packing) yield chunk as Uint8Array;
}
