/**
 * Contexts that stay after their build, so that the next build from the same directory sends what has changed and no more. They live
 * below the engine's temporary directory and in its memory: an engine begins with none.
 */
import { createHash } from "node:crypto";
import { invalid } from "../../base/errors.ts";
import type { MadeEntry } from "../../fs/build_context.ts";
import { cleanEntryPath } from "../../fs/entry_path.ts";
import type { CacheRecord, ContextFile, ContextUpdate } from "./types.ts";

/** What may be kept of all contexts: each file is some hundred bytes of the engine's memory. */
const MOST_FILES = 100_000;
const MOST_BYTES = 4 * 1024 ** 3;

export interface KeptContextTools {
  newDirectory(): { readonly path: string; dispose(): void };
  /** Removes paths of a directory and unpacks an archive into it; `remove` undefined: it is empty. */
  unpack(
    directory: string,
    remove: readonly string[] | undefined,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<readonly MadeEntry[]>;
}

interface KnownFile {
  /** What the client calls the state that its file was in; "": not to be relied upon. */
  readonly state: string;
  /** What has been unpacked: {@link MadeEntry.content}. */
  readonly content: string;
  readonly size: number;
}

interface Kept {
  readonly origin: string;
  readonly directory: { readonly path: string; dispose(): void };
  files: ReadonlyMap<string, KnownFile>;
  /** Names what the files are; {@link contentOf}. */
  content: string;
  size: number;
  /** Builds that read it. */
  users: number;
  /** Somebody is changing it: nobody else may have it. */
  isChanging: boolean;
  readonly id: string;
  readonly createdAt: string;
  usedAt: string;
  uses: number;
}

/**
 * A directory is changed only while nobody reads it: a build that finds it in use, and not as it wants it, gets a new one, which takes
 * the old one's place when it is complete.
 */
export class KeptContexts {
  readonly #tools: KeptContextTools;
  readonly #kept = new Map<string, Kept>();

  constructor(tools: KeptContextTools) {
    this.#tools = tools;
  }

  /**
   * @param origin where the client has the files: which kept context comes near.
   * @param files all of them, directories before what is in them.
   * @throws {EngineError} invalid: paths that no directory has.
   */
  open(origin: string, files: readonly ContextFile[]): ContextUpdate {
    const listed = byPath(files);
    const kept = this.#kept.get(origin);
    if (kept === undefined || kept.isChanging) return this.#fresh(origin, listed);
    const { wanted, remove } = difference(listed, kept.files);
    if (wanted.size === 0 && remove.length === 0) return this.#update(kept, listed, wanted, remove);
    if (kept.users > 0) return this.#fresh(origin, listed);
    kept.isChanging = true;
    return this.#update(kept, listed, wanted, remove);
  }

  #fresh(origin: string, listed: ReadonlyMap<string, string>): ContextUpdate {
    const directory = this.#tools.newDirectory();
    const now = new Date().toISOString();
    const made: Kept = {
      origin,
      directory,
      files: new Map(),
      content: "",
      size: 0,
      users: 0,
      isChanging: true,
      id: createHash("sha256").update(directory.path).digest("hex"),
      createdAt: now,
      usedAt: now,
      uses: 0,
    };
    return this.#update(made, listed, new Set(listed.keys()), undefined);
  }

