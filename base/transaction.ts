import type { DatabaseSync } from "node:sqlite";
import { EngineError } from "./errors.ts";
import { hints } from "./hints.ts";

/** SQLITE_FULL, in SQLite's words. */
const FULL = "database or disk is full";

/** All that `work` changes, or nothing. @throws what `work` throws; {@link storeError} */
export function transaction<T>(db: DatabaseSync, work: () => T): T {
  return undone(db, "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", work);
}

/** The same where a transaction may be under way already: then a part of it. */
export function savepoint<T>(db: DatabaseSync, name: string, work: () => T): T {
  return undone(db, `SAVEPOINT ${name}`, `RELEASE ${name}`, `ROLLBACK TO ${name}; RELEASE ${name}`, work);
}

/**
 * Does `work`, whose changes are on disk when this returns, power failure included. Not within a transaction.
 *
 * @throws what `work` throws; {@link storeError}
 */
export function durably<T>(db: DatabaseSync, work: () => T): T {
  const before = Number(db.prepare("PRAGMA synchronous").get()?.["synchronous"] ?? 1);
  // OFF: nobody reads this database after the engine.
  if (before !== 0) db.exec("PRAGMA synchronous = FULL");
  try {
    return work();
  } catch (error) {
    throw storeError(error);
  } finally {
    db.exec(`PRAGMA synchronous = ${before}`);
  }
}

function undone<T>(db: DatabaseSync, begin: string, commit: string, rollback: string, work: () => T): T {
  try {
    db.exec(begin);
    const result = work();
    db.exec(commit);
    return result;
  } catch (error) {
    // A full disk, and a few errors like it, have ended the transaction already (sqlite.org, lang_transaction.html).
    if (db.isTransaction) db.exec(rollback);
    throw storeError(error);
  }
}

/** What SQLite says of a full disk, with what to do; anything else as it is. */
export function storeError(error: unknown): unknown {
  if (!(error instanceof Error) || error.message !== FULL) return error;
  return new EngineError("system", "cannot write the engine's database: no space left on device", {
    cause: error,
    hint: hints.dataRootFull,
  });
}
