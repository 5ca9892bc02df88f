import type { DatabaseSync } from "node:sqlite";
import { invalid, notFound } from "../base/errors.ts";
import type { GraphDriver, LayerRef } from "../fs/graph_driver.ts";
import type { MountSpec } from "../runtime/spec.ts";
import { commitImage, type CommitOptions } from "./commit.ts";
import { ContentStore } from "./content_store.ts";
import { digestOf } from "./digest.ts";
import { ensureHostImage } from "./ensure_host_image.ts";
import { hostMounts } from "./host_mounts.ts";
import { ImageLookup } from "./image_lookup.ts";
import { ImageRemoval, type RemovedItem, type RemoveOptions } from "./image_removal.ts";
import { ImageTables } from "./image_tables.ts";
import { type ImportOptions, importTar } from "./import.ts";
import { type LayerRecord, LayerStore } from "./layer_store.ts";
import { LayerDurability } from "./layer_durability.ts";
import { layerUsage } from "./layer_usage.ts";
import { type StoreUsage, storeUsage } from "./store_usage.ts";
import { loadArchive, type LoadProgress } from "./load.ts";
import { formatPlatform, matches, type Platform, platformOf } from "./platform.ts";
import {
  canonicalName,
  canonicalString,
  familiarName,
  parseReference,
  type Reference,
  storedName,
  withDefaultTag,
} from "../base/reference.ts";
import { saveImages } from "./save.ts";
import type { PulledImage, StoreInternals } from "./store_internals.ts";
import { Trash } from "./trash.ts";
import type { Image } from "./types.ts";

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

/** The images of one data root. Methods throw EngineError with Docker's words. */
export class ImageStore {
  readonly #tables: ImageTables;
  readonly #lookup: ImageLookup;
  readonly #layers: LayerStore;
  /** Layers and manifests as they came, for whoever gives images away. */
  readonly content: ContentStore;
  readonly #trash: Trash;
  readonly #durability: LayerDurability;
  readonly #log: (line: string) => void;
  #buildingHost: Promise<Image> | undefined;

