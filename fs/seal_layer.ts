import { createHash } from "node:crypto";
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFMT } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { diffEntries, type DiffEntry, type DiffSource } from "./diff.ts";
import { writeLayer } from "./layer_tar.ts";
import type { LayerFile } from "./tree_job.ts";
import { entryType, TreeTar } from "./tree_tar.ts";

export interface SealOptions {
  /** No file is dated later: seconds since 1970. undefined: times stay. */
  readonly latest: number | undefined;
  /** Called between pieces of the archive; throws to give up. */
  readonly check: () => void;
}

/**
 * Makes the writable directory of a union file system into what a layer's archive would unpack to, so that the directory itself can
 * be the layer: what is no part of the difference (mount points that were made for a run, copies of directories in which nothing has changed,
 * sockets) is removed. The archive is hashed and written nowhere; {@link writeLayer} makes the same bytes of the same directory later.
 *
 * @param source with one part, the root. Its writable directory is changed: nobody may have it mounted.
 */
export function sealLayer(
  sys: Syscalls,
  source: Extract<DiffSource, { kind: "union" }>,
  { latest, check }: SealOptions,
): LayerFile {
  const [root] = source.parts;
  if (root === undefined || source.parts.length !== 1) throw new TypeError("only a whole root can be sealed");
  const kept = diffEntries(sys, source).filter(({ stat }) =>
    stat === undefined || entryType(stat.mode) !== undefined
  );
  const entries = notLater(kept, latest);
  new Sealing(sys, entries).directory(root.upper, "");
  for (const { source: path, stat, path: name } of entries) {
    if (path === undefined || stat === undefined || name === "/") continue;
    const isDirectory = (stat.mode & S_IFMT) === 0o040000;
    // what was removed from a directory has changed its time
    if (!isDirectory && latest === undefined) continue;
    const time: [number, number] = [stat.mtimeSec, stat.mtimeNsec];
    sys.lutimes(path, time, time);
  }
  const hash = createHash("sha256");
  let length = 0;
  const tar = new TreeTar(sys, (chunk) => {
    check();
    hash.update(chunk);
    length += chunk.length;
  }, { reuse: true });
  writeLayer(tar, entries);
  return { diffId: `sha256:${hash.digest("hex")}`, length, size: tar.size, entries: tar.entries };
}

/** The same entries, none of them dated later than `latest` (seconds since 1970). */
export function notLater(entries: DiffEntry[], latest: number | undefined): DiffEntry[] {
  if (latest === undefined) return entries;
  return entries.map((entry) =>
    entry.stat === undefined || entry.stat.mtimeSec < latest
      ? entry
      : { ...entry, stat: { ...entry.stat, mtimeSec: latest, mtimeNsec: 0 } }
  );
}

class Sealing {
  readonly #sys: Syscalls;
  readonly #kept: ReadonlySet<string>;

  constructor(sys: Syscalls, entries: readonly DiffEntry[]) {
    this.#sys = sys;
    this.#kept = new Set(entries.map(({ path }) => path));
  }

  /** Removes what is in a directory and in no entry. */
  directory(dir: string, prefix: string): void {
    for (const name of this.#names(dir)) {
      const path = `${dir}/${name}`;
      const kept = this.#kept.has(`${prefix}/${name}`);
      const isDirectory = (this.#sys.stat(path, false).mode & S_IFMT) === 0o040000;
      // nothing of a directory that is in no entry is in one
      if (isDirectory) this.directory(path, `${prefix}/${name}`);
      if (kept) continue;
      if (isDirectory) this.#sys.rmdir(path);
      else this.#sys.unlink(path);
    }
  }

  #names(dir: string): string[] {
    const fd = this.#sys.open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    try {
      return this.#sys.readDirectory(fd);
    } finally {
      this.#sys.close(fd);
    }
  }
}
