import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { type Syscalls, WOULD_BLOCK } from "../ffi/syscalls.ts";
import type { AttachHeader } from "./protocol.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import { ClientQueue } from "./shim_client_queue.ts";
import type { ProcessStreams } from "./shim_streams.ts";

const CHUNK = 16 * 1024;
let buffer: Uint8Array | undefined;

/** A connection to a process's streams, from the moment its header is read. */
export class AttachClient {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #fd: number;
  readonly #header: AttachHeader;
  readonly #queue: ClientQueue;
  readonly #onClose: () => void;
  #streams: ProcessStreams | undefined;
  /** Came together with the header. */
  #early: Uint8Array | undefined;
  #stdinEnded: boolean;
  #finishing = false;
  #closed = false;

  constructor(
    kernel: Syscalls,
    loop: EventLoop,
    fd: number,
    header: AttachHeader,
    early: Uint8Array | undefined,
    onClose: () => void,
  ) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.#fd = fd;
    this.#header = header;
    this.#queue = new ClientQueue(kernel, fd);
    this.#early = early;
    this.#stdinEnded = !header.stdin;
    this.#onClose = onClose;
    loop.add(fd, 0, (events) => this.#onEvents(events));
  }

  /** So much waits for the client that the process has to. */
  get full(): boolean {
    return this.#queue.full;
  }

  /** The process need not wait for it any more. */
  get relieved(): boolean {
    return this.#queue.relieved;
  }

  /** Lets a file below `dir` take what the client does not. */
  spill(dir: string): void {
    if (!this.#closed) this.#queue.spill(dir);
  }

  wants(stream: 1 | 2): boolean {
    if (this.#finishing) return false;
    return stream === 1 ? this.#header.stdout : this.#header.stderr;
  }

  join(streams: ProcessStreams): void {
    this.#streams = streams;
    streams.attach(this);
  }

  send(data: Uint8Array): void {
    if (this.#closed) return;
    if (!this.#queue.push(data)) this.close();
    else if (this.#queue.size > 0) this.update();
  }

  /** Sends what waits and closes. */
  finish(): void {
    this.#finishing = true;
    this.#stdinEnded = true;
    if (this.#queue.size === 0) this.close();
    else this.update();
  }

  /** Watches for what matters now. */
  update(): void {
    if (this.#closed) return;
    const reading = !this.#stdinEnded && this.#streams?.acceptsStdin === true;
    if (reading && this.#early !== undefined) {
      const early = this.#early;
      this.#early = undefined;
      this.#streams?.writeStdin(early);
      return this.update();
    }
    this.#loop.change(this.#fd, (reading ? EPOLLIN : 0) | (this.#queue.size > 0 ? EPOLLOUT : 0));
  }

  #onEvents(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.#flush();
    if (this.#closed) return;
    if ((events & EPOLLIN) !== 0) this.#readStdin();
    else if ((events & (EPOLLHUP | EPOLLERR)) !== 0) this.#onHangUp();
  }

  #flush(): void {
    if (!this.#queue.flush()) return this.close();
    if (this.#queue.size === 0 && this.#finishing) return this.close();
    this.update();
    this.#streams?.clientProgress();
  }

  #readStdin(): void {
    const chunk = buffer ??= new Uint8Array(CHUNK);
    let count: number;
    try {
      count = this.#kernel.read(this.#fd, chunk);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return this.close();
    }
    if (count === WOULD_BLOCK) return;
    if (count > 0) return this.#streams?.writeStdin(chunk.subarray(0, count));
    this.#endStdin();
    this.update();
  }

  #endStdin(): void {
    if (this.#stdinEnded) return;
    this.#stdinEnded = true;
    this.#streams?.clientStdinEnded(this);
  }

  /** The client is gone. What it has sent before still counts, if the process will take it. */
  #onHangUp(): void {
    if (this.#stdinEnded || this.#streams === undefined) return this.close();
    // Not to be told again and again; update() watches it anew when there is room.
    this.#loop.change(this.#fd, undefined);
    if (this.#streams.acceptsStdin) this.#readStdin();
  }

  close(): void {
    if (this.#closed) return;
    this.#endStdin();
    if (this.#closed) return;
    this.#closed = true;
    this.#loop.remove(this.#fd);
    this.#kernel.close(this.#fd);
    this.#queue.close();
    this.#streams?.detach(this);
    this.#onClose();
  }
}
