import { familiarString, parseReference, withDefaultTag } from "../../base/reference.ts";
import { EngineError, messageOf } from "../../base/errors.ts";
import { unpackContext, updateContext } from "../../fs/build_context.ts";
import { moveToTrash, removeTree } from "../../fs/remove_tree.ts";
import { UnpackPool } from "../../fs/unpack.ts";
import type { ImageStore } from "../../image/image_store.ts";
import { HttpSource } from "../../image/build/http_source.ts";
import type { RegistrySettings } from "../../image/registry/settings.ts";
import type { EngineContext } from "../context.ts";
import { BaseImages } from "./base_image.ts";
import { imageEvent } from "../image_events.ts";
import { bytesToKeep, type GcBounds, type GcSettings } from "../build_gc.ts";
import { buildContext } from "./build_context.ts";
import { BuildCache } from "./cache.ts";
import { CacheMounts } from "./cache_mounts.ts";
import { CacheUsage } from "./cache_usage.ts";
import { ignoredSources, readContextFile, removeContextFile } from "./context_files.ts";
import { releaseEmulation } from "./emulation.ts";
import { KeptContexts } from "./kept_contexts.ts";
import { Planner } from "./plan.ts";
import { Progress } from "./progress.ts";
import { Semaphore } from "./semaphore.ts";
import { newSocketPath } from "./ssh_relay.ts";
import { solve, type SolveTools } from "./solve.ts";
import { SelectionDigests } from "./steps.ts";
import { temporaryRoot } from "./sweep.ts";
import type {
  Builder,
  BuildEvent,
  BuildRequest,
  BuildResult,
  CacheRecord,
  ContextFile,
  ContextUpdate,
  PruneOptions,
} from "./types.ts";

/** What the cache may take by default: the less of this and a tenth of the disk. */
const MOST_BYTES = 10 * 1000 ** 3;
const PART_OF_DISK = 0.1;
/** A thread takes 30 ms to start and some megabytes while it waits. */
const UNPACK_IDLE_MS = 5_000;
/** Commands that run at once, for each processor: they wait for disks and networks too. */
const RUNS_PER_PROCESSOR = 2;

export interface BuilderInput {
  readonly ctx: EngineContext;
  readonly images: ImageStore;
  readonly registry: RegistrySettings;
  /** Of the moment: a reload may change them. */
  readonly gc: () => GcSettings;
}

/** The engine's builder. Made by the first build. */
export class EngineBuilder implements Builder {
  readonly #ctx: EngineContext;
  readonly #registry: RegistrySettings;
  readonly #gc: () => GcSettings;
  readonly #tools: SolveTools;
  readonly #usage: CacheUsage;
  readonly #cache: BuildCache;
  readonly #mounts: CacheMounts;
  readonly #contexts: KeptContexts;
  readonly #close: () => void;
  /** Builds under way, and what ends them. */
  readonly #running = new Map<AbortController, Promise<unknown>>();
  /** Threads that unpack contexts, as long as there are some and a moment longer. */
  #unpacking: UnpackPool | undefined;
  #unpackers = 0;
  #unpackIdle: ReturnType<typeof setTimeout> | undefined;
  readonly #downloads: HttpSource;
  readonly #ended = new AbortController();
  #closed = false;
  #tidying: Promise<void> = Promise.resolve();
  #pruning: Promise<unknown> = Promise.resolve();
  #empty: string | undefined;

