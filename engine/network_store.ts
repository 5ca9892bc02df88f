import type { DatabaseSync } from "node:sqlite";
import { transaction } from "../base/transaction.ts";
import type { NetworkRecord } from "../net/network_types.ts";
import { migratePart } from "../base/store_schema.ts";

/** Version of the table of this file. */
const SCHEMA_VERSION = 1;

/**
 * Networks in `berth.db`. Endpoints stand in the records of their containers, so that both change together; which
 * addresses are given out follows from networks and endpoints and is stored nowhere, so that it cannot disagree.
 */
export class NetworkStore {
  readonly #db: DatabaseSync;

  /** @throws {EngineError} system: written by a newer berth */
  constructor(db: DatabaseSync) {
    this.#db = db;
    const tables =
      "CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL)";
    migratePart(db, "networks", SCHEMA_VERSION, tables);
  }

  /** Oldest first. */
  all(): NetworkRecord[] {
    const rows = this.#db.prepare("SELECT record FROM networks ORDER BY rowid").all();
    return rows.map((row) => JSON.parse(String(row["record"])) as NetworkRecord);
  }

  /** A new network, or another version of one that is there. On disk when this returns, power failure included. */
  put(record: NetworkRecord): void {
    this.#durably(() =>
      this.#db.prepare(
        `INSERT INTO networks (id, name, record) VALUES (?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record`,
      ).run(record.id, record.name, JSON.stringify(record))
    );
  }

  delete(id: string): void {
    this.#durably(() => this.#db.prepare("DELETE FROM networks WHERE id = ?").run(id));
  }

  /** All that `work` changes, or nothing. */
  transaction(work: () => void): void {
    transaction(this.#db, work);
  }

  #durably(work: () => void): void {
    const before = Number(this.#db.prepare("PRAGMA synchronous").get()?.["synchronous"] ?? 1);
    // OFF: nobody reads this database after the engine, see Store
    if (before !== 0) this.#db.exec("PRAGMA synchronous = FULL");
    try {
      work();
    } finally {
      this.#db.exec(`PRAGMA synchronous = ${before}`);
    }
  }
}
