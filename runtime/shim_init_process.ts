/** An init from its spawn to the end of the process that it becomes. */
import { EPOLLIN, O_RDWR, SOCK_SEQPACKET } from "../ffi/constants.ts";
import { ERRNO, SysError } from "../ffi/errno.ts";
import type { ChildExit, Syscalls } from "../ffi/syscalls.ts";
import { selfCommand } from "../base/self.ts";
import { processStartTime } from "./files.ts";
import { ChannelReader, type InitOrder, type InitReply, sendOrder } from "./init_channel.ts";
import type { StartFailure } from "./protocol.ts";
import type { EventLoop } from "./shim_loop.ts";

/** The descriptor that an init finds its channel at. */
const CHANNEL = 3;
/** A start that takes longer than this has failed (a root file system that does not answer). */
const START_DEADLINE_MS = 60_000;
/** All of the environment that an init needs: an exec's init can be looked at by the container's processes. */
const ENVIRONMENT = ["HOME", "XDG_CACHE_HOME", "DENO_DIR", "BERTH_EXECUTABLE", "BERTH_DENO", "PATH"];

export type LaunchResult =
  | { readonly ok: true; readonly master: number | undefined }
  | { readonly ok: false; readonly error: StartFailure };

/** Those that run, by pid: whoever reaps children in bulk must leave these alone, or pass on what it has learned. */
const running = new Map<number, InitProcess>();

/** Whether a child is one of the shim's own, not an orphan that it has adopted. */
export const isOwnChild = (pid: number): boolean => running.has(pid);

/** Passes on that a child has been reaped. Nothing happens when it was an adopted one. */
export function childReaped(exit: ChildExit): void {
  running.get(exit.pid)?.reaped(exit);
}

export class InitProcess {
  readonly pid: number;
  readonly startTime: string;
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #pidfd: number;
  #channel: number | undefined;
  #reader: ChannelReader<InitReply>;
  #onResult: ((result: LaunchResult) => void) | undefined;
  #deadline: number | undefined;
  #master: number | undefined;
  #committed = false;
  #ended = false;
  /** A failure is told when init is gone, and with it all that it had mounted. */
  #afterExit: (() => void) | undefined;
  /** Called once when the process has ended and is reaped; after the launch's result. */
  onExit: ((exit: ChildExit) => void) | undefined;

  /** Spawns an init that waits for its order. @throws {SysError} ENOMEM when the PID namespace has lost its PID 1. */
  constructor(kernel: Syscalls, loop: EventLoop) {
    this.#kernel = kernel;
    this.#loop = loop;
    const [ours, theirs] = kernel.socketpair(SOCK_SEQPACKET);
    const nothing = kernel.open("/dev/null", O_RDWR);
    try {
      const self = selfCommand("init", String(CHANNEL));
      this.pid = kernel.spawn({
        path: self.command,
        args: [self.command, ...self.args],
        env: initEnvironment(self.env),
        fds: { 0: nothing, 1: nothing, 2: 2, [CHANNEL]: theirs },
        setsid: true,
      });
    } catch (error) {
      kernel.close(ours);
      throw error;
    } finally {
      kernel.close(theirs);
      kernel.close(nothing);
    }
    // Not reaped yet, so its pid is its own and /proc still tells.
    this.startTime = processStartTime(kernel, this.pid) ?? "0";
    this.#pidfd = kernel.pidfdOpen(this.pid, 0);
    this.#channel = ours;
    this.#reader = new ChannelReader(kernel, ours);
    running.set(this.pid, this);
    loop.add(this.#pidfd, EPOLLIN, () => {
      const exit = kernel.wait(this.pid, true);
      if (exit !== undefined) this.reaped(exit);
    });
  }

  /** Gives the order; the descriptors stay the caller's. `onResult` is called once, from the loop. */
  launch(order: InitOrder, fds: readonly number[], onResult: (result: LaunchResult) => void): void {
    const channel = this.#channel;
    this.#onResult = onResult;
    if (this.#ended || channel === undefined) return this.#fail("init has ended before the start");
    this.#deadline = this.#loop.after(START_DEADLINE_MS, () => this.#fail("init did not answer in time"));
    try {
      sendOrder(this.#kernel, channel, order, fds);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return this.#fail(`init has ended before the start: ${error.message}`);
    }
    this.#kernel.setNonblocking(channel, true);
    this.#loop.add(channel, EPOLLIN, () => this.#pump());
  }

  /** @throws {SysError} ESRCH when it has ended. */
  signal(signal: number): void {
    if (this.#ended) throw new SysError("kill", ERRNO.ESRCH);
    this.#kernel.pidfdSendSignal(this.#pidfd, signal);
  }

  #pump(): void {
    while (this.#onResult !== undefined) {
      const received = this.#reader.next();
      if (received === "later") return;
      if (received === "end") {
        // Without the word that only execve is left, the end is that of init itself.
        if (this.#committed) this.#settle({ ok: true, master: this.#master });
        else this.#fail("init has ended before the command was started");
        return;
      }
      const { message, fds } = received;
      if (message.kind === "console") this.#master = fds[0];
      else if (message.kind === "exec") this.#committed = true;
      else this.#settle({ ok: false, error: message.error });
    }
  }

  #fail(message: string): void {
    this.#settle({ ok: false, error: { message, errno: 0, stage: "init" } });
  }

  #settle(result: LaunchResult): void {
    const onResult = this.#onResult;
    if (onResult === undefined) return;
    this.#onResult = undefined;
    this.#loop.cancel(this.#deadline);
    this.#closeChannel();
    if (result.ok || this.#ended) return onResult(result);
    if (this.#master !== undefined) this.#kernel.close(this.#master);
    this.#afterExit = () => onResult(result);
    this.#kill();
  }

  #closeChannel(): void {
    if (this.#channel === undefined) return;
    this.#loop.remove(this.#channel);
    this.#kernel.close(this.#channel);
    this.#channel = undefined;
  }

  #kill(): void {
    try {
      this.signal(9);
    } catch (error) {
      if (!(error instanceof SysError && error.is("ESRCH"))) throw error;
    }
  }

  /** It has ended and is no more. */
  reaped(exit: ChildExit): void {
    running.delete(this.pid);
    // A short-lived program may have ended before the end of its channel was looked at.
    this.#pump();
    this.#closeChannel();
    this.#loop.remove(this.#pidfd);
    this.#kernel.close(this.#pidfd);
    this.#ended = true;
    if (this.#onResult !== undefined) this.#fail("init has ended before the command was started");
    this.#afterExit?.();
    this.onExit?.(exit);
  }
}

function initEnvironment(own: Readonly<Record<string, string>>): string[] {
  const env: Record<string, string> = {};
  for (const name of ENVIRONMENT) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return Object.entries({ ...env, ...own }).map(([name, value]) => `${name}=${value}`);
}

/** Docker's exit code. */
export function exitCode(exit: ChildExit): number {
  return exit.code ?? 128 + (exit.signal ?? 0);
}