  constructor({ ctx, images, registry, gc }: BuilderInput) {
    this.#ctx = ctx;
    this.#registry = registry;
    this.#gc = gc;
    this.#downloads = new HttpSource(`${ctx.dataRoot}/build/downloads`, registry);
    const own = buildContext(ctx, images);
    const store = images.internals;
    this.#cache = new BuildCache(ctx.db, store.tables, store.layers);
    this.#mounts = new CacheMounts(own, this.#cache);
    this.#mounts.sweep();
    this.#contexts = new KeptContexts({
      newDirectory: () => this.newContextDirectory(),
      unpack: (directory, remove, archive, signal) =>
        this.#withUnpackers((pool) => updateContext(pool, directory, remove, archive, { signal })),
    });
    this.#usage = new CacheUsage(store, this.#cache, this.#mounts, this.#contexts);
    this.#close = () => own[Symbol.dispose]();
    this.#tools = {
      ctx: own,
      store,
      images,
      bases: new BaseImages(images, registry),
      cache: this.#cache,
      caches: this.#mounts,
      runs: new Semaphore(RUNS_PER_PROCESSOR * navigator.hardwareConcurrency),
      digests: new SelectionDigests(),
      underWay: new Map(),
      downloads: this.#downloads,
      newDirectory: () => this.newContextDirectory(),
      emptyDirectory: () => this.#empty ??= this.newContextDirectory().path,
    };
  }

  async build(
    request: BuildRequest,
    signal: AbortSignal,
    emit: (event: BuildEvent) => void,
  ): Promise<BuildResult> {
    if (this.#closed) throw new EngineError("unavailable", "the engine is stopping");
    signal.throwIfAborted();
    const stop = new AbortController();
    const building = solve(this.#tools, request, AbortSignal.any([signal, stop.signal]), emit);
    this.#running.set(stop, building);
    try {
      const result = await building;
      this.#tell(result, request);
      return result;
    } finally {
      this.#running.delete(stop);
      if (!this.#closed) this.#tidying = this.#tidying.then(() => this.#tidy());
    }
  }

  /** Events of the image, in Docker's order. */
  #tell({ imageId }: BuildResult, { tags }: BuildRequest): void {
    if (imageId === undefined) return;
    const { events } = this.#ctx;
    const { images } = this.#tools;
    imageEvent({ events, images }, "create", imageId);
    for (const tag of tags) {
      imageEvent({ events, images }, "tag", imageId, familiarString(withDefaultTag(parseReference(tag))));
    }
  }

  async check(
    request: BuildRequest,
    signal: AbortSignal,
    emit: (event: BuildEvent) => void,
  ): Promise<void> {
    const { bases, ctx: { kernel } } = this.#tools;
    const isIgnored = ignoredSources(kernel, request);
    await new Planner({ request, isIgnored, bases, progress: new Progress(emit), signal }).plan();
  }

  cacheRecords(): readonly CacheRecord[] {
    return this.#usage.records();
  }

  async prune(
    options: PruneOptions,
    signal: AbortSignal,
  ): Promise<{ ids: readonly string[]; space: number }> {
    const pruned = this.#pruning.then(async () => {
      const { ids, space } = await this.#usage.prune(options, signal);
      const everything = options.all && Object.keys(options.filters).length === 0;
      const downloads = everything && this.#running.size === 0 ? this.#downloads.clear() : 0;
      return { ids, space: space + downloads };
    });
    this.#pruning = pruned.catch(() => {});
    return await pruned;
  }

  /** Brings the cache back to what it may take, in the background. Never rejects. */
  async #tidy(): Promise<void> {
    const { kernel, dataRoot, log } = this.#ctx;
    const { enabled, policy, bounds } = this.#gc();
    if (!enabled) return;
    try {
      await this.#mounts.measure();
      const { blocks, bsize } = kernel.statfs(dataRoot);
      const own: GcBounds = {
        reservedSpace: Math.min(MOST_BYTES, Math.floor(Number(blocks) * bsize * PART_OF_DISK)),
        maxUsedSpace: 0,
        minFreeSpace: 0,
      };
      const rules = policy.length > 0 ? policy : [{ all: false, filters: {}, ...bounds ?? own }];
      for (const { all, filters, ...rule } of rules) {
        if (this.#closed) return;
        const used = this.#cache.size() + this.#contexts.size();
        const free = Number(kernel.statfs(dataRoot).bavail) * bsize;
        const keepStorage = bytesToKeep(rule, { used, free });
        if (keepStorage !== undefined) await this.prune({ all, keepStorage, filters }, this.#ended.signal);
      }
    } catch (error) {
      if (!this.#closed) log.warn("cannot prune the build cache", { error: messageOf(error) });
    }
  }

  newContextDirectory(): { readonly path: string; dispose(): void } {
    const path = `${temporaryRoot(this.#ctx)}/${crypto.randomUUID()}`;
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    Deno.chmodSync(path, 0o755);
    return {
      path,
      dispose: () => {
        const trashed = moveToTrash(path, `${this.#ctx.dataRoot}/trash`);
        if (trashed !== undefined) void removeTree(trashed).catch(() => {});
      },
    };
  }

  async unpackContext(
    directory: string,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#withUnpackers((pool) => unpackContext(pool, directory, archive, { signal }));
  }

  openContext(origin: string, files: readonly ContextFile[]): ContextUpdate {
    return this.#contexts.open(origin, files);
  }

  async #withUnpackers<T>(work: (pool: UnpackPool) => Promise<T>): Promise<T> {
    const pool = this.#unpacking ??= new UnpackPool();
    this.#unpackers++;
    clearTimeout(this.#unpackIdle);
    try {
      return await work(pool);
    } finally {
      if (--this.#unpackers === 0) {
        this.#unpackIdle = setTimeout(() => this.#endUnpacking(), UNPACK_IDLE_MS);
        Deno.unrefTimer(Number(this.#unpackIdle));
      }
    }
  }

  #endUnpacking(): void {
    clearTimeout(this.#unpackIdle);
    this.#unpacking?.[Symbol.dispose]();
    this.#unpacking = undefined;
  }

  async fetchContext(directory: string, url: string, signal: AbortSignal): Promise<void> {
    const { fetchRemoteContext } = await import("./remote_context.ts");
    await fetchRemoteContext(directory, url, this.#registry, signal);
  }

  readContextFile(directory: string, path: string): Promise<string | undefined> {
    return attempt(() => readContextFile(this.#ctx.kernel, directory, path));
  }

  newSocketPath(): string {
    return newSocketPath(this.#ctx);
  }

  removeContextFile(directory: string, path: string): Promise<void> {
    return attempt(() => removeContextFile(this.#ctx.kernel, directory, path));
  }

  /** Ends the builds under way, and waits for them. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new EngineError("unavailable", "the engine is stopping");
    for (const stop of this.#running.keys()) stop.abort(reason);
    this.#ended.abort(reason);
    await Promise.allSettled([...this.#running.values(), this.#tidying, this.#pruning]);
    this.#endUnpacking();
    releaseEmulation(this.#ctx);
    this.#downloads[Symbol.dispose]();
    this.#close();
  }
}

/** A synchronous answer, or its failure, as a promise. */
async function attempt<T>(work: () => T): Promise<T> {
  return await work();
}
