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
/** A member from this size on has a file of its own. */
const OWN_FILE = 256 * 1024;

/**
 * An archive of images on disk, with a table of its members: `docker save` writes layers before the index that says
 * what they are. Small members share a file, large ones (layers) have one each, so that they can be kept without copying them.
 * Removed by {@link SpooledArchive.close}.
 */
export class SpooledArchive implements Disposable {
  readonly #path: string;
  readonly #members: Map<string, ArchivePart>;
  /** Old archives have a link in place of a layer that occurs twice. */
  readonly #links: Map<string, string>;

  private constructor(
    path: string,
    members: Map<string, ArchivePart>,
    links: Map<string, string>,
  ) {
    this.#path = path;
    this.#members = members;
    this.#links = links;
  }

  /**
   * Writes the files of a tar archive (compressed or not) into the directory `path`, which must not exist.
   *
   * @param onBytes called with the bytes taken so far.
   * @throws {EngineError} invalid; nothing stays on disk then.
   */
  static async spool(
    input: AsyncIterable<Uint8Array>,
    path: string,
    onBytes?: (bytes: number) => void,
  ): Promise<SpooledArchive> {
    const members = new Map<string, ArchivePart>();
    const links = new Map<string, string>();
    let open: { name: string; path: string; file: Deno.FsFile; offset: number } | undefined;
    try {
      await Deno.mkdir(path, { mode: 0o700 });
      const create = (name: string) =>
        Deno.open(`${path}/${name}`, { write: true, createNew: true, mode: 0o600 });
      using files = new DisposableStack();
      const shared = files.use(await create("small"));
      const { compression, chunks } = await sniff(input);
      let length = 0;
      let size = 0;
      let sharedLength = 0;
      // a name may come twice
      let owned = 0;
      const guard = new GrowthGuard();
      for await (const event of tarEvents(guard.output(decompress(compression, guard.input(chunks))))) {
        if (event.kind === "data") {
          if (open === undefined) continue;
          for (let at = 0; at < event.chunk.length;) at += await open.file.write(event.chunk.subarray(at));
          length += event.chunk.length;
          if (open.file === shared) sharedLength += event.chunk.length;
          onBytes?.(length);
        } else if (event.kind === "end") {
          if (open) {
            const { name, offset } = open;
            const own = open.file !== shared;
            members.set(name, { path: open.path, offset, length: own ? size : sharedLength - offset });
            if (own) open.file.close();
          }
          open = undefined;
        } else {
          const { entry } = event;
          const name = cleanEntryPath(entry.name).slice(1);
          if (members.size + links.size >= MAX_MEMBERS) throw invalid("archive has too many members");
          if (entry.type === "file") {
            if (entry.sparse) throw invalid(`archive member ${JSON.stringify(name)} is sparse`);
            size = entry.size;
            if (size < OWN_FILE) {
              open = { name, path: `${path}/small`, file: shared, offset: sharedLength };
            } else {
              const own = String(++owned);
              open = { name, path: `${path}/${own}`, file: await create(own), offset: 0 };
            }
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
      if (open && open.path !== `${path}/small`) open.file.close();
      await Deno.remove(path, { recursive: true }).catch(() => {});
      if (error instanceof TarError) throw invalid(`invalid archive: ${error.message}`, error);
      // Deno's own words for ENOSPC and the like
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") {
        throw new EngineError("system", `write ${path}: no space left on device`, { cause: error });
      }
      if (error instanceof EngineError || error instanceof DOMException) throw error;
      throw new EngineError("system", messageOf(error), { cause: error });
    }
  }

  #find(name: string): ArchivePart | undefined {
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
    let member: ArchivePart | undefined;
    try {
      member = this.#find(cleanEntryPath(name).slice(1));
    } catch {
      // a name that leads out of the archive is not in it
    }
    if (member === undefined) throw invalid(`invalid archive: ${JSON.stringify(name)} is missing`);
    return member;
  }

  /** A member's bytes; for small ones. */
  async bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { path, offset, length } = this.part(name);
    if (length > MAX_TEXT) throw invalid(`invalid archive: ${JSON.stringify(name)} is too large`);
    using file = await Deno.open(path);
    await file.seek(offset, Deno.SeekMode.Start);
    const buffer = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const read = await file.read(buffer.subarray(at));
      if (read === null) throw new EngineError("system", `${path}: unexpected EOF`);
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
      Deno.removeSync(this.#path, { recursive: true });
    } catch {
      // removed already
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
