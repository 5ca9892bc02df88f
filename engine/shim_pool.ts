import { onFirstLine, spawnRole } from "../base/role_process.ts";
import { EngineError } from "../base/errors.ts";
import type { NamespaceMode, ShimOptions } from "../runtime/spec.ts";
import type { ShimRef } from "./container_record.ts";
import { type ProcessIdentity, processStat } from "../base/process_identity.ts";
import { ShimClient } from "./shim_client.ts";

/** A shim that has a container, or had one. */
export interface ServingShim {
  readonly ref: ShimRef;
  readonly client: ShimClient;
}

/** A shim that waits for its container. */
export interface ReadyShim extends ServingShim {
  /** The process that becomes the container, in its namespaces already. */
  readonly init: ProcessIdentity;
}

export type ShimNamespaces = ShimOptions["namespaces"];

const PRIVATE: NamespaceMode = { kind: "private" };
export const ALL_PRIVATE: ShimNamespaces = { pid: PRIVATE, net: PRIVATE, ipc: PRIVATE, uts: PRIVATE };

/** How long a shim may take to boot: a machine in deep swap is slow, but not this slow. */
const BOOT_DEADLINE_MS = 30_000;
/** After a shim has failed to boot, the pool waits this long before it tries again by itself. */
const RETRY_MS = 5_000;

/**
 * Starting a process stops the engine for some milliseconds and its boot takes a core: not while the client of the start
 * that took the last shim waits for its answer, and not while a brief container ends and is removed.
 */
const REFILL_DELAY_MS = 100;
/** Starts that follow each other closely put it off, because brief containers give their shims back; but not for ever. */
const REFILL_DEADLINE_MS = 1000;

/** Starts a shim process and answers once it can take an order. */
export type SpawnShim = (namespaces: ShimNamespaces) => Promise<ReadyShim>;

/** A shim that starts over does so in some milliseconds; later than this it has found something that keeps it. */
const RETURN_DEADLINE_MS = 15_000;

/**
 * Warm shims: namespaces made, waiting for a spec. One is taken at each start with private namespaces and
 * replaced in the background; a burst beyond the pool, and a start with other namespaces, boots one of its own.
 * Idle shims end by themselves when the engine's connection closes. A shim whose container has ended comes back to the pool,
 * where there is room: nothing of the container is left in it but the process that has served it.
 */
export class ShimPool {
  readonly #spawn: SpawnShim;
  #size: number;
  readonly #log: (line: string) => void;
  readonly #idle: ReadyShim[] = [];
  readonly #newDir: () => string;
  /** Shims of this engine's own version, with all namespaces private: only those may come back. */
  readonly #returnable = new WeakSet<ServingShim>();
  /** Starts that wait for a shim which is booting for the pool: it is nearer than a new one. */
  readonly #waiters: ((shim: ReadyShim | undefined) => void)[] = [];
  #refillTimer: ReturnType<typeof setTimeout> | undefined;
  #refillBy = 0;
  #booting = 0;
  #closed = false;
  #retryAt = 0;

  /** @param options.newDir makes an empty directory for a shim */
  constructor(
    options: { size: number; spawn: SpawnShim; newDir: () => string; log?: (line: string) => void },
  ) {
    this.#size = options.size;
    this.#newDir = options.newDir;
    this.#spawn = options.spawn;
    this.#log = options.log ?? (() => {});
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** Another number of warm shims from now on. Those too many end. */
  resize(size: number): void {
    this.#size = size;
    for (const shim of this.#idle.splice(size)) {
      shim.client.listen({});
      shim.client.close();
    }
    this.refill();
  }

  /** A shim whose namespaces are as asked. The caller calls {@link refillSoon} when its start is over. */
  async acquire(namespaces: ShimNamespaces = ALL_PRIVATE): Promise<ReadyShim> {
    if (!isAllPrivate(namespaces)) return await this.#spawn(namespaces);
    const shim = await this.#acquirePrivate();
    this.#returnable.add(shim);
    return shim;
  }

  async #acquirePrivate(): Promise<ReadyShim> {
    for (let shim = this.#idle.shift(); shim !== undefined; shim = this.#idle.shift()) {
      if (!shim.client.closed) return shim;
    }
    if (this.#booting > this.#waiters.length) {
      const shim = await new Promise<ReadyShim | undefined>((resolve) => this.#waiters.push(resolve));
      if (shim !== undefined && !shim.client.closed) return shim;
    }
    return await this.#spawn(ALL_PRIVATE);
  }

  /**
   * Lets a shim go whose container has ended. Resolves when the shim has taken note; it is in the pool again, or gone, a little
   * later.
   */
  async release(shim: ServingShim): Promise<void> {
    const { client } = shim;
    const back = !this.#closed && !client.closed && this.#returnable.has(shim) &&
      this.#idle.length + this.#booting < this.#size;
    if (!back) {
      client.listen({});
      await client.request({ op: "shutdown" }).catch(() => {});
      client.close();
      return;
    }
    const dir = this.#newDir();
    this.#booting++;
    const { promise: returned, resolve: settle } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => settle(false), RETURN_DEADLINE_MS);
    client.listen({ onReady: () => settle(true), onClose: () => settle(false) });
    // Whoever waits for the container's end is told first: starting over keeps a processor busy.
    const noted = new Promise((resolve) => setTimeout(resolve))
      .then(() => client.request({ op: "shutdown", again: dir }))
      // Clients take their time, for which no start is to wait.
      .then(({ heldUp }) => heldUp && settle(false), () => {});
    void returned.then(async (ready) => {
      clearTimeout(timer);
      try {
        if (!ready) throw new EngineError("system", "the shim did not start over");
        const fresh = await ShimClient.connect(dir);
        const id = dir.slice(dir.lastIndexOf("/") + 1);
        this.#admit({ ref: { ...shim.ref, id, dir }, client: fresh, init: await waitingInit(fresh) });
      } catch {
        // As good as any other that has ended: a new one is booted.
        this.#booting--;
        removeDir(dir);
        this.#waiters.shift()?.(undefined);
        this.refillSoon();
      } finally {
        client.close();
      }
    });
    await noted;
  }

