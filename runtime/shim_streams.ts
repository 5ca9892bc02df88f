/** Standard streams of one process: read, logged, handed to attached clients; and what clients send, written to its stdin. */
import { EPOLLIN, EPOLLOUT, O_RDWR } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import { resizePipe } from "../ffi/stream_calls.ts";
import { type Syscalls, WOULD_BLOCK } from "../ffi/syscalls.ts";
import type { AttachClient } from "./shim_attach_client.ts";
import type { LogWriter } from "./shim_log.ts";
import type { EventLoop } from "../ffi/event_loop.ts";
import { OutQueue } from "./shim_queue.ts";

/** Docker's frame: stream, three zeros, length as big-endian 32 bits. */
const HEADER = 8;
const CHUNK = 64 * 1024;
/**
 * For the pipe of a process that prints faster than it is read: on a busy machine the two take turns more seldom. Not more, because the kernel gives
 * small pipes to a user whose pipes hold 64 MiB.
 */
const LARGE_PIPE = 256 * 1024;
/** What a pipe can hold at most, as Linux comes (fs.pipe-max-size): more than that has not been left behind by a process that has ended. */
const LARGEST_PIPE = 1024 * 1024;
/** One for the whole shim: it does one thing at a time. The frame's header goes before the data, so that both are one write. */
let buffer: Uint8Array | undefined;
const readBuffer = (): Uint8Array => buffer ??= new Uint8Array(HEADER + CHUNK);

/**
 * How long the process waits for a client that has not taken half of what waits for it. Then that client's output goes to a file: whoever reads
 * slowly gets everything, as a pipeline needs it, and whoever does not read at all stops nobody.
 */
const CLIENT_PATIENCE_MS = 1_000;
/** A terminal whose last user has closed it can be opened again by the process: look after it from time to time. */
const TERMINAL_RETRY_MS = 200;

export interface StreamsOptions {
  readonly kernel: Syscalls;
  readonly loop: EventLoop;
  readonly stdinOnce: boolean;
}

interface Output {
  readonly fd: number;
  readonly stream: 1 | 2;
  /** The pipe was found full, and enlarged if that was permitted. */
  large?: boolean;
}

export class ProcessStreams {
  readonly #kernel: Syscalls;
  readonly #loop: EventLoop;
  readonly #clients = new Set<AttachClient>();
  readonly #outputs = new Set<Output>();
  /** Close stdin when the first client that sends it leaves. */
  stdinOnce: boolean;
  /** Where files with output may be that clients do not take; without one the process waits for them. */
  spoolDir: string | undefined;
  #log: LogWriter | undefined;
  #terminal = false;
  #started = false;
  #paused = false;
  #patience: number | undefined;
  #ended = false;
  #stdin: { fd: number; queue: OutQueue } | undefined;
  #stdinEof = false;
  /** Called once when all outputs have ended. */
  onDrained: (() => void) | undefined;

  constructor({ kernel, loop, stdinOnce }: StreamsOptions) {
    this.#kernel = kernel;
    this.#loop = loop;
    this.stdinOnce = stdinOnce;
  }

  get terminal(): boolean {
    return this.#terminal;
  }

