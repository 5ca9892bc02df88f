/** A process from its start as a stub to the end of the program that it becomes. */
import { EPOLLIN, O_CLOEXEC, O_DIRECTORY, PR_SET_DUMPABLE, PR_SET_PDEATHSIG } from "../ffi/constants.ts";
import { ERRNO, errnoText, SysError } from "../ffi/errno.ts";
import { SIGKILL } from "../ffi/signals.ts";
import { STUB_SOCKET, StubProcess } from "../ffi/stub_process.ts";
import type { ChildExit, Syscalls } from "../ffi/syscalls.ts";
import { processStartTime } from "./files.ts";
import { type InitOrder, obey } from "./init.ts";
import { InitFailure, rootCause, toStartFailure } from "./init_failure.ts";
import { takeProc } from "./init_joined_proc.ts";
import type { Program } from "./init_process.ts";
import { rehearse } from "./init_rehearsal.ts";
import type { StartFailure } from "./protocol.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import { enterNamespaces } from "./shim_namespaces.ts";
import type { ShimOptions } from "./spec.ts";

/** A start that takes longer than this has failed (a root file system that does not answer). */
const START_DEADLINE_MS = 60_000;
/** Exit code of a process whose program the kernel does not run, as runc's. */
const NOT_A_PROGRAM = 255;
/** How long the loop sleeps at most before the gate is looked at again; messages and exits wake it. */
const GATE_TURN_MS = 1_000;
/** Descriptors travel with one byte. */
const MESSAGE = 1;

export type LaunchResult =
  | { readonly ok: true; readonly master: number | undefined }
  | { readonly ok: false; readonly error: StartFailure };

/** What a start waits for before its program is executed. `open` throws {@link InitFailure} when it shall not be. */
export interface Gate {
  readonly open: () => boolean;
}

/** Those that run, by pid: whoever reaps children in bulk must leave these alone, or pass on what it has learned. */
const running = new Map<number, InitProcess>();

/** Whether a child is one of the shim's own, not an orphan that it has adopted. */
export const isOwnChild = (pid: number): boolean => running.has(pid);

/** Passes on that a child has been reaped. Nothing happens when it was an adopted one. */
export function childReaped(exit: ChildExit): void {
  running.get(exit.pid)?.reaped(exit);
}

export class InitProcess {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #stub: StubProcess;
  #pid = -1;
  #pidfd: number | undefined;
  #startTime = "0";
  #onResult: ((result: LaunchResult) => void) | undefined;
  #deadline = Infinity;
  #deadlineTimer: number | undefined;
  #gate: Gate | undefined;
  #master: number | undefined;
  #program: Program | undefined;
  #appearsLate = false;
  #rehearsing = false;
  #ended = false;
  /** A failure is told when the process is gone, and with it all that it had mounted. */
  #afterExit: (() => void) | undefined;
  /** Called once when the process has ended and is reaped; after the launch's result. */
  onExit: ((exit: ChildExit) => void) | undefined;

  /** Starts a stub. @throws {SysError} */
  constructor(kernel: Syscalls, loop: EventLoop) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#stub = new StubProcess({ stderr: 2, onSlow: () => this.#onSlow() });
    try {
      this.#watch();
      this.#protect();
    } catch (error) {
      this.#stub[Symbol.dispose]();
      kernel.kill(this.#stub.pid, SIGKILL);
      throw error;
    }
  }

  /** As the shim sees it. An exec's is known when it has been launched. */
  get pid(): number {
    return this.#pid;
  }

  /** Field 22 of /proc/PID/stat. */
  get startTime(): string {
    return this.#startTime;
  }

