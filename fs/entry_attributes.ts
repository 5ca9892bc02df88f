import { EngineError } from "../base/errors.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { TarEntry, TarTime } from "./tar/mod.ts";
import { isDriverXattr } from "./whiteouts.ts";

/** Times of so many directories are remembered until the end; of more, those that the archive has left behind are set before. */
const MAX_REMEMBERED = 50_000;

/** Errors of lsetxattr after which the rest of the entry is still worth having. */
const REFUSED_XATTR = ["EPERM", "EOPNOTSUPP", "EINVAL", "EACCES"] as const;

/** Gives files their owners, modes, extended attributes and times as an archive has them. Paths are of the thread's own root. */
export class EntryAttributes {
  readonly #sys: Syscalls;
  readonly #options: { readonly ignoreChownErrors: boolean; readonly emptyTree: boolean };
  /** Set at the end: what is made inside a directory changes its time. */
  readonly #directoryTimes = new Map<string, TarTime>();
  /** A new file takes its group from a set-group-id directory: then owners are set even when they are 0. */
  #setGroupIdSeen = false;
  skippedXattrs = 0;

  /** @param options `emptyTree`: nothing was there before, so a new file belongs to 0:0. */
  constructor(
    sys: Syscalls,
    options: { readonly ignoreChownErrors: boolean; readonly emptyTree: boolean },
  ) {
    this.#sys = sys;
    this.#options = options;
  }

  /** Owner, mode, extended attributes and time, in the order in which each leaves the ones before alone. */
  set(path: string, entry: TarEntry): void {
    const chowned = this.#owner(path, entry);
    const special = entry.mode & 0o7000;
    if (chowned || special !== 0 || path === "/" || entry.type === "directory") {
      this.#sys.chmod(path, entry.mode);
    }
    if (entry.type === "directory" && entry.mode & 0o2000) this.#setGroupIdSeen = true;
    this.#xattrs(path, entry);
    if (entry.type === "directory") {
      this.#directoryTimes.set(path, entry.mtime);
      if (this.#directoryTimes.size > MAX_REMEMBERED) this.#setDirectoryTimes(path);
    } else this.#sys.lutimes(path, entry.mtime as [number, number], entry.mtime as [number, number]);
  }

  /** Of a symbolic link, which has no mode. */
  setOfLink(path: string, entry: TarEntry): void {
    this.#owner(path, entry);
    this.#xattrs(path, entry);
    this.#sys.lutimes(path, entry.mtime as [number, number], entry.mtime as [number, number]);
  }

  /** The directory has gone. */
  forget(path: string): void {
    this.#directoryTimes.delete(path);
  }

  /** At the end of the archive: times of directories. */
  finish(): void {
    this.#setDirectoryTimes("");
  }

  /** Of all remembered directories that are not on the way to `current`. */
  #setDirectoryTimes(current: string): void {
    for (const [path, time] of this.#directoryTimes) {
      if (current !== "" && (path === "/" || current === path || current.startsWith(`${path}/`))) continue;
      this.#directoryTimes.delete(path);
      try {
        this.#sys.lutimes(path, time as [number, number], time as [number, number]);
      } catch (error) {
        // a later entry has replaced it
        if (!(error instanceof SysError) || !error.is("ENOENT", "ENOTDIR", "ELOOP")) throw error;
      }
    }
  }

  #owner(path: string, { uid, gid, type, name }: TarEntry): boolean {
    // a file that was just made is 0:0, a directory may have been there
    const fresh = this.#options.emptyTree && !this.#setGroupIdSeen && type !== "directory";
    if (uid === 0 && gid === 0 && fresh) return false;
    try {
      this.#sys.lchown(path, uid, gid);
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EINVAL", "EPERM")) throw error;
      if (this.#options.ignoreChownErrors) return false;
      throw new EngineError(
        "system",
        `failed to set the owner of ${
          JSON.stringify(name)
        }: potentially insufficient UIDs or GIDs available in user ` +
          `namespace (requested ${uid}:${gid}): Check /etc/subuid and /etc/subgid if configured locally`,
        { cause: error },
      );
    }
    return true;
  }

  #xattrs(path: string, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      if (isDriverXattr(name)) {
        this.skippedXattrs++;
        continue;
      }
      try {
        this.#sys.lsetxattr(path, name, value);
      } catch (error) {
        if (!(error instanceof SysError) || !error.is(...REFUSED_XATTR)) throw error;
        this.skippedXattrs++;
      }
    }
  }
}
