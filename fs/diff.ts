/**
 * What a container has changed of its image's files: from the writable layer of a union file system, or by walking two
 * trees.
 */
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFCHR, S_IFMT } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import { isContentXattr } from "./content_xattrs.ts";
import { OPAQUE_MARKER, WHITEOUT_META_PREFIX, WHITEOUT_PREFIX } from "./whiteouts.ts";

/** Docker's kinds of a change, and one more for a file that was copied up but is as it was. */
export const MODIFIED = 0;
export const ADDED = 1;
export const DELETED = 2;
export const SAME = 3;

export interface DiffEntry {
  /** In the container, absolute. */
  readonly path: string;
  readonly kind: typeof MODIFIED | typeof ADDED | typeof DELETED | typeof SAME;
  /** The file on disk; undefined for a deletion. */
  readonly source: string | undefined;
  readonly stat: Stat | undefined;
  /** A directory that hides what lower layers have in it. */
  readonly opaque: boolean;
  /** Deletions inside of an opaque directory: said by the directory itself. */
  readonly implied: boolean;
}

/** Where to look for changes. */
export type DiffSource =
  | {
    readonly kind: "union";
    /** A writable directory for each part of the tree: the root, and system directories of the host (berth/host). */
    readonly parts: readonly {
      /** "/" or an absolute path. */
      readonly at: string;
      readonly upper: string;
      /** Topmost first. */
      readonly lower: readonly string[];
    }[];
    /** Whiteouts may be files called `.wh.…` as well (fuse-overlayfs). */
    readonly whiteoutFiles: boolean;
    readonly stubs: readonly string[];
  }
  | {
    readonly kind: "trees";
    /** Layers, topmost first, with whiteouts as files. */
    readonly before: readonly string[];
    /** The whole tree as it is now. */
    readonly after: string;
    readonly stubs: readonly string[];
  };

/**
 * Mount points that berth's init makes where an image lacks them, and the directories these are in. As long as nothing else is in
 * them they are no change of the container's (in Docker they are part of a layer of their own).
 */
export const STUBS: readonly string[] = [
  "/.dockerenv",
  "/dev",
  "/dev/console",
  "/dev/mqueue",
  "/dev/pts",
  "/dev/shm",
  "/etc",
  "/etc/hostname",
  "/etc/hosts",
  "/etc/mtab",
  "/etc/resolv.conf",
  "/proc",
  "/sbin",
  "/sbin/docker-init",
  "/sys",
];

type Calls = Pick<
  Syscalls,
  "stat" | "open" | "close" | "readDirectory" | "readlink" | "lgetxattr" | "llistxattr"
>;

/** As many symbolic links as the kernel follows. */
const MAX_LINKS = 40;

const OPAQUE_NAMES = ["user.overlay.opaque", "trusted.overlay.opaque", "user.fuseoverlayfs.opaque"];

/** A name below: what it is, and for a directory the places that its contents come from, topmost first. */
interface Below {
  readonly stat: Stat;
  readonly path: string;
  readonly dirs: readonly string[];
}

/** All that differs, parents before what is in them, deletions before their siblings. */
export function diffEntries(sys: Calls, source: DiffSource): DiffEntry[] {
  const entries: DiffEntry[] = [];
  if (source.kind === "union") {
    for (const part of source.parts) {
      const walk = new DiffWalk(sys, { byAbsence: false, files: source.whiteoutFiles, stubs: source.stubs });
      const inner = walk.root(part.upper, part.lower, part.at);
      if (part.at !== "/" && inner.length > 0) addParents(sys, entries, part.at, part.upper);
      entries.push(...inner);
    }
  } else {
    const walk = new DiffWalk(sys, { byAbsence: true, files: true, stubs: source.stubs });
    entries.push(...walk.root(source.after, source.before, "/"));
  }
  return entries;
}

/** The directory that a part is mounted at, which is no change by itself but has to be in a layer. */
function addParents(sys: Calls, entries: DiffEntry[], at: string, upper: string): void {
  if (entries.some((entry) => entry.path === at)) return;
  const stat = sys.stat(upper, false);
  entries.push({ path: at, kind: MODIFIED, source: upper, stat, opaque: false, implied: false });
}

class DiffWalk {
  readonly #sys: Calls;
  readonly #byAbsence: boolean;
  readonly #files: boolean;
  #stubs: ReadonlySet<string>;

  constructor(
    sys: Calls,
    options: {
      /** What is missing in the new tree was deleted; otherwise whiteouts say so. */
      byAbsence: boolean;
      /** Whiteouts of layers may be files. */
      files: boolean;
      stubs: readonly string[];
    },
  ) {
    this.#sys = sys;
    this.#byAbsence = options.byAbsence;
    this.#files = options.files;
    this.#stubs = new Set(options.stubs);
  }

