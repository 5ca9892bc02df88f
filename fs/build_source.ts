/** The files that a build takes: found below a root that is not the thread's own, one name at a time. */
import { EngineError, notFound } from "../base/errors.ts";
import { componentMatcher, hasWildcards, PathPatterns } from "../base/path_patterns.ts";
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFLNK, S_IFMT } from "../ffi/constants.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import type { Stat, Syscalls } from "../ffi/syscalls.ts";
import type { FileSelection } from "./build_job.ts";
import { openDirectory } from "./tree_path.ts";

/** As many symbolic links as the kernel itself follows. */
const MAX_LINKS = 40;

type Calls = Pick<
  Syscalls,
  "stat" | "open" | "openat2" | "close" | "fchdir" | "readlink" | "readDirectory"
>;

/** A file, directory or link. While it is shown, `name` in the working directory is it. */
export interface SourceNode {
  /** From the directory that is copied; of what was named itself its last name. */
  readonly path: string;
  readonly name: string;
  /** Never of what a link leads to. */
  readonly stat: Stat;
}

/** Takes what a selection holds, in an order that depends on names only. */
export interface SourceVisitor {
  /** Something that was named: a directory, whose contents follow, or a file. */
  begin(base: string, isDirectory: boolean): void;
  /** Anything but a directory. */
  file(node: SourceNode): void;
  enter(node: SourceNode): void;
  leave(node: SourceNode): void;
}

/** A directory on the way, shown to the visitor once something in it is wanted. */
interface OpenDirectory {
  readonly node: SourceNode;
  /** Descriptor of the directory that holds it. */
  readonly parent: number;
  shown: boolean;
}

interface Found {
  readonly here: number;
  readonly name: string;
  readonly stat: Stat;
}

export const isDirectory = (stat: Stat): boolean => (stat.mode & S_IFMT) === S_IFDIR;

/** `../a//b/` below a root is `/a/b`. */
export function pathInRoot(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/**
 * A tree that files are taken from, by a descriptor of its root. All look-ups of text go through openat2, which takes that root
 * for "/"; everything else is by single names that are never followed. The working directory changes.
 */
export class SourceRoot {
  readonly #sys: Calls;
  readonly #root: number;

  constructor(sys: Calls, root: number) {
    this.#sys = sys;
    this.#root = root;
  }

  /**
   * Shows everything that is selected.
   *
   * @throws {EngineError} not-found: `"/nope": not found`
   */
  walk(selection: FileSelection, visitor: SourceVisitor): void {
    const exclude = new PathPatterns(selection.exclude);
    for (const pattern of selection.patterns) {
      if (selection.parents) this.#walkParents(pattern, exclude, visitor);
      else {
        for (const path of this.paths(pattern, selection.wildcards)) this.#walkPath(path, exclude, visitor);
      }
    }
  }

  /** What a pattern comes to, sorted. A path without wildcards is answered whether it exists or not. */
  paths(pattern: string, wildcards: boolean): string[] {
    const clean = pathInRoot(pattern);
    const parts = clean.split("/").slice(1);
    const first = wildcards ? parts.findIndex(hasWildcards) : -1;
    if (first < 0) return [clean];
    const matchers = parts.slice(first).map(componentMatcher);
    const base = parts.slice(0, first).map((part) => `/${part}`).join("");
    const here = this.#directory(base);
    if (here === undefined) return [];
    const found: string[] = [];
    try {
      this.#match(here, base, matchers, found);
    } finally {
      this.#sys.close(here);
    }
    return found;
  }

  /** Links are not followed among the names that wildcards stand for. */
  #match(
    here: number,
    path: string,
    matchers: readonly ((name: string) => boolean)[],
    found: string[],
  ): void {
    const [matches, ...rest] = matchers;
    if (matches === undefined) return;
    for (const name of this.#sys.readDirectory(here).sort()) {
      if (!matches(name)) continue;
      if (rest.length === 0) {
        found.push(`${path}/${name}`);
        continue;
      }
      this.#sys.fchdir(here);
      const stat = this.#stat(name);
      if (stat === undefined || !isDirectory(stat)) continue;
      const fd = this.#open(name);
      try {
        this.#match(fd, `${path}/${name}`, rest, found);
      } finally {
        this.#sys.close(fd);
      }
    }
  }

  /** Runs `use` with what a path leads to, links followed; its directory is the working directory. */
  at<T>(path: string, use: (found: Found) => T): T {
    const found = this.#find(path);
    try {
      return use(found);
    } finally {
      this.#sys.close(found.here);
    }
  }

  #walkPath(path: string, exclude: PathPatterns, visitor: SourceVisitor): void {
    this.at(path, ({ name, stat, here }) => {
      const base = path.slice(path.lastIndexOf("/") + 1) || "/";
      if (!isDirectory(stat)) {
        if (!exclude.isEmpty && exclude.matches(base)) return;
        visitor.begin(base, false);
        visitor.file({ path: base, name, stat });
        return;
      }
      visitor.begin(base, true);
      const fd = this.#open(name);
      try {
        new Walk(this.#sys, visitor, undefined, exclude).contents(fd, "");
      } finally {
        this.#sys.close(fd);
        this.#sys.fchdir(here);
      }
    });
  }

  /** `a/./b/*.c`: what is below `a`, called `b/x.c`. */
  #walkParents(pattern: string, exclude: PathPatterns, visitor: SourceVisitor): void {
    const pivot = pattern.indexOf("/./");
    const base = pathInRoot(pivot < 0 ? "/" : pattern.slice(0, pivot));
    const inner = pathInRoot(pivot < 0 ? pattern : pattern.slice(pivot + 3)).slice(1);
    const root = this.#directory(base);
    if (root === undefined) throw missing(base);
    try {
      visitor.begin("/", true);
      const include = inner === "" ? undefined : new Inclusion(inner);
      const walk = new Walk(this.#sys, visitor, include, exclude);
      walk.contents(root, "");
      if (walk.shown === 0 && !hasWildcards(inner) && include !== undefined && !include.seen) {
        throw missing(`/${inner}`);
      }
    } finally {
      this.#sys.close(root);
    }
  }

  #find(given: string): Found {
    let path = given;
    for (let links = 0; links <= MAX_LINKS; links++) {
      const trimmed = path.replace(/\/+$/, "");
      const slash = trimmed.lastIndexOf("/");
      const last = trimmed.slice(slash + 1);
      const plain = last !== "" && last !== "." && last !== "..";
      const here = this.#directory(plain ? trimmed.slice(0, slash) : trimmed);
      if (here === undefined) throw missing(given);
      const name = plain ? last : ".";
      this.#sys.fchdir(here);
      const stat = this.#stat(name);
      if (stat !== undefined && (stat.mode & S_IFMT) !== S_IFLNK) return { here, name, stat };
      try {
        if (stat === undefined) throw missing(given);
        const target = this.#sys.readlink(name);
        path = target.startsWith("/") ? target : `${trimmed.slice(0, slash)}/${target}`;
      } finally {
        this.#sys.close(here);
      }
    }
    throw new EngineError("invalid", new SysError("open", ERRNO.ELOOP, given).message);
  }

  /** Descriptor of a directory, links followed inside the root; undefined when there is none. */
  #directory(path: string): number | undefined {
    try {
      return openDirectory(this.#sys as Syscalls, this.#root, path === "" ? "/" : path);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.is("ENOENT", "ENOTDIR")) return undefined;
      if (error.is("ELOOP", "ENAMETOOLONG")) throw new EngineError("invalid", error.message);
      throw error;
    }
  }

  #stat(name: string): Stat | undefined {
    return statOf(this.#sys, name);
  }

  #open(name: string): number {
    return this.#sys.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
}

