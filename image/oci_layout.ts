import { invalid } from "../base/errors.ts";
import type { SpooledArchive } from "./archive_spool.ts";
import { digestOf } from "./digest.ts";
import { parseImageConfig } from "./image_config.ts";
import { checkLayerCount, type PlannedImage } from "./load_plan.ts";
import { formatPlatform, HOST_PLATFORM, matches, type Platform, platformOf } from "./platform.ts";
import { parseReference, type Reference, withDefaultTag } from "../base/reference.ts";
import { type OciDescriptor, ociIndexSchema, ociManifestSchema, parseJson } from "./schemas.ts";

export const OCI_INDEX = "index.json";

const INDEX_TYPES = new Set([
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);
const MANIFEST_TYPES = new Set([
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
]);
const CONFIG_TYPES = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);

/** How deep indexes may contain indexes. */
const MAX_DEPTH = 4;

/**
 * The images of an OCI image layout (image-spec, image-layout.md): of an index with several platforms, the one for
 * this machine, or for `wanted`.
 *
 * @throws {EngineError} invalid
 */
export async function planOciLayout(
  archive: SpooledArchive,
  wanted: Platform = HOST_PLATFORM,
): Promise<PlannedImage[]> {
  const index = parseJson(await archive.text(OCI_INDEX), ociIndexSchema, OCI_INDEX);
  const candidates = index.manifests.filter(isImage);
  const native = candidates.filter((one) => isFor(one, wanted));
  const images: PlannedImage[] = [];
  for (const descriptor of native.length > 0 ? native : candidates) {
    const image = await planImage(archive, descriptor, wanted, 0);
    if (image) images.push(image);
  }
  if (images.length === 0) {
    throw invalid(`no matching manifest for ${formatPlatform(wanted)} in the archive`);
  }
  return images;
}

/** Attestations stand among the images of an index, for a platform that is none. */
function isImage({ annotations, platform }: OciDescriptor): boolean {
  return platform?.os !== "unknown" && annotations?.["vnd.docker.reference.type"] === undefined;
}

function isFor({ platform }: OciDescriptor, wanted: Platform): boolean {
  if (!platform) return true;
  return matches(platformOf(platform), wanted);
}

async function planImage(
  archive: SpooledArchive,
  descriptor: OciDescriptor,
  wanted: Platform,
  depth: number,
): Promise<PlannedImage | undefined> {
  const json = await verifiedText(archive, descriptor);
  const mediaType = descriptor.mediaType ?? "";
  if (INDEX_TYPES.has(mediaType)) {
    if (depth >= MAX_DEPTH) throw invalid("invalid archive: indexes nested too deeply");
    const { manifests } = parseJson(json, ociIndexSchema, "image index");
    const chosen = manifests.find((one) => isImage(one) && isFor(one, wanted));
    const image = chosen ? await planImage(archive, chosen, wanted, depth + 1) : undefined;
    return image && { ...image, refs: [...references(descriptor), ...image.refs] };
  }
  if (!MANIFEST_TYPES.has(mediaType)) {
    throw invalid(`unsupported media type ${JSON.stringify(mediaType)} in the archive`);
  }
  const manifest = parseJson(json, ociManifestSchema, "image manifest");
  if (!CONFIG_TYPES.has(manifest.config.mediaType ?? "")) {
    throw invalid(
      `the archive holds no image but ${JSON.stringify(manifest.config.mediaType ?? "something else")}`,
    );
  }
  const configJson = await verifiedText(archive, manifest.config);
  const config = parseImageConfig(configJson);
  checkLayerCount(config.rootfs.diff_ids.length, manifest.layers.length);
  return {
    configJson,
    config,
    layers: config.rootfs.diff_ids.map((diffId, i) => {
      const layer = manifest.layers[i];
      if (layer === undefined) throw invalid("invalid manifest");
      if (layer.mediaType?.endsWith("+encrypted")) throw invalid("encrypted layers are not supported");
      const blob = blobName(layer.digest);
      if (archive.has(blob)) checkSize(archive.part(blob).length, layer.size, blob);
      return { diffId, part: archive.has(blob) ? archive.part(blob) : undefined, digest: layer.digest };
    }),
    refs: references(descriptor),
  };
}

/**
 * Names of an image: containerd's annotation holds the whole name, the specification's one often only the tag, of which
 * nobody can say whose it is.
 */
function references({ annotations }: OciDescriptor): Reference[] {
  const name = annotations?.["io.containerd.image.name"] ??
    annotations?.["org.opencontainers.image.ref.name"];
  if (name === undefined || !/[:/]/.test(name)) return [];
  const reference = withDefaultTag(parseReference(name));
  return reference.tag === undefined ? [] : [{ ...reference, digest: undefined }];
}

function checkSize(actual: number, stated: number, name: string): void {
  if (actual !== stated) {
    throw invalid(`invalid archive: ${name} is ${actual} bytes where its descriptor says ${stated}`);
  }
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

async function verifiedText(archive: SpooledArchive, { digest, size }: OciDescriptor): Promise<string> {
  const name = blobName(digest);
  checkSize(archive.part(name).length, size, name);
  const bytes = await archive.bytes(name);
  if (await digestOf(bytes) !== digest) throw invalid(`invalid archive: ${name} does not match its digest`);
  return new TextDecoder().decode(bytes);
}
