/**
 * Paths inside a container's root that is not yet the process's own root. What lies there is the image's, and any part
 * of a path may be a symbolic link that was put there to lead outside: so every look-up is one openat2 that takes the
 * root for "/", and everything that is made is made by its last name in a directory that was found so.
 */
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
} from "../ffi/constants.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";

/** As many symbolic links as the kernel itself follows. */
const MAX_LINKS = 40;

/** Path by which a descriptor can be named to calls that only take paths. */
export const fdPath = (fd: number): string => `/proc/self/fd/${fd}`;

/** O_PATH descriptor of what `path` means inside `root`. @throws {SysError} */
export function openInRoot(kernel: ProcessSyscalls, root: number, path: string, flags = O_PATH): number {
  return kernel.openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/** The same; undefined when there is nothing. */
export function findInRoot(
  kernel: ProcessSyscalls,
  root: number,
  path: string,
  flags = O_PATH,
): number | undefined {
  try {
    return openInRoot(kernel, root, path, flags);
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}

/**
 * Descriptor of a directory or file inside `root`, made with its parents when missing. What exists is taken as it is, of whatever kind, by an
 * O_PATH descriptor.
 */
export function makeInRoot(
  kernel: ProcessSyscalls,
  root: number,
  path: string,
  kind: "directory" | "file",
): number {
  return make(kernel, root, path, kind, 0);
}

function make(
  kernel: ProcessSyscalls,
  root: number,
  path: string,
  kind: "directory" | "file",
  links: number,
): number {
  try {
    return openInRoot(kernel, root, path);
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT"))) throw error;
  }
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  const name = trimmed.slice(slash + 1);
  if (name === "" || name === "." || name === "..") throw new SysError("mkdir", ERRNO.EINVAL, path);
  const directory = trimmed.slice(0, slash + 1) || "/";
  const parent = make(kernel, root, directory, "directory", links);
  try {
    try {
      if (kind === "file") return createFile(kernel, parent, name);
      kernel.mkdirat(parent, name, 0o755);
    } catch (error) {
      if (!(error instanceof SysError && error.is("EEXIST"))) throw error;
      // It exists and yet was not found: a symbolic link to what is missing. That is what has to be made.
      if (links >= MAX_LINKS) throw new SysError("mkdir", ERRNO.ELOOP, path);
      const target = kernel.readlink(`${fdPath(parent)}/${name}`);
      return make(kernel, root, target.startsWith("/") ? target : directory + target, kind, links + 1);
    }
    return kernel.openat2(parent, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH);
  } finally {
    kernel.close(parent);
  }
}

function createFile(kernel: ProcessSyscalls, parent: number, name: string): number {
  return kernel.openat2(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644, RESOLVE_BENEATH);
}

/** A symbolic link at `path` inside `root`; left alone when something is there already. */
export function symlinkInRoot(kernel: ProcessSyscalls, root: number, target: string, path: string): void {
  const slash = path.lastIndexOf("/");
  const parent = makeInRoot(kernel, root, path.slice(0, slash + 1) || "/", "directory");
  try {
    kernel.symlink(target, `${fdPath(parent)}/${path.slice(slash + 1)}`);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EEXIST"))) throw error;
  } finally {
    kernel.close(parent);
  }
}

/** Whether an O_PATH descriptor is of a directory. */
export function isDirectory(kernel: ProcessSyscalls, fd: number): boolean {
  return (kernel.fstat(fd).mode & 0o170000) === 0o040000;
}

/** O_PATH descriptor of a directory on the host's side. */
export function openDirectory(kernel: ProcessSyscalls, path: string): number {
  return kernel.open(path, O_PATH | O_DIRECTORY);
}
