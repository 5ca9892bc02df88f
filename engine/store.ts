import { DatabaseSync, type StatementSync } from "node:sqlite";
import { conflict, EngineError } from "../base/errors.ts";
import { hints } from "../base/hints.ts";
import { storeError } from "../base/transaction.ts";
import { NO_NETWORK } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";
import { migratePart } from "../base/store_schema.ts";

/** Version of the tables of this file; the image store keeps its own. */
const SCHEMA_VERSION = 1;

/**
 * How long a change must live.
 * - "durable": on disk before the call returns, power failure included.
 * - "process": survives the death of the engine at once, a power failure within a second or so. Enough for what a reboot
 *   makes void anyway (which process runs), and for what the shim has put on disk itself (exit records).
 */
export type Durability = "durable" | "process";

/**
 * `<data-root>/berth.db`: every change of a container is one transaction, so that a crash leaves the old state or the
 * new one. SQLite in WAL mode; other rooms keep their tables in the same file.
 */
export class Store implements Disposable {
  readonly db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #disposable: boolean;
  #synchronous: Durability = "process";

  /**
   * @param path of the database file, or ":memory:".
   * @param disposable nobody reads the file after this process: nothing waits for the disk.
   * @throws {EngineError} system: written by a newer berth, or damaged.
   */
  constructor(path: string, disposable = false) {
    this.#disposable = disposable;
    this.db = new DatabaseSync(path);
    try {
      // Environments of containers hold passwords. SQLite gives its other files the same mode.
      if (path !== ":memory:") Deno.chmodSync(path, 0o600);
      // synchronous first: WAL itself begins with waiting for the disk
      this.db.exec(
        `PRAGMA synchronous = ${
          disposable ? "OFF" : "NORMAL"
        }; PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000;`,
      );
      migratePart(
        this.db,
        "containers",
        SCHEMA_VERSION,
        `CREATE TABLE containers (
          id TEXT PRIMARY KEY,
          name TEXT NOT NULL UNIQUE,
          image_id TEXT NOT NULL,
          status TEXT NOT NULL,
          record TEXT NOT NULL
        )`,
      );
    } catch (error) {
      this.db.close();
      const known = storeError(error);
      if (known instanceof EngineError) throw known;
      throw new EngineError("system", `cannot open ${path}: ${(error as Error).message}`, {
        cause: error,
        hint: (error as Error).message.startsWith("disk I/O error")
          ? hints.diskBroken(path)
          : "The database is damaged or not berth's. Restore it from a backup, or use another --data-root.",
      });
    }
    this.#insert = this.db.prepare(
      "INSERT INTO containers (id, name, image_id, status, record) VALUES (?, ?, ?, ?, ?)",
    );
    this.#update = this.db.prepare(
      "UPDATE containers SET name = ?, image_id = ?, status = ?, record = ? WHERE id = ?",
    );
    this.#delete = this.db.prepare("DELETE FROM containers WHERE id = ?");
  }

  #use(durability: Durability): void {
    if (this.#disposable || durability === this.#synchronous) return;
    this.db.exec(durability === "durable" ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    this.#synchronous = durability;
  }

  /** @throws {EngineError} conflict: the id or the name is taken. */
  insert(record: ContainerRecord, durability: Durability = "durable"): void {
    this.#use(durability);
    try {
      this.#insert.run(record.id, record.name, record.imageId, record.state.status, JSON.stringify(record));
    } catch (error) {
      throw nameTaken(error, record.name) ?? storeError(error);
    }
  }

  /** Replaces a record whole. One that is not there (removed meanwhile) stays away. */
  update(record: ContainerRecord, durability: Durability = "process"): void {
    this.#use(durability);
    try {
      this.#update.run(record.name, record.imageId, record.state.status, JSON.stringify(record), record.id);
    } catch (error) {
      throw nameTaken(error, record.name) ?? storeError(error);
    }
  }

  delete(id: string, durability: Durability = "process"): void {
    this.#use(durability);
    this.#delete.run(id);
  }

  /** All records, oldest first. */
  all(): ContainerRecord[] {
    const rows = this.db.prepare("SELECT record FROM containers ORDER BY rowid").all();
    return rows.map((row) => {
      const record = JSON.parse(String(row["record"])) as ContainerRecord;
      // Written before there were networks.
      return record.network === undefined ? { ...record, network: NO_NETWORK } : record;
    });
  }

  close(): void {
    // Fold the WAL back so that a copy of the one file is whole.
    try {
      this.db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // A reader (backup, sqlite3) holds it: the next opening does it.
    }
    this.db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function nameTaken(error: unknown, name: string): EngineError | undefined {
  return error instanceof Error && error.message.includes("UNIQUE constraint failed: containers.name")
    ? conflict(`Conflict. The container name "/${name}" is already in use.`)
    : undefined;
}
