/** Archives of images made in memory: `docker save`'s form and the OCI layout, right or wrong as a test wants them. */
import { createHash } from "node:crypto";
import { tarArchive, type TarEntryInput } from "../../fs/tar/mod.ts";

export type Item = TarEntryInput & { data?: Uint8Array };

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
export const file = (name: string, content = name, more: Partial<Item> = {}): Item => ({
  name,
  data: text(content),
  ...more,
});
export const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export interface TestImage {
  /** Bottom first. */
  readonly layers: readonly (readonly Item[])[];
  readonly refs?: readonly string[];
  readonly config?: Record<string, unknown>;
  /** Further fields of the configuration itself. */
  readonly top?: Record<string, unknown>;
  readonly compress?: (bytes: Uint8Array) => Uint8Array;
}

export interface BuiltImage {
  readonly id: string;
  readonly configJson: string;
  readonly layers: readonly { readonly diffId: string; readonly bytes: Uint8Array }[];
  readonly refs: readonly string[];
}

export const HOST_ARCHITECTURE = Deno.build.arch === "aarch64" ? "arm64" : "amd64";

export function buildImage(image: TestImage): BuiltImage {
  const layers = image.layers.map((items) => {
    const plain = tarArchive(items);
    return { diffId: sha256(plain), bytes: image.compress?.(plain) ?? plain };
  });
  const configJson = JSON.stringify({
    architecture: HOST_ARCHITECTURE,
    os: "linux",
    created: "2024-05-06T07:08:09.1Z",
    config: { Cmd: ["/bin/sh"], ...image.config },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    ...image.top,
  });
  return { id: sha256(text(configJson)), configJson, layers, refs: image.refs ?? [] };
}

/** The form of Docker up to 24: a directory for each layer, the manifest at the end. */
export function dockerArchive(...images: BuiltImage[]): Uint8Array<ArrayBuffer> {
  const members = new Map<string, Uint8Array>();
  const manifest = images.map((image) => {
    const Config = `${image.id.slice(7)}.json`;
    members.set(Config, text(image.configJson));
    const Layers = image.layers.map(({ diffId, bytes }) => {
      const name = `${diffId.slice(7)}/layer.tar`;
      members.set(name, bytes);
      return name;
    });
    return { Config, RepoTags: image.refs.length > 0 ? image.refs : null, Layers };
  });
  const items = [...members].map(([name, data]) => ({ name, data }));
  return tarArchive([...items, { name: "manifest.json", data: text(JSON.stringify(manifest)) }]);
}

const OCI = "application/vnd.oci.image";

export interface OciImage {
  readonly image: BuiltImage;
  readonly platform?: { os: string; architecture: string; variant?: string };
  readonly annotations?: Record<string, string>;
}

/** An OCI layout; with `nested` all images are in one index below the top one, which gets its annotations. */
export function ociArchive(
  images: readonly OciImage[],
  nested?: { annotations?: Record<string, string> },
): Uint8Array<ArrayBuffer> {
  const blobs = new Map<string, Uint8Array>();
  const add = (mediaType: string, bytes: Uint8Array, more: object = {}) => {
    const digest = sha256(bytes);
    blobs.set(`blobs/${digest.replace(":", "/")}`, bytes);
    return { mediaType, digest, size: bytes.length, ...more };
  };
  const manifests = images.map(({ image, platform, annotations }) => {
    const manifest = {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: add(`${OCI}.config.v1+json`, text(image.configJson)),
      layers: image.layers.map(({ bytes }) => add(`${OCI}.layer.v1.tar+gzip`, bytes)),
    };
    const more = { ...(platform ? { platform } : {}), ...(annotations ? { annotations } : {}) };
    return add(`${OCI}.manifest.v1+json`, text(JSON.stringify(manifest)), more);
  });
  const index = { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests };
  const top = nested
    ? { ...index, manifests: [add(`${OCI}.index.v1+json`, text(JSON.stringify(index)), nested)] }
    : index;
  return tarArchive([
    ...[...blobs].map(([name, data]) => ({ name, data })),
    { name: "index.json", data: text(JSON.stringify(top)) },
    { name: "oci-layout", data: text('{"imageLayoutVersion":"1.0.0"}') },
  ]);
}

/** A stream in chunks as a socket would give them. */
export function streamOf(bytes: Uint8Array, size = 16 * 1024): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}
