import type { DatabaseSync } from "node:sqlite";
import { durably, transaction } from "../base/transaction.ts";
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
    durably(this.#db, () =>
      this.#db.prepare(
        `INSERT INTO networks (id, name, record) VALUES (?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record`,
      ).run(record.id, record.name, JSON.stringify(record)));
  }

  delete(id: string): void {
    durably(this.#db, () => this.#db.prepare("DELETE FROM networks WHERE id = ?").run(id));
  }

  /** All that `work` changes, or nothing. */
  transaction(work: () => void): void {
    transaction(this.#db, work);
  }
}
