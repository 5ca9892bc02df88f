import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, S_IFMT } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import { ContentXattrs } from "./content_xattrs.ts";
import { TAR_END, type TarEntryType, tarHeader, tarPadding } from "./tar/mod.ts";

const CHUNK = 1024 * 1024;

const TYPES: ReadonlyMap<number, TarEntryType> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
]);

/** undefined for a socket, which no archive holds. */
export function entryType(mode: number): TarEntryType | undefined {
  return TYPES.get(mode & S_IFMT);
}

type Calls = Pick<
  Syscalls,
  "stat" | "open" | "close" | "read" | "readlink" | "readDirectory" | "fchdir" | "llistxattr" | "lgetxattr"
>;

/**
 * Writes a tar archive out of files on disk. The same tree gives the same bytes: entries are sorted, and nothing but what is
 * in the tree goes in (no names of users, no access times).
 */
export class TreeTar {
  readonly #sys: Calls;
  readonly #flush: (chunk: Uint8Array<ArrayBuffer>) => void;
  /** Nobody holds a piece once it was handed on, so one buffer does for all. */
  readonly #reuse: boolean;
  #buffer = new Uint8Array(CHUNK);
  #used = 0;
  /** Name in the archive of files that have several names in the tree. */
  readonly #links = new Map<string, string>();
  readonly #xattrs: ContentXattrs;
  /** Bytes of the files. */
  size = 0;
  entries = 0;

  /**
   * @param flush takes a piece of the archive.
   * @param options.reuse `flush` is done with the piece when it returns; otherwise each piece has a buffer of its own.
   */
  constructor(
    sys: Calls,
    flush: (chunk: Uint8Array<ArrayBuffer>) => void,
    options: { reuse?: boolean } = {},
  ) {
    this.#sys = sys;
    this.#xattrs = new ContentXattrs(sys);
    this.#flush = flush;
    this.#reuse = options.reuse ?? false;
  }

  /**
   * Adds what is called `base` in the thread's working directory, with everything below it.
   *
   * @param name what it is called in the archive; "" for a root whose own entry is left out.
   * @param here descriptor of the working directory.
   */
  tree(name: string, base: string, here: number): void {
    const stat = unlessGone(() => this.#sys.stat(base, false));
    if (stat === undefined) return;
    if (name !== "") unlessGone(() => this.entry(name, base, stat));
    if ((stat.mode & S_IFMT) !== 0o040000) return;
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const fd = unlessGone(() => this.#sys.open(base, flags));
    if (fd === undefined) return;
    try {
      const names = this.#sys.readDirectory(fd).sort();
      this.#sys.fchdir(fd);
      const prefix = name === "" || name.endsWith("/") ? name : `${name}/`;
      for (const child of names) this.tree(prefix + child, child, fd);
      this.#sys.fchdir(here);
    } finally {
      this.#sys.close(fd);
    }
  }

  /** Adds one file, without what is below it. A file that cannot be opened leaves nothing in the archive. */
  entry(name: string, path: string, stat: Stat): void {
    const type = entryType(stat.mode);
    if (type === undefined) return;
    const common = {
      name,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      mtime: [stat.mtimeSec, stat.mtimeNsec] as const,
    };
    const inode = type !== "directory" && stat.nlink > 1 ? `${stat.dev}:${stat.ino}` : undefined;
    const linkName = inode === undefined ? undefined : this.#links.get(inode);
    if (linkName !== undefined) this.#put(tarHeader({ ...common, type: "hardlink", linkName }));
    else {
      const xattrs = this.#xattrs.of(path, stat);
      if (type === "file") this.#file({ ...common, xattrs }, path, stat.size);
      else {
        this.#put(tarHeader({
          ...common,
          type,
          xattrs,
          ...(type === "symlink" ? { linkName: this.#sys.readlink(path) } : {}),
          ...(type === "char" || type === "block" ? deviceNumbers(stat.rdev) : {}),
        }));
      }
      if (inode !== undefined) this.#links.set(inode, name);
    }
    this.entries++;
  }

  /** Adds an empty file: a whiteout. */
  marker(name: string): void {
    this.entries++;
    this.#put(tarHeader({ name, mode: 0o600 }));
  }

  #file(common: Parameters<typeof tarHeader>[0], path: string, size: number): void {
    const fd = this.#sys.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    try {
      this.#put(tarHeader({ ...common, type: "file", size }));
      this.size += size;
      let left = size;
      while (left > 0) {
        if (this.#used === CHUNK) this.#send();
        const space = this.#buffer.subarray(this.#used, Math.min(CHUNK, this.#used + left));
        const read = this.#sys.read(fd, space);
        // it was cut short since: the header has promised these bytes
        if (read === 0) space.fill(0);
        const got = read === 0 ? space.length : read;
        this.#used += got;
        left -= got;
      }
      this.#put(tarPadding(size));
    } finally {
      this.#sys.close(fd);
    }
  }

  #put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#used === CHUNK) this.#send();
      const step = Math.min(bytes.length - at, CHUNK - this.#used);
      this.#buffer.set(bytes.subarray(at, at + step), this.#used);
      this.#used += step;
      at += step;
    }
  }

  #send(): void {
    if (this.#used === 0) return;
    this.#flush(this.#buffer.subarray(0, this.#used));
    if (!this.#reuse) this.#buffer = new Uint8Array(CHUNK);
    this.#used = 0;
  }

  /** Ends the archive. */
  finish(): void {
    this.#put(TAR_END);
    this.#send();
  }
}

/** Undefined when somebody has removed it, or put something else in its place, since its directory was read: containers run on. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}

/** Major and minor number, as makedev(3) of glibc joins them. */
function deviceNumbers(rdev: bigint): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n)),
    deviceMinor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n)),
  };
}
