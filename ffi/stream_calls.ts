/**
 * The calls that bytes of connections go through. Made so often that nothing is allocated and nothing thrown: each answers what the
 * kernel does, a number of bytes or minus errno. Descriptors are nonblocking, so none of them is interrupted.
 */
import {
  F_SETPIPE_SZ,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SHUT_WR,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
} from "./constants.ts";
import { rawOnce } from "./libc.ts";
import { addressOf } from "./memory.ts";
import { MSG_PEEK } from "./network_constants.ts";
import { NR } from "./syscall_numbers.ts";

/** Memory of a fixed address, which the kernel reads and writes without being told of it again. */
export class StreamBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #address: number;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#address = addressOf(this.bytes);
  }

  /** recv(2) to the beginning. 0: the other end sends no more. */
  receive(fd: number): number {
    return rawOnce(NR.recvfrom, fd, this.#address, this.bytes.length, 0, 0, 0);
  }

  /** The same, and the bytes stay where they are. */
  peek(fd: number): number {
    return rawOnce(NR.recvfrom, fd, this.#address, this.bytes.length, MSG_PEEK, 0, 0);
  }

  /** send(2) of `length` bytes from `start`. */
  send(fd: number, start: number, length: number): number {
    return rawOnce(NR.sendto, fd, this.#address + start, length, MSG_NOSIGNAL, 0, 0);
  }

  /** write(2) of `length` bytes from `start`. */
  write(fd: number, start: number, length: number): number {
    return rawOnce(NR.write, fd, this.#address + start, length);
  }
}

/** Takes `length` bytes of a TCP socket and drops them. */
export function discard(fd: number, length: number): number {
  return rawOnce(NR.recvfrom, fd, 0, length, MSG_TRUNC, 0, 0);
}

/** splice(2) without waiting at either end. */
export function spliceOnce(from: number, to: number, length: number): number {
  return rawOnce(NR.splice, from, 0, to, 0, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

/** Sends FIN. */
export function shutdownWriting(fd: number): number {
  return rawOnce(NR.shutdown, fd, SHUT_WR);
}

/** F_SETPIPE_SZ: the new size in bytes, or minus errno (EPERM: beyond what the user may have). */
export function resizePipe(fd: number, size: number): number {
  return rawOnce(NR.fcntl, fd, F_SETPIPE_SZ, size);
}
