/** Build contexts as archives. */
import { TAR_END, tarHeader, tarPadding } from "../../base/tar/mod.ts";
import { type ContextEntry, failing, type Ignored, walkContext } from "./walk.ts";

/** What is sent at once; small files are gathered until there is so much. */
const PIECE = 256 * 1024;

/** A file that is in the archive and not in the directory. */
export interface ExtraFile {
  readonly name: string;
  readonly text: string;
}

/**
 * A tar archive of what is below `root` (undefined: nothing but `extra`), without what `ignored` says. Everything belongs to root, as in every build context; sockets are left
 * out. Names are sorted: the same files make the same archive.
 */
export function packContext(
  root: string | undefined,
  ignored: Ignored | undefined,
  extra: readonly ExtraFile[] = [],
): AsyncGenerator<Uint8Array, void, undefined> {
  return packEntries(root ?? "", root === undefined ? [] : walkContext(root, ignored), extra);
}

/** A tar archive of these entries. What has gone since it was looked at is left out. */
export async function* packEntries(
  root: string,
  entries: Iterable<ContextEntry>,
  extra: readonly ExtraFile[] = [],
): AsyncGenerator<Uint8Array, void, undefined> {
  let buffer = new Uint8Array(PIECE);
  let used = 0;
  for (const piece of archive(root, entries, extra)) {
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

function* archive(
  root: string,
  entries: Iterable<ContextEntry>,
  extra: readonly ExtraFile[],
): Generator<Uint8Array, void, undefined> {
  for (const entry of entries) yield* one(`${root}/${entry.path}`, entry);
  for (const { name, text } of extra) {
    const bytes = new TextEncoder().encode(text);
    yield tarHeader({ name, mode: 0o600, size: bytes.length });
    yield bytes;
    yield tarPadding(bytes.length);
  }
  yield TAR_END;
}

function* one(
  absolute: string,
  { path, info, sameAs }: ContextEntry,
): Generator<Uint8Array, void, undefined> {
  const header = {
    name: path,
    mode: (info.mode ?? 0) & 0o7777,
    uid: 0,
    gid: 0,
    mtime: [Math.floor((info.mtime?.getTime() ?? 0) / 1000), 0] as const,
  };
  if (info.isDirectory) yield tarHeader({ ...header, type: "directory" });
  else if (sameAs !== undefined) yield tarHeader({ ...header, type: "hardlink", linkName: sameAs });
  else if (info.isSymlink) {
    const linkName = unlessGone("readlink", absolute, () => Deno.readLinkSync(absolute));
    if (linkName !== undefined) yield tarHeader({ ...header, type: "symlink", linkName });
  } else if (info.isFifo) yield tarHeader({ ...header, type: "fifo" });
  else yield* file(absolute, header, info.size);
}

function* file(
  absolute: string,
  header: Parameters<typeof tarHeader>[0],
  size: number,
): Generator<Uint8Array, void, undefined> {
  using file = unlessGone("open", absolute, () => Deno.openSync(absolute));
  if (file === undefined) return;
  yield tarHeader({ ...header, size });
  const buffer = new Uint8Array(Math.min(PIECE, size));
  for (let left = size; left > 0;) {
    const space = buffer.subarray(0, Math.min(left, buffer.length));
    const read = failing("read", absolute, () => file.readSync(space));
    // it was cut short since: the header has promised these bytes
    if (read === null) space.fill(0);
    const got = read ?? space.length;
    left -= got;
    yield space.subarray(0, got);
  }
  yield tarPadding(size);
}

function unlessGone<T>(operation: string, path: string, work: () => T): T | undefined {
  return failing(operation, path, () => {
    try {
      return work();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  });
}
