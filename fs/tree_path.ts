/** Paths as `cp` names them, inside the calling thread's root. */
import { invalid } from "../base/errors.ts";
import {
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  S_IFMT,
} from "../ffi/constants.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import type { PathStat } from "./tree_job.ts";

const MAX_LINKS = 255;

/** An absolute path, `.` and `..` resolved as text; a slash or `/.` at the end stays (moby: PreserveTrailingDotOrSeparator). */
export function absolutePath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const clean = `/${parts.join("/")}`;
  if (clean === "/") return "/";
  if (path.endsWith("/.") || path === ".") return `${clean}/.`;
  return path.endsWith("/") ? `${clean}/` : clean;
}

/** Last name as Go's filepath.Base has it: "/" for the root, "." for `/x/.`. */
export function baseName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed === "" ? "/" : trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

export interface FoundPath {
  readonly stat: Stat;
  /** Descriptor of the directory that holds it (or that it is, when it was named with a slash); the working directory. */
  readonly here: number;
  /** What it is called there; "." for a directory named with a slash. */
  readonly name: string;
}

/**
 * Finds a path, links on the way resolved inside the root, and makes its directory the working directory. The last name is not
 * followed unless a slash stands behind it. The caller closes `here`.
 *
 * @throws {SysError} ENOENT and the like
 */
export function findPath(sys: Syscalls, root: number, path: string): FoundPath {
  const asDirectory = path === "/" || path.endsWith("/") || path.endsWith("/.");
  const slash = path.lastIndexOf("/");
  const directory = asDirectory ? path : path.slice(0, slash) || "/";
  const name = asDirectory ? "." : path.slice(slash + 1);
  const here = openDirectory(sys, root, directory);
  try {
    sys.fchdir(here);
    return { stat: sys.stat(name, false), here, name };
  } catch (error) {
    sys.close(here);
    throw error;
  }
}

export function openDirectory(sys: Syscalls, root: number, path: string): number {
  const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  return sys.openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/** Descriptor of an existing directory, links followed. @throws {EngineError} invalid for anything but a directory */
export function openTarget(sys: Syscalls, root: number, path: string): number {
  const fd = sys.openat2(root, path, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if ((sys.fstat(fd).mode & S_IFMT) === 0o040000) return fd;
  sys.close(fd);
  throw invalid("extraction point is not a directory");
}

export function pathStat(sys: Syscalls, path: string, { stat }: FoundPath): PathStat {
  const isLink = (stat.mode & S_IFMT) === 0o120000;
  return {
    name: baseName(path),
    size: stat.size,
    mode: stat.mode,
    mtime: [stat.mtimeSec, stat.mtimeNsec],
    linkTarget: isLink ? followLinks(sys, path) : "",
  };
}

/** Where a path leads in the end, as text: also when there is nothing (moby/sys/symlink, FollowSymlinkInScope). */
export function followLinks(sys: Syscalls, path: string): string {
  const rest = path.split("/").reverse();
  const done: string[] = [];
  let links = 0;
  while (rest.length > 0) {
    const part = rest.pop() ?? "";
    if (part === "" || part === ".") continue;
    if (part === "..") {
      done.pop();
      continue;
    }
    const target = readLink(sys, `/${[...done, part].join("/")}`);
    if (target === undefined) {
      done.push(part);
      continue;
    }
    if (++links > MAX_LINKS) throw new SysError("readlink", ERRNO.ELOOP, path);
    if (target.startsWith("/")) done.length = 0;
    rest.push(...target.split("/").reverse());
  }
  return `/${done.join("/")}`;
}

function readLink(sys: Syscalls, path: string): string | undefined {
  try {
    return sys.readlink(path);
  } catch (error) {
    if (error instanceof SysError && error.is("EINVAL", "ENOENT", "ENOTDIR", "ENAMETOOLONG")) {
      return undefined;
    }
    throw error;
  }
}
