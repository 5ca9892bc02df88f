/** The terminal of a process, opened in the container's own devpts. */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  OPEN_TREE_CLONE,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFMT,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { InitFailure } from "./init_failure.ts";
import { attachTree } from "./init_mounts.ts";

const PTMX = "/dev/pts/ptmx";
const PTMX_MAJOR = 5;
const PTMX_MINOR = 2;

export interface Console {
  readonly master: number;
  readonly slave: number;
}

/**
 * Opens a new terminal. In a container that has been running, its processes may have put something else where ptmx should be:
 * it is opened so that no FIFO can hold us up, and looked at before it is used.
 */
export function openConsole(kernel: ProcessSyscalls): Console {
  const master = kernel.openat2(AT_FDCWD, PTMX, O_RDWR | O_NOCTTY | O_NONBLOCK, 0, RESOLVE_NO_SYMLINKS);
  const { mode, rdev } = kernel.fstat(master);
  const major = Number((rdev >> 8n) & 0xfffn);
  const minor = Number((rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n));
  if ((mode & S_IFMT) !== S_IFCHR || major !== PTMX_MAJOR || minor !== PTMX_MINOR) {
    throw new InitFailure("console", `${PTMX} is not a terminal device`);
  }
  kernel.unlockPty(master);
  return { master, slave: kernel.openPtyPeer(master) };
}

/** Binds the terminal to /dev/console, for programs that write there. */
export function bindConsole(kernel: ProcessSyscalls, { slave }: Console): void {
  let place: number;
  try {
    place = kernel.open("/dev/console", O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
    kernel.close(kernel.open("/dev/console", O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0o620));
    place = kernel.open("/dev/console", O_PATH | O_NOFOLLOW);
  }
  const tree = kernel.openTree(slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  attachTree(kernel, tree, place);
  kernel.close(tree);
  kernel.close(place);
}
