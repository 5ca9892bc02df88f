/** One container's shim: its namespaces, its first process, its streams and log, its execs, its exit record. */
import { ERRNO, SysError } from "../ffi/errno.ts";
import { SIGKILL } from "../ffi/signals.ts";
import type { ChildExit, Syscalls } from "../ffi/syscalls.ts";
import { timestamp } from "./clock.ts";
import { processStartTime, replaceFile } from "./files.ts";
import { InitFailure, toStartFailure } from "./init_failure.ts";
import {
  type ExitRecord,
  NETWORK_STAGE,
  OOM_STAGE,
  type ShimMessage,
  type ShimRequest,
  type ShimState,
  type StartFailure,
} from "./protocol.ts";
import { AttachServer } from "./shim_attach.ts";
import { ControlServer } from "./shim_control.ts";
import { endDescendants, reapAdopted } from "./shim_descendants.ts";
import { Execs, whenDrained } from "./shim_exec.ts";
import { childReaped, exitCode, InitProcess, isOwnChild } from "./shim_init_process.ts";
import { LogWriter } from "./shim_log.ts";
import { OomWatch } from "./shim_oom.ts";
import { note } from "../base/note.ts";
import { EventLoop } from "../ffi/event_loop.ts";
import { ProcessStreams } from "./shim_streams.ts";
import type { ShimOptions } from "./spec.ts";

/** A shim that no engine has spoken to for so long has been forgotten by one that died. */
const FIRST_CONTACT_MS = 60_000;
/** An engine that has heard "ready" connects within this time. */
const CONNECT_MS = 2_000;
/**
 * How long a shim whose container has ended waits for an engine to tell it to. The exit is on disk by then; whoever waits longer holds
 * up a logout, for which systemd wants to see all processes end.
 */
const UNHEARD_MS = 5_000;
/** A shim that has not begun anew after so long, because its engine does not read, does not any more. */
const LINGER_MS = 10_000;
/** Orphans of a container without a PID namespace of its own become the shim's children. */
const REAP_INTERVAL_MS = 2_000;
/** Ends of execs that wait for an engine. */
const MAX_UNSENT = 256;

type StartRequest = Extract<ShimRequest, { op: "start" }>;
type ExecRequestMessage = Extract<ShimRequest, { op: "exec" }>;

interface Container {
  readonly request: StartRequest;
  readonly startedAt: string;
  readonly oom: OomWatch;
}

export class Shim {
  readonly #kernel: Syscalls;
  readonly #options: ShimOptions;
  readonly #loop: EventLoop;
  readonly #oomScoreAdj: number;
  readonly #startTime: string;
  readonly #init: InitProcess;
  readonly #streams: ProcessStreams;
  readonly #execs: Execs;
  readonly #control: ControlServer;
  readonly #attach: AttachServer;
  #starting = false;
  /** There was an order, whatever became of it. */
  #used = false;
  #container: Container | undefined;
  #exit: ExitRecord | undefined;
  /** {@link #exit} is on disk. */
  #recorded = false;
  /** The engine has ended the container by SIGKILL. */
  #killed = false;
  /** What has been said to a start with `hold`. */
  #word: { readonly refusal?: string } | undefined;
  readonly #unsent: ShimMessage[] = [];
  #leaving = false;
  #again: string | undefined;

