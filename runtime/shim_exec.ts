/** Further processes in a running container. */
import type { ChildExit, Syscalls } from "../ffi/syscalls.ts";
import { timestamp } from "./clock.ts";
import { toStartFailure } from "./init_failure.ts";
import type { ExecOrder } from "./init.ts";
import type { ShimMessage, StartFailure } from "./protocol.ts";
import { exitCode, InitProcess } from "./shim_init_process.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import { ProcessStreams } from "./shim_streams.ts";
import type { ProcessSpec } from "./spec.ts";

/** How long after its process's end an exec waits for others (what it has left in the background) to close its streams. */
export const DRAIN_DEADLINE_MS = 500;
/** Ended execs whose late attachers are told so at once. */
const REMEMBERED = 64;

interface Exec {
  readonly process: InitProcess;
  readonly streams: ProcessStreams;
  running: boolean;
}

export interface ExecContext {
  readonly kernel: Syscalls;
  readonly loop: EventLoop;
  readonly oomScoreAdj: number;
  /** Called when an exec has ended, its output delivered. */
  readonly onExit: (message: Extract<ShimMessage, { event: "exec-exit" }>) => void;
}

export interface ExecRequest {
  readonly execId: string;
  readonly process: ProcessSpec;
  readonly openStdin: boolean;
}

/** The container that an exec enters. */
export interface ExecTarget {
  readonly pid: number;
  readonly namespaces: ExecOrder["namespaces"];
  readonly cgroupPath: string | undefined;
  /** See {@link ProcessStreams.spoolDir}. */
  readonly spoolDir: string;
}

export type ExecStarted =
  | { readonly ok: true; readonly pid: number; readonly startTime: string; readonly startedAt: string }
  | { readonly ok: false; readonly error: StartFailure };

export class Execs {
  readonly #context: ExecContext;
  readonly #execs = new Map<string, Exec>();
  /** Streams that clients have attached to before the order came. */
  readonly #waiting = new Map<string, ProcessStreams>();
  readonly #ended = new Set<string>();

  constructor(context: ExecContext) {
    this.#context = context;
  }

  /** Streams of an exec, be it still to come. */
  streams(execId: string): ProcessStreams {
    const found = this.#execs.get(execId)?.streams ?? this.#waiting.get(execId);
    if (found !== undefined) return found;
    const streams = this.#newStreams();
    if (this.#ended.has(execId)) streams.finish();
    else this.#waiting.set(execId, streams);
    return streams;
  }

  find(execId: string): Exec | undefined {
    return this.#execs.get(execId);
  }

  start(request: ExecRequest, target: ExecTarget, done: (started: ExecStarted) => void): void {
    const { kernel, loop } = this.#context;
    const { execId } = request;
    if (this.#execs.has(execId)) throw new Error(`exec ${execId} exists`);
    const streams = this.streams(execId);
    this.#waiting.delete(execId);
    streams.spoolDir = target.spoolDir;
    const fds: number[] = [];
    try {
      if (!request.process.tty) fds.push(...streams.openPipes(request.openStdin));
      const process = new InitProcess(kernel, loop);
      const exec: Exec = { process, streams, running: false };
      this.#execs.set(execId, exec);
      process.onExit = (exit) => this.#onEnd(execId, exec, exit);
      const order: ExecOrder = {
        kind: "exec",
        process: request.process,
        pid: target.pid,
        namespaces: target.namespaces,
        oomScoreAdj: this.#context.oomScoreAdj,
        ...(target.cgroupPath === undefined ? {} : { cgroupPath: target.cgroupPath }),
      };
      process.launch(order, fds, (result) => {
        if (!result.ok) {
          this.#forget(execId, streams);
          done(result);
          return;
        }
        exec.running = true;
        if (result.master !== undefined) streams.openTerminal(result.master, request.openStdin);
        streams.start(undefined);
        done({ ok: true, pid: process.pid, startTime: process.startTime, startedAt: timestamp() });
      });
    } catch (error) {
      this.#forget(execId, streams);
      done({ ok: false, error: toStartFailure(error) });
    } finally {
      for (const fd of fds) kernel.close(fd);
    }
  }

  #newStreams(): ProcessStreams {
    const { kernel, loop } = this.#context;
    return new ProcessStreams({ kernel, loop, stdinOnce: true });
  }

  #onEnd(execId: string, exec: Exec, exit: ChildExit): void {
    if (!exec.running) return;
    exec.running = false;
    const finishedAt = timestamp();
    whenDrained(this.#context.loop, exec.streams, () => {
      this.#forget(execId, exec.streams);
      this.#context.onExit({ event: "exec-exit", execId, exitCode: exitCode(exit), finishedAt });
    });
  }

  #forget(execId: string, streams: ProcessStreams): void {
    this.#execs.delete(execId);
    this.#ended.add(execId);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= REMEMBERED) break;
      this.#ended.delete(oldest);
    }
    streams.finish();
  }
}

/** Delivers what an ended process has left in its streams, then calls `done`; does not wait long for other holders of them. */
export function whenDrained(loop: EventLoop, streams: ProcessStreams, done: () => void): void {
  if (streams.drain()) return done();
  const timer = loop.after(DRAIN_DEADLINE_MS, () => {
    streams.onDrained = undefined;
    done();
  });
  streams.onDrained = () => {
    loop.cancel(timer);
    done();
  };
}
