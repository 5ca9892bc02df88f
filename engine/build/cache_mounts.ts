/** Directories that `RUN --mount=type=cache` keeps from one build to the next. */
import { namesIn } from "../../base/names_in.ts";
import { createHash } from "node:crypto";
import { treeSize } from "../../fs/container_dirs.ts";
import { moveToTrash, removeTree } from "../../fs/remove_tree.ts";
import type { RunMount } from "../../image/build/types.ts";
import { Mutex } from "../mutex.ts";
import type { BuildContext } from "./build_context.ts";
import type { BuildCache } from "./cache.ts";

type CacheMount = Extract<RunMount, { type: "cache" }>;

/** A directory for one command. */
export interface AcquiredCache {
  readonly path: string;
  release(): void;
}

/** Fills a directory that is new. */
export type Populate = (path: string) => Promise<void>;

/** `<data-root>/build/cache/<name>`: a directory for each id, and more where they are private. */
export class CacheMounts {
  readonly #ctx: BuildContext;
  readonly #cache: BuildCache;
  readonly #root: string;
  readonly #locks = new Map<string, Mutex>();
  /** Names in use, and by how many commands. */
  readonly #users = new Map<string, number>();
  /** Names that have been used since their size was looked at. */
  readonly #used = new Set<string>();
  /** Names whose making is under way. */
  readonly #making = new Map<string, Promise<void>>();

  constructor(ctx: BuildContext, cache: BuildCache) {
    this.#ctx = ctx;
    this.#cache = cache;
    this.#root = `${ctx.dataRoot}/build/cache`;
  }

  /** Directories whose rows a crash has not let come, and half-made ones. */
  sweep(): void {
    const known = new Set(this.#cache.mounts().map(({ id }) => id));
    for (const name of namesIn(this.#root)) if (!known.has(name)) this.#discard(name);
  }

  /**
   * A directory for a command; of `sharing=locked` once nobody else has it.
   *
   * @throws the signal's reason.
   */
  async acquire(
    mount: CacheMount,
    populate: Populate | undefined,
    signal: AbortSignal,
  ): Promise<AcquiredCache> {
    const base = createHash("sha256").update(mount.id).digest("hex").slice(0, 32);
    const unlock = mount.sharing === "locked" ? await this.#lock(base, signal) : () => {};
    const name = mount.sharing === "private" ? this.#free(base) : base;
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    this.#used.add(name);
    const release = () => {
      const left = (this.#users.get(name) ?? 1) - 1;
      if (left === 0) this.#users.delete(name);
      else this.#users.set(name, left);
      unlock();
    };
    try {
      await this.#ensure(name, mount, populate);
      this.#cache.useMount(name, `cached mount ${mount.target} from exec`, new Date().toISOString());
      return { path: `${this.#root}/${name}`, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #lock(name: string, signal: AbortSignal): Promise<() => void> {
    // what was called off before would wait for an event that has been
    signal.throwIfAborted();
    const mutex = this.#locks.get(name) ?? new Mutex();
    this.#locks.set(name, mutex);
    return await new Promise((resolve, reject) => {
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      void mutex.run(() => {
        signal.removeEventListener("abort", abort);
        if (signal.aborted) return;
        return new Promise<void>((unlock) => resolve(unlock));
      });
    });
  }

  #free(base: string): string {
    if (!this.#users.has(base)) return base;
    for (let number = 2;; number++) if (!this.#users.has(`${base}-${number}`)) return `${base}-${number}`;
  }

  async #ensure(name: string, mount: CacheMount, populate: Populate | undefined): Promise<void> {
    const running = this.#making.get(name);
    if (running !== undefined) return await running;
    const path = `${this.#root}/${name}`;
    if (exists(path)) return;
    const making = this.#make(path, mount, populate);
    this.#making.set(name, making);
    try {
      await making;
    } finally {
      this.#making.delete(name);
    }
  }

  async #make(path: string, { mode, uid, gid }: CacheMount, populate: Populate | undefined): Promise<void> {
    const temporary = `${path}.tmp-${crypto.randomUUID()}`;
    Deno.mkdirSync(temporary, { recursive: true, mode: 0o755 });
    try {
      Deno.chmodSync(temporary, mode);
      Deno.chownSync(temporary, uid, gid);
      await populate?.(temporary);
      Deno.renameSync(temporary, path);
    } catch (error) {
      await removeTree(temporary);
      throw error;
    }
  }

  inUse(name: string): boolean {
    return this.#users.has(name);
  }

  /** Looks how large the directories are that commands have used since the last look. Takes as long as there are files in them. */
  async measure(): Promise<void> {
    for (const name of this.#used) {
      this.#used.delete(name);
      this.#cache.setMountSize(name, await treeSize(`${this.#root}/${name}`));
    }
  }

  /** Removes a directory that nobody uses. */
  remove(name: string): void {
    if (this.#users.has(name)) return;
    this.#cache.removeMount(name);
    this.#discard(name);
  }

  #discard(name: string): void {
    const trashed = moveToTrash(`${this.#root}/${name}`, `${this.#ctx.dataRoot}/trash`);
    if (trashed !== undefined) void removeTree(trashed).catch(() => {});
  }
}

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
