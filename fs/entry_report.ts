import { createHash, type Hash } from "node:crypto";
import { cleanEntryPath } from "./entry_path.ts";
import type { TarEntry } from "./tar/mod.ts";
import type { MadeEntry } from "./unpack_job.ts";

/** Writes down what an archive's entries are while they are unpacked, files with the digest of their bytes. */
export class EntryReport {
  readonly #made = new Map<string, MadeEntry>();
  #file: { readonly entry: TarEntry; readonly hash: Hash } | undefined;

  entry(entry: TarEntry): void {
    this.#file = undefined;
    if (entry.type === "char" || entry.type === "block") return;
    if (entry.type === "file") this.#file = { entry, hash: createHash("sha256") };
    else if (entry.type === "symlink" || entry.type === "hardlink") this.#tell(entry, entry.linkName);
    else this.#tell(entry, modeOf(entry));
  }

  data(chunk: Uint8Array): void {
    this.#file?.hash.update(chunk);
  }

  end(): void {
    if (this.#file === undefined) return;
    const { entry, hash } = this.#file;
    this.#file = undefined;
    // the digest does not tell where the holes of a sparse file are: such a file is like no other
    const digest = entry.sparse ? crypto.randomUUID() : hash.digest("hex");
    this.#tell(entry, `${modeOf(entry)} ${entry.size} ${digest}`);
  }

  result(): MadeEntry[] {
    return [...this.#made.values()];
  }

  #tell(entry: TarEntry, detail: string): void {
    const path = cleanEntryPath(entry.name);
    const attributes = entry.xattrs.size === 0
      ? ""
      : ` ${JSON.stringify([...entry.xattrs].map(([name, value]) => [name, value.toHex()]))}`;
    const size = entry.type === "file" ? entry.size : 0;
    this.#made.set(path, { path, content: `${entry.type} ${detail}${attributes}`, size });
  }
}

const modeOf = ({ mode }: TarEntry): string => (mode & 0o7777).toString(8);
