import { SysError } from "../ffi/errno.ts";
import { type Syscalls, WOULD_BLOCK } from "../ffi/syscalls.ts";

/** Bytes on their way to a nonblocking descriptor. */
export class OutQueue {
  readonly #kernel: Syscalls;
  readonly #fd: number;
  #chunks: Uint8Array[] = [];
  #size = 0;

  constructor(kernel: Syscalls, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  /** Bytes that wait. */
  get size(): number {
    return this.#size;
  }

  /** Sends at once what can be sent and keeps a copy of the rest. False: the peer is gone. */
  push(data: Uint8Array): boolean {
    let rest = data;
    if (this.#size === 0) {
      const sent = this.#write(data);
      if (sent === undefined) return false;
      rest = data.subarray(sent);
    }
    if (rest.length > 0) {
      this.#chunks.push(rest.slice());
      this.#size += rest.length;
    }
    return true;
  }

  /** Sends what waits, as far as it goes. False: the peer is gone. */
  flush(): boolean {
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      const sent = this.#write(chunk);
      if (sent === undefined) return false;
      this.#size -= sent;
      if (sent < chunk.length) {
        this.#chunks[0] = chunk.subarray(sent);
        return true;
      }
      this.#chunks.shift();
    }
    return true;
  }

  /** Bytes taken before the descriptor was full; undefined when it is broken. */
  #write(data: Uint8Array): number | undefined {
    let done = 0;
    try {
      while (done < data.length) {
        const count = this.#kernel.write(this.#fd, done === 0 ? data : data.subarray(done));
        if (count === WOULD_BLOCK) break;
        done += count;
      }
    } catch (error) {
      if (error instanceof SysError) return undefined;
      throw error;
    }
    return done;
  }
}
