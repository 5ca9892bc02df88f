import { invalid, messageOf } from "../base/errors.ts";
import { namesIn } from "../base/names_in.ts";
import type { LayerRef, WhiteoutFormat } from "../fs/graph_driver.ts";
import type { GrowingFile } from "../fs/growing_file.ts";
import { removeTree } from "../fs/remove_tree.ts";
import { spreadDirectory } from "../fs/spread_directory.ts";
import type { UnpackOptions, UnpackPool } from "../fs/unpack.ts";
import type { UnpackResult } from "../fs/unpack_job.ts";
import type { ArchivePart } from "./archive_spool.ts";
import { Holds } from "./holds.ts";
import type { ImageTables } from "./image_tables.ts";
import type { LayerDurability } from "./layer_durability.ts";
import { Slices } from "./slices.ts";
import type { Trash } from "./trash.ts";

/** An unpacked layer on top of its parents. */
export interface LayerRecord {
  readonly chainId: string;
  readonly diffId: string;
  /** Chain id below, "" for the first. */
  readonly parent: string;
  /** Bytes of its files. */
  readonly size: number;
  /** JSON: what could not be unpacked. */
  readonly notes: string;
}

export interface LayerSource {
  readonly chainId: string;
  readonly parent: string;
  /** What the archive must hash to when it is unpacked; undefined when any content will do. */
  readonly diffId: string;
  readonly part: ArchivePart | undefined;
  readonly digest: string | undefined;
  /** In place of `part`: a download that is unpacked while it comes. Called when the layer is really needed. */
  readonly download?: (() => Promise<LayerDownload>) | undefined;
  /** Called with the digest of `part` as it came, before the layer is in its place. */
  readonly unpacked?: ((digest: string) => Promise<void>) | undefined;
}

/** A layer on its way. */
export interface LayerDownload {
  readonly file: GrowingFile;
  /** Resolves when the whole file matches its digest. */
  readonly verified: Promise<void>;
}

export interface LayerStoreOptions {
  readonly root: string;
  readonly tables: ImageTables;
  readonly whiteouts: WhiteoutFormat;
  /** Owners outside of the user namespace are left out: it has one id only. */
  readonly singleId: boolean;
  readonly trash: Trash;
  readonly durability: LayerDurability;
  readonly log: (line: string) => void;
}

/**
 * `<root>/layers/<chain id>/diff`. A layer is unpacked in `<root>/tmp`, checked, and takes its place by one rename; the
 * transaction that names it comes after, so that a crash leaves at worst a directory that {@link LayerStore.sweep}
 * removes.
 */
export class LayerStore {
  readonly #options: LayerStoreOptions;
  /** How many operations under way rely on a layer: it is not removed then. */
  readonly #held = new Holds();
  readonly #underWay = new Map<string, Promise<LayerRecord>>();
  /** In place, but not yet in the database. */
  readonly #published = new Map<string, LayerRecord>();
  /** Not in the database any more, maybe still in their place. */
  readonly #doomed = new Set<string>();
  readonly #clearing: Slices;
  #checkLinks = false;

