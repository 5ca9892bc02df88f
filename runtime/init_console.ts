/** The terminal of a process, opened in the container's own devpts. */
import {
  AT_EMPTY_PATH,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  OPEN_TREE_CLONE,
  S_IFCHR,
  S_IFMT,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { InitFailure } from "./init_failure.ts";
import { attachTree } from "./init_mounts.ts";
import { fdPath } from "./rootfs_path.ts";

const PTMX_MAJOR = 5;
const PTMX_MINOR = 2;
/** Majors of Unix98 pseudo-terminals (Documentation/admin-guide/devices.txt). */
const PTS_MAJORS = [136, 143] as const;

export interface Console {
  readonly master: number;
  readonly slave: number;
  /** O_PATH descriptor of the slave. */
  readonly device: number;
}

/**
 * Opens a new terminal. In a container that has been running what stands at these paths may have been put there by its
 * processes: it is looked at before it is opened.
 */
export function openConsole(kernel: Syscalls): Console {
  const ptmx = openDevice(
    kernel,
    "/dev/pts/ptmx",
    (major, minor) => major === PTMX_MAJOR && minor === PTMX_MINOR,
  );
  const { master, index } = kernel.openPtyMaster(fdPath(ptmx));
  kernel.close(ptmx);
  const path = `/dev/pts/${index}`;
  const found = openDevice(kernel, path, (major) => major >= PTS_MAJORS[0] && major <= PTS_MAJORS[1]);
  const slave = kernel.open(fdPath(found), O_RDWR | O_NOCTTY);
  return { master, slave, device: found };
}

function openDevice(kernel: Syscalls, path: string, fits: (major: number, minor: number) => boolean): number {
  const fd = kernel.open(path, O_PATH | O_NOFOLLOW);
  const { mode, rdev } = kernel.fstat(fd);
  const major = Number((rdev >> 8n) & 0xfffn);
  const minor = Number((rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n));
  if ((mode & S_IFMT) !== S_IFCHR || !fits(major, minor)) {
    kernel.close(fd);
    throw new InitFailure("console", `${path} is not a terminal device`);
  }
  return fd;
}

/** Binds the terminal to /dev/console, for programs that write there. */
export function bindConsole(kernel: Syscalls, console: Console): void {
  let place: number;
  try {
    place = kernel.open("/dev/console", O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
    kernel.close(kernel.open("/dev/console", O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0o620));
    place = kernel.open("/dev/console", O_PATH | O_NOFOLLOW);
  }
  // By the descriptor that was looked at, not by its path once more.
  const tree = kernel.openTree(console.device, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  kernel.close(console.device);
  attachTree(kernel, tree, place);
  kernel.close(tree);
  kernel.close(place);
}
