/** What builds have made before, by what they made it of. */
import { createHash } from "node:crypto";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { ImageTables } from "../../image/image_tables.ts";
import type { LayerStore } from "../../image/layer_store.ts";
import { migratePart } from "../../base/store_schema.ts";

/**
 * - build_cache: an operation's key → the stack of layers that it has led to. The layer is kept by a row of image_layer_uses, which is written in
 *   the same transaction.
 * - build_cache_mounts: directories of `RUN --mount=type=cache`.
 */
const SCHEMA = `
CREATE TABLE build_cache (
  id TEXT PRIMARY KEY, chain_id TEXT NOT NULL, parent TEXT NOT NULL, type TEXT NOT NULL, description TEXT NOT NULL,
  created_at TEXT NOT NULL, used_at TEXT NOT NULL, uses INTEGER NOT NULL
) STRICT;
CREATE INDEX build_cache_chain ON build_cache (chain_id);
CREATE TABLE build_cache_mounts (
  id TEXT PRIMARY KEY, description TEXT NOT NULL, size INTEGER NOT NULL,
  created_at TEXT NOT NULL, used_at TEXT NOT NULL, uses INTEGER NOT NULL
) STRICT;
`;

/** An operation's result. */
export interface CachedStep {
  readonly id: string;
  /** Chain id of the topmost layer, "" for no files at all. */
  readonly chainId: string;
  /** Chain id below; the same when nothing has changed. */
  readonly parent: string;
  readonly type: "regular" | "source.local" | "source.http" | "source.git";
  /** `[build 2/5] RUN make` */
  readonly description: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly usedAt: string;
  readonly uses: number;
}

export interface CacheMountRow {
  /** Name of its directory. */
  readonly id: string;
  readonly description: string;
  /** Bytes, when it was looked at last. */
  readonly size: number;
  readonly createdAt: string;
  readonly usedAt: string;
  readonly uses: number;
}

const STEP =
  "id, chain_id AS chainId, parent, type, description, created_at AS createdAt, used_at AS usedAt, uses";
const MOUNT = "id, description, size, created_at AS createdAt, used_at AS usedAt, uses";

/** Tables of the image store as well. */
const SIZE = `
SELECT (
  SELECT COALESCE(SUM(size), 0) FROM image_layers l
  WHERE chain_id IN (SELECT chain_id FROM build_cache WHERE chain_id <> parent)
    AND NOT EXISTS (SELECT 1 FROM image_stacks s WHERE s.chain_id = l.chain_id)
) + (SELECT COALESCE(SUM(size), 0) FROM build_cache_mounts) AS size`;

/** Key of what everything in `definition` leads to. Objects must have their members in a fixed order. */
export function keyOf(definition: unknown): string {
  return createHash("sha256").update(JSON.stringify(definition)).digest("hex");
}

/** The tables; every change of theirs and of the layers that they keep is one transaction. */
export class BuildCache {
  readonly #db: DatabaseSync;
  readonly #tables: ImageTables;
  readonly #layers: LayerStore;
  readonly #statements = new Map<string, StatementSync>();
  /** Keys that builds under way rely on, and how many of them. */
  readonly #inUse = new Map<string, number>();

  constructor(db: DatabaseSync, tables: ImageTables, layers: LayerStore) {
    migratePart(db, "build", 1, SCHEMA);
    this.#db = db;
    this.#tables = tables;
    this.#layers = layers;
  }

  #statement(sql: string): StatementSync {
    let known = this.#statements.get(sql);
    if (known === undefined) this.#statements.set(sql, known = this.#db.prepare(sql));
    return known;
  }

  #all<T>(sql: string, ...params: (string | number)[]): T[] {
    return this.#statement(sql).all(...params) as unknown as T[];
  }

  #run(sql: string, ...params: (string | number)[]): void {
    this.#statement(sql).run(...params);
  }

  /** What has come of an operation, if its layer is still there. Counts as a use. */
  find(id: string, now: string): CachedStep | undefined {
    const [row] = this.#all<CachedStep>(`SELECT ${STEP} FROM build_cache WHERE id = ?`, id);
    if (row === undefined) return undefined;
    if (row.chainId !== "" && this.#layers.known(row.chainId) === undefined) {
      this.remove([id]);
      return undefined;
    }
    this.#run("UPDATE build_cache SET used_at = ?, uses = uses + 1 WHERE id = ?", now, id);
    return row;
  }

  /**
   * Remembers a result, in the place of an older one. The caller holds its layer.
   *
   * @param step.usedAt the same for everything of one build: then the pruning takes what is on top first.
   */
  put(step: Omit<CachedStep, "uses">): void {
    const { id, chainId, parent, type, description, createdAt, usedAt } = step;
    this.#tables.change(() => {
      if (chainId !== "") {
        const layer = this.#layers.known(chainId);
        if (layer !== undefined) this.#layers.record([layer]);
        this.#tables.useLayer(userOf(id), chainId);
      }
      this.#run(
        "INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        id,
        chainId,
        parent,
        type,
        description,
        createdAt,
        usedAt,
      );
    });
  }

  /** Forgets results. Their layers go with the next collection unless somebody else has them. */
  remove(ids: readonly string[]): void {
    this.#tables.change(() => {
      for (const id of ids) {
        this.#run("DELETE FROM build_cache WHERE id = ?", id);
        this.#tables.leaveLayer(userOf(id));
      }
    });
  }

  /** A build relies on a result until the answer is disposed of: it is not removed. */
  hold(id: string): Disposable {
    this.#inUse.set(id, (this.#inUse.get(id) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const count = (this.#inUse.get(id) ?? 1) - 1;
        if (count === 0) this.#inUse.delete(id);
        else this.#inUse.set(id, count);
      },
    };
  }

  inUse(id: string): boolean {
    return this.#inUse.has(id);
  }

  /** Oldest first. */
  steps(): CachedStep[] {
    return this.#all(`SELECT ${STEP} FROM build_cache ORDER BY created_at, id`);
  }

  /** Bytes of layers and directories that nobody else has. */
  size(): number {
    return this.#all<{ size: number }>(SIZE)[0]?.size ?? 0;
  }

  // --- directories of RUN --mount=type=cache

  mounts(): CacheMountRow[] {
    return this.#all(`SELECT ${MOUNT} FROM build_cache_mounts ORDER BY created_at, id`);
  }

  useMount(id: string, description: string, now: string): void {
    this.#run(
      `INSERT INTO build_cache_mounts VALUES (?, ?, 0, ?, ?, 1)
      ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at, uses = uses + 1`,
      id,
      description,
      now,
      now,
    );
  }

  setMountSize(id: string, size: number): void {
    this.#run("UPDATE build_cache_mounts SET size = ? WHERE id = ?", size, id);
  }

  removeMount(id: string): void {
    this.#run("DELETE FROM build_cache_mounts WHERE id = ?", id);
  }
}

/** Whom the layer store keeps a result's layer for. */
const userOf = (id: string): string => `build ${id}`;
