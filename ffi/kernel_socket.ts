import {
  AF_INET,
  AF_UNIX,
  AT_FDCWD,
  IFF_UP,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  O_PATH,
  SCM_RIGHTS,
  SIOCGIFFLAGS,
  SIOCSIFFLAGS,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { blockingResult } from "./kernel_descriptor.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { controlLength, type MessageHeader, messageHeader } from "./message_header.ts";
import { NR } from "./syscall_numbers.ts";
import { type Syscalls, WOULD_BLOCK } from "./syscalls.ts";

type Files = Pick<Syscalls, "open" | "close">;

type Calls = Pick<
  Syscalls,
  | "socketpair"
  | "unixListen"
  | "unixConnect"
  | "accept"
  | "shutdown"
  | "peerCredentials"
  | "sendmsg"
  | "recvmsg"
  | "interfaceUp"
>;

/** SCM_MAX_FD of the kernel: descriptors that one message can carry. */
const SCM_MAX_FD = 253;
const SUN_PATH = SIZEOF.sockaddrUn - 2;

/** Runs `use` with a path for the socket that fits into sun_path: a longer one is reached through its directory's descriptor. */
function withSocketAddress<T>(
  machine: Machine,
  files: Files,
  path: string,
  use: (address: number, length: number) => T,
): T {
  const encoded = new TextEncoder().encode(path);
  if (encoded.length < SUN_PATH) return use(socketAddress(machine, encoded), 2 + encoded.length + 1);
  const slash = path.lastIndexOf("/");
  const directory = files.open(slash <= 0 ? "/" : path.slice(0, slash), O_PATH);
  try {
    const short = new TextEncoder().encode(`/proc/self/fd/${directory}/${path.slice(slash + 1)}`);
    if (short.length >= SUN_PATH) throw new SysError("unix socket", ERRNO.ENAMETOOLONG, path);
    return use(socketAddress(machine, short), 2 + short.length + 1);
  } finally {
    files.close(directory);
  }
}

function socketAddress({ block }: Machine, path: Uint8Array): number {
  if (path.includes(0)) throw new TypeError("Socket path holds a NUL");
  const address = block(SIZEOF.sockaddrUn);
  address.view.setUint16(0, AF_UNIX, true);
  address.bytes.set(path, 2);
  return address.address;
}

/** Runs `use` on a new socket and closes it when that fails. */
function withSocket(machine: Machine, files: Files, type: number, use: (fd: number) => void): number {
  const fd = check(machine.raw(NR.socket, AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
  try {
    use(fd);
    return fd;
  } catch (error) {
    files.close(fd);
    throw error;
  }
}

const align8 = (size: number): number => (size + 7) & ~7;

function receivedDescriptors(message: MessageHeader): number[] {
  const fds: number[] = [];
  const { control } = message;
  const end = controlLength(message);
  for (let offset = 0; offset + SIZEOF.cmsghdr <= end;) {
    const length = Number(control.view.getBigUint64(offset, true));
    if (length < SIZEOF.cmsghdr) break;
    const rights = control.view.getInt32(offset + 8, true) === SOL_SOCKET &&
      control.view.getInt32(offset + 12, true) === SCM_RIGHTS;
    for (let at = SIZEOF.cmsghdr; rights && at + 4 <= length; at += 4) {
      fds.push(control.view.getInt32(offset + at, true));
    }
    offset += align8(length);
  }
  return fds;
}

/** Unix sockets, and the one network interface call the runtime needs. */
export const socketCalls = (machine: Machine, files: Files): Calls => {
  const { block, cString, fetch, raw } = machine;
  return {
    socketpair(type) {
      const pair = block(8);
      check(raw(NR.socketpair, AF_UNIX, type | SOCK_CLOEXEC, 0, pair.address), "socketpair");
      return [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    },
    unixListen(path, backlog, mode) {
      return withSocket(machine, files, SOCK_STREAM | SOCK_NONBLOCK, (fd) => {
        // bind gives the file the socket's own mode less the umask: nobody can connect before it is right
        check(raw(NR.fchmod, fd, mode), "fchmod", path);
        withSocketAddress(
          machine,
          files,
          path,
          (address, length) => check(raw(NR.bind, fd, address, length), "bind", path),
        );
        check(raw(NR.fchmodat, AT_FDCWD, cString(path), mode), "chmod", path);
        check(raw(NR.listen, fd, backlog), "listen", path);
      });
    },
    unixConnect(path) {
      return withSocket(machine, files, SOCK_STREAM, (fd) => {
        withSocketAddress(
          machine,
          files,
          path,
          (address, length) => check(raw(NR.connect, fd, address, length), "connect", path),
        );
      });
    },
    accept(fd) {
      const result = raw(NR.accept4, fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
      // a peer that has gone again is no reason to stop
      return result === -ERRNO.ECONNABORTED ? WOULD_BLOCK : blockingResult(result, "accept");
    },
    shutdown(fd, how) {
      check(raw(NR.shutdown, fd, how), "shutdown");
    },
    peerCredentials(fd) {
      const ucred = block(SIZEOF.ucred);
      const length = block(4);
      length.view.setUint32(0, SIZEOF.ucred, true);
      check(raw(NR.getsockopt, fd, SOL_SOCKET, SO_PEERCRED, ucred.address, length.address), "getsockopt");
      return {
        pid: ucred.view.getInt32(0, true),
        uid: ucred.view.getUint32(4, true),
        gid: ucred.view.getUint32(8, true),
      };
    },
    sendmsg(fd, data, fds) {
      const size = fds.length === 0 ? 0 : SIZEOF.cmsghdr + 4 * fds.length;
      const { header, control } = messageHeader(machine, data, align8(size));
      if (size > 0) {
        control.view.setBigUint64(0, BigInt(size), true);
        control.view.setInt32(8, SOL_SOCKET, true);
        control.view.setInt32(12, SCM_RIGHTS, true);
        for (const [index, sent] of fds.entries()) {
          control.view.setInt32(SIZEOF.cmsghdr + 4 * index, sent, true);
        }
      }
      return blockingResult(raw(NR.sendmsg, fd, header.address, MSG_NOSIGNAL), "sendmsg");
    },
    recvmsg(fd, buffer) {
      const received = messageHeader(machine, buffer, SIZEOF.cmsghdr + align8(4 * SCM_MAX_FD));
      const length = blockingResult(
        raw(NR.recvmsg, fd, received.header.address, MSG_CMSG_CLOEXEC),
        "recvmsg",
      );
      if (length === WOULD_BLOCK) return { length, fds: [] };
      fetch(buffer, received.data, length);
      const fds = receivedDescriptors(received);
      if ((received.header.view.getInt32(48, true) & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
        for (const lost of fds) files.close(lost);
        throw new SysError("recvmsg", ERRNO.EMSGSIZE);
      }
      return { length, fds };
    },
    interfaceUp(name) {
      const encoded = new TextEncoder().encode(name);
      if (encoded.length > 15) throw new SysError("interface up", ERRNO.ENODEV, name);
      const fd = check(raw(NR.socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
      try {
        const request = block(SIZEOF.ifreq);
        request.bytes.set(encoded);
        check(raw(NR.ioctl, fd, SIOCGIFFLAGS, request.address), "interface up", name);
        request.view.setInt16(16, request.view.getInt16(16, true) | IFF_UP, true);
        check(raw(NR.ioctl, fd, SIOCSIFFLAGS, request.address), "interface up", name);
      } finally {
        files.close(fd);
      }
    },
  };
};
