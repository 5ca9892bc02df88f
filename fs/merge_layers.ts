import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } from "../ffi/constants.ts";
import { S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import type { TreeCalls } from "../ffi/tree_calls.ts";
import { type CopyAbilities, copyContent } from "./copy_file.ts";
import { OPAQUE_MARKER, WHITEOUT_META_PREFIX, WHITEOUT_PREFIX } from "./whiteouts.ts";

/** A name that the merged directory shows. */
interface Shown {
  /** Which layers have it, the topmost first; more than one only for a directory. */
  readonly layers: number[];
  /** Of the topmost. */
  readonly stat: Stat;
  /** Lower layers may still add to the directory. */
  open: boolean;
}

export interface MergeResult {
  readonly files: number;
  /** Bytes of regular files; a file with several names counts once. */
  readonly bytes: number;
  /** Files share their blocks with the layers. */
  readonly cloned: boolean;
}

/**
 * Copies what a stack of layers shows together into one directory. Whiteouts are empty files (format `files`).
 * Layers must not change meanwhile. Files that are links of each other within a layer stay so.
 *
 * The calling thread's umask must be 0.
 */
export class LayerMerger {
  readonly #sys: Syscalls & TreeCalls;
  readonly #layers: readonly string[];
  readonly #target: string;
  /** Where the first name of a file with several has gone, by layer and inode. */
  readonly #links = new Map<string, string>();
  readonly #can: CopyAbilities = { clone: true, range: true };
  #files = 0;
  #bytes = 0;

  /**
   * @param layers directories, the topmost first; short paths let trees be deeper.
   * @param target existing empty directory.
   */
  constructor(sys: Syscalls & TreeCalls, layers: readonly string[], target: string) {
    this.#sys = sys;
    this.#layers = layers;
    this.#target = target;
  }

  run(): MergeResult {
    const top = this.#layers[0];
    if (top !== undefined) {
      this.#directory("", this.#layers.map((_, index) => index), this.#sys.stat(top, false));
    }
    return { files: this.#files, bytes: this.#bytes, cloned: this.#bytes > 0 && this.#can.clone };
  }

  /** Fills the directory `path` of the target ("" or "/a/b"), then gives it the topmost layer's attributes. */
  #directory(path: string, layers: readonly number[], own: Stat): void {
    for (const [name, { layers: holders, stat }] of this.#merge(path, layers)) {
      const child = `${path}/${name}`;
      this.#files++;
      if (isDirectory(stat)) {
        this.#sys.mkdir(`${this.#target}${child}`, 0o700);
        this.#directory(child, holders, stat);
      } else this.#copy(child, holders[0] ?? 0, stat);
    }
    this.#attributes(`${this.#layers[layers[0] ?? 0]}${path}`, `${this.#target}${path}`, own, 0o700);
  }

  #merge(path: string, layers: readonly number[]): Map<string, Shown> {
    const shown = new Map<string, Shown>();
    const hidden = new Set<string>();
    for (const layer of layers) {
      const directory = `${this.#layers[layer]}${path}`;
      const hides: string[] = [];
      let opaque = false;
      for (const name of this.#list(directory)) {
        if (name === OPAQUE_MARKER) opaque = true;
        else if (name.startsWith(WHITEOUT_META_PREFIX)) continue;
        else if (name.startsWith(WHITEOUT_PREFIX)) hides.push(name.slice(WHITEOUT_PREFIX.length));
        else if (!hidden.has(name)) {
          const above = shown.get(name);
          if (above?.open === false) continue;
          const stat = this.#sys.stat(`${directory}/${name}`, false);
          if (above === undefined) shown.set(name, { layers: [layer], stat, open: isDirectory(stat) });
          else if (isDirectory(stat)) above.layers.push(layer);
          else above.open = false;
        }
      }
      if (opaque) break;
      // what a layer hides is below it, never its own
      for (const name of hides) {
        hidden.add(name);
        const above = shown.get(name);
        if (above) above.open = false;
      }
    }
    return shown;
  }

  #list(directory: string): string[] {
    const fd = this.#sys.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      return this.#sys.readDirectory(fd);
    } finally {
      this.#sys.close(fd);
    }
  }

  #copy(path: string, layer: number, stat: Stat): void {
    const from = `${this.#layers[layer]}${path}`;
    const to = `${this.#target}${path}`;
    if (stat.nlink > 1) {
      const key = `${layer}:${stat.ino}`;
      const first = this.#links.get(key);
      if (first !== undefined) {
        this.#sys.link(first, to);
        return;
      }
      this.#links.set(key, to);
    }
    switch (stat.mode & S_IFMT) {
      case S_IFREG:
        this.#file(from, to, stat);
        break;
      case S_IFLNK:
        this.#sys.symlink(this.#sys.readlink(from), to);
        break;
      case S_IFIFO:
        this.#sys.mknod(to, S_IFIFO | (stat.mode & 0o777), 0n);
        break;
      default:
        // layers hold no devices (mknod is refused in a user namespace) and archives no sockets
        return;
    }
    this.#attributes(from, to, stat, stat.mode & 0o777);
  }

  #file(from: string, to: string, stat: Stat): void {
    const source = this.#sys.open(from, O_RDONLY | O_NOFOLLOW);
    try {
      const target = this.#sys.open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, stat.mode & 0o777);
      try {
        copyContent(this.#sys, source, target, stat.size, this.#can);
      } finally {
        this.#sys.close(target);
      }
    } finally {
      this.#sys.close(source);
    }
    this.#bytes += stat.size;
  }

  /** Owner, mode, extended attributes and time, in the order in which each leaves the ones before alone. */
  #attributes(from: string, to: string, stat: Stat, mode: number): void {
    const owned = stat.uid !== 0 || stat.gid !== 0;
    if (owned) this.#sys.lchown(to, stat.uid, stat.gid);
    const wanted = stat.mode & 0o7777;
    const isLink = (stat.mode & S_IFMT) === S_IFLNK;
    if (!isLink && (owned || wanted !== mode)) this.#sys.chmod(to, wanted);
    this.#xattrs(from, to);
    const time: [number, number] = [stat.mtimeSec, stat.mtimeNsec];
    this.#sys.lutimes(to, time, time);
  }

  #xattrs(from: string, to: string): void {
    try {
      for (const name of this.#sys.llistxattr(from)) {
        const value = this.#sys.lgetxattr(from, name);
        if (value) this.#sys.lsetxattr(to, name, value);
      }
    } catch (error) {
      // labels of a security module are not ours to copy; file systems without attributes have none to lose
      if (!(error instanceof SysError) || !error.is("EOPNOTSUPP", "EPERM", "EACCES")) throw error;
    }
  }
}

function isDirectory(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFDIR;
}
