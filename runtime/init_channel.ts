/**
 * The socket between a shim and the init it has spawned (SOCK_SEQPACKET). One order goes down, with the descriptors it
 * speaks of; replies come back, and the end of the stream after an "exec" reply says that execve has closed init's end.
 */
import type { Syscalls } from "../ffi/syscalls.ts";
import type { StartFailure } from "./protocol.ts";
import type { ContainerSpec, ProcessSpec } from "./spec.ts";

/** Make a container and become its process. Descriptors: stdin, stdout, stderr, unless the process has a terminal. */
export interface ContainerOrder {
  readonly kind: "container";
  readonly spec: ContainerSpec;
  /** A directory that the container's root may be mounted over, in init's own mount namespace. */
  readonly mountPoint: string;
  /** /proc/self/oom_score_adj for a process that asks for nothing else. */
  readonly oomScoreAdj: number;
}

/**
 * Become one more process of a running container. Descriptors: its mount namespace, its cgroup namespace, then stdin,
 * stdout, stderr, unless the process has a terminal.
 */
export interface ExecOrder {
  readonly kind: "exec";
  readonly process: ProcessSpec;
  readonly cgroupPath?: string;
  readonly oomScoreAdj: number;
}

export type InitOrder = ContainerOrder | ExecOrder;

export type InitReply =
  /** Comes with one descriptor: the terminal's master. */
  | { readonly kind: "console" }
  /** Nothing but execve is left to do. An error may follow even so. */
  | { readonly kind: "exec" }
  | { readonly kind: "error"; readonly error: StartFailure };

/** Well below the default send buffer, so that a usual order never waits for an init that is still booting. */
const CHUNK = 48 * 1024;
const MORE = 0;
const LAST = 1;

/** Sends a message in as many datagrams as it needs, the descriptors with the last one. Blocks when the buffer is full. */
function send(kernel: Syscalls, fd: number, message: unknown, fds: readonly number[]): void {
  const text = new TextEncoder().encode(JSON.stringify(message));
  for (let start = 0;;) {
    const end = Math.min(start + CHUNK, text.length);
    const datagram = new Uint8Array(end - start + 1);
    datagram[0] = end === text.length ? LAST : MORE;
    datagram.set(text.subarray(start, end), 1);
    kernel.sendmsg(fd, datagram, end === text.length ? fds : []);
    if (end === text.length) return;
    start = end;
  }
}

/** @throws {SysError} EPIPE when init has ended. */
export function sendOrder(kernel: Syscalls, fd: number, order: InitOrder, fds: readonly number[]): void {
  send(kernel, fd, order, fds);
}

export function sendReply(kernel: Syscalls, fd: number, reply: InitReply, fds: readonly number[] = []): void {
  send(kernel, fd, reply, fds);
}

/** Puts messages together from their datagrams. */
export class ChannelReader<T> {
  readonly #kernel: Syscalls;
  readonly #fd: number;
  readonly #buffer = new Uint8Array(CHUNK + 1);
  #parts: Uint8Array[] = [];
  #fds: number[] = [];

  constructor(kernel: Syscalls, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  /** The next message; "end" when the peer is gone; "later" when a nonblocking socket has nothing now. */
  next(): { message: T; fds: number[] } | "end" | "later" {
    for (;;) {
      const { length, fds } = this.#kernel.recvmsg(this.#fd, this.#buffer);
      if (length === 0) return "end";
      if (length < 0) return "later";
      this.#fds.push(...fds);
      this.#parts.push(this.#buffer.slice(1, length));
      if (this.#buffer[0] === MORE) continue;
      const whole = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
      let offset = 0;
      for (const part of this.#parts) {
        whole.set(part, offset);
        offset += part.length;
      }
      const result = { message: JSON.parse(new TextDecoder().decode(whole)) as T, fds: this.#fds };
      this.#parts = [];
      this.#fds = [];
      return result;
    }
  }
}
