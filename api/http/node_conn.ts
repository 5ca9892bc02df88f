import type { Socket } from "node:net";
import type { RawConn } from "./byte_source.ts";

/** Bytes held before the peer has to wait. */
const HIGH_WATER = 256 * 1024;

/** A node:net or node:tls socket, read and written as a connection of Deno's is. */
export class NodeConn implements RawConn {
  readonly #socket: Socket;
  /** What has come and nobody has read. */
  readonly #chunks: Uint8Array[] = [];
  #held = 0;
  #ended = false;
  #error: Error | undefined;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay?.(true);
    socket.on("data", (bytes: Uint8Array) => {
      this.#chunks.push(bytes);
      this.#held += bytes.length;
      if (this.#held >= HIGH_WATER) socket.pause();
      this.#wake();
    });
    const ended = (error?: unknown) => {
      if (error instanceof Error) this.#error = error;
      this.#ended = true;
      this.#wake();
    };
    socket.on("end", () => ended());
    socket.on("error", ended);
    socket.on("close", () => ended());
  }

  /** Bytes read, null at the end. @throws what has broken the connection. */
  async read(p: Uint8Array): Promise<number | null> {
    for (;;) {
      const bytes = this.#chunks[0];
      if (bytes !== undefined) {
        const count = Math.min(p.length, bytes.length);
        p.set(bytes.subarray(0, count));
        if (count < bytes.length) this.#chunks[0] = bytes.subarray(count);
        else this.#chunks.shift();
        this.#held -= count;
        if (this.#held < HIGH_WATER && this.#socket.isPaused()) this.#socket.resume();
        return count;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Writes all of `p`; comes back when the kernel has taken it, so that a slow reader slows the writer down. */
  write(p: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Deno.errors.BrokenPipe("connection is closed"));
      this.#socket.write(p, (error) => {
        if (error) reject(new Deno.errors.BrokenPipe(error.message));
        else resolve(p.length);
      });
    });
  }

  /** The peer reads an end (with TLS a close_notify), and may go on writing. */
  closeWrite(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) return resolve();
      this.#socket.end(() => resolve());
    });
  }

  close(): void {
    this.#ended = true;
    // What is still to be written would wait for a peer that may never read.
    if (this.#socket.writableLength > 0) this.#socket.destroy();
    else this.#socket.destroySoon();
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
