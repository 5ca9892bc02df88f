import { EngineError, invalid } from "../base/errors.ts";
import type { ModeChange } from "../base/file_mode.ts";
import {
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import type { TreeCalls } from "../ffi/tree_calls.ts";
import type { CopyResult } from "./build_job.ts";
import { isDirectory as isFolder, pathInRoot, type SourceNode, type SourceVisitor } from "./build_source.ts";
import { ContentXattrs } from "./content_xattrs.ts";
import { type CopyAbilities, copyContent } from "./copy_file.ts";
import { followLinks } from "./tree_path.ts";

type Time = readonly [seconds: number, nanoseconds: number];

/** Errors of lsetxattr after which the rest of the file is still worth having. */
const REFUSED_XATTR = ["EPERM", "EOPNOTSUPP", "EINVAL", "EACCES"] as const;

export interface CopierOptions {
  /** Whose everything is; undefined: as the source says. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly mode: ModeChange | undefined;
  /** Seconds since 1970: nothing is younger. */
  readonly epoch: number | undefined;
  readonly ignoreChownErrors: boolean;
  /** Called now and then; throws when nobody waits any more. */
  readonly checkpoint: () => void;
}

/**
 * Puts files below the calling thread's root directory, which is the destination's, by BuildKit's rules (fsutil/copy). The working
 * directory is the source's: a name without a slash is the source's, an absolute path the destination's. The thread's umask must be 0.
 */
export class Copier {
  readonly #sys: Syscalls & TreeCalls;
  readonly #options: CopierOptions;
  readonly #can: CopyAbilities = { clone: true, range: true };
  readonly #xattrs: ContentXattrs;
  /** Times of directories, set at the end: of those that were made, and of those that were there, which keep theirs. */
  readonly #directoryTimes = new Map<string, Time>();
  /** The parent that was looked at last. */
  #parent = "";
  readonly result: { -readonly [K in keyof CopyResult]: CopyResult[K] } = { entries: 0, bytes: 0 };

  constructor(sys: Syscalls & TreeCalls, options: CopierOptions) {
    this.#sys = sys;
    this.#options = options;
    this.#xattrs = new ContentXattrs(sys);
  }

  /** For the sources of one tree. @param rootOwned owners of the source mean nothing. */
  into(dest: string, rootOwned: boolean): SourceVisitor {
    return new Landing(this, dest, rootOwned);
  }

  /** A file with this content, mode 0644. */
  inline(dest: string, name: string, content: Uint8Array): void {
    const path = this.place(dest, name, false);
    this.#parentOf(path);
    const mode = this.#mode(0o644, false);
    const fd = this.#create(path, mode);
    try {
      for (let at = 0; at < content.length;) at += this.#sys.write(fd, content.subarray(at));
    } finally {
      this.#sys.close(fd);
    }
    this.result.entries++;
    this.result.bytes += content.length;
    this.#attributes(path, mode, this.#options.owner ?? { uid: 0, gid: 0 }, this.#now());
  }

  /** Makes a directory with those above it, links resolved inside the root; answers its path without links. */
  makeDirectories(given: string): string {
    const path = followLinks(this.#sys, given);
    for (let slash = path.indexOf("/", 1);; slash = path.indexOf("/", slash + 1)) {
      const one = slash < 0 ? path : path.slice(0, slash);
      if (one !== "/") this.#makeDirectory(one);
      if (slash < 0) return path;
    }
  }

  /** Where something called `base` goes when it is copied to `dest`, whose directories are made. */
  place(dest: string, base: string, isDirectory: boolean): string {
    const slashed = dest.endsWith("/") || dest.endsWith("/.");
    const clean = pathInRoot(dest);
    if (slashed || isDirectory) {
      const found = this.#find(followLinks(this.#sys, clean));
      if (isDirectory && found !== undefined && !isFolder(found)) {
        throw invalid(`cannot copy to non-directory: ${clean}`);
      }
      const made = this.makeDirectories(clean);
      return isDirectory ? made : join(made, base);
    }
    this.makeDirectories(clean.slice(0, clean.lastIndexOf("/")) || "/");
    const path = followLinks(this.#sys, clean);
    const found = this.#find(path);
    if (found === undefined) {
      // a link to where there is nothing yet
      this.makeDirectories(path.slice(0, path.lastIndexOf("/")) || "/");
      return path;
    }
    return isFolder(found) ? join(path, base) : path;
  }

  /** Makes a directory of the source's. False when it was there: then it stays as it is. */
  directory(path: string, stat: Stat): boolean {
    this.#options.checkpoint();
    this.#parentOf(path);
    try {
      this.#sys.mkdir(path, stat.mode & 0o777 | 0o700);
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EEXIST")) throw error;
      if (isFolder(this.#sys.stat(path, false))) return false;
      throw invalid(`cannot copy to non-directory: ${path}`);
    }
    this.result.entries++;
    return true;
  }

  /** Gives a directory that was made the source's attributes. */
  finishDirectory(path: string, { name, stat }: SourceNode, rootOwned: boolean): void {
    const mode = this.#mode(stat.mode & 0o7777, true);
    this.#own(path, this.#ownerOf(stat, rootOwned));
    this.#sys.chmod(path, mode);
    this.#copyXattrs(path, name, stat);
    this.#directoryTimes.set(path, this.#clamp([stat.mtimeSec, stat.mtimeNsec]));
  }

  /** Copies a file, link or FIFO. Devices cannot be made by a user, and sockets mean nothing without who listens. */
  file(path: string, node: SourceNode, rootOwned: boolean, links: Map<string, string>): void {
    this.#options.checkpoint();
    const { name, stat } = node;
    const type = stat.mode & S_IFMT;
    if (type !== S_IFREG && type !== S_IFLNK && type !== S_IFIFO) return;
    this.#parentOf(path);
    this.result.entries++;
    if (stat.nlink > 1 && type === S_IFREG) {
      const key = `${stat.dev}:${stat.ino}`;
      const first = links.get(key);
      if (first !== undefined && first !== path) {
        this.#replace(path, () => this.#sys.link(first, path));
        return;
      }
      links.set(key, path);
    }
    const owner = this.#ownerOf(stat, rootOwned);
    const time = this.#clamp([stat.mtimeSec, stat.mtimeNsec]);
    if (type === S_IFLNK) {
      const target = this.#sys.readlink(name);
      this.#replace(path, () => this.#sys.symlink(target, path));
      this.#own(path, owner);
      this.#sys.lutimes(path, [...time], [...time]);
      return;
    }
    const mode = this.#mode(stat.mode & 0o7777, false);
    if (type === S_IFIFO) this.#replace(path, () => this.#sys.mknod(path, S_IFIFO | mode & 0o777, 0n));
    else this.#content(path, name, mode);
    this.#attributes(path, mode, owner, time, node);
  }

  /** At the end of everything: times of directories. */
  finish(): void {
    for (const [path, time] of this.#directoryTimes) this.#sys.lutimes(path, [...time], [...time]);
  }

  #content(path: string, name: string, mode: number): void {
    const from = this.#sys.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    try {
      const { mode: found, size } = this.#sys.fstat(from);
      if ((found & S_IFMT) !== S_IFREG) {
        throw new EngineError("conflict", `${path} changed while it was read`);
      }
      const to = this.#create(path, mode);
      try {
        copyContent(this.#sys, from, to, size, this.#can);
      } finally {
        this.#sys.close(to);
      }
      this.result.bytes += size;
    } finally {
      this.#sys.close(from);
    }
  }

  #create(path: string, mode: number): number {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    return this.#replace(path, () => this.#sys.open(path, flags, mode & 0o777));
  }

  /** Makes something in the place of what is there; of a directory never. */
  #replace<T>(path: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EEXIST")) throw error;
    }
    if (isFolder(this.#sys.stat(path, false))) {
      throw invalid(`cannot replace to directory ${path} with file`);
    }
    this.#sys.unlink(path);
    return make();
  }

  #makeDirectory(path: string): void {
    const found = this.#find(path);
    if (found !== undefined) {
      if (isFolder(found)) return;
      throw invalid(`mkdir ${path}: not a directory`);
    }
    this.#parentOf(path);
    this.#sys.mkdir(path, 0o755);
    this.result.entries++;
    this.#own(path, this.#options.owner ?? { uid: 0, gid: 0 });
    this.#directoryTimes.set(path, this.#now());
  }

  /** Something is about to change in a directory, whose time is to stay: the same files make the same layer. */
  #parentOf(path: string): void {
    const parent = path.slice(0, path.lastIndexOf("/")) || "/";
    if (parent === this.#parent) return;
    this.#parent = parent;
    if (this.#directoryTimes.has(parent)) return;
    const { mtimeSec, mtimeNsec } = this.#sys.stat(parent, false);
    this.#directoryTimes.set(parent, [mtimeSec, mtimeNsec]);
  }

  #attributes(
    path: string,
    mode: number,
    owner: { readonly uid: number; readonly gid: number },
    time: Time,
    node?: SourceNode,
  ): void {
    this.#own(path, owner);
    // to change the owner takes set-id bits away
    if ((mode & 0o7000) !== 0) this.#sys.chmod(path, mode);
    if (node !== undefined) this.#copyXattrs(path, node.name, node.stat);
    this.#sys.lutimes(path, [...time], [...time]);
  }

  #copyXattrs(path: string, name: string, stat: Stat): void {
    for (const [key, value] of this.#xattrs.of(name, stat)) {
      try {
        this.#sys.lsetxattr(path, key, value);
      } catch (error) {
        if (!(error instanceof SysError) || !error.is(...REFUSED_XATTR)) throw error;
      }
    }
  }

  #own(path: string, { uid, gid }: { readonly uid: number; readonly gid: number }): void {
    try {
      this.#sys.lchown(path, uid, gid);
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("EINVAL", "EPERM")) throw error;
      if (this.#options.ignoreChownErrors) return;
      throw new EngineError(
        "system",
        `failed to set the owner of ${
          JSON.stringify(path)
        }: potentially insufficient UIDs or GIDs available in user ` +
          `namespace (requested ${uid}:${gid}): Check /etc/subuid and /etc/subgid if configured locally`,
        { cause: error },
      );
    }
  }

  #ownerOf(stat: Stat, rootOwned: boolean): { readonly uid: number; readonly gid: number } {
    return this.#options.owner ?? (rootOwned ? { uid: 0, gid: 0 } : stat);
  }

  #mode(mode: number, isDirectory: boolean): number {
    return this.#options.mode?.(mode, isDirectory) ?? mode;
  }

  #now(): Time {
    const now = Date.now();
    return this.#clamp([Math.floor(now / 1000), now % 1000 * 1_000_000]);
  }

  #clamp(time: Time): Time {
    const { epoch } = this.#options;
    return epoch === undefined || time[0] < epoch ? time : [epoch, 0];
  }

  #find(path: string): Stat | undefined {
    try {
      return this.#sys.stat(path, false);
    } catch (error) {
      if (!(error instanceof SysError) || !error.is("ENOENT", "ENOTDIR")) throw error;
      return undefined;
    }
  }
}

