import type { Compression } from "../fs/compression/mod.ts";
import { detectCompression, MAGIC_BYTES } from "../fs/compression/mod.ts";

export const LAYER_TAR = "application/vnd.oci.image.layer.v1.tar";

/** Media types of layers by their compression; those that are missing have none. */
const MEDIA_TYPES: Partial<Readonly<Record<Compression, string>>> = {
  none: LAYER_TAR,
  gzip: `${LAYER_TAR}+gzip`,
  zstd: `${LAYER_TAR}+zstd`,
};

/** The OCI media type of a layer's bytes; undefined for a compression that layers of registries do not have. */
export function layerMediaType(compression: Compression): string | undefined {
  return MEDIA_TYPES[compression];
}

/** How a part of a file is compressed. */
export async function compressionOf(
  { path, offset, length }: { readonly path: string; readonly offset: number; readonly length: number },
): Promise<Compression> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const head = new Uint8Array(Math.min(MAGIC_BYTES, length));
  const read = await file.read(head) ?? 0;
  return detectCompression(head.subarray(0, read));
}

/** The bytes of a part of a file. A chunk is only valid until the next one is asked for. */
export async function* partBytes(
  { path, offset, length }: { readonly path: string; readonly offset: number; readonly length: number },
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  using file = await Deno.open(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const buffer = new Uint8Array(Math.max(1, Math.min(length, 1024 * 1024)));
  for (let left = length; left > 0;) {
    const read = await file.read(buffer.subarray(0, Math.min(left, buffer.length)));
    if (read === null) throw new Error(`${path}: unexpected EOF`);
    left -= read;
    yield buffer.subarray(0, read);
  }
}