  /**
   * Makes or joins namespaces before there is an order; the process is inside all of them afterwards, but for a PID namespace of another
   * container: that one it enters last of all. @throws {SysError}
   */
  enter(namespaces: ShimOptions["namespaces"]): void {
    this.#appearsLate = namespaces.pid.kind === "path";
    try {
      this.#stub.together(() => {
        enterNamespaces(this.#stub.calls, namespaces);
        if (namespaces.pid.kind === "private") this.#fork();
      });
    } catch (error) {
      this.#kill();
      throw error;
    }
  }

  /** Goes through a start without any effect, so that the one to come is faster. */
  rehearse(): void {
    if (this.#ended) return;
    this.#rehearsing = true;
    try {
      this.#stub.together(() => rehearse(this.#stub.calls));
    } finally {
      this.#rehearsing = false;
    }
  }

  /** Carries out the order; the descriptors stay the caller's. `onResult` is called once, at once or from the loop. */
  launch(
    order: InitOrder,
    fds: readonly number[],
    onResult: (result: LaunchResult) => void,
    gate?: Gate,
  ): void {
    this.#onResult = onResult;
    this.#gate = gate;
    this.#deadline = performance.now() + START_DEADLINE_MS;
    this.#deadlineTimer = this.#loop.after(START_DEADLINE_MS, () => this.#fail(LATE));
    try {
      this.#stub.together(() => this.#obey(order, fds));
    } catch (error) {
      const cause = rootCause(error);
      if (this.#ended || (cause instanceof SysError && cause.op === "stub" && cause.is("ESRCH"))) {
        this.#fail("init has ended before the command was started");
      } else {
        this.#settle({ ok: false, error: toStartFailure(error) });
      }
    }
  }

  #obey(order: InitOrder, fds: readonly number[]): void {
    const program = obey(this.#stub.calls, order, {
      stdio: this.#pass(fds),
      giveTerminal: (master) => this.#fetchTerminal(master),
      entered: () => this.#stub.closeNow(),
      forkInto: (cgroup) => this.#forkInto(cgroup),
      procOf: (pidNamespace) => this.#procOf(pidNamespace),
      appear: () => {
        // Another user is given a process without either.
        this.#protect();
        this.#awaitGate();
        if (order.kind === "exec" || this.#appearsLate) this.#fork();
        // It has looked after the stub of a shim that is killed; the container is to go on.
        this.#stub.calls.prctl(PR_SET_PDEATHSIG, 0);
      },
    });
    this.#program = program;
    this.#loop.add(this.#stub.socket, EPOLLIN, () => this.#onOutcome());
    this.#stub.execve(program.path, program.args, program.env);
  }

  /** @throws {SysError} ESRCH when it has ended. */
  signal(signal: number): void {
    if (this.#ended || this.#pidfd === undefined) throw new SysError("kill", ERRNO.ESRCH);
    this.#kernel.pidfdSendSignal(this.#pidfd, signal);
  }

  /** Ends the process, if it has not ended, and frees what it takes here. */
  dismiss(): void {
    this.#kill();
    this.#stub[Symbol.dispose]();
  }

  // --- the stub

  /** A killed shim takes it along, and nobody without CAP_SYS_PTRACE may look into it. */
  #protect(): void {
    this.#stub.calls.prctl(PR_SET_DUMPABLE, 0);
    this.#stub.calls.prctl(PR_SET_PDEATHSIG, SIGKILL);
  }

  #fork(how = () => this.#stub.fork()): void {
    this.#unwatch();
    try {
      how();
    } finally {
      this.#watch();
    }
    this.#protect();
    this.#stub.calls.setsid();
  }

  #forkInto(cgroup: string): void {
    const { calls } = this.#stub;
    const fd = calls.open(cgroup, O_DIRECTORY | O_CLOEXEC);
    try {
      this.#fork(() => this.#stub.forkInto(fd));
    } finally {
      calls.close(fd);
    }
  }

  /** Hands descriptors to the stub; answers its numbers for them. */
  #pass(fds: readonly number[]): readonly number[] {
    if (fds.length === 0) return [];
    this.#kernel.sendmsg(this.#stub.socket, new Uint8Array(MESSAGE), fds);
    return this.#stub.calls.recvmsg(STUB_SOCKET, new Uint8Array(MESSAGE)).fds;
  }

  #procOf(pidNamespace: string): number {
    const kernel = this.#kernel;
    const taker = new StubProcess({ stderr: 2, onSlow: () => this.#onSlow() });
    try {
      taker.calls.prctl(PR_SET_DUMPABLE, 0);
      const fd = takeProc(taker.calls, pidNamespace);
      taker.calls.sendmsg(STUB_SOCKET, new Uint8Array(MESSAGE), [fd]);
      const { fds } = kernel.recvmsg(taker.socket, new Uint8Array(MESSAGE));
      try {
        return this.#pass(fds)[0] ?? -1;
      } finally {
        for (const received of fds) kernel.close(received);
      }
    } finally {
      taker[Symbol.dispose]();
      kernel.kill(taker.pid, SIGKILL);
      kernel.wait(taker.pid, false);
    }
  }

  #fetchTerminal(master: number): void {
    this.#stub.calls.sendmsg(STUB_SOCKET, new Uint8Array(MESSAGE), [master]);
    this.#master = this.#kernel.recvmsg(this.#stub.socket, new Uint8Array(MESSAGE)).fds[0];
  }

  /** Until here the end of the shim ends the process as well. */
  #awaitGate(): void {
    const gate = this.#gate;
    while (gate !== undefined && !gate.open()) {
      const left = this.#deadline - performance.now();
      if (left <= 0 || this.#ended) throw new InitFailure("init", LATE);
      this.#loop.turn(Math.min(left, GATE_TURN_MS));
    }
  }

  /** The rest of the container's life goes on while a file system keeps the stub waiting. */
  #onSlow(): void {
    // An order that came now would be for this very stub, in the middle of a call.
    if (this.#rehearsing) return;
    if (performance.now() > this.#deadline) throw new InitFailure("init", LATE);
    this.#loop.turn(0);
  }

  /** execve has closed the socket's other end, or its failure is written there. */
  #onOutcome(): void {
    const outcome = this.#stub.execveOutcome();
    if (outcome === undefined) return;
    if (outcome.kind === "failed") this.#explain(outcome.errno);
    this.#settle({ ok: true, master: this.#master });
  }

  /**
   * What is found out only by execve (no format that the kernel knows, a script whose interpreter is missing) is the started
   * container's own failure, as with runc: it says so on stderr and ends.
   */
  #explain(errno: number): void {
    try {
      const text = `exec ${this.#program?.path}: ${errnoText(errno)}\n`;
      this.#stub.calls.write(2, new TextEncoder().encode(text));
      this.#stub.exit(NOT_A_PROGRAM);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#kill();
    }
  }

  // --- its life

  #watch(): void {
    const { pid } = this.#stub;
    this.#pid = pid;
    // Not reaped yet, so its pid is its own and /proc still tells.
    this.#startTime = processStartTime(this.#kernel, pid) ?? "0";
    const pidfd = this.#kernel.pidfdOpen(pid, 0);
    this.#pidfd = pidfd;
    running.set(pid, this);
    this.#loop.add(pidfd, EPOLLIN, () => {
      const exit = this.#kernel.wait(pid, true);
      if (exit !== undefined) this.reaped(exit);
    });
  }

  #unwatch(): void {
    running.delete(this.#pid);
    if (this.#pidfd === undefined) return;
    this.#loop.remove(this.#pidfd);
    this.#kernel.close(this.#pidfd);
    this.#pidfd = undefined;
  }

  #fail(message: string): void {
    this.#settle({ ok: false, error: { message, errno: 0, stage: "init" } });
  }

  #settle(result: LaunchResult): void {
    const onResult = this.#onResult;
    if (onResult === undefined) return;
    this.#onResult = undefined;
    this.#loop.cancel(this.#deadlineTimer);
    this.#loop.remove(this.#stub.socket);
    this.#stub[Symbol.dispose]();
    if (result.ok) return onResult(result);
    if (this.#master !== undefined) this.#kernel.close(this.#master);
    if (this.#ended) return onResult(result);
    this.#afterExit = () => onResult(result);
    this.#kill();
  }

  #kill(): void {
    try {
      this.signal(SIGKILL);
    } catch (error) {
      if (!(error instanceof SysError && error.is("ESRCH"))) throw error;
    }
  }

  /** It has ended and is no more. */
  reaped(exit: ChildExit): void {
    this.#unwatch();
    this.#ended = true;
    // A short-lived program may have ended before the end of the stub's socket was looked at.
    if (this.#onResult !== undefined && this.#program !== undefined) this.#onOutcome();
    if (this.#onResult !== undefined) this.#fail("init has ended before the command was started");
    this.#afterExit?.();
    this.onExit?.(exit);
  }
}

const LATE = "init did not answer in time";

/** Docker's exit code. */
export function exitCode(exit: ChildExit): number {
  return exit.code ?? 128 + (exit.signal ?? 0);
}
