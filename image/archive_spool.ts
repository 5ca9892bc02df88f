import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { decompress, GrowthGuard, sniff } from "../fs/compression/mod.ts";
import { cleanEntryPath } from "../fs/entry_path.ts";
import { TarError, tarEvents } from "../fs/tar/mod.ts";

/** A piece of a file on disk. */
export interface ArchivePart {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** More members than any real archive of images has. */
const MAX_MEMBERS = 100_000;
/** JSON files are read whole; 4 MiB is what registries accept for a manifest. */
const MAX_TEXT = 16 * 1024 * 1024;

/**
 * An archive of images on disk, with a table of its members: `docker save` writes layers before the index that says
 * what they are. One file for all; removed by {@link SpooledArchive.close}.
 */
export class SpooledArchive implements Disposable {
  readonly #path: string;
  readonly #members: Map<string, { offset: number; length: number }>;
  /** Old archives have a link in place of a layer that occurs twice. */
  readonly #links: Map<string, string>;

  private constructor(
    path: string,
    members: Map<string, { offset: number; length: number }>,
    links: Map<string, string>,
  ) {
    this.#path = path;
    this.#members = members;
    this.#links = links;
  }

  /**
   * Writes the files of a tar archive (compressed or not) to `path`, which must not exist.
   *
   * @param onBytes called with the bytes taken so far.
   * @throws {EngineError} invalid; nothing stays on disk then.
   */
  static async spool(
    input: AsyncIterable<Uint8Array>,
    path: string,
    onBytes?: (bytes: number) => void,
  ): Promise<SpooledArchive> {
    const members = new Map<string, { offset: number; length: number }>();
    const links = new Map<string, string>();
    try {
      using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
      const { compression, chunks } = await sniff(input);
      let length = 0;
      let open: { name: string; offset: number } | undefined;
      const guard = new GrowthGuard();
      for await (const event of tarEvents(guard.output(decompress(compression, guard.input(chunks))))) {
        if (event.kind === "data") {
          for (let at = 0; at < event.chunk.length;) at += await file.write(event.chunk.subarray(at));
          length += event.chunk.length;
          onBytes?.(length);
        } else if (event.kind === "end") {
          if (open) members.set(open.name, { offset: open.offset, length: length - open.offset });
          open = undefined;
        } else {
          const { entry } = event;
          const name = cleanEntryPath(entry.name).slice(1);
          if (members.size + links.size >= MAX_MEMBERS) throw invalid("archive has too many members");
          if (entry.type === "file") {
            if (entry.sparse) throw invalid(`archive member ${JSON.stringify(name)} is sparse`);
            open = { name, offset: length };
          } else if (entry.type === "symlink") {
            const dir = name.slice(0, name.lastIndexOf("/") + 1);
            links.set(name, cleanEntryPath(dir + entry.linkName).slice(1));
          } else if (entry.type === "hardlink") {
            links.set(name, cleanEntryPath(entry.linkName).slice(1));
          }
        }
      }
      return new SpooledArchive(path, members, links);
    } catch (error) {
      await Deno.remove(path).catch(() => {});
      if (error instanceof TarError) throw invalid(`invalid archive: ${error.message}`, error);
      // Deno's own words for ENOSPC and the like
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") {
        throw new EngineError("system", `write ${path}: no space left on device`, { cause: error });
      }
      if (error instanceof EngineError || error instanceof DOMException) throw error;
      throw new EngineError("system", messageOf(error), { cause: error });
    }
  }

  #find(name: string): { offset: number; length: number } | undefined {
    let current = name;
    for (let hops = 0; hops < 10; hops++) {
      const member = this.#members.get(current);
      if (member) return member;
      const target = this.#links.get(current);
      if (target === undefined) return undefined;
      current = target;
    }
    return undefined;
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** Where a member lies. @throws {EngineError} invalid when there is none of that name. */
  part(name: string): ArchivePart {
    let member: { offset: number; length: number } | undefined;
    try {
      member = this.#find(cleanEntryPath(name).slice(1));
    } catch {
      // a name that leads out of the archive is not in it
    }
    if (member === undefined) throw invalid(`invalid archive: ${JSON.stringify(name)} is missing`);
    return { path: this.#path, ...member };
  }

  /** A member's bytes; for small ones. */
  async bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { offset, length } = this.part(name);
    if (length > MAX_TEXT) throw invalid(`invalid archive: ${JSON.stringify(name)} is too large`);
    using file = await Deno.open(this.#path);
    await file.seek(offset, Deno.SeekMode.Start);
    const buffer = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const read = await file.read(buffer.subarray(at));
      if (read === null) throw new EngineError("system", `${this.#path}: unexpected EOF`);
      at += read;
    }
    return buffer;
  }

  async text(name: string): Promise<string> {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await this.bytes(name));
    } catch (error) {
      if (error instanceof TypeError) throw invalid(`invalid archive: ${JSON.stringify(name)} is no UTF-8`);
      throw error;
    }
  }

  close(): void {
    try {
      Deno.removeSync(this.#path);
    } catch {
      // removed already
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
