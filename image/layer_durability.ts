import { messageOf } from "../base/errors.ts";
import { syncfsInBackground } from "../ffi/background_calls.ts";
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../ffi/constants.ts";
import { kernel } from "../ffi/kernel.ts";
import type { ImageTables } from "./image_tables.ts";

/** Layers come in bursts, and what else is being done should not wait for the disk meanwhile. */
const QUIET_MS = 3000;

export interface DurabilityOptions {
  readonly root: string;
  readonly tables: ImageTables;
  readonly log: (line: string) => void;
  /** Default: the kernel's, of the running machine. */
  readonly bootId?: string;
  /** Resolves when all that was written to the data root is on the disk. Default: syncfs(2). */
  readonly sync?: () => Promise<void>;
}

/**
 * Which layers may not have reached the disk yet. Nobody waits for the disk when a layer is made. Instead its row comes with a mark that names
 * the boot of the machine, and the mark goes when the file system has been synced, a little later. A mark of another boot that is found at a
 * start means that the machine went down in between: files of that layer may be empty or missing, though it has its name and its row.
 */
export class LayerDurability implements Disposable {
  readonly #options: DurabilityOptions;
  readonly #boot: string;
  readonly #sync: () => Promise<void>;
  /** Made since the last sync. */
  readonly #fresh = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #syncing = false;
  #closed = false;

  constructor(options: DurabilityOptions) {
    this.#options = options;
    this.#boot = options.bootId ?? bootId();
    this.#sync = options.sync ?? (() => syncDirectory(options.root));
  }

  /** A layer has taken its place. */
  made(chainId: string): void {
    this.#fresh.add(chainId);
    this.#request();
  }

  /** In the transaction that writes a layer's row. */
  recorded(chainId: string): void {
    if (this.#fresh.has(chainId)) this.#options.tables.markLayer(chainId, this.#boot);
  }

  /** At start: layers that cannot be relied upon. Their marks go with this; those of this boot are looked after again. */
  lost(): string[] {
    const { tables } = this.#options;
    const lost: string[] = [];
    tables.change(() => {
      for (const { chainId, boot } of tables.markedLayers()) {
        if (boot === this.#boot) this.made(chainId);
        else {
          lost.push(chainId);
          tables.unmarkLayer(chainId);
        }
      }
    });
    return lost;
  }

  #request(): void {
    if (this.#closed || this.#syncing) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.settle(), QUIET_MS);
    Deno.unrefTimer(Number(this.#timer));
  }

  /** Waits for the disk, then takes the marks of what was made before. Never rejects: what fails is tried again with the next layer. */
  async settle(): Promise<void> {
    if (this.#syncing || this.#fresh.size === 0) return;
    this.#syncing = true;
    const { tables, log } = this.#options;
    const made = [...this.#fresh];
    let isDone = false;
    try {
      await this.#sync();
      if (this.#closed) return;
      tables.change(() => {
        for (const chainId of made) tables.unmarkLayer(chainId);
      });
      for (const chainId of made) this.#fresh.delete(chainId);
      isDone = true;
    } catch (error) {
      if (!this.#closed) log(`layers may not be on the disk yet: ${messageOf(error)}`);
    } finally {
      this.#syncing = false;
      if (isDone && this.#fresh.size > 0) this.#request();
    }
  }

  /** The database is about to be closed. Marks that are left are the next engine's. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

function bootId(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
  } catch {
    // no two starts are of one boot then, which loses layers and never keeps a bad one
    return crypto.randomUUID();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const fd = kernel.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    await syncfsInBackground(fd);
  } finally {
    kernel.close(fd);
  }
}