  /** Boots what is missing, once the engine has had the time to finish what it is at. */
  refillSoon(): void {
    if (this.#closed) return;
    const now = Date.now();
    if (this.#refillTimer === undefined) this.#refillBy = now + REFILL_DEADLINE_MS;
    clearTimeout(this.#refillTimer);
    this.#refillTimer = setTimeout(() => {
      this.#refillTimer = undefined;
      this.refill();
    }, Math.min(REFILL_DELAY_MS, Math.max(0, this.#refillBy - now)));
  }

  /** Boots what is missing, in the background. */
  refill(): void {
    if (this.#closed || Date.now() < this.#retryAt) return;
    while (this.#idle.length + this.#booting < this.#size) {
      this.#booting++;
      this.#spawn(ALL_PRIVATE).then((shim) => this.#admit(shim), (error) => {
        this.#booting--;
        this.#waiters.shift()?.(undefined);
        this.#retryAt = Date.now() + RETRY_MS;
        this.#log(`cannot keep a warm shim: ${(error as Error).message}`);
      });
    }
  }

  /** A shim that was booting is there. */
  #admit(shim: ReadyShim): void {
    this.#booting--;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) return waiter(shim);
    if (this.#closed || this.#idle.length >= this.#size) return shim.client.close();
    shim.client.listen({ onClose: () => this.#drop(shim) });
    this.#idle.push(shim);
  }

  /** An idle shim died (somebody killed it): forget it; the next start gets a fresh one. */
  #drop(shim: ReadyShim): void {
    const at = this.#idle.indexOf(shim);
    if (at >= 0) this.#idle.splice(at, 1);
    removeDir(shim.ref.dir);
  }

  /** Ends the idle shims; those that are booting end as soon as they are there. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#refillTimer);
    for (const shim of this.#idle.splice(0)) shim.client.close();
  }
}

function isAllPrivate(namespaces: ShimNamespaces): boolean {
  return Object.values(namespaces).every((mode: NamespaceMode) => mode.kind === "private");
}

function removeDir(dir: string): void {
  try {
    Deno.removeSync(dir, { recursive: true });
  } catch {
    // The shim removed it itself, or the next start of the engine sweeps it.
  }
}

/**
 * Starts shims as processes of their own: own session, no stdio but a pipe for the word "ready", a bare environment,
 * so that they outlive the engine and keep nothing of it open.
 *
 * @param shimsDir `<exec-root>/shims`
 */
export function shimSpawner(shimsDir: string): SpawnShim {
  return async (namespaces) => {
    const dir = makeShimDir(shimsDir);
    const id = dir.slice(dir.lastIndexOf("/") + 1);
    const options: ShimOptions = { dir, namespaces };
    let child: Deno.ChildProcess;
    try {
      child = spawnRole("shim", options);
    } catch (error) {
      removeDir(dir);
      throw error;
    }
    const ended = child.status;
    try {
      // However busy this engine is: a shim that is nobody's ends two seconds after the pipe has been closed.
      const client = await onFirstLine(child, BOOT_DEADLINE_MS, (line) => {
        if (line !== "ready") throw bootFailure(dir);
        return ShimClient.connect(dir);
      });
      const stat = processStat(child.pid);
      if (stat === undefined) throw new EngineError("system", "the shim ended at once");
      const init = await waitingInit(client);
      return { ref: { id, dir, pid: child.pid, startTime: stat.startTime }, client, init };
    } catch (error) {
      try {
        child.kill("SIGKILL");
      } catch {
        // Dead already.
      }
      await ended;
      removeDir(dir);
      throw error;
    }
  };
}

/** @throws {EngineError} system: it has ended already */
async function waitingInit(client: ShimClient): Promise<ProcessIdentity> {
  const { state } = await client.request({ op: "status" });
  if (!state?.init) throw new EngineError("system", "the shim has no process for a container");
  return state.init;
}

/** An empty directory for a shim, with a new name. */
export function makeShimDir(shimsDir: string): string {
  const dir = `${shimsDir}/${crypto.randomUUID().replaceAll("-", "").slice(0, 16)}`;
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

function bootFailure(dir: string): EngineError {
  let detail = "";
  try {
    detail = Deno.readTextFileSync(`${dir}/shim.log`).trim().split("\n").slice(-3).join("; ");
  } catch {
    // It did not come far enough to write one.
  }
  return new EngineError("system", `cannot start a shim${detail === "" ? "" : `: ${detail}`}`);
}
