/** Build contexts as archives. */
import { goErrno } from "../../base/go_errno.ts";
import { TAR_END, tarHeader, tarPadding } from "../../base/tar/mod.ts";
import { CliError } from "../errors.ts";

/** What is sent at once; small files are gathered until there is so much. */
const PIECE = 256 * 1024;

/** What is left out. */
export interface Ignored {
  /** Below a directory that matches there may be paths that do not. */
  readonly hasExceptions: boolean;
  ignores(path: string): boolean;
}

/** A file that is in the archive and not in the directory. */
export interface ExtraFile {
  readonly name: string;
  readonly text: string;
}

/**
 * A tar archive of what is below `root` (undefined: nothing but `extra`), without what `ignored` says. Everything belongs to root, as in every build context; sockets are left
 * out. Names are sorted: the same files make the same archive.
 */
export async function* packContext(
  root: string | undefined,
  ignored: Ignored | undefined,
  extra: readonly ExtraFile[] = [],
): AsyncGenerator<Uint8Array, void, undefined> {
  let buffer = new Uint8Array(PIECE);
  let used = 0;
  for (const piece of new Packer(root ?? "", ignored).archive(extra, root !== undefined)) {
    for (let at = 0; at < piece.length;) {
      const step = Math.min(piece.length - at, PIECE - used);
      buffer.set(piece.subarray(at, at + step), used);
      used += step;
      at += step;
      if (used < PIECE) continue;
      yield buffer;
      buffer = new Uint8Array(PIECE);
      used = 0;
    }
  }
  if (used > 0) yield buffer.subarray(0, used);
}

class Packer {
  readonly #root: string;
  readonly #ignored: Ignored | undefined;
  /** Directories that are ignored themselves, but may have something in them that is not. */
  readonly #pending: { readonly path: string; readonly info: Deno.FileInfo }[] = [];
  /** First name of files with several. */
  readonly #links = new Map<string, string>();

  constructor(root: string, ignored: Ignored | undefined) {
    this.#root = root;
    this.#ignored = ignored;
  }

  *archive(extra: readonly ExtraFile[], hasFiles: boolean): Generator<Uint8Array, void, undefined> {
    if (hasFiles) yield* this.#below("");
    for (const { name, text } of extra) {
      const bytes = new TextEncoder().encode(text);
      yield tarHeader({ name, mode: 0o600, size: bytes.length });
      yield bytes;
      yield tarPadding(bytes.length);
    }
    yield TAR_END;
  }

  *#below(directory: string): Generator<Uint8Array, void, undefined> {
    const names = failing("open", this.#path(directory), () => [...Deno.readDirSync(this.#path(directory))])
      .map(({ name }) => name).sort();
    for (const name of names) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const ignored = this.#ignored?.ignores(path) ?? false;
      if (ignored && !this.#ignored?.hasExceptions) continue;
      let info: Deno.FileInfo;
      try {
        info = Deno.lstatSync(this.#path(path));
      } catch (error) {
        // gone since
        if (error instanceof Deno.errors.NotFound) continue;
        throw new CliError(`lstat ${this.#path(path)}: ${goErrno(error)}`);
      }
      if (info.isDirectory && ignored) {
        this.#pending.push({ path, info });
        yield* this.#below(path);
        if (this.#pending.at(-1)?.path === path) this.#pending.pop();
        continue;
      }
      if (ignored || info.isSocket) continue;
      for (const { path, info } of this.#pending.splice(0)) {
        yield tarHeader({ ...common(path, info), type: "directory" });
      }
      if (info.isDirectory) {
        yield tarHeader({ ...common(path, info), type: "directory" });
        yield* this.#below(path);
      } else yield* this.#entry(path, info);
    }
  }

  *#entry(path: string, info: Deno.FileInfo): Generator<Uint8Array, void, undefined> {
    const entry = common(path, info);
    if (info.isSymlink) {
      const linkName = failing("readlink", this.#path(path), () => Deno.readLinkSync(this.#path(path)));
      yield tarHeader({ ...entry, type: "symlink", linkName });
    } else if (info.isFile) {
      const linkName = this.#linkTo(path, info);
      if (linkName === undefined) yield* this.#file(path, entry, info.size);
      else yield tarHeader({ ...entry, type: "hardlink", linkName });
    } else if (info.isFifo) {
      yield tarHeader({ ...entry, type: "fifo" });
    }
  }

  *#file(
    path: string,
    entry: ReturnType<typeof common>,
    size: number,
  ): Generator<Uint8Array, void, undefined> {
    using file = failing("open", this.#path(path), () => Deno.openSync(this.#path(path)));
    yield tarHeader({ ...entry, size });
    const buffer = new Uint8Array(Math.min(PIECE, size));
    for (let left = size; left > 0;) {
      const space = buffer.subarray(0, Math.min(left, buffer.length));
      const read = failing("read", this.#path(path), () => file.readSync(space));
      // it was cut short since: the header has promised these bytes
      if (read === null) space.fill(0);
      const got = read ?? space.length;
      left -= got;
      yield space.subarray(0, got);
    }
    yield tarPadding(size);
  }

  #linkTo(path: string, info: Deno.FileInfo): string | undefined {
    if ((info.nlink ?? 1) < 2) return undefined;
    const key = `${info.dev}:${info.ino}`;
    const known = this.#links.get(key);
    if (known === undefined) this.#links.set(key, path);
    return known;
  }

  #path(path: string): string {
    return path === "" ? this.#root : `${this.#root}/${path}`;
  }
}

const common = (name: string, info: Deno.FileInfo) => ({
  name,
  mode: (info.mode ?? 0) & 0o7777,
  uid: 0,
  gid: 0,
  mtime: [Math.floor((info.mtime?.getTime() ?? 0) / 1000), 0] as const,
});

function failing<T>(operation: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      throw new CliError(`error checking context: no permission to read from '${path}'`);
    }
    throw new CliError(`${operation} ${path}: ${goErrno(error)}`);
  }
}
