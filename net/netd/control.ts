/** netd's control socket: newline-delimited JSON with one engine at a time; a newer one replaces the older. */
import { note } from "../../base/note.ts";
import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { type Syscalls, WOULD_BLOCK } from "../../ffi/syscalls.ts";
import type { NetdAnswer, NetdRequest } from "./protocol.ts";

const NEWLINE = 0x0a;
const CHUNK = 64 * 1024;
/** A sync with ten thousand containers has some megabytes. */
const MAX_REQUEST = 64 * 1024 * 1024;

export interface ControlHandlers {
  /** Calls `answer` once, now or later. */
  onRequest(request: NetdRequest, answer: (answer: NetdAnswer) => void): void;
  onConnect(): void;
  /** The engine has gone, and no other is there. */
  onDisconnect(): void;
}

interface Connection {
  readonly fd: number;
  parts: Uint8Array[];
  size: number;
  readonly out: Uint8Array[];
}

export class ControlSocket implements Disposable {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #handlers: ControlHandlers;
  readonly #listener: number;
  readonly #chunk = new Uint8Array(CHUNK);
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

  /** Everything that was answered has been sent. */
  get idle(): boolean {
    return (this.#connection?.out.length ?? 0) === 0;
  }

  [Symbol.dispose](): void {
    if (this.#connection !== undefined) this.#release(this.#connection);
    this.#connection = undefined;
    this.#loop.remove(this.#listener);
    this.#kernel.close(this.#listener);
  }

  #accept(): void {
    const fd = this.#kernel.accept(this.#listener);
    if (fd === WOULD_BLOCK) return;
    const older = this.#connection;
    const connection: Connection = { fd, parts: [], size: 0, out: [] };
    this.#connection = connection;
    if (older !== undefined) this.#release(older);
    this.#loop.add(fd, EPOLLIN, (events) => {
      if ((events & EPOLLOUT) !== 0) this.#flush(connection);
      if ((events & ~EPOLLOUT) !== 0 && this.#connection === connection) this.#read(connection);
    });
    this.#handlers.onConnect();
  }

  #read(connection: Connection): void {
    let count: number;
    try {
      count = this.#kernel.read(connection.fd, this.#chunk);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return this.#drop(connection);
    }
    if (count === WOULD_BLOCK) return;
    connection.size += count;
    if (count === 0 || connection.size > MAX_REQUEST) return this.#drop(connection);
    let rest = this.#chunk.slice(0, count);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      connection.parts.push(rest.subarray(0, end));
      const line = textOf(connection.parts);
      connection.parts = [];
      rest = rest.subarray(end + 1);
      connection.size = rest.length;
      this.#handle(connection, line);
      if (this.#connection !== connection) return;
    }
    if (rest.length > 0) connection.parts.push(rest);
  }

  #handle(connection: Connection, line: string): void {
    let request: NetdRequest;
    try {
      request = JSON.parse(line) as NetdRequest;
    } catch (error) {
      note(`request is no JSON: ${error instanceof Error ? error.message : error}`);
      return this.#drop(connection);
    }
    this.#handlers.onRequest(request, (answer) => {
      if (this.#connection !== connection) return;
      connection.out.push(new TextEncoder().encode(`${JSON.stringify(answer)}\n`));
      this.#flush(connection);
    });
  }

  #flush(connection: Connection): void {
    const { out } = connection;
    try {
      for (let piece = out[0]; piece !== undefined; piece = out[0]) {
        const count = this.#kernel.write(connection.fd, piece);
        if (count === WOULD_BLOCK) break;
        if (count < piece.length) out[0] = piece.subarray(count);
        else out.shift();
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return this.#drop(connection);
    }
    this.#loop.change(connection.fd, EPOLLIN | (out.length > 0 ? EPOLLOUT : 0));
  }

  #drop(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#release(connection);
    this.#handlers.onDisconnect();
  }

  #release({ fd }: Connection): void {
    this.#loop.remove(fd);
    this.#kernel.close(fd);
  }
}

function textOf(parts: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
}
