import type { ContainerRecord } from "./container_record.ts";
import type { HealthMonitor } from "./health.ts";
import { Mutex } from "./mutex.ts";
import type { ShimClient } from "./shim_client.ts";
import type { WaitResult } from "./types.ts";

/** A client that attached before the start: told where its stream is, or that none will come. */
export interface PendingAttach {
  open(shimDir: string): Promise<void>;
  cancel(): void;
}

/** What the engine holds of a container in memory beside its record: connections and who waits for what. */
export class Container {
  /** As in the store. Changed only by `ContainerTable.save`, most often under `mutex`. */
  record: ContainerRecord;
  /** Start, exit, removal and renaming exclude each other. Waiting for an exit never holds it. */
  readonly mutex = new Mutex();
  /** Connection to its shim while one serves it. */
  shim: ShimClient | null = null;
  /** Ids of its execs, running ones and those that still answer inspect. */
  readonly execs = new Set<string>();
  readonly pendingAttach = new Set<PendingAttach>();
  /** A restart that is to come, by its policy. */
  restartTimer: ReturnType<typeof setTimeout> | undefined;
  /** Delay of the next restart by policy, in milliseconds. */
  restartDelay = 0;
  /** While it runs and has a health check. */
  health: HealthMonitor | undefined;
  removed = false;
  /** The end of the last run's cgroup, while that is on its way. */
  cgroupRemoval: Promise<void> | undefined;
  #holds = 0;
  readonly #exitWaiters = new Set<(result: WaitResult) => void>();
  readonly #removeWaiters = new Set<(result: WaitResult) => void>();
  readonly #watchers = new Set<() => void>();

  constructor(record: ContainerRecord) {
    this.record = record;
  }

  get id(): string {
    return this.record.id;
  }

  /** "running" in Docker's sense: also between two automatic restarts. */
  get running(): boolean {
    return this.record.state.status === "running" || this.record.state.status === "restarting";
  }

  /** A restart by policy that has not happened yet does not happen. */
  cancelRestart(): void {
    if (this.restartTimer === undefined) return;
    clearTimeout(this.restartTimer);
    this.restartTimer = undefined;
  }

  /** A restart is under way: an exit does not remove it. Answers the function that ends that. */
  hold(): () => void {
    this.#holds++;
    return () => this.#holds--;
  }

  get held(): boolean {
    return this.#holds > 0;
  }

  /** How the last run ended, as `wait` reports it. */
  outcome(): WaitResult {
    // A failed start is no failed wait: `start` itself has told the reason, and clients print `Error` as their own.
    return { StatusCode: this.record.state.exitCode };
  }

  /** Settles at the next exit, or at the removal. Never rejects; a wait that is given up stays silent. */
  nextExit(signal?: AbortSignal): Promise<WaitResult> {
    return wait(this.#exitWaiters, signal);
  }

  /** Settles when the container is gone. */
  removal(signal?: AbortSignal): Promise<WaitResult> {
    return wait(this.#removeWaiters, signal);
  }

  /** Calls `callback` at each change of the state; answers the function that ends that. */
  watch(callback: () => void): () => void {
    this.#watchers.add(callback);
    return () => this.#watchers.delete(callback);
  }

  notifyChanged(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  notifyExit(): void {
    settle(this.#exitWaiters, this.outcome());
  }

  notifyRemoved(): void {
    this.removed = true;
    settle(this.#exitWaiters, this.outcome());
    settle(this.#removeWaiters, this.outcome());
    for (const pending of [...this.pendingAttach]) pending.cancel();
    this.pendingAttach.clear();
    this.notifyChanged();
  }
}

type Waiters = Set<(result: WaitResult) => void>;

function wait(waiters: Waiters, signal: AbortSignal | undefined): Promise<WaitResult> {
  return new Promise((resolve) => {
    if (signal?.aborted) return;
    const done = (result: WaitResult) => {
      signal?.removeEventListener("abort", giveUp);
      resolve(result);
    };
    const giveUp = () => waiters.delete(done);
    waiters.add(done);
    signal?.addEventListener("abort", giveUp, { once: true });
  });
}

function settle(waiters: Waiters, result: WaitResult): void {
  const all = [...waiters];
  waiters.clear();
  for (const resolve of all) resolve(result);
}
