import type { DatabaseSync } from "node:sqlite";
import { invalid, notFound } from "../base/errors.ts";
import type { GraphDriver, LayerRef } from "../fs/graph_driver.ts";
import { UnpackPool } from "../fs/unpack.ts";
import type { MountSpec } from "../runtime/spec.ts";
import { chunksOf } from "./abortable.ts";
import { SpooledArchive } from "./archive_spool.ts";
import { applyChanges } from "./change.ts";
import { commitImage, type CommitOptions } from "./commit.ts";
import { ContentStore } from "./content_store.ts";
import { chainIds, digestOf, isDigest } from "./digest.ts";
import { DOCKER_MANIFEST, planDockerArchive } from "./docker_archive.ts";
import {
  fingerprintOf,
  HOST_IMAGE,
  hostConfig,
  hostFingerprint,
  hostLayer,
  hostLayout,
} from "./host_image.ts";
import { hostMounts } from "./host_mounts.ts";
import { parseImageConfig } from "./image_config.ts";
import { ImageRemoval, type RemovedItem, type RemoveOptions } from "./image_removal.ts";
import { type ImageRow, ImageTables } from "./image_tables.ts";
import { KeptLayers } from "./kept_layers.ts";
import { type LayerRecord, LayerStore } from "./layer_store.ts";
import type { PlannedImage } from "./load_plan.ts";
import { OCI_INDEX, planOciLayout } from "./oci_layout.ts";
import type { PulledImage, StoreInternals } from "./store_internals.ts";
import { HOST_PLATFORM, parsePlatform } from "./platform.ts";
import {
  canonicalName,
  canonicalString,
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./reference.ts";
import { saveImages } from "./save.ts";
import type { Image } from "./types.ts";

/** How far a load is. `current` and `total` are bytes of the archive or of one layer in it. */
export interface LoadProgress {
  /** Short diff id of a layer; "" while the archive comes in. */
  readonly id: string;
  readonly status: "Receiving archive" | "Loading layer" | "Layer already exists";
  readonly current: number;
  /** 0 = unknown */
  readonly total: number;
}

export interface ImageStoreOptions {
  /** Opened by the engine, in WAL mode; the tables are made here. */
  readonly db: DatabaseSync;
  /** Data root. */
  readonly root: string;
  readonly driver: GraphDriver;
  /** The user namespace has one id: owners of files cannot be kept. */
  readonly singleId: boolean;
  readonly log?: (line: string) => void;
}

export interface ImportOptions {
  readonly reference?: string | undefined;
  /** Lines of a Dockerfile, `--change`. */
  readonly changes: readonly string[];
  readonly message?: string | undefined;
  readonly platform?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Layers of one archive that are unpacked at the same time. */
const PARALLEL_LAYERS = 2;

/** Names of images that are remembered with what they lead to. */
const KNOWN_IMAGES = 100;

/** Go's zero time: what Docker shows for an image without a date. */
const NO_TIME = "0001-01-01T00:00:00Z";

/** The images of one data root. Methods throw EngineError with Docker's words. */
export class ImageStore {
  readonly #tables: ImageTables;
  readonly #layers: LayerStore;
  /** Layers and manifests as they came, for whoever gives images away. */
  readonly content: ContentStore;
  readonly #log: (line: string) => void;
  #buildingHost: Promise<Image> | undefined;
  /** What was read since the tables last changed: each container's life asks several times for the same image. */
  readonly #known = new Map<string, Image>();
  #knownVersion = -1;

  private constructor(options: ImageStoreOptions) {
    this.#log = options.log ?? (() => {});
    this.#tables = new ImageTables(options.db);
    this.#layers = new LayerStore({
      root: options.root,
      tables: this.#tables,
      whiteouts: options.driver.whiteouts,
      singleId: options.singleId,
      log: this.#log,
    });
    this.content = new ContentStore(options.root, options.db, this.#log);
  }

  static open(options: ImageStoreOptions): ImageStore {
    return new ImageStore(options);
  }

  /** To be called once, before anything else: removes what a crash has left half-made. */
  async sweep(): Promise<void> {
    await this.#layers.sweep();
    this.content.sweep();
  }

  // --- looking up

  /** All images, the newest first. */
  list(): Image[] {
    return this.#tables.images().map((row) => this.#image(row)).sort((a, b) =>
      Date.parse(b.createdAt) - Date.parse(a.createdAt) || a.id.localeCompare(b.id)
    );
  }

  /** By name, name:tag, name@digest, id, or a unique beginning of an id. */
  get(refOrId: string): Image {
    return this.#remember(`name ${refOrId}`, () => this.#image(this.#row(refOrId)));
  }

  /** The image of an existing container, also when it was removed by force since. */
  getForContainer(id: string): Image {
    return this.#remember(`id ${id}`, () => {
      const row = this.#tables.image(id);
      if (!row) throw notFound(`No such image: ${id}`);
      return this.#image(row);
    });
  }

  #remember(key: string, read: () => Image): Image {
    if (this.#knownVersion !== this.#tables.version || this.#known.size >= KNOWN_IMAGES) {
      this.#known.clear();
      this.#knownVersion = this.#tables.version;
    }
    let image = this.#known.get(key);
    if (image === undefined) this.#known.set(key, image = read());
    return image;
  }

  #row(refOrId: string): ImageRow {
    const full = /^[0-9a-f]{64}$/.test(refOrId) ? `sha256:${refOrId}` : refOrId;
    if (isDigest(full)) {
      const row = this.#tables.image(full);
      if (row && row.hidden === 0) return row;
      throw notFound(`No such image: ${refOrId}`);
    }
    const reference = withDefaultTag(parseReference(refOrId));
    const named = this.#tables.ref(refKey(reference));
    const ids = named ? [named.image_id] : this.#idsWithPrefix(refOrId);
    const row = ids.length === 1 && ids[0] !== undefined ? this.#tables.image(ids[0]) : undefined;
    if (!row) throw notFound(`No such image: ${familiarString(reference)}`);
    return row;
  }

  #idsWithPrefix(text: string): string[] {
    const hex = text.replace(/^sha256:/, "");
    return /^[0-9a-f]{1,64}$/.test(hex) ? this.#tables.idsWithPrefix(hex) : [];
  }

  #image(row: ImageRow): Image {
    const config = parseImageConfig(row.config);
    const refs = this.#tables.refs(row.id);
    const familiar = (kind: string) =>
      refs.filter((ref) => ref.kind === kind).map(({ ref }) => familiarString(parseReference(ref)));
    return {
      id: row.id,
      config,
      configJson: row.config,
      chainIds: this.#tables.stack(row.id),
      size: this.#tables.sizeOf(row.id),
      createdAt: config.created ?? NO_TIME,
      repoTags: familiar("tag"),
      repoDigests: familiar("digest"),
      lastTagTime: row.last_tag_time ?? undefined,
      parent: row.parent,
      hostDirs: JSON.parse(row.host_dirs) as string[],
    };
  }

  /** The image's layers, topmost first, for the graph driver. */
  layers(image: Image): LayerRef[] {
    return image.chainIds.map((id) => this.#layers.ref(id)).reverse();
  }

  /**
   * The mounts that show a `berth/host` container this machine's system directories; none for other images. Makes
   * what they need below `containerDir`, which the graph driver removes with the container.
   */
  hostMounts(image: Image, containerDir: string): MountSpec[] {
    if (image.hostDirs.length === 0) return [];
    const committed = this.layers(image).slice(0, -1).map(({ dir }) => dir);
    return hostMounts(image.hostDirs, containerDir, committed);
  }

  // --- names

  /** @throws {EngineError} not-found, or invalid for a target that is no name. */
  tag(refOrId: string, target: string): void {
    const row = this.#row(refOrId);
    const reference = parseReference(target);
    if (reference.digest !== undefined) throw invalid("refusing to create a tag with a digest reference");
    this.#tables.change(() => this.#setTags(row.id, [withDefaultTag(reference)]));
  }

  #setTags(id: string, refs: readonly Reference[]): void {
    const now = new Date().toISOString();
    for (const reference of refs) this.#tables.setRef(canonicalString(reference), id, "tag", now);
  }

  /** As `docker rmi`: removes a name, and the image when that was the last one. */
  remove(refOrId: string, options: RemoveOptions): RemovedItem[] {
    const row = this.#row(refOrId);
    const removal = new ImageRemoval(this.#tables, options);
    this.#tables.change(() => removal.run(row, refOrId));
    const layers = this.#layers.collect().map((Deleted) => ({ Deleted }));
    this.content.collect();
    return [...removal.items, ...layers];
  }

  /** Forgets images that were removed by force and that no container uses any more. To be called when a container goes. */
  collectHidden(inUse: (imageId: string) => boolean): void {
    const unused = this.#tables.hiddenImages().filter(({ id }) => !inUse(id));
    if (unused.length === 0) return;
    this.#tables.change(() => unused.forEach(({ id }) => this.#tables.deleteImage(id)));
    this.#layers.collect();
    this.content.collect();
  }

  /** Resolves when removed layers are gone from the disk. */
  async settled(): Promise<void> {
    await this.#layers.emptyTrash();
  }

  // --- taking in

  /** Takes in an archive of `docker save`, or an OCI image layout as tar; compressed or not. */
  async load(
    input: ReadableStream<Uint8Array>,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: LoadProgress) => void) | undefined;
    } = {},
  ): Promise<{ images: { id: string; refs: string[] }[] }> {
    const { signal, onProgress } = options;
    await Deno.mkdir(this.#layers.tmp, { recursive: true, mode: 0o700 });
    using archive = await SpooledArchive.spool(
      chunksOf(input, signal),
      `${this.#layers.tmp}/load-${crypto.randomUUID()}`,
      throttled((current) => onProgress?.({ id: "", status: "Receiving archive", current, total: 0 })),
    );
    const plans = await planArchive(archive);
    using pool = new UnpackPool(PARALLEL_LAYERS);
    const images: { id: string; refs: string[] }[] = [];
    for (const plan of plans) images.push(await this.#loadImage(plan, pool, signal, onProgress));
    return { images };
  }

  async #loadImage(
    plan: PlannedImage,
    pool: UnpackPool,
    signal: AbortSignal | undefined,
    onProgress: ((progress: LoadProgress) => void) | undefined,
  ): Promise<{ id: string; refs: string[] }> {
    const chain = await chainIds(plan.config.rootfs.diff_ids);
    using _hold = this.#layers.hold(chain);
    using kept = new KeptLayers(this.content);
    const give = new AbortController();
    const layerSignal = signal ? AbortSignal.any([signal, give.signal]) : give.signal;
    const outcomes = await Promise.allSettled(plan.layers.map(async (layer, i) => {
      const chainId = chain[i] ?? "";
      const id = layer.diffId.slice(7, 19);
      const total = layer.part?.length ?? 0;
      const existing = this.#layers.known(chainId) !== undefined;
      onProgress?.({
        id,
        status: existing ? "Layer already exists" : "Loading layer",
        current: existing ? total : 0,
        total,
      });
      try {
        const record = await this.#layers.ensure(
          {
            ...layer,
            chainId,
            parent: chain[i - 1] ?? "",
            unpacked: async (digest) => {
              if (layer.part) await kept.keep(layer.diffId, layer.part, digest);
            },
          },
          pool,
          layerSignal,
        );
        if (layer.part) await kept.keep(layer.diffId, layer.part, undefined);
        if (!existing) onProgress?.({ id, status: "Loading layer", current: total, total });
        return record;
      } catch (error) {
        // the first failure ends the others
        give.abort(error);
        throw error;
      }
    }));
    signal?.throwIfAborted();
    if (give.signal.aborted) throw give.signal.reason;
    const records = outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value] : []);
    const id = await this.#insert(plan.configJson, records, chain, plan.refs);
    return { id, refs: plan.refs.map(familiarString) };
  }

  /** Writes an image, its layers and names in one transaction. Answers the id. */
  async #insert(
    config: string,
    layers: readonly LayerRecord[],
    chain: readonly string[],
    refs: readonly Reference[],
    hostDirs: readonly string[] = [],
    parent = "",
  ): Promise<string> {
    const id = await digestOf(config);
    this.#tables.change(() => {
      this.#layers.record(layers);
      this.#tables.insertImage({ id, config, parent, host_dirs: JSON.stringify(hostDirs) }, chain);
      this.#setTags(id, refs);
    });
    return id;
  }

  /** Makes an image of one layer out of a root file system's tar archive, as `docker import`. */
  async importTar(input: ReadableStream<Uint8Array>, options: ImportOptions): Promise<{ id: string }> {
    const reference = options.reference ? withDefaultTag(parseReference(options.reference)) : undefined;
    if (reference?.digest !== undefined) throw invalid("cannot import digest reference");
    const defaults = applyChanges({}, options.changes);
    const platform = options.platform ? parsePlatform(options.platform) : HOST_PLATFORM;
    if (platform.os !== "linux") throw invalid(`operating system is not supported: ${platform.os}`);
    using pool = new UnpackPool(1);
    // its bytes are kept as they came: only so can the layer be given away again
    using blob = await this.content.ingest(chunksOf(input, options.signal));
    const path = this.content.path(blob.digest);
    const { layer, hold } = await this.#layers.add({ path }, pool, options.signal);
    using _hold = hold;
    using kept = new KeptLayers(this.content);
    await kept.keep(layer.diffId, { path, offset: 0, length: blob.size }, blob.digest);
    const created = new Date().toISOString();
    const config = JSON.stringify({
      ...platform,
      created,
      config: defaults,
      rootfs: { type: "layers", diff_ids: [layer.diffId] },
      history: [{ created, comment: options.message || "Imported from -" }],
    });
    return { id: await this.#insert(config, [layer], [layer.chainId], reference ? [reference] : []) };
  }

  /** Unpacked bytes of an image's layers, bottom first. */
  layerSizes({ chainIds }: Image): number[] {
    return chainIds.map((id) => this.#tables.layer(id)?.size ?? 0);
  }

  /** The images that an image was committed from, nearest first, as far as they are still there. */
  ancestors(image: Image): Image[] {
    const found: Image[] = [];
    for (let id = image.parent; id !== "";) {
      const row = this.#tables.image(id);
      if (row === undefined || row.hidden !== 0) break;
      found.push(this.#image(row));
      id = row.parent;
    }
    return found;
  }

  /** Bytes of all layers, each counted once, and what an image shares of its own with others. */
  layerUsage(): { layersSize: number; shared: (image: Image) => number } {
    const users = new Map<string, number>();
    const sizes = new Map<string, number>();
    for (const { id } of this.#tables.images()) {
      for (const chainId of this.#tables.stack(id)) users.set(chainId, (users.get(chainId) ?? 0) + 1);
    }
    let layersSize = 0;
    for (const id of this.#tables.layerIds()) {
      const size = this.#tables.layer(id)?.size ?? 0;
      sizes.set(id, size);
      layersSize += size;
    }
    const sharedBytes = (id: string) => (users.get(id) ?? 0) > 1 ? sizes.get(id) ?? 0 : 0;
    return {
      layersSize,
      shared: ({ chainIds }) => chainIds.reduce((sum, id) => sum + sharedBytes(id), 0),
    };
  }

  // --- giving away, and what containers have made

  /** What a container has changed as a new image. @throws {EngineError} invalid */
  async commit(options: CommitOptions & { readonly reference: string | undefined }): Promise<{ id: string }> {
    const reference = options.reference ? withDefaultTag(parseReference(options.reference)) : undefined;
    if (reference?.digest !== undefined) throw invalid("cannot import digest reference");
    const { base } = options;
    return await commitImage(this.internals, options, async ({ configJson, layers, chain }) => {
      const refs = reference ? [reference] : [];
      return { id: await this.#insert(configJson, layers, chain, refs, base.hostDirs, base.id) };
    });
  }

  /**
   * Images by names or ids as one archive. A name without a tag stands for all tags of its repository.
   *
   * @throws {EngineError} not-found
   */
  async save(names: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
    const wanted = new Map<string, { image: Image; refs: Map<string, Reference> }>();
    const want = (image: Image, refs: readonly Reference[]) => {
      const known = wanted.get(image.id) ?? { image, refs: new Map<string, Reference>() };
      wanted.set(image.id, known);
      for (const ref of refs) known.refs.set(canonicalString(ref), ref);
    };
    for (const name of names) {
      const tags = this.#tagsOf(name);
      if (tags.length > 0) { for (const ref of tags) want(this.get(canonicalString(ref)), [ref]); }
      else want(this.get(name), []);
    }
    const images = [...wanted.values()].map(({ image, refs }) => ({ image, refs: [...refs.values()] }));
    return await saveImages(this.content, images);
  }

  /** The tags that a name means; none for an id or a digest. */
  #tagsOf(name: string): Reference[] {
    let reference: Reference;
    try {
      reference = parseReference(name);
    } catch {
      return [];
    }
    if (reference.digest !== undefined) return [];
    if (reference.tag !== undefined) return this.#tables.ref(canonicalString(reference)) ? [reference] : [];
    const all = this.list().flatMap(({ repoTags }) => repoTags.map(parseReference));
    return all.filter((tag) => canonicalName(tag) === canonicalName(reference)).sort((a, b) =>
      canonicalString(a) < canonicalString(b) ? -1 : 1
    );
  }

  // --- registries

  /** For pull and push. */
  get internals(): StoreInternals {
    return {
      tables: this.#tables,
      layers: this.#layers,
      content: this.content,
      log: this.#log,
      insertPulled: (image) => this.#insertPulled(image),
    };
  }

  async #insertPulled(image: PulledImage): Promise<{ id: string; changed: boolean }> {
    const { configJson: config, records, chain, reference, digest } = image;
    const id = await digestOf(config);
    const name = canonicalName(reference);
    const key = refKey(reference);
    return this.#tables.change(() => {
      const changed = this.#tables.ref(key)?.image_id !== id;
      this.#layers.record(records);
      this.#tables.insertImage({ id, config, parent: "", host_dirs: "[]" }, chain);
      const now = new Date().toISOString();
      this.#tables.setRef(`${name}@${digest}`, id, "digest", now);
      if (reference.digest === undefined) this.#tables.setRef(key, id, "tag", now);
      image.also(id);
      return { id, changed };
    });
  }

  // --- berth/host

  /**
   * The embedded image of this machine. It is made at the first call; made anew when the system's release or users have
   * changed since.
   *
   * @param inUse whether containers use an image: the outdated one is kept for them, without a name.
   */
  ensureHostImage(inUse: (imageId: string) => boolean = () => true): Promise<Image> {
    return this.#buildingHost ??= this.#ensureHostImage(inUse).finally(() => this.#buildingHost = undefined);
  }

  async #ensureHostImage(inUse: (imageId: string) => boolean): Promise<Image> {
    const reference = parseReference(HOST_IMAGE);
    const named = this.#tables.ref(canonicalString(reference));
    const present = named && this.#tables.image(named.image_id);
    const fingerprint = hostFingerprint();
    if (present) {
      const image = this.#image(present);
      const outdated = image.hostDirs.length > 0 && fingerprintOf(image.configJson) !== fingerprint;
      const whole = image.chainIds.every((id) => this.#layers.known(id) !== undefined);
      if (whole && (!outdated || inUse(image.id))) return image;
    }
    const layout = hostLayout();
    using pool = new UnpackPool(1);
    const { layer, hold } = await this.#layers.add({ stream: hostLayer(layout) }, pool);
    using _hold = hold;
    const config = JSON.stringify(hostConfig(layer.diffId, new Date().toISOString(), fingerprint));
    const id = await this.#insert(config, [layer], [layer.chainId], [reference], layout.dirs);
    if (present && present.id !== id && this.#tables.refs(present.id).length === 0) {
      this.#tables.change(() => this.#tables.deleteImage(present.id));
    }
    return this.get(id);
  }
}

/** docker's own index is preferred: only it has the tags as docker wrote them. */
async function planArchive(archive: SpooledArchive): Promise<PlannedImage[]> {
  if (archive.has(DOCKER_MANIFEST)) return await planDockerArchive(archive);
  if (archive.has(OCI_INDEX)) return await planOciLayout(archive);
  throw invalid("invalid archive: does not contain a manifest.json or an index.json");
}

/** The form in which names are stored: with a digest the tag does not count. */
function refKey(reference: Reference): string {
  return reference.digest === undefined
    ? canonicalString(reference)
    : `${canonicalName(reference)}@${reference.digest}`;
}

/** Lets through one call for every mebibyte. */
function throttled(report: (bytes: number) => void): (bytes: number) => void {
  let next = 0;
  return (bytes) => {
    if (bytes < next) return;
    next = bytes + 1024 * 1024;
    report(bytes);
  };
}