  constructor(options: LayerStoreOptions) {
    this.#options = options;
    this.#clearing = new Slices(() => this.#clearSteps(), {
      onError: (error) => options.log(`unable to remove layers: ${messageOf(error)}`),
    });
  }

  get tmp(): string {
    return `${this.#options.root}/tmp`;
  }

  /** Makes {@link tmp}: layers and spooled archives begin their life there, each at a place of the disk of its own. */
  makeTmp(): void {
    spreadDirectory(this.tmp, 0o700);
  }

  ref(chainId: string): LayerRef {
    return { chainId, dir: `${this.#layerDir(chainId)}/diff` };
  }

  #layerDir(chainId: string): string {
    return `${this.#options.root}/layers/${chainId.replace(/^sha256:/, "")}`;
  }

  /** A layer that is unpacked and in its place. */
  known(chainId: string): LayerRecord | undefined {
    const known = this.#options.tables.layer(chainId) ?? this.#published.get(chainId);
    // one that somebody has deleted by hand is unpacked again
    return known && exists(this.ref(chainId).dir) ? known : undefined;
  }

  /** Keeps layers from being removed until the answer is disposed of; afterwards those that no image names go. */
  hold(chainIds: readonly string[]): Disposable {
    return this.#held.take(chainIds, () => void this.collect());
  }

  /**
   * Makes sure that a layer is unpacked. The caller holds it. Two callers that want the same layer share one run.
   *
   * @throws {EngineError} invalid when the archive is not what it claims to be.
   */
  async ensure(source: LayerSource, pool: UnpackPool, signal?: AbortSignal): Promise<LayerRecord> {
    for (;;) {
      const known = this.known(source.chainId);
      if (known) return known;
      const running = this.#underWay.get(source.chainId);
      if (running === undefined) break;
      // when another's run fails (or is aborted), ours is tried
      await running.catch(() => {});
      signal?.throwIfAborted();
    }
    const run = this.#unpack(source, pool, signal);
    this.#underWay.set(source.chainId, run);
    try {
      return await run;
    } finally {
      this.#underWay.delete(source.chainId);
    }
  }

  async #unpack(
    source: LayerSource,
    pool: UnpackPool,
    signal: AbortSignal | undefined,
  ): Promise<LayerRecord> {
    const { part, chainId, diffId, parent } = source;
    const download = await source.download?.();
    const input = download ? { growing: download.file } : part;
    if (input === undefined) throw invalid(`invalid archive: layer ${diffId} is missing`);
    return await this.#inTemporary(async (dir) => {
      const { whiteouts, singleId } = this.#options;
      const result = await pool.unpack({
        source: input,
        dir: `${dir}/diff`,
        whiteouts,
        ignoreChownErrors: singleId,
        allowMissingEnd: true,
        signal,
      }).catch(async (error) => {
        // bytes that are not the right ones are the better reason
        await download?.verified;
        throw error;
      });
      await download?.verified;
      if (download === undefined && source.digest !== undefined && result.digest !== source.digest) {
        throw invalid(
          `invalid archive: layer does not match its digest: expected ${source.digest}, got ${result.digest}`,
        );
      }
      if (result.diffId !== diffId) {
        throw invalid(`invalid diffID for layer: expected "${diffId}", got "${result.diffId}"`);
      }
      await source.unpacked?.(result.digest);
      // a build or an import may have been quicker: what containers stand on by now stays where it is
      return this.known(chainId) ?? this.#publish(dir, { chainId, diffId, parent }, result);
    });
  }

  /**
   * Unpacks a bottom layer whose diff id is what it turns out to be. The answer's hold must be disposed of after the
   * image that uses the layer is in the database.
   */
  async add(
    source: UnpackOptions["source"],
    pool: UnpackPool,
    signal?: AbortSignal,
  ): Promise<{ layer: LayerRecord; hold: Disposable }> {
    return await this.#inTemporary(async (dir) => {
      const { whiteouts, singleId } = this.#options;
      const result = await pool.unpack({
        source,
        dir: `${dir}/diff`,
        whiteouts,
        ignoreChownErrors: singleId,
        signal,
      });
      const chainId = result.diffId;
      const hold = this.hold([chainId]);
      try {
        const known = this.known(chainId);
        return { layer: known ?? this.#publish(dir, { chainId, diffId: chainId, parent: "" }, result), hold };
      } catch (error) {
        hold[Symbol.dispose]();
        throw error;
      }
    });
  }

  /**
   * Takes over a directory that holds a layer already, in the driver's own form, by a rename. The caller holds the layer. One that is known
   * stays as it is.
   *
   * @param from on the data root's file system; nobody changes it any more.
   */
  adopt(
    ids: Pick<LayerRecord, "chainId" | "diffId" | "parent">,
    from: string,
    { size }: { readonly size: number },
  ): LayerRecord {
    const known = this.known(ids.chainId);
    if (known !== undefined) return known;
    this.makeTmp();
    const dir = `${this.tmp}/layer-${crypto.randomUUID()}`;
    Deno.mkdirSync(dir, { mode: 0o711 });
    // the umask, or a set-group-id data root, may have had its say
    Deno.chmodSync(dir, 0o711);
    Deno.renameSync(from, `${dir}/diff`);
    return this.#publish(dir, ids, { size, skippedDevices: [], skippedXattrs: 0 });
  }

  /** Runs `work` with a fresh directory (and `diff` in it), which is removed afterwards if it is still there. */
  async #inTemporary<T>(work: (dir: string) => Promise<T>): Promise<T> {
    this.makeTmp();
    const dir = `${this.tmp}/layer-${crypto.randomUUID()}`;
    await Deno.mkdir(`${dir}/diff`, { recursive: true, mode: 0o711 });
    try {
      // the umask, or a set-group-id data root, may have had its say
      await Deno.chmod(dir, 0o711);
      await Deno.chmod(`${dir}/diff`, 0o755);
      await Deno.chown(`${dir}/diff`, 0, 0);
      return await work(dir);
    } finally {
      await removeTree(dir);
    }
  }

  #publish(
    dir: string,
    ids: Pick<LayerRecord, "chainId" | "diffId" | "parent">,
    result: Pick<UnpackResult, "size" | "skippedDevices" | "skippedXattrs">,
  ): LayerRecord {
    const notes = {
      ...(result.skippedDevices.length > 0 ? { skippedDevices: result.skippedDevices } : {}),
      ...(result.skippedXattrs > 0 ? { skippedXattrs: result.skippedXattrs } : {}),
    };
    if (result.skippedDevices.length > 0) {
      this.#options.log(`layer ${ids.diffId}: device nodes left out: ${result.skippedDevices.join(", ")}`);
    }
    const layer = { ...ids, size: result.size, notes: JSON.stringify(notes) };
    const target = this.#layerDir(ids.chainId);
    Deno.mkdirSync(`${this.#options.root}/layers`, { recursive: true, mode: 0o711 });
    // one that a crash has left there
    this.#options.trash.take(target);
    Deno.renameSync(dir, target);
    this.#published.set(ids.chainId, layer);
    this.#options.durability.made(ids.chainId);
    return layer;
  }

  /** Writes layers to the database: to be called in the transaction that inserts the image. */
  record(layers: readonly LayerRecord[]): void {
    for (const layer of layers) {
      this.#options.tables.insertLayer(layer);
      this.#options.durability.recorded(layer.chainId);
    }
  }

  /**
   * Removes the layers that no image names and nobody holds; answers them, children first. Of many, directories go in
   * the background, a few at a time; so does their space.
   */
  collect(): string[] {
    const { tables } = this.#options;
    const doomed = tables.unusedLayers().filter((id) => !this.#held.has(id));
    const depths = new Map<string, number>();
    // children first: the order of removal as Docker reports it
    const sorted = doomed.map((id) => ({ id, depth: this.#depth(id, depths) })).sort((a, b) =>
      b.depth - a.depth
    );
    if (doomed.length > 0) {
      tables.change(() => {
        for (const id of doomed) tables.deleteLayer(id);
      });
    }
    const unnamed = [...this.#published.keys()].filter((id) => !this.#held.has(id));
    for (const id of unnamed) this.#published.delete(id);
    for (const id of doomed) this.#doomed.add(id);
    for (const id of unnamed) if (tables.layer(id) === undefined) this.#doomed.add(id);
    if (this.#doomed.size > 0) this.#clearing.request();
    return sorted.map(({ id }) => id);
  }

  /** @param known what earlier calls have found. */
  #depth(chainId: string, known: Map<string, number>): number {
    const path: string[] = [];
    let id = chainId;
    for (; id !== "" && !known.has(id); id = this.#options.tables.layer(id)?.parent ?? "") path.push(id);
    let depth = known.get(id) ?? 0;
    for (const above of path.reverse()) known.set(above, ++depth);
    return depth;
  }

  *#clearSteps(): Generator<void, void, undefined> {
    const { root, tables, trash } = this.#options;
    for (const id of this.#doomed) {
      this.#doomed.delete(id);
      // it may have come again meanwhile
      if (tables.layer(id) === undefined && !this.#published.has(id)) {
        trash.take(this.#layerDir(id));
        this.#removeLinks(id);
        void trash.empty();
      }
      yield;
    }
    if (!this.#checkLinks) return;
    this.#checkLinks = false;
    for (const name of namesIn(`${root}/l`)) {
      removeIfDead(`${root}/l/${name}`);
      yield;
    }
  }

  /** Short names (fs/container_dirs.ts) of a layer that is gone: the shortest beginning that was free. */
  #removeLinks(chainId: string): void {
    const hex = chainId.replace(/^sha256:/, "");
    for (let length = 10; length <= hex.length; length++) {
      const link = `${this.#options.root}/l/${hex.slice(0, length)}`;
      try {
        Deno.lstatSync(link);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        throw error;
      }
      removeIfDead(link);
    }
  }

  /** Resolves when {@link collect} has done all it was asked for; never rejects. */
  async collected(): Promise<void> {
    await this.#clearing.idle();
  }

  /** At start, before anything else: throws away what a crash has left half-made. */
  async sweep(): Promise<void> {
    const { root, tables, trash, log, durability } = this.#options;
    for (const chainId of durability.lost()) {
      log(`layer ${chainId} may be incomplete: the machine went down before it was on the disk`);
      trash.take(this.#layerDir(chainId));
    }
    const named = new Set(tables.layerIds().map((id) => id.replace(/^sha256:/, "")));
    for (const name of namesIn(`${root}/layers`)) {
      if (!named.delete(name)) trash.take(`${root}/layers/${name}`);
    }
    for (const name of named) log(`layer ${name} is missing in ${root}/layers`);
    for (const name of namesIn(root)) {
      // a mount may be there
      if (name.startsWith("probe-")) await removeTree(`${root}/${name}`);
    }
    for (const name of namesIn(this.tmp)) {
      if (/^(?:layer|load)-/.test(name)) trash.take(`${this.tmp}/${name}`);
    }
    this.collect();
    this.#checkLinks = true;
    this.#clearing.request();
    void trash.empty();
  }
}

function removeIfDead(link: string): void {
  try {
    Deno.statSync(link);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) Deno.removeSync(link);
  }
}

function exists(dir: string): boolean {
  try {
    return Deno.statSync(dir).isDirectory;
  } catch {
    return false;
  }
}
