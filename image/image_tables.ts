import type { DatabaseSync, StatementSync } from "node:sqlite";
import { migratePart } from "../base/store_schema.ts";
import { savepoint } from "../base/transaction.ts";
import type { LayerRecord } from "./layer_store.ts";

/** A row of image_images. */
export interface ImageRow {
  readonly id: string;
  readonly config: string;
  readonly parent: string;
  readonly last_tag_time: string | null;
  /** JSON list of directories. */
  readonly host_dirs: string;
  /** 1: removed by force while containers use it; only they still see it. */
  readonly hidden: number;
}

/** A name of an image, in canonical form. `digest` names are `name@sha256:…`, others `name:tag`. */
export interface RefRow {
  readonly ref: string;
  readonly image_id: string;
  readonly kind: "tag" | "digest";
}

/** Version of the tables of this file and of content_store.ts. Databases of before it was written down have them already. */
const SCHEMA_VERSION = 1;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS image_layers (
  chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT NOT NULL, size INTEGER NOT NULL, notes TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_images (
  id TEXT PRIMARY KEY, config TEXT NOT NULL, parent TEXT NOT NULL, last_tag_time TEXT,
  host_dirs TEXT NOT NULL, hidden INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS image_stacks (
  image_id TEXT NOT NULL REFERENCES image_images(id) ON DELETE CASCADE, position INTEGER NOT NULL,
  chain_id TEXT NOT NULL REFERENCES image_layers(chain_id), PRIMARY KEY (image_id, position)
) STRICT;
CREATE INDEX IF NOT EXISTS image_stacks_chain ON image_stacks (chain_id);
CREATE TABLE IF NOT EXISTS image_refs (
  ref TEXT PRIMARY KEY, image_id TEXT NOT NULL REFERENCES image_images(id) ON DELETE CASCADE, kind TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS image_refs_image ON image_refs (image_id);
CREATE TABLE IF NOT EXISTS image_layer_uses (
  user TEXT PRIMARY KEY, chain_id TEXT NOT NULL REFERENCES image_layers(chain_id)
) STRICT;
CREATE INDEX IF NOT EXISTS image_layer_uses_chain ON image_layer_uses (chain_id);
CREATE TABLE IF NOT EXISTS image_layer_marks (
  chain_id TEXT PRIMARY KEY REFERENCES image_layers(chain_id) ON DELETE CASCADE, boot TEXT NOT NULL
) STRICT;
`;

/** Tables of the content store as well. A part counts once for each image. */
const PARTS = `
SELECT image_id AS imageId, chain_id AS part, size FROM image_stacks JOIN image_layers USING (chain_id)
UNION SELECT image_id, 'blob ' || digest, size FROM image_manifests JOIN image_blobs USING (digest)
UNION SELECT image_id, 'blob ' || digest, b.size FROM image_stacks JOIN image_layers USING (chain_id)
  JOIN image_layer_blobs USING (diff_id) JOIN image_blobs b USING (digest)`;

/** Layers that somebody else than an image uses, and those below. */
const USED = `
WITH RECURSIVE used (chain_id) AS (
  SELECT chain_id FROM image_layer_uses
  UNION SELECT l.parent FROM used JOIN image_layers l USING (chain_id) WHERE l.parent <> ''
)`;

const UNUSED = `${USED}
SELECT chain_id FROM image_layers l
WHERE NOT EXISTS (SELECT 1 FROM image_stacks s WHERE s.chain_id = l.chain_id)
  AND l.chain_id NOT IN (SELECT chain_id FROM used)`;

/** The image store's part of the database. Every change that belongs together is made inside {@link ImageTables.change}. */
export class ImageTables {
  readonly #db: DatabaseSync;
  /** By their text: to compile one takes longer than to run it. */
  readonly #statements = new Map<string, StatementSync>();
  #version = 0;

  /** @throws {EngineError} system: written by a newer berth */
  constructor(db: DatabaseSync) {
    this.#db = db;
    // the references between tables are relied upon
    db.exec("PRAGMA foreign_keys = ON");
    migratePart(db, "images", SCHEMA_VERSION, SCHEMA);
  }

  /** Another number than before whenever something may have changed. */
  get version(): number {
    return this.#version;
  }

  /** Runs `work` in a transaction (or as a part of the caller's). */
  change<T>(work: () => T): T {
    try {
      return savepoint(this.#db, "image_change", work);
    } catch (error) {
      this.#version++;
      throw error;
    }
  }

  #all<T>(sql: string, ...params: (string | number)[]): T[] {
    return this.#statement(sql).all(...params) as unknown as T[];
  }

  #run(sql: string, ...params: (string | number | null)[]): void {
    this.#version++;
    this.#statement(sql).run(...params);
  }

  #statement(sql: string): StatementSync {
    let known = this.#statements.get(sql);
    if (known === undefined) this.#statements.set(sql, known = this.#db.prepare(sql));
    return known;
  }

  images(): ImageRow[] {
    return this.#all("SELECT * FROM image_images WHERE hidden = 0");
  }

  hiddenImages(): ImageRow[] {
    return this.#all("SELECT * FROM image_images WHERE hidden = 1");
  }

  /** Also a hidden one. */
  image(id: string): ImageRow | undefined {
    return this.#all<ImageRow>("SELECT * FROM image_images WHERE id = ?", id)[0];
  }

  /** Ids that begin with these hexadecimal digits; two are enough to know that it is not unique. */
  idsWithPrefix(hex: string): string[] {
    const start = `sha256:${hex}`;
    // "g" comes after every hexadecimal digit
    const sql = "SELECT id FROM image_images WHERE id >= ? AND id < ? AND hidden = 0 LIMIT 2";
    return this.#all<{ id: string }>(sql, start, `${start}g`).map(({ id }) => id);
  }

  insertImage(row: Omit<ImageRow, "last_tag_time" | "hidden">, chainIds: readonly string[]): void {
    this.#run(
      "INSERT INTO image_images VALUES (?, ?, ?, NULL, ?, 0) ON CONFLICT (id) DO UPDATE SET hidden = 0",
      row.id,
      row.config,
      row.parent,
      row.host_dirs,
    );
    for (const [position, chainId] of chainIds.entries()) {
      this.#run("INSERT OR IGNORE INTO image_stacks VALUES (?, ?, ?)", row.id, position, chainId);
    }
  }

  deleteImage(id: string): void {
    this.#run("DELETE FROM image_images WHERE id = ?", id);
  }

  hideImage(id: string): void {
    this.#run("UPDATE image_images SET hidden = 1 WHERE id = ?", id);
  }

  /** Chain ids, bottom first. */
  stack(imageId: string): string[] {
    const sql = "SELECT chain_id FROM image_stacks WHERE image_id = ? ORDER BY position";
    return this.#all<{ chain_id: string }>(sql, imageId).map((row) => row.chain_id);
  }

  childrenOf(id: string): string[] {
    const sql = "SELECT id FROM image_images WHERE parent = ? AND hidden = 0";
    return this.#all<{ id: string }>(sql, id).map((row) => row.id);
  }

  ref(ref: string): RefRow | undefined {
    return this.#all<RefRow>("SELECT * FROM image_refs WHERE ref = ?", ref)[0];
  }

  refs(imageId: string): RefRow[] {
    return this.#all("SELECT * FROM image_refs WHERE image_id = ? ORDER BY ref", imageId);
  }

  /** Names with tags that begin with this text: `docker.io/library/busybox:`. */
  tagsOf(prefix: string): RefRow[] {
    const sql = "SELECT * FROM image_refs WHERE kind = 'tag' AND substr(ref, 1, ?) = ? ORDER BY ref";
    return this.#all<RefRow>(sql, prefix.length, prefix);
  }

  /** Gives a name to an image, taking it from whoever had it. */
  setRef(ref: string, imageId: string, kind: "tag" | "digest", now: string): void {
    const sql =
      "INSERT INTO image_refs VALUES (?, ?, ?) ON CONFLICT (ref) DO UPDATE SET image_id = excluded.image_id";
    this.#run(sql, ref, imageId, kind);
    if (kind === "tag") this.#run("UPDATE image_images SET last_tag_time = ? WHERE id = ?", now, imageId);
  }

  deleteRef(ref: string): void {
    this.#run("DELETE FROM image_refs WHERE ref = ?", ref);
  }

  layer(chainId: string): LayerRecord | undefined {
    const sql =
      "SELECT chain_id AS chainId, diff_id AS diffId, parent, size, notes FROM image_layers WHERE chain_id = ?";
    return this.#all<LayerRecord>(sql, chainId)[0];
  }

  layerIds(): string[] {
    return this.#all<{ chain_id: string }>("SELECT chain_id FROM image_layers").map((row) => row.chain_id);
  }

  insertLayer(layer: LayerRecord): void {
    const sql = "INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?, ?, ?)";
    this.#run(sql, layer.chainId, layer.diffId, layer.parent, layer.size, layer.notes);
  }

  deleteLayer(chainId: string): void {
    this.#run("DELETE FROM image_layers WHERE chain_id = ?", chainId);
  }

  /** The layer's files may not be on the disk yet; `boot` is the machine's that has written them. */
  markLayer(chainId: string, boot: string): void {
    this.#run("INSERT OR REPLACE INTO image_layer_marks VALUES (?, ?)", chainId, boot);
  }

  unmarkLayer(chainId: string): void {
    this.#run("DELETE FROM image_layer_marks WHERE chain_id = ?", chainId);
  }

  markedLayers(): { readonly chainId: string; readonly boot: string }[] {
    return this.#all("SELECT chain_id AS chainId, boot FROM image_layer_marks");
  }

  /** Keeps a layer, and those below it, for somebody who is no image; in the place of what that one has kept before. */
  useLayer(user: string, chainId: string): void {
    this.#run("INSERT OR REPLACE INTO image_layer_uses VALUES (?, ?)", user, chainId);
  }

  /** Ends {@link useLayer}. */
  leaveLayer(user: string): void {
    this.#run("DELETE FROM image_layer_uses WHERE user = ?", user);
  }

  /** Whether an image, a hidden one as well, has the layer. */
  inImage(chainId: string): boolean {
    return this.#all("SELECT 1 FROM image_stacks WHERE chain_id = ? LIMIT 1", chainId).length > 0;
  }

  /** Layers that are kept by {@link useLayer} alone. */
  layersBesideImages(): string[] {
    const sql =
      `${USED} SELECT chain_id FROM used u WHERE NOT EXISTS (SELECT 1 FROM image_stacks s WHERE s.chain_id = u.chain_id)`;
    return this.#all<{ chain_id: string }>(sql).map((row) => row.chain_id);
  }

  /** Bytes of all layers. */
  layersSize(): number {
    return this.#all<{ size: number }>("SELECT COALESCE(SUM(size), 0) AS size FROM image_layers")[0]?.size ??
      0;
  }

  /** Layers that belong to no image, and that nobody else uses. */
  unusedLayers(): string[] {
    return this.#all<{ chain_id: string }>(UNUSED).map((row) => row.chain_id);
  }

  /** What every image, hidden ones included, has on disk: its unpacked layers, and the blobs that are kept for it. */
  parts(): { imageId: string; part: string; size: number }[] {
    return this.#all(PARTS);
  }

  /** Bytes of an image's layers. */
  sizeOf(imageId: string): number {
    const sql =
      "SELECT COALESCE(SUM(size), 0) AS size FROM image_stacks JOIN image_layers USING (chain_id) WHERE image_id = ?";
    return this.#all<{ size: number }>(sql, imageId)[0]?.size ?? 0;
  }
}
