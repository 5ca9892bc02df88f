import { notFound } from "../base/errors.ts";
import { isDigest } from "./digest.ts";
import { parseImageConfig } from "./image_config.ts";
import type { ImageRow, ImageTables } from "./image_tables.ts";
import {
  canonicalName,
  canonicalString,
  familiarString,
  parseReference,
  type Reference,
  storedName,
  withDefaultTag,
} from "../base/reference.ts";
import type { Image } from "./types.ts";

/** Go's zero time: what Docker shows for an image without a date. */
const NO_TIME = "0001-01-01T00:00:00Z";

/** Names of images that are remembered with what they lead to. */
const KNOWN_IMAGES = 100;

/** Finds images by names and ids, and tells how they descend from one another. */
export class ImageLookup {
  readonly #tables: ImageTables;
  /** What was read since the tables last changed: each container's life asks several times for the same image. */
  readonly #known = new Map<string, Image>();
  #knownVersion = -1;

  constructor(tables: ImageTables) {
    this.#tables = tables;
  }

  /** All images, the newest first. */
  list(): Image[] {
    return this.#tables.images().map((row) => this.image(row)).sort((a, b) =>
      Date.parse(b.createdAt) - Date.parse(a.createdAt) || a.id.localeCompare(b.id)
    );
  }

  /** By name, name:tag, name@digest, id, or a unique beginning of an id. */
  get(refOrId: string): Image {
    return this.#remember(`name ${refOrId}`, () => this.image(this.row(refOrId)));
  }

  /** The image of an existing container, also when it was removed by force since. */
  getForContainer(id: string): Image {
    return this.#remember(`id ${id}`, () => {
      const row = this.#tables.image(id);
      if (!row) throw notFound(`No such image: ${id}`);
      return this.image(row);
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

  /** Of an image that is not hidden. @throws {EngineError} not-found */
  row(refOrId: string): ImageRow {
    const full = /^[0-9a-f]{64}$/.test(refOrId) ? `sha256:${refOrId}` : refOrId;
    if (isDigest(full)) {
      const row = this.#tables.image(full);
      if (row && row.hidden === 0) return row;
      throw notFound(`No such image: ${refOrId}`);
    }
    const reference = withDefaultTag(parseReference(refOrId));
    const named = this.#tables.ref(storedName(reference));
    const ids = named ? [named.image_id] : this.#idsWithPrefix(refOrId);
    const row = ids.length === 1 && ids[0] !== undefined ? this.#tables.image(ids[0]) : undefined;
    if (!row) throw notFound(`No such image: ${familiarString(reference)}`);
    return row;
  }

  #idsWithPrefix(text: string): string[] {
    const hex = text.replace(/^sha256:/, "");
    return /^[0-9a-f]{1,64}$/.test(hex) ? this.#tables.idsWithPrefix(hex) : [];
  }

  image(row: ImageRow): Image {
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

  /** The images that an image was committed from, nearest first, as far as they are still there. */
  ancestors(image: Image): Image[] {
    const found: Image[] = [];
    for (let id = image.parent; id !== "";) {
      const row = this.#tables.image(id);
      if (row === undefined || row.hidden !== 0) break;
      found.push(this.image(row));
      id = row.parent;
    }
    return found;
  }

  /**
   * Ids of the images that were made from an image: committed from it or its descendants, or with more layers on top of the
   * same ones. Those that were removed by force while containers use them count.
   */
  descendants(image: Image): string[] {
    const rows = [...this.#tables.images(), ...this.#tables.hiddenImages()];
    const depth = image.chainIds.length;
    // A chain id stands for all layers below it.
    const top = image.chainIds.at(-1);
    const found = new Set(
      rows.filter(({ id }) => {
        const chain = this.#tables.stack(id);
        return top !== undefined && chain.length > depth && chain[depth - 1] === top;
      }).map(({ id }) => id),
    );
    const parents = [image.id];
    for (let parent = parents.pop(); parent !== undefined; parent = parents.pop()) {
      for (const row of rows) {
        if (row.parent !== parent || row.id === image.id) continue;
        if (!found.has(row.id)) parents.push(row.id);
        found.add(row.id);
      }
    }
    return [...found];
  }

  /** The tags that a name means; none for an id or a digest. */
  tagsOf(name: string): Reference[] {
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
}