  private constructor(options: ImageStoreOptions) {
    this.#log = options.log ?? (() => {});
    this.#tables = new ImageTables(options.db);
    this.#lookup = new ImageLookup(this.#tables);
    this.#trash = new Trash(options.root, this.#log);
    this.#durability = new LayerDurability({ root: options.root, tables: this.#tables, log: this.#log });
    this.#layers = new LayerStore({
      root: options.root,
      tables: this.#tables,
      whiteouts: options.driver.whiteouts,
      singleId: options.singleId,
      trash: this.#trash,
      durability: this.#durability,
      log: this.#log,
    });
    this.content = new ContentStore(options.root, options.db, this.#log, this.#trash);
  }

  static open(options: ImageStoreOptions): ImageStore {
    return new ImageStore(options);
  }

  /** To be called once, before anything else: removes what a crash has left half-made. */
  async sweep(): Promise<void> {
    await this.#layers.sweep();
    this.content.sweep();
  }

  /** Before the database is closed. */
  close(): void {
    this.#durability[Symbol.dispose]();
  }

  // --- looking up

  /** All images, the newest first. */
  list(): Image[] {
    return this.#lookup.list();
  }

  /** By name, name:tag, name@digest, id, or a unique beginning of an id. */
  get(refOrId: string): Image {
    return this.#lookup.get(refOrId);
  }

  /** The image of an existing container, also when it was removed by force since. */
  getForContainer(id: string): Image {
    return this.#lookup.getForContainer(id);
  }

  /** The images that an image was committed from, nearest first, as far as they are still there. */
  ancestors(image: Image): Image[] {
    return this.#lookup.ancestors(image);
  }

  /** Ids of the images that were made from an image; see {@link ImageLookup.descendants}. */
  descendants(image: Image): string[] {
    return this.#lookup.descendants(image);
  }

  /** Unpacked bytes of an image's layers, bottom first. */
  layerSizes({ chainIds }: Image): number[] {
    return chainIds.map((id) => this.#tables.layer(id)?.size ?? 0);
  }

  /** Bytes of all layers, each counted once, and what an image shares of its own with others. */
  layerUsage(): { layersSize: number; shared: (image: Image) => number } {
    return layerUsage(this.#tables);
  }

  /** What all images take on disk, layers and kept blobs, and what of it is whose. */
  usage(): StoreUsage {
    return storeUsage(this.#tables, this.layerUsage().layersSize + this.content.size());
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
    const row = this.#lookup.row(refOrId);
    const reference = parseReference(target);
    if (reference.digest !== undefined) throw invalid("refusing to create a tag with a digest reference");
    // `sha256:…` must go on to mean an id
    if (familiarName(reference) === "sha256") {
      throw invalid("refusing to create an ambiguous tag using digest algorithm as name");
    }
    this.#tables.change(() => this.#setTags(row.id, [withDefaultTag(reference)]));
  }

  #setTags(id: string, refs: readonly Reference[]): void {
    const now = new Date().toISOString();
    for (const reference of refs) this.#tables.setRef(canonicalString(reference), id, "tag", now);
  }

  /** As `docker rmi`: removes a name, and the image when that was the last one. */
  remove(refOrId: string, options: RemoveOptions): RemovedItem[] {
    const row = this.#lookup.row(refOrId);
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

  /** Resolves when removed layers and blobs are gone from the store, if not yet from the disk. */
  async collected(): Promise<void> {
    await this.#layers.collected();
    await this.content.collected();
  }

  /** Resolves when removed layers and blobs are gone from the disk. */
  async settled(): Promise<void> {
    await this.collected();
    await this.#trash.empty();
  }

  // --- taking in

  /** Takes in an archive of `docker save`, or an OCI image layout as tar; compressed or not. */
  load(
    input: ReadableStream<Uint8Array>,
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((progress: LoadProgress) => void) | undefined;
      platform?: Platform | undefined;
    } = {},
  ): Promise<{ images: { id: string; refs: string[] }[] }> {
    return loadArchive(this.internals, input, options);
  }

  /** Makes an image of one layer out of a root file system's tar archive, as `docker import`. */
  importTar(input: ReadableStream<Uint8Array>, options: ImportOptions): Promise<{ id: string }> {
    return importTar(this.internals, input, options);
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
   * @param prepare called with each image before its layers are looked for.
   * @param as names that the archive gives to the images, in place of their own.
   * @throws {EngineError} not-found
   */
  async save(
    names: readonly string[],
    platform?: Platform,
    prepare: (image: Image) => Promise<void> = () => Promise.resolve(),
    as?: readonly string[],
  ): Promise<{ images: string[]; chunks: AsyncIterable<Uint8Array> }> {
    const wanted = new Map<string, { image: Image; refs: Map<string, Reference> }>();
    const want = (image: Image, refs: readonly Reference[]) => {
      const known = wanted.get(image.id) ?? { image, refs: new Map<string, Reference>() };
      wanted.set(image.id, known);
      for (const ref of refs) known.refs.set(canonicalString(ref), ref);
    };
    for (const name of names) {
      const tags = this.#lookup.tagsOf(name);
      const found = tags.length > 0
        ? tags.map((ref) => ({ image: this.get(canonicalString(ref)), refs: [ref] }))
        : [{ image: this.get(name), refs: [] }];
      for (const { image, refs } of found) {
        if (platform !== undefined && !matches(platformOf(image.config), platform)) {
          throw notFound(`no suitable export target found for platform ${formatPlatform(platform)}`);
        }
        want(image, refs);
      }
    }
    for (const { image } of wanted.values()) await prepare(image);
    const given = as?.map((name) => withDefaultTag(parseReference(name)));
    const images = [...wanted.values()].map(({ image, refs }) => ({
      image,
      refs: given ?? [...refs.values()],
    }));
    return { images: [...wanted.keys()], chunks: await saveImages(this.content, images) };
  }

  // --- registries

  /** For what is in files of its own: load, import, commit, pull, push. */
  get internals(): StoreInternals {
    return {
      tables: this.#tables,
      layers: this.#layers,
      content: this.content,
      log: this.#log,
      insert: (...image) => this.#insert(...image),
      insertPulled: (image) => this.#insertPulled(image),
    };
  }

  async #insertPulled(image: PulledImage): Promise<{ id: string; changed: boolean }> {
    const { configJson: config, records, chain, reference, digest } = image;
    const id = await digestOf(config);
    const name = canonicalName(reference);
    const key = storedName(reference);
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
    return this.#buildingHost ??= ensureHostImage(this.internals, this.#lookup, inUse)
      .finally(() => this.#buildingHost = undefined);
  }
}