  #update(
    kept: Kept,
    listed: ReadonlyMap<string, string>,
    wanted: ReadonlySet<string>,
    remove: readonly string[] | undefined,
  ): ContextUpdate {
    kept.users++;
    kept.uses++;
    kept.usedAt = new Date().toISOString();
    let isOpen = true;
    return {
      path: kept.directory.path,
      wanted: [...listed.keys()].flatMap((path, index) => wanted.has(path) ? [index] : []),
      receive: async (archive, signal) => {
        if (!kept.isChanging) {
          for await (const _ of archive) signal.throwIfAborted();
          return kept.content;
        }
        const made = await this.#tools.unpack(kept.directory.path, remove, archive, signal);
        kept.files = after(kept.files, listed, wanted, made);
        kept.content = contentOf(kept.files);
        kept.size = kept.files.values().reduce((sum, { size }) => sum + size, 0);
        kept.isChanging = false;
        this.#keep(kept);
        return kept.content;
      },
      [Symbol.dispose]: () => {
        if (!isOpen) return;
        isOpen = false;
        kept.users--;
        // half of a change is of no use to anybody
        if (kept.isChanging && this.#kept.get(kept.origin) === kept) this.#kept.delete(kept.origin);
        this.#release(kept);
        this.#limit();
      },
    };
  }

  #keep(kept: Kept): void {
    const before = this.#kept.get(kept.origin);
    // the one that was used last is the last
    this.#kept.delete(kept.origin);
    this.#kept.set(kept.origin, kept);
    if (before !== undefined && before !== kept) this.#release(before);
  }

  /** Removes the files of what is not kept any more, when nobody reads them. */
  #release(kept: Kept): void {
    if (kept.users === 0 && this.#kept.get(kept.origin) !== kept) kept.directory.dispose();
  }

  #limit(): void {
    let [files, bytes] = [0, 0];
    for (const kept of this.#kept.values()) {
      files += kept.files.size;
      bytes += kept.size;
    }
    for (const kept of [...this.#kept.values()].sort((a, b) => a.usedAt.localeCompare(b.usedAt))) {
      if (files <= MOST_FILES && bytes <= MOST_BYTES) return;
      files -= kept.files.size;
      bytes -= kept.size;
      this.remove(kept.id);
    }
  }

  /** As clients of the build cache see them. */
  records(): CacheRecord[] {
    return [...this.#kept.values()].map(({ id, origin, users, size, createdAt, usedAt, uses }) => ({
      id,
      parents: [],
      type: "source.local",
      description: `local source for context ${origin}`,
      inUse: users > 0,
      shared: false,
      size,
      createdAt,
      lastUsedAt: usedAt,
      usageCount: uses,
    }));
  }

  /** Bytes of files. */
  size(): number {
    return this.#kept.values().reduce((sum, { size }) => sum + size, 0);
  }

  /** The files go when the last build that reads them has ended. */
  remove(id: string): void {
    const kept = this.#kept.values().find((one) => one.id === id);
    if (kept === undefined) return;
    this.#kept.delete(kept.origin);
    this.#release(kept);
  }
}

/** Path, as the unpacker writes it, → state. */
function byPath(files: readonly ContextFile[]): Map<string, string> {
  const listed = new Map<string, string>();
  for (const { path, state } of files) {
    const clean = cleanEntryPath(path);
    const parent = parentOf(clean);
    if (
      clean === "/" || clean !== `/${path}` || listed.has(clean) || !(parent === "" || listed.has(parent))
    ) {
      throw invalid(`the list of the build context's files has ${JSON.stringify(path)} where it cannot be`);
    }
    listed.set(clean, state);
  }
  return listed;
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

/**
 * What is to be sent, and what is to go first. Where something changes in a directory, its own entry is sent again: it has the time that
 * the directory is to have.
 */
function difference(
  listed: ReadonlyMap<string, string>,
  known: ReadonlyMap<string, KnownFile>,
): { wanted: Set<string>; remove: string[] } {
  const wanted = new Set<string>();
  const remove: string[] = [];
  const change = (path: string) => {
    const parent = parentOf(path);
    if (listed.has(parent)) wanted.add(parent);
  };
  for (const [path, { content }] of known) {
    const state = listed.get(path);
    if (state !== undefined && state !== "" && state === known.get(path)?.state) continue;
    change(path);
    // a file that cannot be sent any more must not stay as it was; a directory is changed as it is
    if (state === undefined || !content.startsWith("directory ")) remove.push(path);
  }
  for (const [path, state] of listed) {
    if (state !== "" && state === known.get(path)?.state) continue;
    wanted.add(path);
    change(path);
  }
  return { wanted, remove };
}

/** The files after an update. @throws {EngineError} invalid: the archive holds what was not asked for. */
function after(
  known: ReadonlyMap<string, KnownFile>,
  listed: ReadonlyMap<string, string>,
  wanted: ReadonlySet<string>,
  made: readonly MadeEntry[],
): Map<string, KnownFile> {
  const received = new Map<string, MadeEntry>();
  for (const entry of made) {
    if (!wanted.has(entry.path)) {
      throw invalid(
        `the build context's archive holds ${JSON.stringify(entry.path)}, which was not asked for`,
      );
    }
    received.set(entry.path, entry);
  }
  const files = new Map<string, KnownFile>();
  for (const [path, state] of listed) {
    const entry = received.get(path);
    if (entry !== undefined) files.set(path, { state, content: entry.content, size: entry.size });
    else {
      // what has gone since it was listed is not there, unless it is a directory that was there before
      const before = known.get(path);
      const stays = before !== undefined && (!wanted.has(path) || before.content.startsWith("directory "));
      if (stays) files.set(path, wanted.has(path) ? { ...before, state: "" } : before);
    }
  }
  return files;
}

/** Equal for equal files, wherever they came from. */
function contentOf(files: ReadonlyMap<string, KnownFile>): string {
  const hash = createHash("sha256");
  for (const path of [...files.keys()].sort()) {
    hash.update(JSON.stringify([path, files.get(path)?.content]));
  }
  return hash.digest("hex");
}