  /** Clients may send now: the process is there, and its stdin has room. */
  get acceptsStdin(): boolean {
    return this.#started && (this.#stdin === undefined || this.#stdin.queue.size === 0);
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /**
   * Makes the pipes of a process without a terminal. Answers its ends (stdin, stdout, stderr), to be closed by the caller once
   * they are handed over.
   *
   * @throws {SysError} there are no more descriptors. Ours are closed by {@link finish}.
   */
  openPipes(openStdin: boolean): readonly number[] {
    const kernel = this.#kernel;
    const theirs: number[] = [];
    try {
      if (openStdin) {
        const [read, write] = kernel.pipe2(0);
        theirs.push(read);
        this.#setStdin(write);
        kernel.setNonblocking(write, true);
      } else {
        theirs.push(kernel.open("/dev/null", O_RDWR));
      }
      for (const stream of [1, 2] as const) {
        const [read, write] = kernel.pipe2(0);
        theirs.push(write);
        this.#outputs.add({ fd: read, stream });
        kernel.setNonblocking(read, true);
      }
      return theirs;
    } catch (error) {
      for (const fd of theirs) kernel.close(fd);
      throw error;
    }
  }

  /** Takes the master of the process's terminal. */
  openTerminal(master: number, openStdin: boolean): void {
    this.#terminal = true;
    this.#kernel.setNonblocking(master, true);
    this.#outputs.add({ fd: master, stream: 1 });
    if (openStdin) this.#setStdin(master);
  }

  resize(rows: number, cols: number): boolean {
    if (!this.#terminal) return false;
    for (const { fd } of this.#outputs) this.#kernel.setWindowSize(fd, { rows, cols });
    return true;
  }

  /** The process runs: output flows, clients may send. */
  start(log: LogWriter | undefined): void {
    this.#log = log;
    this.#started = true;
    for (const output of this.#outputs) {
      this.#loop.add(output.fd, EPOLLIN, (events) => this.#onOutput(output, events));
    }
    if (this.#stdin !== undefined && !this.#terminal) {
      this.#loop.add(this.#stdin.fd, undefined, () => this.#onStdinReady());
    }
    if (this.#stdinEof) this.#closeStdin();
    for (const client of this.#clients) client.update();
  }

  attach(client: AttachClient): void {
    if (this.#ended) {
      client.finish();
      return;
    }
    this.#clients.add(client);
    client.update();
  }

  // --- output

  #onOutput(output: Output, events: number): void {
    if (this.#terminal && (events & EPOLLOUT) !== 0) this.#onStdinReady();
    if ((events & ~EPOLLOUT) !== 0 && this.#outputs.has(output) && !this.#paused) this.#readOutput(output);
  }

  /** Reads once. Answers how many bytes, 0 when there is nothing now, undefined when it has ended. */
  #readOutput(output: Output): number | undefined {
    const chunk = this.#log?.readBuffer(HEADER) ?? readBuffer();
    let count: number;
    try {
      count = this.#kernel.read(output.fd, chunk.subarray(HEADER));
    } catch (error) {
      if (!(error instanceof SysError && error.is("EIO"))) throw error;
      this.#terminalIdle(output);
      return undefined;
    }
    if (count === WOULD_BLOCK) return 0;
    if (count === 0) {
      this.#endOutput(output);
      return undefined;
    }
    if (count === CHUNK && !this.#terminal && output.large !== true) {
      output.large = true;
      resizePipe(output.fd, LARGE_PIPE);
    }
    this.#deliver(output.stream, chunk, count);
    return count;
  }

  #deliver(stream: 1 | 2, chunk: Uint8Array, count: number): void {
    const data = chunk.subarray(HEADER, HEADER + count);
    this.#log?.write(stream, data);
    if (this.#clients.size === 0) return;
    let message = data;
    if (!this.#terminal) {
      message = chunk.subarray(0, HEADER + count);
      const header = new DataView(message.buffer, message.byteOffset);
      header.setUint32(0, stream << 24);
      header.setUint32(4, count);
    }
    for (const client of this.#clients) {
      if (client.wants(stream)) client.send(message);
      if (client.full) this.#pause();
    }
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#watchOutputs();
    this.#patience = this.#loop.after(CLIENT_PATIENCE_MS, () => this.#spill());
  }

  #spill(): void {
    this.#patience = undefined;
    if (this.spoolDir === undefined) return;
    for (const client of this.#clients) if (!client.relieved) client.spill(this.spoolDir);
    this.clientProgress();
  }

  /** A client has taken some of what waited for it, or has left. */
  clientProgress(): void {
    if (!this.#paused) return;
    for (const client of this.#clients) if (!client.relieved) return;
    this.#paused = false;
    this.#loop.cancel(this.#patience);
    this.#watchOutputs();
  }

  #watchOutputs(): void {
    const forStdin = this.#terminal && this.#stdin !== undefined && this.#stdin.queue.size > 0 ? EPOLLOUT : 0;
    const events = (this.#paused ? 0 : EPOLLIN) | forStdin;
    for (const { fd } of this.#outputs) this.#loop.change(fd, events === 0 ? undefined : events);
  }

  /** Nobody has the terminal open at this moment. */
  #terminalIdle(output: Output): void {
    if (this.#ended) return;
    this.#loop.change(output.fd, undefined);
    this.#loop.after(TERMINAL_RETRY_MS, () => {
      if (this.#outputs.has(output)) this.#watchOutputs();
    });
  }

  #endOutput(output: Output): void {
    this.#outputs.delete(output);
    this.#loop.remove(output.fd);
    if (this.#terminal) this.#stdin = undefined;
    this.#kernel.close(output.fd);
    if (this.#outputs.size === 0) this.onDrained?.();
  }

  /**
   * The process has ended: reads what it has left behind, however much waits for clients (a pipe holds little). False:
   * somebody else still holds an end, so more may come; one who goes on writing is not waited for here.
   */
  drain(): boolean {
    for (const output of [...this.#outputs]) {
      let count: number | undefined = 0;
      for (let left = LARGEST_PIPE; left > 0; left -= count) {
        count = this.#readOutput(output);
        if (count === undefined || count === 0) break;
      }
      if (count === undefined && this.#terminal) this.#endOutput(output);
    }
    return this.#outputs.size === 0;
  }

  /** No more output: closes what is open, completes the log, and lets the clients go once they have everything. */
  finish(): void {
    if (this.#ended) return;
    this.onDrained = undefined;
    for (const output of [...this.#outputs]) this.#endOutput(output);
    this.#closeStdin();
    this.#ended = true;
    this.#log?.end();
    this.#log = undefined;
    for (const client of [...this.#clients]) client.finish();
  }

  // --- input

  #setStdin(fd: number): void {
    this.#stdin = { fd, queue: new OutQueue(this.#kernel, fd) };
  }

  /** What a client has sent. It must be one that {@link acceptsStdin} allowed to. */
  writeStdin(data: Uint8Array): void {
    const stdin = this.#stdin;
    if (stdin === undefined) return;
    if (!stdin.queue.push(data)) return this.#closeStdin();
    if (stdin.queue.size > 0) {
      if (this.#terminal) this.#watchOutputs();
      else this.#loop.change(stdin.fd, EPOLLOUT);
      for (const client of this.#clients) client.update();
    }
  }

  #onStdinReady(): void {
    const stdin = this.#stdin;
    if (stdin === undefined) return;
    if (!stdin.queue.flush()) return this.#closeStdin();
    if (stdin.queue.size > 0) return;
    if (this.#terminal) this.#watchOutputs();
    else this.#loop.change(stdin.fd, undefined);
    if (this.#stdinEof) this.#closeStdin();
    for (const client of this.#clients) client.update();
  }

  /**
   * A client's stdin has ended. As in Docker: with stdinOnce the process sees the end; otherwise, and on a terminal, this
   * client's attach is over.
   */
  clientStdinEnded(client: AttachClient): void {
    if (this.stdinOnce && !this.#terminal) {
      this.#stdinEof = true;
      if (this.#started && (this.#stdin === undefined || this.#stdin.queue.size === 0)) this.#closeStdin();
    } else {
      client.finish();
    }
  }

  #closeStdin(): void {
    const stdin = this.#stdin;
    this.#stdin = undefined;
    if (stdin === undefined || this.#terminal) return;
    if (this.#started) this.#loop.remove(stdin.fd);
    this.#kernel.close(stdin.fd);
    for (const client of this.#clients) client.update();
  }

  detach(client: AttachClient): void {
    if (!this.#clients.delete(client)) return;
    this.clientProgress();
  }
}
