import { S_IFDIR, S_IFMT, S_IFREG } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import { isDriverXattr } from "./whiteouts.ts";

const NONE: ReadonlyMap<string, Uint8Array> = new Map();

/** Extended attributes that belong to a file itself: not labels of security modules, nor what a union file system notes down. */
export class ContentXattrs {
  readonly #sys: Pick<Syscalls, "llistxattr" | "lgetxattr">;
  /** File systems that have none. */
  readonly #bare = new Set<bigint>();

  constructor(sys: Pick<Syscalls, "llistxattr" | "lgetxattr">) {
    this.#sys = sys;
  }

  /** By name, sorted. */
  of(path: string, stat: Stat): ReadonlyMap<string, Uint8Array> {
    // user.* attributes exist on files and directories only, capabilities on files
    const type = stat.mode & S_IFMT;
    if (this.#bare.has(stat.dev) || (type !== S_IFREG && type !== S_IFDIR)) return NONE;
    try {
      const names = this.#sys.llistxattr(path);
      if (names.length === 0) return NONE;
      const found = new Map<string, Uint8Array>();
      for (const name of names.sort()) {
        if (!isContentXattr(name)) continue;
        const value = this.#sys.lgetxattr(path, name);
        if (value !== undefined) found.set(name, value);
      }
      return found;
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EOPNOTSUPP")) throw error;
      this.#bare.add(stat.dev);
      return NONE;
    }
  }
}

/** Extended attributes that an archive carries. */
export function isContentXattr(name: string): boolean {
  return name === "security.capability" || (name.startsWith("user.") && !isDriverXattr(name));
}
