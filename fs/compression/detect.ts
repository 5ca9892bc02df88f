export type Compression = "none" | "gzip" | "zstd" | "xz" | "bzip2";

/** How many first bytes {@link detectCompression} wants to see. */
export const MAGIC_BYTES = 6;

const MAGIC: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b, 0x08]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
];

/** Recognises a compressed stream by its first bytes, as Docker does; everything else is "none". */
export function detectCompression(head: Uint8Array): Compression {
  const found = MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte));
  if (found) return found[0];
  // a zstd stream may begin with a skippable frame, 0x184D2A50…5F
  const skippable = ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d &&
    head[3] === 0x18;
  return skippable ? "zstd" : "none";
}