function missing(path: string): EngineError {
  return notFound(`${JSON.stringify(path)}: not found`);
}

function statOf(sys: Calls, name: string): Stat | undefined {
  try {
    return sys.stat(name, false);
  } catch (error) {
    if (error instanceof SysError && error.is("ENOENT", "ENOTDIR", "ENAMETOOLONG")) return undefined;
    throw error;
  }
}

/** A pattern of `--parents`. */
class Inclusion {
  readonly #patterns: PathPatterns;
  /** Names in front of the first wildcard: nothing else has to be looked into. */
  readonly #literal: readonly string[];
  /** Something has matched, whether it was excluded or not. */
  seen = false;

  constructor(pattern: string) {
    this.#patterns = new PathPatterns([pattern]);
    const parts = pattern.split("/");
    const wild = parts.findIndex((part) => hasWildcards(part) || part.includes("\\"));
    this.#literal = wild < 0 ? parts : parts.slice(0, wild);
  }

  matches(path: string): boolean {
    const matched = this.#patterns.matches(path);
    this.seen ||= matched;
    return matched;
  }

  mayHold(directory: string): boolean {
    const parts = directory.split("/");
    return this.#literal.every((name, index) => index >= parts.length || parts[index] === name);
  }
}

/** One directory's contents, as far as they are wanted. */
class Walk {
  readonly #sys: Calls;
  readonly #visitor: SourceVisitor;
  readonly #include: Inclusion | undefined;
  readonly #exclude: PathPatterns;
  readonly #open: OpenDirectory[] = [];
  shown = 0;

  constructor(
    sys: Calls,
    visitor: SourceVisitor,
    include: Inclusion | undefined,
    exclude: PathPatterns,
  ) {
    this.#sys = sys;
    this.#visitor = visitor;
    this.#include = include;
    this.#exclude = exclude;
  }

  /** @param here descriptor of the directory; `prefix`: "" or "a/b/". The working directory is `here` afterwards. */
  contents(here: number, prefix: string): void {
    const names = this.#sys.readDirectory(here).sort();
    this.#sys.fchdir(here);
    for (const name of names) {
      const stat = statOf(this.#sys, name);
      if (stat === undefined) continue;
      const node = { path: prefix + name, name, stat };
      const wanted = (this.#include === undefined || this.#include.matches(node.path)) &&
        (this.#exclude.isEmpty || !this.#exclude.matches(node.path));
      if (isDirectory(stat)) this.#directory(node, wanted, here);
      else if (wanted) {
        this.#showParents(here);
        this.shown++;
        this.#visitor.file(node);
      }
    }
  }

  #directory(node: SourceNode, wanted: boolean, here: number): void {
    const { name, path } = node;
    if (!wanted) {
      const allExcluded = !this.#exclude.hasNegations && !this.#exclude.isEmpty &&
        this.#exclude.matches(path);
      if (allExcluded || this.#include?.mayHold(path) === false) return;
    }
    const directory: OpenDirectory = { node, parent: here, shown: false };
    this.#open.push(directory);
    if (wanted) this.#showParents(here);
    const fd = this.#sys.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    try {
      this.contents(fd, `${path}/`);
      this.#sys.fchdir(here);
    } finally {
      this.#sys.close(fd);
    }
    this.#open.pop();
    if (directory.shown) this.#visitor.leave(node);
  }

  #showParents(here: number): void {
    if (this.#open.at(-1)?.shown !== false) return;
    for (const directory of this.#open) {
      if (directory.shown) continue;
      this.#sys.fchdir(directory.parent);
      directory.shown = true;
      this.shown++;
      this.#visitor.enter(directory.node);
    }
    this.#sys.fchdir(here);
  }
}