  root(upper: string, lower: readonly string[], at: string): DiffEntry[] {
    const stat = this.#find(upper);
    if (stat === undefined) return [];
    if (at === "/") this.#followStubs(lower);
    const inner: DiffEntry[] = [];
    this.#directory(upper, lower, at === "/" ? "" : at, false, inner);
    const below = lower[0] === undefined ? undefined : this.#find(lower[0]);
    const changed = below !== undefined && attributesDiffer(below, stat);
    if (at !== "/" || !changed) return inner;
    return [{ path: "/", kind: MODIFIED, source: upper, stat, opaque: false, implied: false }, ...inner];
  }

  /** @param hidden what is below does not show any more: everything here is new. */
  #directory(
    upper: string,
    lower: readonly string[],
    prefix: string,
    hidden: boolean,
    out: DiffEntry[],
  ): void {
    const names = this.#names(upper).sort();
    // in a whole tree such a name is a file's like any other
    const marks = this.#files && !this.#byAbsence;
    const present = new Set<string>();
    const rest: { name: string; stat: Stat }[] = [];
    const gone: string[] = [];
    for (const name of names) {
      if (marks && name.startsWith(WHITEOUT_META_PREFIX)) continue;
      if (marks && name.startsWith(WHITEOUT_PREFIX)) {
        gone.push(name.slice(WHITEOUT_PREFIX.length));
        continue;
      }
      const stat = this.#find(`${upper}/${name}`);
      if (stat === undefined) continue;
      if (!this.#byAbsence && isWhiteout(stat)) gone.push(name);
      else {
        rest.push({ name, stat });
        present.add(name);
      }
    }
    const implied = hidden && !this.#byAbsence;
    if (hidden || this.#byAbsence) {
      for (const name of this.#namesBelow(lower)) if (!present.has(name)) gone.push(name);
    }
    for (const name of [...new Set(gone)].sort()) {
      if (present.has(name) || this.#below(lower, name) === undefined) continue;
      out.push({
        path: `${prefix}/${name}`,
        kind: DELETED,
        source: undefined,
        stat: undefined,
        opaque: false,
        implied,
      });
    }
    for (const { name, stat } of rest) {
      this.#one(`${upper}/${name}`, stat, this.#below(lower, name), `${prefix}/${name}`, implied, out);
    }
  }

  #one(
    source: string,
    stat: Stat,
    below: Below | undefined,
    path: string,
    implied: boolean,
    out: DiffEntry[],
  ): void {
    const isDirectory = (stat.mode & S_IFMT) === 0o040000;
    const wasDirectory = below !== undefined && (below.stat.mode & S_IFMT) === 0o040000;
    const different = below === undefined || this.#different(below, source, stat);
    const kind = below === undefined ? ADDED : different ? MODIFIED : SAME;
    if (!isDirectory) {
      if (below === undefined && this.#isStub(path, stat)) return;
      if (kind === SAME && this.#byAbsence && !implied) return;
      out.push({ path, kind, source, stat, opaque: false, implied });
      return;
    }
    const opaque = !this.#byAbsence && (implied || this.#isOpaque(source)) && wasDirectory;
    const inner: DiffEntry[] = [];
    this.#directory(source, wasDirectory ? below.dirs : [], path, opaque, inner);
    if (inner.length === 0 && below === undefined && this.#stubs.has(path)) return;
    if (inner.length === 0 && kind === SAME && !opaque && !implied) return;
    // what is in an opaque directory of an opaque directory is new to the layer without a mark of its own
    out.push({ path, kind, source, stat, opaque: opaque && !implied, implied }, ...inner);
  }

  /** A mount point that a link leads to is made where the link leads to. */
  #followStubs(lower: readonly string[]): void {
    const stubs = new Set(this.#stubs);
    for (const stub of this.#stubs) {
      const real = this.#follow(lower, stub);
      for (let slash = real.indexOf("/", 1); slash > 0; slash = real.indexOf("/", slash + 1)) {
        if (real !== stub) stubs.add(real.slice(0, slash));
      }
      stubs.add(real);
    }
    this.#stubs = stubs;
  }

  /** Where a path leads in the layers. What is missing is taken as it is named. */
  #follow(lower: readonly string[], path: string): string {
    const rest = path.split("/").reverse();
    const way: { name: string; dirs: readonly string[] }[] = [];
    for (let links = 0; rest.length > 0;) {
      const name = rest.pop() ?? "";
      if (name === "" || name === ".") continue;
      if (name === "..") {
        way.pop();
        continue;
      }
      const below = this.#below(way.at(-1)?.dirs ?? (way.length === 0 ? lower : []), name);
      if (below === undefined || (below.stat.mode & S_IFMT) !== 0o120000) {
        way.push({ name, dirs: below?.dirs ?? [] });
        continue;
      }
      if (++links > MAX_LINKS) return path;
      const target = this.#sys.readlink(below.path);
      if (target.startsWith("/")) way.length = 0;
      rest.push(...target.split("/").reverse());
    }
    return `/${way.map(({ name }) => name).join("/")}`;
  }

  /** An empty file, or the link that stands for the table of mounts. */
  #isStub(path: string, stat: Stat): boolean {
    return this.#stubs.has(path) && (stat.size === 0 || (stat.mode & S_IFMT) === 0o120000);
  }

  /** Moby's rule (go-archive, changes_unix.go): size and time of a directory say nothing. */
  #different(below: Below, source: string, stat: Stat): boolean {
    if (attributesDiffer(below.stat, stat)) return true;
    const type = stat.mode & S_IFMT;
    if (type !== 0o040000 && (below.stat.size !== stat.size || !sameTime(below.stat, stat))) return true;
    return (type === 0o040000 || type === 0o100000) && this.#xattrs(below.path) !== this.#xattrs(source);
  }

  #xattrs(path: string): string {
    try {
      const names = this.#sys.llistxattr(path).filter(isContentXattr).sort();
      return names.map((name) => `${name}=${this.#sys.lgetxattr(path, name)?.toHex()}`).join("\n");
    } catch (error) {
      if (error instanceof SysError && error.is("EOPNOTSUPP")) return "";
      throw error;
    }
  }

  #below(dirs: readonly string[], name: string): Below | undefined {
    let top: { stat: Stat; path: string } | undefined;
    const found: string[] = [];
    for (const dir of dirs) {
      const path = `${dir}/${name}`;
      const stat = this.#find(path);
      if (stat === undefined) {
        if (this.#files && this.#find(`${dir}/${WHITEOUT_PREFIX}${name}`) !== undefined) break;
        continue;
      }
      if (isWhiteout(stat)) break;
      const isDirectory = (stat.mode & S_IFMT) === 0o040000;
      if (top !== undefined && !isDirectory) break;
      top ??= { stat, path };
      if (!isDirectory) break;
      found.push(path);
      if (this.#isOpaque(path)) break;
    }
    return top && { ...top, dirs: found };
  }

  /** All names that lower layers have in a directory; whether they show is for {@link #below} to say. */
  #namesBelow(dirs: readonly string[]): string[] {
    const names = new Set<string>();
    for (const dir of dirs) {
      for (const name of this.#names(dir)) {
        if (!(this.#files && name.startsWith(WHITEOUT_PREFIX))) names.add(name);
      }
    }
    return [...names];
  }

  #isOpaque(dir: string): boolean {
    if (this.#files && this.#find(`${dir}/${OPAQUE_MARKER}`) !== undefined) return true;
    return OPAQUE_NAMES.some((name) => {
      try {
        return this.#sys.lgetxattr(dir, name)?.[0] === 0x79;
      } catch (error) {
        if (error instanceof SysError && error.is("EOPNOTSUPP", "EPERM")) return false;
        throw error;
      }
    });
  }

  #names(dir: string): string[] {
    const fd = this.#sys.open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    try {
      return this.#sys.readDirectory(fd);
    } finally {
      this.#sys.close(fd);
    }
  }

  #find(path: string): Stat | undefined {
    try {
      return this.#sys.stat(path, false);
    } catch (error) {
      if (error instanceof SysError && error.is("ENOENT", "ENOTDIR")) return undefined;
      throw error;
    }
  }
}

function isWhiteout(stat: Stat): boolean {
  return (stat.mode & S_IFMT) === S_IFCHR && stat.rdev === 0n;
}

function attributesDiffer(a: Stat, b: Stat): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.rdev !== b.rdev;
}

/** File systems and archives without nanoseconds say 0. */
function sameTime(a: Stat, b: Stat): boolean {
  return a.mtimeSec === b.mtimeSec &&
    (a.mtimeNsec === b.mtimeNsec || a.mtimeNsec === 0 || b.mtimeNsec === 0);
}

/** The entries that a client is told of, each with its parents, as Docker tells them. */
export function changesOf(entries: readonly DiffEntry[]): { path: string; kind: 0 | 1 | 2 }[] {
  const changes = new Map<string, 0 | 1 | 2>();
  for (const { path, kind } of entries) {
    if (kind === SAME || path === "/") continue;
    for (let slash = path.indexOf("/", 1); slash > 0; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      if (!changes.has(parent)) changes.set(parent, MODIFIED);
    }
    changes.set(path, kind);
  }
  return [...changes].map(([path, kind]) => ({ path, kind })).sort((a, b) =>
    a.path < b.path ? -1 : a.path > b.path ? 1 : 0
  );
}
