/** An image's manifest as `manifest` shows and stores it, and the lists that are made of several. */

import { canonicalName, parseReference, type Reference, withDefaultTag } from "../../base/reference.ts";
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from "../../image/registry/media_types.ts";
import { CliError } from "../errors.ts";
import { goJson } from "../template/values.ts";

/** OCI image-spec, descriptor.md and image-index.md. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
  readonly variant?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: Platform;
}

export interface ImageManifest {
  /** In full: `docker.io/library/busybox:latest`. */
  readonly ref: string;
  readonly descriptor: Descriptor;
  /** As the registry has it: its digest is of these bytes. */
  readonly raw: Uint8Array<ArrayBuffer>;
}

/** The name of a manifest or of a list, with `latest` where neither tag nor digest is given. @throws EngineError in docker's words. */
export function manifestReference(text: string): Reference {
  return withDefaultTag(parseReference(text));
}

/** The parts of a platform that lists hold, in their order; nothing that is empty. */
export function platformOf(source: Readonly<Record<string, unknown>>): Platform {
  const { architecture = "", os = "", variant } = source as Partial<Record<string, string>>;
  const version = source["os.version"], features = source["os.features"];
  return {
    architecture,
    os,
    ...(typeof version === "string" && version !== "" ? { "os.version": version } : {}),
    ...(Array.isArray(features) && features.length > 0 ? { "os.features": features as string[] } : {}),
    ...(variant ? { variant } : {}),
  };
}

/** @throws SyntaxError when the bytes are no JSON. */
export const jsonOf = ({ raw }: Pick<ImageManifest, "raw">): Readonly<Record<string, unknown>> =>
  JSON.parse(new TextDecoder().decode(raw)) as Record<string, unknown>;

/** The digests of what a manifest consists of: its configuration first, then its layers. */
export function blobsOf(manifest: ImageManifest): string[] {
  const { config, layers } = jsonOf(manifest) as {
    config?: { digest?: string };
    layers?: readonly { digest?: string }[] | null;
  };
  return [config, ...layers ?? []].map((blob) => blob?.digest ?? "").filter((digest) => digest !== "");
}

/**
 * What `--verbose` shows of a manifest, and the file that keeps it for a list: docker's form (docker/cli:
 * cli/manifest/types), so that both command lines understand the other's lists.
 */
export function verboseForm(manifest: ImageManifest): Record<string, unknown> {
  const { mediaType, digest, size, platform } = manifest.descriptor;
  return {
    Ref: manifest.ref,
    Descriptor: { mediaType, digest, size, ...(platform === undefined ? {} : { platform }) },
    Raw: manifest.raw.toBase64(),
    [mediaType === OCI_MANIFEST ? "OCIManifest" : "SchemaV2Manifest"]: jsonOf(manifest),
  };
}

/** A list as registries take it. */
export interface ManifestList {
  readonly mediaType: string;
  /** Its bytes: the digest is of these. */
  readonly text: string;
}

/**
 * Makes a list of manifests, an index of OCI's kind when the first one is.
 *
 * @throws {CliError} when one is of another registry than the list.
 */
export function manifestList(target: Reference, manifests: readonly ImageManifest[]): ManifestList {
  const mediaType = manifests[0]?.descriptor.mediaType === OCI_MANIFEST ? OCI_INDEX : DOCKER_LIST;
  const list = {
    schemaVersion: 2,
    mediaType,
    manifests: manifests.map(({ ref, descriptor }) => {
      const { domain } = parseReference(ref);
      if (domain !== target.domain) {
        throw new CliError(
          `cannot use source images from a different registry than the target image: ${domain} != ${target.domain}`,
        );
      }
      const { mediaType, size, digest, platform } = descriptor;
      return { mediaType, size, digest, platform: platform ?? platformOf({}) };
    }),
  };
  return { mediaType, text: goJson(list, 3) };
}

/** `host/repository@sha256:…` */
export const atDigest = (reference: Reference, digest: string): string =>
  `${canonicalName(reference)}@${digest}`;
