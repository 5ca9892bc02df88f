import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { TreeCalls } from "../ffi/tree_calls.ts";

/** Files below this size have no holes worth looking for. */
const SPARSE_FROM = 64 * 1024;
const BUFFER = 256 * 1024;

/** What {@link copyContent} has found the file systems to be unable to do; kept for a whole tree. */
export interface CopyAbilities {
  clone: boolean;
  range: boolean;
}

/**
 * Copies the content of an open file into an empty one, in the cheapest way there is: shared blocks (reflink), a copy
 * inside the kernel, or read and write. Holes stay holes.
 */
export function copyContent(
  sys: Syscalls & TreeCalls,
  from: number,
  to: number,
  size: number,
  can: CopyAbilities,
): void {
  if (size === 0) return;
  if (can.clone) {
    try {
      sys.cloneFile(from, to);
      return;
    } catch (error) {
      if (!cannot(error)) throw error;
      can.clone = false;
    }
  }
  if (size < SPARSE_FROM) {
    copyPart(sys, from, to, 0, size, can);
    return;
  }
  for (let at = 0; at < size;) {
    const data = sys.seekData(from, at);
    if (data === undefined) break;
    at = Math.min(size, sys.seekHole(from, data));
    copyPart(sys, from, to, data, at - data, can);
  }
  sys.ftruncate(to, size);
}

function copyPart(
  sys: Syscalls & TreeCalls,
  from: number,
  to: number,
  start: number,
  length: number,
  can: CopyAbilities,
): void {
  let at = start;
  const end = start + length;
  while (can.range && at < end) {
    try {
      const copied = sys.copyFileRange(from, at, to, at, end - at);
      // the file became shorter: the layer was tampered with
      if (copied === 0) return;
      at += copied;
    } catch (error) {
      if (!cannot(error)) throw error;
      can.range = false;
    }
  }
  if (at < end) copyByHand(sys, from, to, at, end);
}

let spare: Uint8Array<ArrayBuffer> | undefined;

function copyByHand(sys: Syscalls & TreeCalls, from: number, to: number, start: number, end: number): void {
  sys.seekTo(from, start);
  sys.seekTo(to, start);
  const buffer = spare ??= new Uint8Array(BUFFER);
  for (let left = end - start; left > 0;) {
    const read = sys.read(from, left < BUFFER ? buffer.subarray(0, left) : buffer);
    if (read <= 0) return;
    for (let at = 0; at < read;) at += sys.write(to, buffer.subarray(at, read));
    left -= read;
  }
}

function cannot(error: unknown): boolean {
  return error instanceof SysError &&
    error.is("EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "ENOSYS", "EPERM", "ETXTBSY");
}
