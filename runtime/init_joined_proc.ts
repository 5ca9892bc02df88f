/** /proc of a PID namespace that a container joins. */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_NEWNS,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLONE,
  PROC_SUPER_MAGIC,
  RESOLVE_NO_SYMLINKS,
} from "../ffi/constants.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { InitFailure } from "./init_failure.ts";

/**
 * Takes a detached copy of the /proc of the container whose PID namespace is at `pidNamespace` (`/proc/PID/ns/pid`).
 *
 * A new one could be made only by a process inside that PID namespace, where the container's own processes could get at it while it still
 * has all rights. So `kernel`'s process, which nobody in there sees, enters the mount namespace that belongs to it and takes what is mounted.
 */
export function takeProc(kernel: ProcessSyscalls, pidNamespace: string): number {
  const namespace = kernel.open(pidNamespace.replace(/pid$/, "mnt"), 0);
  kernel.setns(namespace, CLONE_NEWNS);
  const place = kernel.openat2(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  kernel.fchdir(place);
  if (kernel.statfs(".").type !== PROC_SUPER_MAGIC) {
    throw new InitFailure(
      "mount",
      "the container whose PID namespace is joined has no /proc of its own to share",
    );
  }
  return kernel.openTree(place, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
}
