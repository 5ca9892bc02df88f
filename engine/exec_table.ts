import { notFound } from "../base/errors.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { ExecCreateRequest } from "./types.ts";

/** How long an exec that has ended still answers inspect. */
const KEEP_MS = 5 * 60_000;

/** A command in a running container. Lives in memory only, as in Docker: it cannot outlive its container's run. */
export class Exec {
  readonly id: string;
  readonly container: ContainerRecord;
  readonly request: ExecCreateRequest;
  status: "created" | "starting" | "running" | "ended" = "created";
  pid = 0;
  exitCode: number | null = null;
  endedAt = 0;
  /** Settles when it has ended, or will never start. */
  readonly ended: Promise<void>;
  /** Settles when it runs, or will never run. */
  readonly started: Promise<void>;
  #settle: () => void = () => {};
  #settleStart: () => void = () => {};

  constructor(id: string, container: ContainerRecord, request: ExecCreateRequest) {
    this.id = id;
    this.container = container;
    this.request = request;
    this.ended = new Promise((resolve) => this.#settle = resolve);
    this.started = new Promise((resolve) => this.#settleStart = resolve);
  }

  run(pid: number): void {
    this.pid = pid;
    if (this.status === "starting") this.status = "running";
    this.#settleStart();
  }

  end(exitCode: number): void {
    if (this.status === "ended") return;
    this.status = "ended";
    this.exitCode = exitCode;
    this.endedAt = Date.now();
    this.#settleStart();
    this.#settle();
  }
}

export class ExecTable {
  readonly #byId = new Map<string, Exec>();
  readonly #onEnd: (exec: Exec) => void;

  /** @param onEnd called once for each exec that ran and has ended. */
  constructor(onEnd: (exec: Exec) => void) {
    this.#onEnd = onEnd;
  }

  add(exec: Exec): void {
    this.#sweep();
    this.#byId.set(exec.id, exec);
  }

  /** @throws {EngineError} not-found. */
  find(id: string): Exec {
    const exec = this.#byId.get(id);
    if (exec === undefined) throw notFound(`No such exec instance: ${id}`);
    return exec;
  }

  /** Ids of a container's execs that inspect shows: those that have not ended. */
  idsOf(containerId: string): string[] {
    return [...this.#byId.values()]
      .filter((exec) => exec.container.id === containerId && exec.status !== "ended")
      .map((exec) => exec.id);
  }

  /** The shim says that it has ended. Unknown ids are those of an earlier engine. */
  ended(id: string, exitCode: number): void {
    const exec = this.#byId.get(id);
    if (exec !== undefined) this.#end(exec, exitCode);
  }

  /** The container has ended, and all that ran in it. */
  endAll(containerId: string, exitCode: number): void {
    for (const exec of this.#byId.values()) {
      if (exec.container.id === containerId) this.#end(exec, exitCode);
    }
  }

  #end(exec: Exec, exitCode: number): void {
    if (exec.status === "ended") return;
    const ran = exec.status === "running" || exec.status === "starting";
    exec.end(exitCode);
    if (ran) this.#onEnd(exec);
  }

  /** The container is gone. */
  forget(containerId: string): void {
    for (const [id, exec] of this.#byId) if (exec.container.id === containerId) this.#byId.delete(id);
  }

  #sweep(): void {
    const limit = Date.now() - KEEP_MS;
    for (const [id, exec] of this.#byId) {
      if (exec.status === "ended" && exec.endedAt < limit) this.#byId.delete(id);
    }
  }

  get running(): number {
    return [...this.#byId.values()].filter((exec) => exec.status === "running").length;
  }
}
