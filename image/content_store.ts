import { createHash } from "node:crypto";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { EngineError, messageOf } from "../base/errors.ts";
import { namesIn } from "../base/names_in.ts";
import { digestOf, isDigest } from "./digest.ts";
import { Holds } from "./holds.ts";
import { Slices } from "./slices.ts";
import { Trash } from "./trash.ts";

/** Stored bytes. */
export interface Blob {
  readonly digest: string;
  readonly size: number;
}

/** A blob that stays until it is disposed of, and afterwards for as long as an image needs it. */
export interface HeldBlob extends Blob, Disposable {}

/** A blob that unpacks to a layer. */
export interface LayerBlob extends Blob {
  readonly mediaType: string;
}

/**
 * - image_blobs: files in `<root>/blobs/sha256`; a row comes after its file and goes before it.
 * - image_layer_blobs: from what bytes a layer was unpacked, or to what it was packed for a push.
 * - image_manifests: manifests that describe an image, as a registry or an archive had them.
 * - image_blob_origins: repositories that are known to have a blob: pushes mount it from there.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS image_blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS image_layer_blobs (
  diff_id TEXT NOT NULL, digest TEXT NOT NULL REFERENCES image_blobs(digest) ON DELETE CASCADE,
  media_type TEXT NOT NULL, PRIMARY KEY (diff_id, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS image_manifests (
  image_id TEXT NOT NULL REFERENCES image_images(id) ON DELETE CASCADE,
  digest TEXT NOT NULL REFERENCES image_blobs(digest) ON DELETE CASCADE,
  media_type TEXT NOT NULL, PRIMARY KEY (image_id, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS image_blob_origins (
  digest TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (digest, repository)
) STRICT;
CREATE INDEX IF NOT EXISTS image_layer_blobs_digest ON image_layer_blobs (digest);
CREATE INDEX IF NOT EXISTS image_manifests_digest ON image_manifests (digest);
CREATE INDEX IF NOT EXISTS image_layers_diff ON image_layers (diff_id);
`;

/** Whether an image needs the blob `b`. */
const USED = `EXISTS (SELECT 1 FROM image_manifests m WHERE m.digest = b.digest) OR EXISTS (
  SELECT 1 FROM image_layer_blobs l JOIN image_layers USING (diff_id) WHERE l.digest = b.digest)`;

/** Some blobs after a digest, and whether an image needs them. */
const NEXT = `
SELECT digest, ${USED} AS used
FROM image_blobs b WHERE digest > ? ORDER BY digest LIMIT 16`;

/** A download that was cut off is worth continuing for so long. */
const PARTIAL_LIFE_MS = 24 * 60 * 60 * 1000;

/**
 * Blobs by digest, in `<root>/blobs/sha256`: layers as they came, and manifests. They are what `push` and `save` give
 * away, so that an image keeps its digests. A blob stays for as long as an image's layer or manifest needs it, or
 * somebody holds it.
 */
export class ContentStore {
  readonly #root: string;
  readonly #db: DatabaseSync;
  readonly #log: (line: string) => void;
  readonly #trash: Trash;
  readonly #held = new Holds();
  readonly #collecting: Slices;
  readonly #next: StatementSync;

