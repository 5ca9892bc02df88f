import { createHash } from "node:crypto";
import { EngineError } from "../base/errors.ts";
import { TAR_END, tarHeader, tarPadding } from "../fs/tar/mod.ts";
import type { ContentStore, LayerBlob } from "./content_store.ts";
import { digestOf } from "./digest.ts";
import { LAYER_TAR, partBytes } from "./layer_media.ts";
import { canonicalString, familiarName, type Reference } from "../base/reference.ts";
import { ociManifestSchema, parseJson } from "./schemas.ts";
import type { Image } from "./types.ts";

/** An image to be saved under some of its names. */
export interface SavedImage {
  readonly image: Image;
  /** With tags. */
  readonly refs: readonly Reference[];
}

/** A file of the archive: small ones are here, layers are read when their turn comes. */
interface Member {
  readonly size: number;
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  readonly digest: string | undefined;
  /** Seconds since the epoch. */
  readonly time: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";

/**
 * An archive of images that is both an OCI image layout and what older versions of Docker read, as Docker writes it from
 * 25 on. The same images give the same bytes. Layers are as they came; their digests are checked on the way.
 *
 * The answer's chunks must be read or left; until then the images' blobs are held.
 *
 * @throws {EngineError} system when a layer's archive is not there; forbidden for images with directories of this machine.
 */
export async function saveImages(
  content: ContentStore,
  images: readonly SavedImage[],
): Promise<AsyncIterable<Uint8Array>> {
  const members = new Map<string, Member>();
  const index: Record<string, unknown>[] = [];
  const manifests: Record<string, unknown>[] = [];
  const repositories: Record<string, Record<string, string>> = {};
  const held: string[] = [];
  for (const { image, refs } of images) {
    if (image.hostDirs.length > 0) {
      throw new EngineError(
        "forbidden",
        `${image.repoTags[0] ?? image.id} cannot be saved: it is made of this machine's own ${
          image.hostDirs.join(", ")
        }`,
      );
    }
    const time = Math.max(0, Math.floor(Date.parse(image.createdAt) / 1000) || 0);
    const layers = image.config.rootfs.diff_ids.map((diffId) => layerOf(content, diffId));
    for (const layer of layers) {
      held.push(layer.digest);
      members.set(blobName(layer.digest), {
        size: layer.size,
        bytes: undefined,
        digest: layer.digest,
        time,
      });
    }
    const put = (bytes: Uint8Array<ArrayBuffer>, digest: string) =>
      members.set(blobName(digest), { size: bytes.length, bytes, digest: undefined, time });
    const config = encode(image.configJson);
    put(config, image.id);
    const manifest = await manifestOf(content, image, layers, config.length);
    put(manifest.bytes, manifest.descriptor.digest);
    index.push(...indexEntries(manifest.descriptor, refs));
    manifests.push({
      Config: blobName(image.id),
      RepoTags: refs.length === 0 ? null : refs.map((ref) => `${familiarName(ref)}:${ref.tag}`),
      Layers: layers.map(({ digest }) => blobName(digest)),
      LayerSources: Object.fromEntries(
        image.config.rootfs.diff_ids.map((diffId, i) => [diffId, descriptor(layers[i])]),
      ),
    });
    const top = image.config.rootfs.diff_ids.at(-1)?.slice("sha256:".length) ?? "";
    for (const ref of refs) (repositories[familiarName(ref)] ??= {})[ref.tag ?? ""] = top;
  }
  const json = (value: unknown) => encode(JSON.stringify(value));
  const file = (bytes: Uint8Array<ArrayBuffer>): Member => ({
    size: bytes.length,
    bytes,
    digest: undefined,
    time: 0,
  });
  members.set("index.json", file(json({ schemaVersion: 2, mediaType: INDEX, manifests: index })));
  members.set("manifest.json", file(json(manifests)));
  members.set("oci-layout", file(json({ imageLayoutVersion: "1.0.0" })));
  if (Object.keys(repositories).length > 0) members.set("repositories", file(json(repositories)));
  const hold = content.hold(held);
  const chunks = archive(content, members);
  // no generator around the other: one that is left before its first step would never give up the blobs
  let closed = false;
  const close = () => {
    if (!closed) hold[Symbol.dispose]();
    closed = true;
  };
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        try {
          const next = await chunks.next();
          if (next.done === true) close();
          return next;
        } catch (error) {
          close();
          throw error;
        }
      },
      async return() {
        await chunks.return();
        close();
        return { done: true, value: undefined };
      },
    }),
  };
}

