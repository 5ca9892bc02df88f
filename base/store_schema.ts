import type { DatabaseSync } from "node:sqlite";
import { EngineError } from "./errors.ts";
import { transaction } from "./transaction.ts";

/**
 * Makes one part of the database ready: its tables at first, nothing later. Each part has a version of its own.
 *
 * @param version that this berth knows.
 * @param tables SQL that makes them.
 * @throws {EngineError} system: written by a newer berth, or the disk is full.
 */
export function migratePart(db: DatabaseSync, part: string, version: number, tables: string): void {
  transaction(db, () => {
    db.exec("CREATE TABLE IF NOT EXISTS schema_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL)");
    const row = db.prepare("SELECT version FROM schema_versions WHERE part = ?").get(part);
    const found = row === undefined ? 0 : Number(row["version"]);
    if (found > version) {
      throw new EngineError(
        "system",
        `the data root was written by a newer berth (${part}: version ${found}, this one knows ${version})`,
        { hint: "Use that newer berth, or another --data-root." },
      );
    }
    if (found < 1) db.exec(tables);
    db.prepare("INSERT OR REPLACE INTO schema_versions (part, version) VALUES (?, ?)").run(part, version);
  });
}
