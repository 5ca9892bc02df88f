import { EngineError, invalid } from "../base/errors.ts";
import { parseImageConfig } from "./image_config.ts";
import { checkLayerCount } from "./load_plan.ts";
import { HOST_PLATFORM, matches, type Platform } from "./platform.ts";
import type { FetchedManifest, RegistryClient } from "./registry/client.ts";
import { isImageConfig, isIndex, isManifest, isSchema1 } from "./registry/media_types.ts";
import { type OciDescriptor, ociIndexSchema, ociManifestSchema, parseJson } from "./schemas.ts";
import type { ImageConfig } from "./types.ts";

/** What a registry has under a name, for one platform. */
export interface RemoteImage {
  /** Digest of what the name leads to: the index, where there is one. */
  readonly digest: string;
  readonly manifest: FetchedManifest;
  readonly configJson: string;
  readonly config: ImageConfig;
  /** Bottom first, one for each diff id. */
  readonly layers: readonly RemoteLayer[];
}

export interface RemoteLayer {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly diffId: string;
}

/** How deep indexes may contain indexes. */
const MAX_DEPTH = 4;

const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?)$/;

/**
 * Follows a manifest or an index to the image for `platform`.
 *
 * @param name of the image, for errors.
 * @throws {EngineError} not-found when there is none for the platform, invalid when it is no image.
 */
export async function resolveImage(
  client: RegistryClient,
  top: FetchedManifest,
  platform: Platform | undefined,
  name: string,
  signal: AbortSignal,
): Promise<RemoteImage> {
  let current = top;
  for (let depth = 0; isIndex(current.mediaType); depth++) {
    if (depth >= MAX_DEPTH) throw invalid("indexes are nested too deeply");
    const chosen = choose(current, platform ?? HOST_PLATFORM);
    current = await client.manifest(chosen.digest, signal);
  }
  if (isSchema1(current.mediaType)) {
    throw invalid(
      "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. " +
        `Suggest the author of ${name} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. ` +
        "More information at https://docs.docker.com/go/deprecated-image-specs/",
    );
  }
  if (!isManifest(current.mediaType)) {
    throw invalid(`unsupported manifest media type ${JSON.stringify(current.mediaType)}`);
  }
  const text = new TextDecoder().decode(current.bytes);
  const { config: descriptor, layers } = parseJson(text, ociManifestSchema, "image manifest");
  if (!isImageConfig(descriptor.mediaType ?? "")) {
    throw invalid(`Encountered remote ${JSON.stringify(descriptor.mediaType ?? "")}(unknown) when fetching`);
  }
  const configJson = new TextDecoder().decode(
    await client.smallBlob(descriptor.digest, descriptor.size, signal),
  );
  const config = parseImageConfig(configJson);
  if (config.os !== "linux") {
    throw invalid(`image operating system ${JSON.stringify(config.os)} cannot be used on this platform`);
  }
  const { diff_ids: diffIds } = config.rootfs;
  checkLayerCount(diffIds.length, layers.length);
  return {
    digest: top.digest,
    manifest: current,
    configJson,
    config,
    layers: diffIds.map((diffId, i) => remoteLayer(layers[i], diffId)),
  };
}

function remoteLayer(layer: OciDescriptor | undefined, diffId: string): RemoteLayer {
  const { mediaType = "", digest, size } = layer ?? { digest: "", size: 0 };
  if (mediaType.endsWith("+encrypted")) throw invalid("encrypted layers are not supported");
  if (!LAYER_TYPE.test(mediaType)) throw invalid(`unsupported layer media type ${JSON.stringify(mediaType)}`);
  return { digest, size, mediaType, diffId };
}

/** The entry of an index that fits best: of the same variant before one without. */
function choose(index: FetchedManifest, wanted: Platform): OciDescriptor {
  const { manifests } = parseJson(new TextDecoder().decode(index.bytes), ociIndexSchema, "image index");
  const fits = manifests.filter(({ platform, annotations }) => {
    if (annotations?.["vnd.docker.reference.type"] !== undefined) return false;
    if (!platform) return false;
    const { os, architecture, variant } = platform;
    return matches({ os, architecture, ...(variant === undefined ? {} : { variant }) }, wanted);
  });
  const chosen = fits.find(({ platform }) => platform?.variant === wanted.variant) ?? fits[0];
  if (chosen === undefined) {
    const { os, architecture, variant } = wanted;
    const shown = [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
    throw new EngineError("not-found", `no matching manifest for ${shown} in the manifest list entries`);
  }
  return chosen;
}
