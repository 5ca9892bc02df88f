import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { compressFile } from "./gzip.ts";
import { note } from "../base/note.ts";
import type { LogSpec } from "./spec.ts";

/**
 * Moves `x-json.log` to `x-json.log.1`, that to `.2`, and so on; the oldest goes. With one file only there is nothing to keep, and
 * the caller empties it. Names and order are Docker's, which its log readers and others' rely on.
 */
export function rotate(kernel: Syscalls, { path, maxFile, compress }: LogSpec): void {
  if (maxFile < 2) return;
  const suffix = compress ? ".gz" : "";
  for (let index = maxFile - 1; index > 1; index--) {
    move(kernel, `${path}.${index - 1}${suffix}`, `${path}.${index}${suffix}`);
  }
  move(kernel, path, `${path}.1`);
  if (!compress) return;
  try {
    compressFile(kernel, `${path}.1`, `${path}.1.gz`);
  } catch (error) {
    // Uncompressed it is as good.
    if (!(error instanceof SysError)) throw error;
    note(`log ${path}.1 stays uncompressed: ${error.message}`);
  }
}

function move(kernel: Syscalls, from: string, to: string): void {
  try {
    kernel.rename(from, to);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
  }
}
