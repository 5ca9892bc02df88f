/** What {@link readFrames} reads from: an attach connection of a shim's. */
export interface FrameSource {
  /** Reads into the buffer and answers what was read; undefined at the end. */
  read(buffer: Uint8Array): Promise<Uint8Array | undefined>;
}

/**
 * Reads Docker's frames (a byte for the stream, three of nothing, four for the length) to their end.
 *
 * @param take gets pieces of frames as they come, each a view that is valid until it returns.
 */
export async function readFrames(
  source: FrameSource,
  take: (stream: 1 | 2, data: Uint8Array) => void,
): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  const head = new Uint8Array(8);
  let held = 0, left = 0;
  for (let bytes = await source.read(buffer); bytes !== undefined; bytes = await source.read(buffer)) {
    for (let at = 0; at < bytes.length;) {
      if (left > 0) {
        const step = Math.min(left, bytes.length - at);
        take(head[0] === 2 ? 2 : 1, bytes.subarray(at, at + step));
        left -= step;
        at += step;
        continue;
      }
      head[held++] = bytes[at++] ?? 0;
      if (held < head.length) continue;
      held = 0;
      left = new DataView(head.buffer).getUint32(4);
    }
  }
}