  /** The image tables must exist. */
  constructor(
    root: string,
    db: DatabaseSync,
    log: (line: string) => void = () => {},
    trash: Trash = new Trash(root, log),
  ) {
    this.#root = root;
    this.#db = db;
    this.#log = log;
    this.#trash = trash;
    db.exec(SCHEMA);
    this.#next = db.prepare(NEXT);
    this.#collecting = new Slices(() => this.#collectSteps(), {
      onError: (error) => this.#log(`unable to collect blobs: ${messageOf(error)}`),
    });
  }

  #all<T>(sql: string, ...params: (string | number)[]): T[] {
    return this.#db.prepare(sql).all(...params) as unknown as T[];
  }

  #run(sql: string, ...params: (string | number)[]): void {
    this.#db.prepare(sql).run(...params);
  }

  path(digest: string): string {
    if (!isDigest(digest)) throw new EngineError("invalid", `unsupported digest ${JSON.stringify(digest)}`);
    return `${this.#root}/blobs/sha256/${digest.slice("sha256:".length)}`;
  }

  /** Where a blob is written until it is whole and verified. The name is the same for every attempt. */
  partialPath(digest: string): string {
    return `${this.#root}/tmp/blob-${this.path(digest).slice(-64)}.part`;
  }

  /** The blob, if it is there in its full length. */
  get(digest: string): Blob | undefined {
    const row = this.#all<Blob>("SELECT digest, size FROM image_blobs WHERE digest = ?", digest)[0];
    try {
      // after a power failure a file may be shorter than its row says
      return row && Deno.statSync(this.path(digest)).size === row.size ? row : undefined;
    } catch {
      return undefined;
    }
  }

  /** A small blob's bytes. @throws {EngineError} not-found */
  async read(digest: string): Promise<Uint8Array<ArrayBuffer>> {
    if (this.get(digest) === undefined) throw new EngineError("not-found", `blob ${digest} not found`);
    return await Deno.readFile(this.path(digest));
  }

  /** Keeps blobs, present or to come, from being removed until the answer is disposed of. */
  hold(digests: readonly string[]): Disposable {
    return this.#held.take(digests, () => void this.collect());
  }

  /**
   * Gives blobs back that a pull got and did not come to use, as downloads that are whole: the next pull hashes them, and
   * asks the registry for nothing. What an image needs or somebody else holds stays.
   *
   * @param digests what the caller holds, each as often as it is held.
   */
  shelve(digests: readonly string[]): void {
    for (const digest of new Set(digests)) {
      const mine = digests.filter((one) => one === digest).length;
      if (this.#held.count(digest) !== mine || this.get(digest) === undefined || this.#used(digest)) continue;
      this.#run("DELETE FROM image_blobs WHERE digest = ?", digest);
      try {
        Deno.mkdirSync(`${this.#root}/tmp`, { recursive: true, mode: 0o700 });
        Deno.renameSync(this.path(digest), this.partialPath(digest));
      } catch (error) {
        // without its row the next start removes it
        this.#log(`unable to keep blob ${digest}: ${messageOf(error)}`);
      }
    }
  }

  #used(digest: string): boolean {
    return this.#all(`SELECT 1 FROM image_blobs b WHERE digest = ? AND (${USED})`, digest).length > 0;
  }

  /** Takes over a verified file by renaming it. The caller holds the digest. */
  adopt(path: string, { digest, size }: Blob): void {
    Deno.mkdirSync(`${this.#root}/blobs/sha256`, { recursive: true, mode: 0o700 });
    Deno.renameSync(path, this.path(digest));
    this.#run(
      "INSERT INTO image_blobs VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET size = excluded.size",
      digest,
      size,
    );
  }

  /** Stores small bytes. Dispose of the answer when the blob has got its use (a layer, a manifest). */
  async put(bytes: Uint8Array<ArrayBuffer>): Promise<HeldBlob> {
    const path = this.temporary();
    await Deno.writeFile(path, bytes, { createNew: true, mode: 0o600 });
    return this.#keep(path, { digest: await digestOf(bytes), size: bytes.length });
  }

  #keep(path: string, blob: Blob): HeldBlob {
    const hold = this.hold([blob.digest]);
    if (this.get(blob.digest) === undefined) this.adopt(path, blob);
    else Deno.removeSync(path);
    return { ...blob, ...hold };
  }

  /** Stores a stream of any length. Dispose of the answer when the blob has got its use (a layer, a manifest). */
  async ingest(chunks: AsyncIterable<Uint8Array>): Promise<HeldBlob> {
    const path = this.temporary();
    const hash = createHash("sha256");
    let size = 0;
    try {
      using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
      }
    } catch (error) {
      await Deno.remove(path).catch(() => {});
      throw error;
    }
    return this.#keep(path, { digest: `sha256:${hash.digest("hex")}`, size });
  }

  /** A name for a file that is to be adopted; swept at start. */
  temporary(): string {
    Deno.mkdirSync(`${this.#root}/tmp`, { recursive: true, mode: 0o700 });
    return `${this.#root}/tmp/ingest-${crypto.randomUUID()}`;
  }

  // --- what blobs are for

  /** Remembers that a stored blob unpacks to a layer. */
  setLayerBlob(diffId: string, digest: string, mediaType: string): void {
    this.#run("INSERT OR REPLACE INTO image_layer_blobs VALUES (?, ?, ?)", diffId, digest, mediaType);
  }

  /** The blobs that unpack to a layer, those that are there. */
  layerBlobs(diffId: string): LayerBlob[] {
    const sql =
      `SELECT digest, size, media_type AS mediaType FROM image_layer_blobs JOIN image_blobs USING (digest)
      WHERE diff_id = ? ORDER BY digest`;
    return this.#all<LayerBlob>(sql, diffId).filter(({ digest }) => this.get(digest) !== undefined);
  }

  setManifest(imageId: string, digest: string, mediaType: string): void {
    this.#run("INSERT OR REPLACE INTO image_manifests VALUES (?, ?, ?)", imageId, digest, mediaType);
  }

  /** The manifests of an image, those that are there. */
  manifests(imageId: string): LayerBlob[] {
    const sql =
      `SELECT digest, size, media_type AS mediaType FROM image_manifests JOIN image_blobs USING (digest)
      WHERE image_id = ? ORDER BY digest`;
    return this.#all<LayerBlob>(sql, imageId).filter(({ digest }) => this.get(digest) !== undefined);
  }

  /** @param repository `docker.io/library/busybox` */
  setOrigin(digest: string, repository: string): void {
    this.#run("INSERT OR IGNORE INTO image_blob_origins VALUES (?, ?)", digest, repository);
  }

  forgetOrigin(digest: string, repository: string): void {
    this.#run("DELETE FROM image_blob_origins WHERE digest = ? AND repository = ?", digest, repository);
  }

  /** Repositories that had a blob when they were last asked. */
  origins(digest: string): string[] {
    const sql = "SELECT repository FROM image_blob_origins WHERE digest = ? ORDER BY repository";
    return this.#all<{ repository: string }>(sql, digest).map(({ repository }) => repository);
  }

  // --- space

  /** Bytes of all blobs. */
  size(): number {
    return this.#all<{ size: number }>("SELECT COALESCE(SUM(size), 0) AS size FROM image_blobs")[0]?.size ??
      0;
  }

  /**
   * Removes the blobs that no image needs and nobody holds. To be called after images or layers have gone. Many are removed
   * in the background, a few at a time.
   */
  collect(): void {
    this.#collecting.request();
  }

  /** Resolves when {@link collect} has done all it was asked for; never rejects. */
  async collected(): Promise<void> {
    await this.#collecting.idle();
  }

  *#collectSteps(): Generator<void, void, undefined> {
    let after = "";
    for (;;) {
      const some = this.#next.all(after) as unknown as { digest: string; used: number }[];
      const last = some.at(-1);
      if (last === undefined) return;
      after = last.digest;
      // nothing may come between the look and the removal: somebody may just want one of them
      const doomed = some.filter(({ digest, used }) => used === 0 && !this.#held.has(digest));
      if (doomed.length > 0) this.#drop(doomed.map(({ digest }) => digest));
      yield;
    }
  }

  /** Rows first: a file without a row is removed at the next start, a row without a file would be a lie. */
  #drop(digests: readonly string[]): void {
    this.#db.exec("SAVEPOINT image_collect");
    for (const digest of digests) {
      this.#run("DELETE FROM image_blobs WHERE digest = ?", digest);
      this.#run("DELETE FROM image_blob_origins WHERE digest = ?", digest);
    }
    this.#db.exec("RELEASE image_collect");
    for (const digest of digests) {
      try {
        this.#trash.take(this.path(digest));
      } catch (error) {
        this.#log(`unable to remove blob ${digest}: ${messageOf(error)}`);
      }
    }
    void this.#trash.empty();
  }

  /** At start, before anything else: throws away what a crash has left. Downloads of today are kept: a pull goes on with them. */
  sweep(now: number = Date.now()): void {
    this.collect();
    const known = new Set(
      this.#all<{ digest: string }>("SELECT digest FROM image_blobs").map(({ digest }) => digest),
    );
    for (const name of namesIn(`${this.#root}/blobs/sha256`)) {
      if (!known.has(`sha256:${name}`)) this.#trash.take(`${this.#root}/blobs/sha256/${name}`);
    }
    for (const name of namesIn(`${this.#root}/tmp`)) {
      const path = `${this.#root}/tmp/${name}`;
      if (name.startsWith("ingest-")) this.#trash.take(path);
      else if (/^blob-.*\.part$/.test(name)) {
        const changed = Deno.statSync(path).mtime?.getTime() ?? 0;
        if (now - changed > PARTIAL_LIFE_MS) this.#trash.take(path);
      }
    }
    void this.#trash.empty();
  }
}
