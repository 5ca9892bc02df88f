import type { DatabaseSync } from "node:sqlite";
import { EngineError } from "../base/errors.ts";
import type { NetworkRecord } from "../net/network_types.ts";

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
    this.transaction(() => migrate(db));
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
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
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

function migrate(db: DatabaseSync): void {
  db.exec("CREATE TABLE IF NOT EXISTS schema_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL)");
  const row = db.prepare("SELECT version FROM schema_versions WHERE part = 'networks'").get();
  const found = row === undefined ? 0 : Number(row["version"]);
  if (found > SCHEMA_VERSION) {
    throw new EngineError(
      "system",
      `the data root was written by a newer berth (networks: version ${found}, this one knows ${SCHEMA_VERSION})`,
      { hint: "Use that newer berth, or another --data-root." },
    );
  }
  if (found < 1) {
    db.exec("CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL)");
  }
  db.prepare("INSERT OR REPLACE INTO schema_versions (part, version) VALUES ('networks', ?)").run(
    SCHEMA_VERSION,
  );
}
