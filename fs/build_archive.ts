/** Archives among the sources of ADD. */
import { EngineError } from "../base/errors.ts";
import { kernel } from "../ffi/kernel.ts";
import type { OpenedPath } from "./build_job.ts";
import { decompress, sniff } from "./compression/mod.ts";
import { TarError, TarReader } from "./tar/mod.ts";

const CHUNK = 256 * 1024;
/** Extended headers may come before the first entry; what has none by then is no archive. */
const LOOKED_AT = 4 * 1024 * 1024;

/** A file that can be read more than once. */
export interface OpenFile extends Disposable {
  /** From its beginning. */
  chunks(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, undefined>;
}

/** Takes over a descriptor of a regular file. */
export function readFrom(fd: number): OpenFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(`/proc/self/fd/${fd}`);
  } finally {
    kernel.close(fd);
  }
  return {
    async *chunks(signal) {
      await file.seek(0, Deno.SeekMode.Start);
      for (;;) {
        signal?.throwIfAborted();
        const chunk = new Uint8Array(CHUNK);
        const read = await file.read(chunk);
        if (read === null) return;
        yield chunk.subarray(0, read);
      }
    },
    [Symbol.dispose]: () => file.close(),
  };
}

export function closeAll(opened: readonly OpenedPath[]): void {
  for (const { fd } of opened) if (fd !== undefined) kernel.close(fd);
}

/**
 * Whether it begins as a tar archive, compressed in a way that Docker knows or not at all. As in Docker an archive without entries is none.
 *
 * @throws {EngineError} system when the program for the compression is missing.
 */
export async function isArchive(bytes: AsyncIterable<Uint8Array>): Promise<boolean> {
  const { compression, chunks } = await sniff(bytes);
  const reader = new TarReader();
  let seen = 0;
  try {
    for await (const chunk of decompress(compression, chunks)) {
      for (const event of reader.feed(chunk)) return event.kind === "entry";
      seen += chunk.length;
      if (seen > LOOKED_AT) return false;
    }
    return false;
  } catch (error) {
    if (error instanceof TarError) return false;
    if (error instanceof EngineError && error.kind === "invalid") return false;
    throw error;
  }
}
