/** The control socket: newline-delimited JSON with one engine at a time. */
import { EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { type Syscalls, WOULD_BLOCK } from "../ffi/syscalls.ts";
import type { ShimMessage, ShimRequest } from "./protocol.ts";
import { acceptPeer, readSome } from "./shim_attach.ts";
import { note } from "../base/note.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import { OutQueue } from "./shim_queue.ts";

const NEWLINE = 0x0a;
const CHUNK = 16 * 1024;
let buffer: Uint8Array | undefined;
/** Longest request. A spec is some tens of kilobytes. */
const MAX_REQUEST = 32 * 1024 * 1024;

export interface ControlHandlers {
  readonly onRequest: (request: ShimRequest) => void;
  readonly onConnect: () => void;
  readonly onDisconnect: () => void;
}

interface Connection {
  readonly fd: number;
  readonly queue: OutQueue;
  parts: Uint8Array[];
  size: number;
  /** Whole requests that nobody has looked at yet. */
  readonly lines: string[];
}

export class ControlServer {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #listener: number;
  readonly #handlers: ControlHandlers;
  #connection: Connection | undefined;

  constructor(kernel: Syscalls, loop: EventLoop, path: string, handlers: ControlHandlers) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#handlers = handlers;
    this.#listener = kernel.unixListen(path, 16, 0o600);
    kernel.setNonblocking(this.#listener, true);
    loop.add(this.#listener, EPOLLIN, () => this.#accept());
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** Sends to the engine that is there now. False: there is none. */
  send(message: ShimMessage): boolean {
    const connection = this.#connection;
    if (connection === undefined) return false;
    if (!connection.queue.push(new TextEncoder().encode(`${JSON.stringify(message)}\n`))) {
      this.#drop(connection);
      return false;
    }
    this.#watch(connection);
    return true;
  }

  /** Whether everything was sent. */
  get idle(): boolean {
    return this.#connection === undefined || this.#connection.queue.size === 0;
  }

  /** Hands the engine's connection over to the caller, if there is one. */
  release(): number | undefined {
    const connection = this.#connection;
    if (connection === undefined) return undefined;
    this.#connection = undefined;
    this.#loop.remove(connection.fd);
    return connection.fd;
  }

  #accept(): void {
    const fd = acceptPeer(this.#kernel, this.#listener);
    if (fd === undefined) return;
    const older = this.#connection;
    const connection: Connection = {
      fd,
      queue: new OutQueue(this.#kernel, fd),
      parts: [],
      size: 0,
      lines: [],
    };
    this.#connection = connection;
    if (older !== undefined) this.#release(older);
    this.#loop.add(fd, EPOLLIN, (events) => {
      if ((events & EPOLLOUT) !== 0 && !connection.queue.flush()) return this.#drop(connection);
      this.#watch(connection);
      if ((events & ~EPOLLOUT) !== 0) this.#read(connection);
    });
    this.#handlers.onConnect();
  }

  #watch(connection: Connection): void {
    this.#loop.change(connection.fd, EPOLLIN | (connection.queue.size > 0 ? EPOLLOUT : 0));
  }

  #read(connection: Connection): void {
    const chunk = buffer ??= new Uint8Array(CHUNK);
    const count = readSome(this.#kernel, connection.fd, chunk);
    if (count === WOULD_BLOCK) return;
    connection.size += count;
    if (count === 0 || connection.size > MAX_REQUEST) return this.#drop(connection);
    let rest = chunk.subarray(0, count);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      connection.parts.push(rest.subarray(0, end));
      connection.lines.push(text(connection.parts));
      connection.parts = [];
      rest = rest.subarray(end + 1);
      connection.size = rest.length;
    }
    if (rest.length > 0) connection.parts.push(rest.slice());
    this.handlePending();
  }

  /** Handles requests that have been read: for a handler that waits for one of them. */
  handlePending(): void {
    const connection = this.#connection;
    while (connection !== undefined && connection === this.#connection) {
      const line = connection.lines.shift();
      if (line === undefined) return;
      this.#handle(line);
    }
  }

  #handle(line: string): void {
    let request: ShimRequest;
    try {
      request = JSON.parse(line) as ShimRequest;
    } catch (error) {
      note(`request is no JSON: ${error instanceof Error ? error.message : error}`);
      return;
    }
    this.#handlers.onRequest(request);
  }

  #drop(connection: Connection): void {
    this.#release(connection);
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#handlers.onDisconnect();
  }

  #release(connection: Connection): void {
    this.#loop.remove(connection.fd);
    this.#kernel.close(connection.fd);
  }
}

function text(parts: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
}