  /**
   * Starts the process that will be the container, in its namespaces, and listens.
   *
   * @param oomScoreAdj oom_score_adj of the container's processes: the engine's
   * @throws {SysError}
   */
  constructor(kernel: Syscalls, options: ShimOptions, oomScoreAdj: number) {
    this.#kernel = kernel;
    this.#options = options;
    this.#oomScoreAdj = oomScoreAdj;
    this.#startTime = processStartTime(kernel, "self") ?? "0";
    this.#loop = new EventLoop(kernel);
    const loop = this.#loop;
    this.#init = new InitProcess(kernel, loop);
    this.#init.enter(options.namespaces);
    this.#init.onExit = (exit) => this.#onContainerEnd(exit);
    this.#streams = new ProcessStreams({ kernel, loop, stdinOnce: false });
    this.#execs = new Execs({
      kernel,
      loop,
      oomScoreAdj: this.#oomScoreAdj,
      onExit: (message) => this.#report(message),
    });
    this.#attach = new AttachServer(
      kernel,
      loop,
      `${options.dir}/attach.sock`,
      (execId) => execId === undefined ? this.#streams : this.#execs.streams(execId),
    );
    this.#attach.onClientGone = () => this.#leaveWhenServed();
    this.#control = new ControlServer(kernel, loop, `${options.dir}/ctl.sock`, {
      onConnect: () => this.#onConnect(),
      onDisconnect: () => this.#onDisconnect(),
      onRequest: (request) => this.#onRequest(request),
    });
    this.#writeState();
    loop.after(FIRST_CONTACT_MS, () => {
      if (!this.#control.connected) this.#onDisconnect();
    });
    if (options.namespaces.pid.kind !== "private") this.#reapRegularly();
  }

  /**
   * `pipe` is the engine's ear for the word "ready": when it closes and no connection comes, the engine has died between
   * the two. The pipe is the shim's from now on.
   */
  watchStarter(pipe: number): void {
    // No events: a closed reader is reported all the same.
    this.#loop.add(pipe, 0, () => {
      this.#loop.remove(pipe);
      this.#kernel.close(pipe);
      this.#loop.after(CONNECT_MS, () => {
        if (!this.#control.connected) this.#onDisconnect();
      });
    });
  }

  /** Serves until it is dismissed. */
  run(): void {
    this.#loop.run();
  }

  /** Uses the time while the engine hears that we are ready; an order that is there already comes first. */
  rehearseSoon(): void {
    this.#loop.after(0, () => {
      if (!this.#used) this.#init.rehearse();
    });
  }

  /** After {@link run}: the directory that the engine wants the next shim in, made of this process. */
  get again(): string | undefined {
    return this.#again;
  }

  /** Leaves nothing behind in this process. Answers the engine's connection, which is the caller's then. */
  release(): number | undefined {
    this.#init.dismiss();
    // What was alive when the container's first process ended is dead by now, but perhaps not reaped.
    endDescendants(this.#kernel, childReaped);
    const engine = this.#control.release();
    this.#loop[Symbol.dispose]();
    return engine;
  }

  // --- the engine

  #onConnect(): void {
    for (const message of this.#unsent.splice(0)) this.#report(message);
    if (this.#exit !== undefined) this.#control.send({ event: "exit", record: this.#exit });
  }

  /** Without a container there is nothing to stay for. */
  #onDisconnect(): void {
    if (this.#starting) this.#word ??= { refusal: "the engine has ended during the start" };
    if (this.#container === undefined && !this.#starting) this.#leave();
    else this.#leaveWhenServed();
    this.#leaveUnheard();
  }

  /**
   * Nobody needs a shim whose container's end is written down, unless an engine comes soon; but clients of attach who have not read everything
   * yet do. They are connected by an engine: when that has died they are gone as well.
   */
  #leaveUnheard(): void {
    if (!this.#recorded || this.#control.connected) return;
    this.#loop.after(UNHEARD_MS, () => {
      if (this.#control.connected) return;
      this.#removeFiles();
      this.#leaving = true;
      this.#leaveWhenServed();
    });
  }

  #report(message: ShimMessage): void {
    if (this.#control.send(message)) return;
    this.#unsent.push(message);
    if (this.#unsent.length > MAX_UNSENT) this.#unsent.shift();
  }

  #onRequest(request: ShimRequest): void {
    try {
      switch (request.op) {
        case "start":
          return this.#start(request);
        case "go":
          this.#word = request;
          break;
        case "exec":
          return this.#exec(request);
        case "signal":
          this.#process(request.execId).signal(request.signal);
          if (request.execId === undefined && request.signal === SIGKILL) this.#killed = true;
          break;
        case "resize":
          this.#resize(request.execId, request.rows, request.cols);
          break;
        case "status":
          this.#control.send({ seq: request.seq, ok: true, state: this.#state() });
          return;
        case "shutdown":
          return this.#shutdown(request.seq, request.again);
        default:
          throw new InitFailure("request", "unknown request");
      }
      this.#control.send({ seq: request.seq, ok: true });
    } catch (error) {
      this.#control.send({ seq: request.seq, ok: false, error: toStartFailure(error) });
    }
  }

  // --- the container

  #start(request: StartRequest): void {
    if (this.#starting || this.#container !== undefined) {
      throw new InitFailure("start", "shim has a container already");
    }
    const kernel = this.#kernel;
    const { spec, seq } = request;
    const { process } = spec;
    const log = request.log.driver === "none" ? undefined : new LogWriter(kernel, request.log);
    this.#used = true;
    this.#streams.stdinOnce = request.stdinOnce;
    this.#streams.spoolDir = dirOf(request.exitFile);
    let stdio: readonly number[] = [];
    try {
      if (!process.tty) stdio = this.#streams.openPipes(request.openStdin);
    } catch (error) {
      this.#streams.finish();
      log?.end();
      throw error;
    }
    this.#starting = true;
    const order = {
      kind: "container",
      spec,
      mountPoint: this.#options.dir,
      oomScoreAdj: this.#oomScoreAdj,
    } as const;
    // Before the program runs: it may have been killed, and its cgroup removed, when we hear that it does.
    const oom = new OomWatch(kernel, this.#loop, spec.cgroupPath, () => this.#report({ event: "oom" }));
    try {
      this.#init.launch(order, stdio, (result) => {
        this.#starting = false;
        if (!result.ok) {
          this.#streams.finish();
          log?.end();
          this.#control.send({ seq, ok: false, error: explained(result.error, oom) });
          if (!this.#control.connected) this.#leave();
          return;
        }
        this.#container = { request, startedAt: timestamp(), oom };
        if (result.master !== undefined) this.#streams.openTerminal(result.master, request.openStdin);
        this.#streams.start(log);
        try {
          this.#writeState();
        } catch (error) {
          // A full disk: who finds us asks, and what is there names the same process as the one that waits.
          if (!(error instanceof SysError)) throw error;
          note(error.message);
        }
        const { pid, startTime } = this.#init;
        this.#control.send({ seq, ok: true, pid, startTime, startedAt: this.#container.startedAt });
      }, request.hold === true ? { open: () => this.#mayGo() } : undefined);
    } finally {
      for (const fd of stdio) kernel.close(fd);
    }
  }

  #mayGo(): boolean {
    this.#control.handlePending();
    if (this.#word?.refusal !== undefined) throw new InitFailure(NETWORK_STAGE, this.#word.refusal);
    return this.#word !== undefined;
  }

  #onContainerEnd(exit: ChildExit): void {
    const container = this.#container;
    if (container === undefined) {
      // Somebody has ended an init that waited: without it this shim is of no use to anybody.
      if (!this.#used) this.#leave();
      return;
    }
    const finishedAt = timestamp();
    // At once: a cgroup without processes may be removed.
    // A shell whose command was killed says so by its exit code.
    const oomKilled = container.oom.finish(exitCode(exit) === 128 + SIGKILL && !this.#killed);
    if (this.#options.namespaces.pid.kind !== "private") endDescendants(this.#kernel, childReaped);
    whenDrained(
      this.#loop,
      this.#streams,
      () => this.#recordExit(container, exit, { finishedAt, oomKilled }),
    );
  }

  #recordExit(
    container: Container,
    exit: ChildExit,
    end: Pick<ExitRecord, "finishedAt" | "oomKilled">,
  ): void {
    const record: ExitRecord = {
      containerId: container.request.spec.id,
      exitCode: exitCode(exit),
      signal: exit.signal ?? null,
      startedAt: container.startedAt,
      ...end,
      pid: this.#init.pid,
    };
    this.#exit = record;
    try {
      // Whole or not at all, for any process that dies; after a power cut there is no container to ask about.
      replaceFile(this.#kernel, container.request.exitFile, `${JSON.stringify(record)}\n`, 0o600);
      this.#recorded = true;
    } catch (error) {
      // A full disk: the record is kept here, and told to each engine that asks.
      if (!(error instanceof SysError)) throw error;
      note(`exit record: ${error.message}`);
    }
    // The log is complete and clients have the last output before anybody hears of the end.
    this.#streams.finish();
    this.#control.send({ event: "exit", record });
    this.#leaveUnheard();
  }

  #exec(request: ExecRequestMessage): void {
    const container = this.#container;
    if (container === undefined || this.#exit !== undefined) {
      throw new InitFailure("exec-start", "container is not running");
    }
    const { cgroupPath, namespaces } = container.request.spec;
    const target = {
      pid: this.#init.pid,
      cgroupPath,
      namespaces,
      spoolDir: dirOf(container.request.exitFile),
    };
    this.#execs.start(request, target, (started) => {
      const { seq } = request;
      this.#control.send(
        started.ok
          ? { seq, ok: true, pid: started.pid, startTime: started.startTime, startedAt: started.startedAt }
          : { seq, ok: false, error: started.error },
      );
    });
  }

  #process(execId: string | undefined): InitProcess {
    if (execId === undefined) {
      if (this.#container === undefined) {
        throw new InitFailure("signal", "container is not running", ERRNO.ESRCH);
      }
      return this.#init;
    }
    const exec = this.#execs.find(execId);
    if (exec === undefined) throw new InitFailure("signal", "exec is not running", ERRNO.ESRCH);
    return exec.process;
  }

  #resize(execId: string | undefined, rows: number, cols: number): void {
    const streams = execId === undefined ? this.#streams : this.#execs.find(execId)?.streams;
    if (streams?.resize(rows, cols) !== true) throw new InitFailure("resize", "no terminal is open");
  }

  // --- the shim itself

  #state(): ShimState {
    const container = this.#container;
    return {
      shimPid: this.#kernel.getpid(),
      shimStartTime: this.#startTime,
      containerId: container?.request.spec.id ?? null,
      init: this.#used ? null : { pid: this.#init.pid, startTime: this.#init.startTime },
      pid: container === undefined ? null : this.#init.pid,
      startTime: container === undefined ? null : this.#init.startTime,
      startedAt: container?.startedAt ?? null,
      exitFile: container?.request.exitFile ?? null,
    };
  }

  #writeState(): void {
    replaceFile(
      this.#kernel,
      `${this.#options.dir}/state.json`,
      `${JSON.stringify(this.#state())}\n`,
      0o600,
    );
  }

  #reapRegularly(): void {
    this.#loop.after(REAP_INTERVAL_MS, () => {
      reapAdopted(this.#kernel, isOwnChild);
      this.#reapRegularly();
    });
  }

  #shutdown(seq: number, again: string | undefined): void {
    if (this.#starting || (this.#container !== undefined && this.#exit === undefined)) {
      throw new InitFailure("shutdown", "container is running");
    }
    this.#removeFiles();
    const heldUp = again !== undefined && this.#attach.clientCount > 0;
    this.#control.send({ seq, ok: true, ...(heldUp ? { heldUp } : {}) });
    this.#leaving = true;
    if (!heldUp) this.#again = again;
    this.#loop.after(LINGER_MS, () => {
      this.#again = undefined;
      this.#leaveWhenServed();
    });
    this.#leaveWhenServed();
  }

  #leave(): void {
    this.#removeFiles();
    this.#leaving = true;
    this.#loop.stop();
  }

  #leaveWhenServed(): void {
    if (this.#leaving && this.#attach.clientCount === 0 && this.#control.idle) this.#loop.stop();
  }

  /** An init that still waits for an order ends with this process. */
  #removeFiles(): void {
    const { dir } = this.#options;
    for (const name of ["ctl.sock", "attach.sock", "state.json", "state.json.tmp", "shim.log"]) {
      ignoreMissing(() => this.#kernel.unlink(`${dir}/${name}`));
    }
    ignoreMissing(() => this.#kernel.rmdir(dir));
  }
}

/** Why a start has failed, in runc's words when the limit of memory was below what a start takes. Ends the watch. */
function explained(failure: StartFailure, oom: OomWatch): StartFailure {
  const ended = failure.stage === "init";
  return oom.finish(ended) && ended
    ? { ...failure, stage: OOM_STAGE, message: "container init was OOM-killed (memory limit too low?)" }
    : failure;
}

const dirOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

function ignoreMissing(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof SysError && error.is("ENOENT", "ENOTEMPTY", "EBUSY"))) throw error;
  }
}