/** The bytes to give away for a layer: uncompressed ones if there is a choice, as Docker's own archives have them. */
function layerOf(content: ContentStore, diffId: string): LayerBlob {
  const blobs = content.layerBlobs(diffId);
  const chosen = blobs.find(({ digest }) => digest === diffId) ?? blobs[0];
  if (chosen === undefined) {
    throw new EngineError(
      "system",
      `the archive of layer ${diffId} was not kept: load or pull its image again before it is saved`,
    );
  }
  return chosen;
}

const descriptor = (layer: LayerBlob | undefined): Descriptor | undefined =>
  layer && { mediaType: ociType(layer.mediaType), size: layer.size, digest: layer.digest };

/** Docker's own media types have equals in OCI's manifests. */
function ociType(mediaType: string): string {
  const docker = /^application\/vnd\.docker\..*\.tar(?:\.(gzip|zstd))?$/.exec(mediaType);
  if (docker === null) return mediaType;
  const [, compression] = docker;
  return compression === undefined ? LAYER_TAR : `${LAYER_TAR}+${compression}`;
}

/** The manifest that the image came with, if it says the same; else a new one. */
async function manifestOf(
  content: ContentStore,
  image: Image,
  layers: readonly LayerBlob[],
  configSize: number,
): Promise<{ descriptor: Descriptor; bytes: Uint8Array<ArrayBuffer> }> {
  for (const known of content.manifests(image.id)) {
    const bytes = await content.read(known.digest);
    if (says(bytes, image.id, layers)) {
      const { mediaType, digest, size } = known;
      return { descriptor: { mediaType, digest, size }, bytes };
    }
  }
  const bytes = encode(JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: image.id, size: configSize },
    layers: layers.map(descriptor),
  }));
  return {
    descriptor: { mediaType: MANIFEST, digest: await digestOf(bytes), size: bytes.length },
    bytes,
  };
}

function says(bytes: Uint8Array, imageId: string, layers: readonly LayerBlob[]): boolean {
  try {
    const manifest = parseJson(new TextDecoder().decode(bytes), ociManifestSchema, "manifest");
    return manifest.config.digest === imageId && manifest.layers.length === layers.length &&
      manifest.layers.every(({ digest }, i) => digest === layers[i]?.digest);
  } catch {
    return false;
  }
}

function indexEntries(manifest: Descriptor, refs: readonly Reference[]): Record<string, unknown>[] {
  if (refs.length === 0) return [{ ...manifest }];
  return refs.map((ref) => ({
    ...manifest,
    annotations: {
      "io.containerd.image.name": canonicalString({ ...ref, digest: undefined }),
      "org.opencontainers.image.ref.name": ref.tag ?? "",
    },
  }));
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

async function* archive(
  content: ContentStore,
  members: ReadonlyMap<string, Member>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const time = Math.max(0, ...[...members.values()].map((member) => member.time));
  for (const name of ["blobs", "blobs/sha256"]) {
    yield tarHeader({ name, type: "directory", mtime: [time, 0] });
  }
  for (const [name, member] of [...members].sort(([a], [b]) => a < b ? -1 : 1)) {
    yield tarHeader({ name, size: member.size, mtime: [member.time, 0] });
    if (member.bytes !== undefined) yield member.bytes;
    else if (member.digest !== undefined) yield* verified(content, member.digest, member.size);
    const padding = tarPadding(member.size);
    if (padding.length > 0) yield padding;
  }
  yield TAR_END;
}

/** A blob's bytes. @throws {EngineError} system after them, when they are not what they should be. */
async function* verified(
  content: ContentStore,
  digest: string,
  size: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash("sha256");
  for await (const chunk of partBytes({ path: content.path(digest), offset: 0, length: size })) {
    hash.update(chunk);
    yield chunk.slice();
  }
  const found = `sha256:${hash.digest("hex")}`;
  if (found !== digest) throw new EngineError("system", `blob ${digest} is damaged: its digest is ${found}`);
}
