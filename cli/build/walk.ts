/** What is in a directory that is a build context. */
import type { ListedFile } from "../../base/build_session.ts";
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";

/** What is left out. */
export interface Ignored {
  /** Below a directory that matches there may be paths that do not. */
  readonly hasExceptions: boolean;
  ignores(path: string): boolean;
}

/** A file, directory, link or FIFO of a context. */
export interface ContextEntry {
  /** From the context's root. */
  readonly path: string;
  /** Of the file itself, not of what a link leads to. */
  readonly info: Deno.FileInfo;
  /** An earlier path of the same file. */
  readonly sameAs: string | undefined;
}

/**
 * Everything below `root` but what `ignored` says, sockets and devices; directories before what is in them, names sorted.
 *
 * @throws {CliError} with docker's words.
 */
export function* walkContext(
  root: string,
  ignored: Ignored | undefined,
): Generator<ContextEntry, void, undefined> {
  yield* new Walk(root, ignored).below("");
}

class Walk {
  readonly #root: string;
  readonly #ignored: Ignored | undefined;
  /** Directories that are ignored themselves, but may have something in them that is not. */
  readonly #pending: ContextEntry[] = [];
  /** First name of files with several. */
  readonly #links = new Map<string, string>();

  constructor(root: string, ignored: Ignored | undefined) {
    this.#root = root;
    this.#ignored = ignored;
  }

  *below(directory: string): Generator<ContextEntry, void, undefined> {
    const absolute = directory === "" ? this.#root : `${this.#root}/${directory}`;
    const names = failing("open", absolute, () => [...Deno.readDirSync(absolute)])
      .map(({ name }) => name).sort();
    for (const name of names) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const ignored = this.#ignored?.ignores(path) ?? false;
      if (ignored && !this.#ignored?.hasExceptions) continue;
      let info: Deno.FileInfo;
      try {
        info = Deno.lstatSync(`${this.#root}/${path}`);
      } catch (error) {
        // gone since
        if (error instanceof Deno.errors.NotFound) continue;
        throw new CliError(`lstat ${this.#root}/${path}: ${goErrno(error)}`);
      }
      if (info.isDirectory && ignored) {
        this.#pending.push({ path, info, sameAs: undefined });
        yield* this.below(path);
        if (this.#pending.at(-1)?.path === path) this.#pending.pop();
        continue;
      }
      const isKnown = info.isDirectory || info.isFile || info.isSymlink || info.isFifo === true;
      if (ignored || !isKnown) continue;
      yield* this.#pending.splice(0);
      yield { path, info, sameAs: this.#sameAs(path, info) };
      if (info.isDirectory) yield* this.below(path);
    }
  }

  #sameAs(path: string, info: Deno.FileInfo): string | undefined {
    if (!info.isFile || (info.nlink ?? 1) < 2) return undefined;
    const key = `${info.dev}:${info.ino}`;
    const known = this.#links.get(key);
    if (known === undefined) this.#links.set(key, path);
    return known;
  }
}

/**
 * A file that was changed this short a time ago may be changed again without its times telling: they count whole seconds on some file systems,
 * and ctime does for Deno.
 */
const SETTLED_MS = 2000;

/**
 * Names the state that a file is in, as rsync, git and make know one: by size, times and inode. ctime is among them, which nobody can set back.
 *
 * @param now milliseconds since 1970, before the first file was looked at.
 */
export function listed({ path, info, sameAs }: ContextEntry, now: number): ListedFile {
  const { mode, size, mtime, ctime, dev, ino } = info;
  if (mtime === null || ctime === null || ino === null) return [path, ""];
  const changed = Math.max(mtime.getTime(), ctime.getTime());
  if (changed + SETTLED_MS > now) return [path, ""];
  const state = [mode, size, mtime.getTime(), ctime.getTime(), dev, ino].join(" ");
  return [path, sameAs === undefined ? state : `${state} ${sameAs}`];
}

/** Runs `work`; what the system refuses is told in docker's words. */
export function failing<T>(operation: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      throw new CliError(`error checking context: no permission to read from '${path}'`);
    }
    throw new CliError(`${operation} ${path}: ${goErrno(error)}`);
  }
}
