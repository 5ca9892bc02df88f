/**
 * The calls that bytes of connections go through. Made so often that nothing is allocated and nothing thrown: each answers what the
 * kernel does, a number of bytes or minus errno. Descriptors are nonblocking, so none of them is interrupted.
 */
import {
  AF_INET,
  AF_INET6,
  F_SETPIPE_SZ,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SHUT_WR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
} from "./constants.ts";
import { LOST_CONNECTION } from "./kernel_network.ts";
import { rawOnce } from "./libc.ts";
import { addressOf } from "./memory.ts";
import { MSG_PEEK } from "./network_constants.ts";
import { SOCKADDR_SIZE, SOCKADDR_STORAGE } from "./socket_address.ts";
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

/** setsockopt(2) of an int. */
export function setOption(fd: number, level: number, name: number, value: number): number {
  option[0] = value;
  return rawOnce(NR.setsockopt, fd, level, name, optionAddress(), 4);
}

const option = new Int32Array(1);
let optionAt = 0;

function optionAddress(): number {
  return optionAt ||= addressOf(new Uint8Array(option.buffer));
}

/** An end of an IPv4 or IPv6 socket at a fixed place, in the kernel's form. */
export class AddressBuffer {
  readonly #bytes = new Uint8Array(SOCKADDR_STORAGE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #v4 = this.#bytes.subarray(4, 8);
  readonly #v6 = this.#bytes.subarray(8, 24);
  readonly #length = new Uint32Array(1);
  readonly #at = addressOf(this.#bytes);
  readonly #lengthAt = addressOf(new Uint8Array(this.#length.buffer));

  /** 4 or 16 bytes, which change with the buffer; undefined for another family. */
  get address(): Uint8Array | undefined {
    const family = this.#view.getUint16(0, true);
    return family === AF_INET ? this.#v4 : family === AF_INET6 ? this.#v6 : undefined;
  }

  get port(): number {
    return this.#view.getUint16(2);
  }

  /** Another address, of 4 or 16 bytes. */
  set(address: Uint8Array, port: number): void {
    const view = this.#view;
    view.setUint16(2, port);
    view.setUint32(4, 0);
    if (address.length === 4) {
      view.setUint16(0, AF_INET, true);
      this.#v4.set(address);
    } else {
      view.setUint16(0, AF_INET6, true);
      view.setUint32(24, 0);
      this.#v6.set(address);
    }
  }

  /** accept4(2), with the client's address as this one. A connection that was lost in the queue is passed over. */
  accept(listener: number): number {
    for (;;) {
      this.#length[0] = SOCKADDR_STORAGE;
      const fd = rawOnce(NR.accept4, listener, this.#at, this.#lengthAt, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0 || !LOST_CONNECTION.has(-fd)) return fd;
    }
  }

  bind(fd: number): number {
    return rawOnce(NR.bind, fd, this.#at, this.#size());
  }

  /** Minus EINPROGRESS: the connection is being made. */
  connect(fd: number): number {
    return rawOnce(NR.connect, fd, this.#at, this.#size());
  }

  #size(): number {
    return this.#view.getUint16(0, true) === AF_INET ? SOCKADDR_SIZE.inet : SOCKADDR_SIZE.inet6;
  }
}
