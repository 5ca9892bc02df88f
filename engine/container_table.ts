import { conflict, invalid, notFound } from "../base/errors.ts";
import { Container } from "./container.ts";
import type { ContainerRecord, ContainerState } from "./container_record.ts";
import { imagesOf } from "./image_mounts.ts";
import type { Durability, Store } from "./store.ts";

/** Between two attempts to write to a store that refused: a full disk does not last for ever. */
const RETRY_MS = 100;

/** All containers, by id and by name; the store's rows and this table change together. */
export class ContainerTable {
  readonly #store: Store;
  readonly #byId = new Map<string, Container>();
  /** Name → id; also names of containers that are being created, whose id is not in `#byId` yet. */
  readonly #names = new Map<string, string>();

  constructor(store: Store) {
    this.#store = store;
    for (const record of store.all()) this.#put(new Container(record));
  }

  #put(container: Container): void {
    this.#byId.set(container.id, container);
    this.#names.set(container.record.name, container.id);
  }

  /** Oldest first. */
  all(): Container[] {
    return [...this.#byId.values()];
  }

  get(id: string): Container | undefined {
    return this.#byId.get(id);
  }

  /**
   * By id, name (with or without "/"), or unique prefix of an id.
   *
   * @throws {EngineError} not-found `No such container: x`; invalid when a prefix fits several.
   */
  find(reference: string): Container {
    const bare = reference.startsWith("/") ? reference.slice(1) : reference;
    const exact = this.#byId.get(bare) ?? this.#byId.get(this.#names.get(bare) ?? "");
    if (exact !== undefined) return exact;
    let found: Container | undefined;
    if (/^[0-9a-f]+$/.test(bare)) {
      for (const [id, container] of this.#byId) {
        if (!id.startsWith(bare)) continue;
        if (found !== undefined) throw invalid(`multiple IDs found with provided prefix: ${bare}`);
        found = container;
      }
    }
    if (found === undefined) throw notFound(`No such container: ${reference}`);
    return found;
  }

  /** Whether a container was made from the image of that id. */
  usesImage(imageId: string): boolean {
    return this.all().some(({ record }) => imagesOf(record).includes(imageId));
  }

  hasName(name: string): boolean {
    return this.#names.has(name);
  }

  /** @throws {EngineError} conflict, in Docker's words, when the name is taken. */
  reserve(name: string, id: string): void {
    const owner = this.#names.get(name);
    if (owner !== undefined) {
      throw conflict(
        `Conflict. The container name "/${name}" is already in use by container "${owner}". ` +
          "You have to remove (or rename) that container to be able to reuse that name.",
      );
    }
    this.#names.set(name, id);
  }

  release(name: string, id: string): void {
    if (this.#names.get(name) === id) this.#names.delete(name);
  }

  /** Publishes a new container. Its name must be reserved for it. */
  add(record: ContainerRecord, durability: Durability): Container {
    this.#store.insert(record, durability);
    const container = new Container(record);
    this.#put(container);
    return container;
  }

  /** Replaces parts of a container's record, in memory and in the store. */
  save(container: Container, changes: Partial<ContainerRecord>, durability: Durability = "process"): void {
    const record = { ...container.record, ...changes };
    this.#store.update(record, durability);
    container.record = record;
    container.notifyChanged();
  }

  /** The same for parts of its state. */
  saveState(
    container: Container,
    state: Partial<ContainerState>,
    changes: Partial<ContainerRecord> = {},
  ): void {
    this.save(container, { ...changes, state: { ...container.record.state, ...state } });
  }

  /**
   * Changes memory only: for a run that has ended when the container's removal follows at once. To an engine that finds
   * the old row, the shim's exit record tells the same.
   */
  changeMemory(
    container: Container,
    state: Partial<ContainerState>,
    changes: Partial<ContainerRecord>,
  ): void {
    container.record = { ...container.record, ...changes, state: { ...container.record.state, ...state } };
    container.notifyChanged();
  }

  /**
   * {@link saveState} for what has happened already and cannot be refused, were the disk full: memory has it in any case.
   *
   * @returns undefined when the store has it as well; otherwise resolved once it has, or the container is removed.
   */
  noteState(
    container: Container,
    state: Partial<ContainerState>,
    changes: Partial<ContainerRecord> = {},
  ): Promise<void> | undefined {
    this.changeMemory(container, state, changes);
    return this.#writeSurely(container);
  }

  #writeSurely(container: Container): Promise<void> | undefined {
    const write = () => container.removed || this.#wrote(() => this.#store.update(container.record));
    return write() ? undefined : retry(write);
  }

  /**
   * {@link noteState} after whoever waits has had the answer: for what another engine finds out by itself should this one
   * be killed before.
   */
  noteStateSoon(
    container: Container,
    state: Partial<ContainerState>,
    changes: Partial<ContainerRecord> = {},
  ): void {
    this.changeMemory(container, state, changes);
    setTimeout(() => void this.#writeSurely(container));
  }

  #wrote(change: () => void): boolean {
    try {
      change();
      return true;
    } catch {
      return false;
    }
  }

  /** Renames; the new name must be reserved for this container. */
  rename(container: Container, name: string): void {
    const old = container.record.name;
    this.save(container, { name }, "durable");
    this.release(old, container.id);
  }

  /** What is gone is gone, also when the store has no room for saying so: the next engine finishes what this one could not. */
  delete(container: Container): void {
    this.#byId.delete(container.id);
    this.release(container.record.name, container.id);
    const write = () => this.#wrote(() => this.#store.delete(container.id));
    if (!write()) void retry(write);
  }
}

async function retry(write: () => boolean): Promise<void> {
  do {
    await new Promise<void>((resolve) => Deno.unrefTimer(setTimeout(resolve, RETRY_MS)));
  } while (!write());
}
