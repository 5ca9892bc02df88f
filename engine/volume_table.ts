import type { DatabaseSync, StatementSync } from "node:sqlite";
import { conflict, EngineError, invalid, messageOf, notFound } from "../base/errors.ts";
import { realPath } from "../base/real_path.ts";
import { MNT_DETACH } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { mountedAt, mountedBelow } from "../fs/mount_table.ts";
import { moveToTrash, removeTree } from "../fs/remove_tree.ts";
import { migratePart } from "../base/store_schema.ts";
import { durably } from "../base/transaction.ts";
import { nowRfc3339 } from "./clock.ts";
import { newContainerId } from "./names.ts";
import { checkVolumeName } from "./volume_name.ts";
import { checkVolumeOptions, mountVolume, volumeMount } from "./volume_options.ts";
import { ANONYMOUS_LABEL, type VolumeRecord, type VolumeRequest } from "./volume_record.ts";

/** Version of this file's table. */
const SCHEMA_VERSION = 1;

export interface CreatedVolume {
  readonly record: VolumeRecord;
  /** It was not there before. */
  readonly fresh: boolean;
}

/**
 * The volumes of a data root: rows in the store, files below `volumes/`. Knows nothing of containers; whoever refers to a volume
 * says so by {@link hold} until its container is in the store.
 */
export class VolumeTable {
  readonly #db: DatabaseSync;
  readonly #root: string;
  readonly #kernel: Syscalls;
  readonly #volumes = new Map<string, VolumeRecord>();
  readonly #held = new Map<string, number>();
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;

  /** @param dataRoot absolute path. @throws {EngineError} system: written by a newer berth. */
  constructor(db: DatabaseSync, dataRoot: string, kernel: Syscalls) {
    this.#db = db;
    this.#root = dataRoot;
    this.#kernel = kernel;
    migratePart(
      db,
      "volumes",
      SCHEMA_VERSION,
      "CREATE TABLE volumes (name TEXT PRIMARY KEY, record TEXT NOT NULL)",
    );
    this.#insert = db.prepare("INSERT INTO volumes (name, record) VALUES (?, ?)");
    this.#delete = db.prepare("DELETE FROM volumes WHERE name = ?");
    for (const row of db.prepare("SELECT record FROM volumes ORDER BY rowid").all()) {
      const record = JSON.parse(String(row["record"])) as VolumeRecord;
      this.#volumes.set(record.name, record);
    }
  }

  all(): VolumeRecord[] {
    return [...this.#volumes.values()];
  }

  find(name: string): VolumeRecord | undefined {
    return this.#volumes.get(name);
  }

  /** @throws {EngineError} not-found. */
  get(name: string): VolumeRecord {
    const found = this.#volumes.get(name);
    if (found === undefined) throw notFound(`get ${name}: no such volume`);
    return found;
  }

  /** Where its files are: what is bound into containers. */
  path(name: string): string {
    return `${this.#root}/volumes/${name}/_data`;
  }

  /**
   * Makes a volume, or finds the one of that name, as it is.
   *
   * @throws {EngineError} invalid (name, options), not-found (driver), conflict (there with another driver).
   */
  create(request: VolumeRequest): CreatedVolume {
    const driver = request.driver || "local";
    const name = request.name || newContainerId();
    if (driver !== "local") {
      throw notFound(
        `create ${name}: error looking up volume plugin ${driver}: plugin "${driver}" not found`,
      );
    }
    checkVolumeName(name);
    const existing = this.#volumes.get(name);
    if (existing !== undefined) return { record: existing, fresh: false };
    const options = request.options ?? {};
    try {
      checkVolumeOptions(options);
    } catch (error) {
      throw invalid(`create ${name}: ${messageOf(error)}`, error);
    }
    const labels = request.labels ?? {};
    const record: VolumeRecord = {
      name,
      driver,
      createdAt: nowRfc3339(),
      labels: request.name ? labels : { ...labels, [ANONYMOUS_LABEL]: "" },
      options,
    };
    // The directory first: a row without files is worse than files without a row, which the next volume of that name gets empty.
    this.#makeDirectory(name);
    const insert = () => this.#insert.run(name, JSON.stringify(record));
    // Files without a row are taken for a rest of another volume: a power cut must not make them that. One without a name goes with its
    // container, whose own row is on disk if it has to be, with all that was written before.
    if (request.name) durably(this.#db, insert);
    else insert();
    this.#volumes.set(name, record);
    return { record, fresh: true };
  }

  #makeDirectory(name: string): void {
    const dir = `${this.#root}/volumes/${name}`;
    Deno.mkdirSync(`${this.#root}/volumes`, { recursive: true, mode: 0o711 });
    // What a removal that was cut short has left must not come back.
    moveToTrash(dir, `${this.#root}/trash`);
    Deno.mkdirSync(dir, { mode: 0o711 });
    Deno.mkdirSync(`${dir}/_data`, { mode: 0o755 });
    Deno.chmodSync(`${dir}/_data`, 0o755);
  }

  /** Keeps volumes from being removed until the answer is called. */
  hold(names: readonly string[]): () => void {
    const held = [...names];
    for (const name of held) this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    return () => {
      for (const name of held.splice(0)) this.#unhold(name);
    };
  }

  #unhold(name: string): void {
    const left = (this.#held.get(name) ?? 1) - 1;
    if (left > 0) this.#held.set(name, left);
    else this.#held.delete(name);
  }

  /**
   * Removes a volume that no container refers to. Its name is free at once, its files go after that.
   *
   * @param users ids of the containers that refer to it.
   * @throws {EngineError} not-found, conflict.
   */
  async remove(name: string, users: readonly string[]): Promise<void> {
    this.get(name);
    if (users.length > 0 || this.#held.has(name)) {
      throw conflict(`remove ${name}: volume is in use - [${users.join(", ")}]`);
    }
    this.unmount(name);
    const dir = `${this.#root}/volumes/${name}`;
    const mounted = mountedBelow(dir);
    // To remove the files would be to remove those of somebody else.
    if (mounted !== undefined) {
      throw new EngineError("system", `remove ${name}: something is mounted at ${mounted}`, {
        hint: `See what it is, and unmount it:  findmnt ${mounted}`,
      });
    }
    const trashed = moveToTrash(dir, `${this.#root}/trash`);
    this.#delete.run(name);
    this.#volumes.delete(name);
    if (trashed !== undefined) await removeTree(trashed);
  }

  /**
   * Makes a volume's files available before a container starts: mounts what its options say.
   *
   * @throws {EngineError} system.
   */
  mount(name: string): void {
    const record = this.get(name);
    const path = this.path(name);
    const mount = volumeMount(record.options);
    if (mount !== undefined && mountedAt(realPath(path)) !== undefined) return;
    // Somebody has removed the directory by hand, or a removal was cut short.
    Deno.mkdirSync(path, { recursive: true, mode: 0o755 });
    if (mount !== undefined) mountVolume(this.#kernel, name, path, mount);
  }

  /** Undoes {@link mount} once no container that runs uses the volume. May be repeated. */
  unmount(name: string): void {
    const record = this.#volumes.get(name);
    if (record === undefined || volumeMount(record.options) === undefined) return;
    try {
      // One may lie on another. The last call says that there is none left (EINVAL).
      for (;;) this.#kernel.umount2(this.path(name), MNT_DETACH);
    } catch (error) {
      if (!(error instanceof SysError && error.is("EINVAL", "ENOENT"))) throw error;
    }
  }
}
