import { O_NONBLOCK, O_RDWR, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from "./constants.ts";
import { MSG_CTRUNC, MSG_NOSIGNAL, MSG_TRUNC } from "./constants.ts";
import { type ControlMessage, controlSize, readControl, writeControl } from "./control_message.ts";
import { ERRNO, SysError } from "./errno.ts";
import { kernel } from "./kernel.ts";
import { blockingResult } from "./kernel_descriptor.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import { type Machine, thread } from "./machine.ts";
import { type Block, fromCString } from "./memory.ts";
import { controlLength, messageHeader, setMessageName } from "./message_header.ts";
import { IFF_NO_PI, IFF_TAP, IFF_TUN, TUNSETIFF, TUNSETPERSIST } from "./network_constants.ts";
import {
  readSocketAddress,
  SOCKADDR_STORAGE,
  type SocketAddress,
  writeSocketAddress,
} from "./socket_address.ts";
import { NR } from "./syscall_numbers.ts";
import { type Syscalls, WOULD_BLOCK } from "./syscalls.ts";

export interface Accepted {
  /** Nonblocking and close-on-exec. */
  readonly fd: number;
  /** Undefined for families that {@link SocketAddress} does not know. */
  readonly peer: SocketAddress | undefined;
}

export interface Datagram {
  /** Bytes in the buffer; {@link WOULD_BLOCK} when nothing is there. With MSG_TRUNC in the flags, the real length. */
  readonly length: number;
  readonly from: SocketAddress | undefined;
}

export interface ReceivedMessage extends Datagram {
  readonly control: readonly ControlMessage[];
  /** The datagram was longer than the buffer: its rest is lost. */
  readonly truncated: boolean;
}

export interface MessageToSend {
  readonly data: Uint8Array;
  readonly to?: SocketAddress;
  readonly control?: readonly ControlMessage[];
  readonly flags?: number;
}

export interface TunOptions {
  /** Up to 15 bytes; `%d` becomes the first free number. */
  readonly name: string;
  /** tun: packets of IP; tap: Ethernet frames. */
  readonly kind: "tun" | "tap";
}

/**
 * Calls of network sockets, in the network namespace of whoever makes them (for a stub: its own). Failures throw
 * {@link SysError}; those whose doc says so answer {@link WOULD_BLOCK}. All descriptors are close-on-exec.
 */
export interface NetworkSyscalls {
  /** `type` takes SOCK_NONBLOCK as well. */
  socket(domain: number, type: number, protocol?: number): number;
  bind(fd: number, address: SocketAddress): void;
  /** False while the connection is being made (a nonblocking socket): when it gets writable, {@link socketError} says how it went. */
  connect(fd: number, address: SocketAddress): boolean;
  listen(fd: number, backlog: number): void;
  /** Undefined when nobody waits. What has happened to a connection that has not been accepted yet is no error of the listener. */
  acceptFrom(fd: number): Accepted | undefined;
  getsockname(fd: number): SocketAddress | undefined;
  getpeername(fd: number): SocketAddress | undefined;
  /** A number is given as an int. */
  setsockopt(fd: number, level: number, name: number, value: number | Uint8Array): void;
  getsockopt(fd: number, level: number, name: number): number;
  /** Up to `size` bytes, as many as the kernel gave. */
  getsockoptBytes(fd: number, level: number, name: number, size: number): Uint8Array;
  /** Takes the pending error of a socket (SO_ERROR): errno, 0 for none. */
  socketError(fd: number): number;
  /** Bytes sent, {@link WOULD_BLOCK}. Never raises SIGPIPE. */
  sendto(fd: number, data: Uint8Array, to?: SocketAddress, flags?: number): number;
  recvfrom(fd: number, buffer: Uint8Array, flags?: number): Datagram;
  /** Bytes sent, {@link WOULD_BLOCK}. For descriptors over unix sockets see Syscalls.sendmsg. */
  sendMessage(fd: number, message: MessageToSend): number;
  recvMessage(fd: number, buffer: Uint8Array, flags?: number): ReceivedMessage;
  /** A nonblocking descriptor of a new interface, or of a persistent one, without any header before the packets. */
  openTun(options: TunOptions): { readonly fd: number; readonly name: string };
  /** Whether the interface stays when the last descriptor is closed. */
  setTunPersistent(fd: number, on: boolean): void;
}

/** Room for ancillary data that is received: what the kernel has for a datagram with every option set is below 300 bytes. */
const CONTROL = 512;

/**
 * Errors of a connection that accept(2) reports although the listener is all right ("Error handling" there). The next
 * connection in the queue is no worse for it.
 */
export const LOST_CONNECTION: ReadonlySet<number> = new Set([
  ERRNO.ECONNABORTED,
  ERRNO.ENETDOWN,
  ERRNO.EPROTO,
  ERRNO.ENOPROTOOPT,
  ERRNO.EHOSTDOWN,
  ERRNO.ENONET,
  ERRNO.EHOSTUNREACH,
  ERRNO.ENETUNREACH,
]);

/** The calls of network sockets, made at `machine`. */
export const networkCalls = (
  machine: Machine,
  files: Pick<Syscalls, "open" | "close">,
): NetworkSyscalls => {
  const { block, fetch, lend, raw, rawOnce } = machine;

  const withAddress = <T>(address: SocketAddress, use: (address: number, length: number) => T): T => {
    const memory = block(SOCKADDR_STORAGE);
    return use(memory.address, writeSocketAddress(memory.view, address));
  };

  const nameOf = (nr: number, fd: number, op: string): SocketAddress | undefined => {
    const memory = block(SOCKADDR_STORAGE);
    const length = block(4);
    length.view.setUint32(0, SOCKADDR_STORAGE, true);
    check(raw(nr, fd, memory.address, length.address), op);
    return readSocketAddress(memory.view, length.view.getUint32(0, true));
  };

  const option = (
    fd: number,
    level: number,
    name: number,
    size: number,
  ): { value: Block; length: number } => {
    const value = block(size);
    const length = block(4);
    length.view.setUint32(0, size, true);
    check(raw(NR.getsockopt, fd, level, name, value.address, length.address), "getsockopt");
    return { value, length: Math.min(size, length.view.getUint32(0, true)) };
  };

  const optionNumber = (fd: number, level: number, name: number): number =>
    option(fd, level, name, 4).value.view.getInt32(0, true);

  return {
    socket: (domain, type, protocol = 0) =>
      check(raw(NR.socket, domain, type | SOCK_CLOEXEC, protocol), "socket"),
    bind(fd, address) {
      check(withAddress(address, (at, length) => raw(NR.bind, fd, at, length)), "bind");
    },
    connect(fd, address) {
      // not tried again when interrupted: the connection goes on being made, as with a nonblocking socket
      const result = withAddress(address, (at, length) => rawOnce(NR.connect, fd, at, length));
      if (result === -ERRNO.EINPROGRESS || result === -ERRNO.EINTR) return false;
      check(result, "connect");
      return true;
    },
    listen(fd, backlog) {
      check(raw(NR.listen, fd, backlog), "listen");
    },
    acceptFrom(fd) {
      const memory = block(SOCKADDR_STORAGE);
      const length = block(4);
      for (;;) {
        length.view.setUint32(0, SOCKADDR_STORAGE, true);
        const result = raw(
          NR.accept4,
          fd,
          memory.address,
          length.address,
          SOCK_NONBLOCK | SOCK_CLOEXEC,
        );
        if (result === -ERRNO.EAGAIN) return undefined;
        if (result < 0 && LOST_CONNECTION.has(-result)) continue;
        check(result, "accept");
        return { fd: result, peer: readSocketAddress(memory.view, length.view.getUint32(0, true)) };
      }
    },
    getsockname: (fd) => nameOf(NR.getsockname, fd, "getsockname"),
    getpeername: (fd) => nameOf(NR.getpeername, fd, "getpeername"),
    setsockopt(fd, level, name, value) {
      const size = typeof value === "number" ? 4 : value.length;
      const memory = block(size);
      if (typeof value === "number") memory.view.setInt32(0, value, true);
      else memory.bytes.set(value);
      check(raw(NR.setsockopt, fd, level, name, memory.address, size), "setsockopt");
    },
    getsockopt: optionNumber,
    getsockoptBytes(fd, level, name, size) {
      const { value, length } = option(fd, level, name, size);
      return value.bytes.slice(0, length);
    },
    socketError: (fd) => optionNumber(fd, SOL_SOCKET, SO_ERROR),
    sendto(fd, data, to, flags = 0) {
      const address = lend(data);
      const send = (at: number, length: number): number =>
        blockingResult(
          raw(NR.sendto, fd, address, data.byteLength, flags | MSG_NOSIGNAL, at, length),
          "sendto",
        );
      return to === undefined ? send(0, 0) : withAddress(to, send);
    },
    recvfrom(fd, buffer, flags = 0) {
      const address = lend(buffer);
      const name = block(SOCKADDR_STORAGE);
      const size = block(4);
      size.view.setUint32(0, SOCKADDR_STORAGE, true);
      const length = blockingResult(
        raw(NR.recvfrom, fd, address, buffer.byteLength, flags, name.address, size.address),
        "recvfrom",
      );
      if (length === WOULD_BLOCK) return { length, from: undefined };
      fetch(buffer, address, Math.min(length, buffer.byteLength));
      return { length, from: readSocketAddress(name.view, size.view.getUint32(0, true)) };
    },
    sendMessage(fd, { data, to, control = [], flags = 0 }) {
      const message = messageHeader(machine, data, controlSize(control));
      writeControl(message.control.view, control);
      if (to !== undefined) {
        withAddress(to, (address, length) => setMessageName(message, address, length));
      }
      return blockingResult(raw(NR.sendmsg, fd, message.header.address, flags | MSG_NOSIGNAL), "sendmsg");
    },
    recvMessage(fd, buffer, flags = 0) {
      const message = messageHeader(machine, buffer, CONTROL);
      const name = block(SOCKADDR_STORAGE);
      setMessageName(message, name.address, SOCKADDR_STORAGE);
      const length = blockingResult(raw(NR.recvmsg, fd, message.header.address, flags), "recvmsg");
      if (length === WOULD_BLOCK) return { length, from: undefined, control: [], truncated: false };
      fetch(buffer, message.data, Math.min(length, buffer.byteLength));
      const { view } = message.header;
      return {
        length,
        from: readSocketAddress(name.view, view.getUint32(8, true)),
        control: readControl(message.control.view, controlLength(message)),
        truncated: (view.getInt32(48, true) & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
      };
    },
    openTun({ name, kind }) {
      const encoded = new TextEncoder().encode(name);
      if (encoded.length > 15) throw new SysError(`open ${kind}`, ERRNO.ENAMETOOLONG, name);
      if (encoded.includes(0)) throw new TypeError("Interface name holds a NUL");
      const fd = files.open("/dev/net/tun", O_RDWR | O_NONBLOCK);
      try {
        const request = block(SIZEOF.ifreq);
        request.bytes.set(encoded);
        request.view.setUint16(16, (kind === "tun" ? IFF_TUN : IFF_TAP) | IFF_NO_PI, true);
        check(raw(NR.ioctl, fd, TUNSETIFF, request.address), `open ${kind}`, name);
        return { fd, name: fromCString(request.bytes.subarray(0, 16)) };
      } catch (error) {
        files.close(fd);
        throw error;
      }
    },
    setTunPersistent(fd, on) {
      check(raw(NR.ioctl, fd, TUNSETPERSIST, on ? 1 : 0), "tun persist");
    },
  };
};

/** The calls of the calling thread. */
export const network: NetworkSyscalls = networkCalls(thread, kernel);