/** Takes what one selection shows to where it belongs. */
class Landing implements SourceVisitor {
  readonly #copier: Copier;
  readonly #dest: string;
  readonly #rootOwned: boolean;
  #target = "";
  #isDirectory = false;
  /** Directories on the way to what is shown, and whether they were made. */
  readonly #made: boolean[] = [];
  /** Where files with several names have gone. */
  readonly #links = new Map<string, string>();

  constructor(copier: Copier, dest: string, rootOwned: boolean) {
    this.#copier = copier;
    this.#dest = dest;
    this.#rootOwned = rootOwned;
  }

  begin(base: string, isDirectory: boolean): void {
    this.#target = this.#copier.place(this.#dest, base, isDirectory);
    this.#isDirectory = isDirectory;
  }

  enter({ path, stat }: SourceNode): void {
    this.#made.push(this.#copier.directory(join(this.#target, path), stat));
  }

  leave(node: SourceNode): void {
    if (this.#made.pop()) {
      this.#copier.finishDirectory(join(this.#target, node.path), node, this.#rootOwned);
    }
  }

  file(node: SourceNode): void {
    const path = this.#isDirectory ? join(this.#target, node.path) : this.#target;
    this.#copier.file(path, node, this.#rootOwned, this.#links);
  }
}

const join = (directory: string, name: string): string =>
  directory === "/" ? `/${name}` : `${directory}/${name}`;
