/** Single files of build contexts. A context is its client's: names and links in it lead nowhere outside. */
import { EngineError, invalid } from "../../base/errors.ts";
import {
  O_CLOEXEC,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  S_IFMT,
  S_IFREG,
} from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { OwnedFd } from "../../ffi/fd.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import { ignoreCheck } from "../../image/build/ignored_sources.ts";
import type { IgnoreCheck } from "../../image/build/step.ts";
import type { BuildRequest } from "./types.ts";

/** No Dockerfile and no `.dockerignore` comes near this; both are read whole. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

/** What `Builder.readContextFile` promises. */
export function readContextFile(kernel: Syscalls, directory: string, path: string): string | undefined {
  // a FIFO would wait for a writer
  using file = openInside(kernel, directory, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file === undefined) return undefined;
  const { mode, size } = kernel.fstat(file.fd);
  if ((mode & S_IFMT) !== S_IFREG) throw invalid(`${path} in the build context is not a regular file`);
  if (size > MAX_TEXT_BYTES) {
    throw invalid(`${path} in the build context is larger than ${MAX_TEXT_BYTES} bytes`);
  }
  // the descriptor is the file that was looked at, whatever its name leads to by now
  return new TextDecoder().decode(Deno.readFileSync(`/proc/self/fd/${file.fd}`));
}

/** What a context's `.dockerignore` says of sources; undefined: nothing, or it is not there any more. The client has heeded it. */
export function ignoredSources(kernel: Syscalls, { context }: BuildRequest): IgnoreCheck | undefined {
  if (context === undefined) return undefined;
  try {
    return ignoreCheck(readContextFile(kernel, context.path, ".dockerignore") ?? "");
  } catch (error) {
    // a check only: whoever applies the file says what is wrong with it
    if (error instanceof EngineError || error instanceof SysError) return undefined;
    throw error;
  }
}

/** What `Builder.removeContextFile` promises. */
export function removeContextFile(kernel: Syscalls, directory: string, path: string): void {
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  if (name === "" || name === "." || name === "..") return;
  using parent = openInside(
    kernel,
    directory,
    path.slice(0, slash + 1) || ".",
    O_RDONLY | O_DIRECTORY | O_CLOEXEC,
  );
  if (parent === undefined) return;
  try {
    Deno.removeSync(`/proc/self/fd/${parent.fd}/${name}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function openInside(kernel: Syscalls, directory: string, path: string, flags: number): OwnedFd | undefined {
  using root = new OwnedFd(kernel.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), kernel);
  try {
    return new OwnedFd(
      kernel.openat2(root.fd, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS),
      kernel,
    );
  } catch (error) {
    if (error instanceof SysError && MISSING.has(error.errno)) return undefined;
    throw error;
  }
}

/** ENXIO: a socket. */
const MISSING: ReadonlySet<number> = new Set([ERRNO.ENOENT, ERRNO.ENOTDIR]);
