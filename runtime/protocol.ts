/**
 * Messages between the engine and a shim, newline-delimited JSON on `ctl.sock` (one engine connection at a time; a newer
 * one replaces the older). Order of a life:
 *
 *   engine: spawns `@shim` with ShimOptions as one JSON argument; shim writes "ready\n" to its stdout once both sockets listen and the namespaces are made.
 *   engine: connects ctl.sock, and attach.sock for every client that attached before the start.
 *   engine: start → shim: answer {pid,startTime} once init has become the container's process, or an error. With `hold` init waits
 *           for `go` before that: its network is made meanwhile, from outside.
 *   engine: exec / signal / resize … at will.
 *   shim:   writes ExitRecord to `exitFile` (tmp, rename), then sends the exit event (again to each engine that connects later).
 *   engine: shutdown once it has recorded the exit → shim removes its directory and ends, or begins anew for another container.
 *
 * A shim that has no container yet ends by itself when its engine's connection closes; one with a container waits for the next engine, and
 * some seconds longer than its container.
 */
import type { ContainerSpec, LogSpec, ProcessSpec } from "./spec.ts";

/** Written to disk before anybody is told. Times are RFC 3339 with nanoseconds, UTC. */
export interface ExitRecord {
  readonly containerId: string;
  /** Docker's exit code: code, or 128+signal. */
  readonly exitCode: number;
  readonly signal: number | null;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly pid: number;
}

/** `<dir>/state.json`: lets the next engine find the shim and its container again. Written before the answer to start. */
export interface ShimState {
  readonly shimPid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot: pid + this identify a process for ever. */
  readonly shimStartTime: string;
  readonly containerId: string | null;
  /** The process that waits for an order, in the namespaces that the container will have; null once it has had one. */
  readonly init: { readonly pid: number; readonly startTime: string } | null;
  readonly pid: number | null;
  readonly startTime: string | null;
  readonly startedAt: string | null;
  readonly exitFile: string | null;
}

export type ShimRequest =
  | {
    readonly seq: number;
    readonly op: "start";
    readonly spec: ContainerSpec;
    readonly log: LogSpec;
    /** false: stdin is /dev/null. */
    readonly openStdin: boolean;
    /** Close stdin when the first attached stdin client leaves. */
    readonly stdinOnce: boolean;
    readonly exitFile: string;
    /** Everything is made ready, and the program is executed after `go` only. */
    readonly hold?: boolean;
  }
  /** Lets a start with `hold` go on, or fail for this reason. It may come before the start has come so far. */
  | { readonly seq: number; readonly op: "go"; readonly refusal?: string }
  | { readonly seq: number; readonly op: "signal"; readonly signal: number; readonly execId?: string }
  | {
    readonly seq: number;
    readonly op: "resize";
    readonly rows: number;
    readonly cols: number;
    readonly execId?: string;
  }
  | {
    readonly seq: number;
    readonly op: "exec";
    readonly execId: string;
    readonly process: ProcessSpec;
    readonly openStdin: boolean;
  }
  | { readonly seq: number; readonly op: "status" }
  /** `again`: do not end but start over in that directory, empty and made for it; "ready" then says that it can be connected to. */
  | { readonly seq: number; readonly op: "shutdown"; readonly again?: string };

/** Why a start or exec failed: decides Docker's 126, 127, 128. */
export interface StartFailure {
  /** Docker/runc-like text: `exec: "foo": executable file not found in $PATH`, … */
  readonly message: string;
  /** errno of the failing call, 0 when none. */
  readonly errno: number;
  /** Where it failed: "exec" is the command itself; "user" unable to find user; others are set-up steps. */
  readonly stage: string;
}

/** The {@link StartFailure.stage} of a start that was told not to go on. */
export const NETWORK_STAGE = "network";

/** The {@link StartFailure.stage} of a start whose process was killed for want of memory. */
export const OOM_STAGE = "oom";

export type ShimMessage =
  | {
    readonly seq: number;
    readonly ok: true;
    readonly pid?: number;
    readonly startTime?: string;
    readonly startedAt?: string;
    readonly state?: ShimState;
    /** To a shutdown with `again`: it will end instead, as soon as the clients of attach that hold it up have read everything. */
    readonly heldUp?: true;
  }
  | { readonly seq: number; readonly ok: false; readonly error: StartFailure }
  | { readonly event: "exit"; readonly record: ExitRecord }
  | { readonly event: "ready" }
  /** Processes of the container were killed for want of memory, maybe not its first one. */
  | { readonly event: "oom" }
  | {
    readonly event: "exec-exit";
    readonly execId: string;
    readonly exitCode: number;
    readonly finishedAt: string;
  };

/**
 * First line a client writes on `attach.sock` (JSON, one line); the shim answers `{"ok":true}\n` or `{"ok":false,"message":…}\n`
 * and then it is the stream: with a terminal raw bytes, without one Docker's frames (1 or 2, 0,0,0, BE32 length, data).
 * The client's half-close is the end of stdin (when it attached stdin). `execId` may be attached before its exec order comes, so nothing is lost.
 * The shim closes the stream after the last output when the process has ended and its output is drained.
 */
export interface AttachHeader {
  readonly execId?: string;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}
