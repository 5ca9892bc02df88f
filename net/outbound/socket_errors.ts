/** The queue of errors of a datagram socket (IP_RECVERR, ip(7)): which packet was refused, by whom and why. */
import { SysError } from "../../ffi/errno.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE, SOL_IP, SOL_IPV6 } from "../../ffi/network_constants.ts";
import { readSocketAddress } from "../../ffi/socket_address.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";

/** linux/errqueue.h: where an error is from. */
const ORIGIN_LOCAL = 1, ORIGIN_ICMP = 2, ORIGIN_ICMP6 = 3;
/** `struct sock_extended_err`; the address of whoever has sent the error stands behind it. */
const EXTENDED_ERROR = 16;

export interface SocketErrorReport {
  readonly errno: number;
  /** As it came over the network; undefined for one of this host's. */
  readonly icmp: { readonly type: number; readonly code: number; readonly from: Uint8Array } | undefined;
  /** The MTU, with EMSGSIZE. */
  readonly info: number;
  /** What was sent, as far as it was quoted. */
  readonly data: Uint8Array;
}

/** Makes a socket keep such reports. */
export function reportErrors(calls: NetworkSyscalls, fd: number, v4: boolean): void {
  if (v4) calls.setsockopt(fd, SOL_IP, IP_RECVERR, 1);
  else calls.setsockopt(fd, SOL_IPV6, IPV6_RECVERR, 1);
}

const quoted = new Uint8Array(1500);

/** The next report; undefined when there is none. */
export function nextError(calls: NetworkSyscalls, fd: number): SocketErrorReport | undefined {
  try {
    const { length, control } = calls.recvMessage(fd, quoted, MSG_ERRQUEUE);
    if (length === WOULD_BLOCK) return undefined;
    for (const { level, type, data } of control) {
      const wanted = (level === SOL_IP && type === IP_RECVERR) ||
        (level === SOL_IPV6 && type === IPV6_RECVERR);
      if (!wanted || data.length < EXTENDED_ERROR) continue;
      const copy = data.slice();
      const view = new DataView(copy.buffer);
      const origin = view.getUint8(4);
      const offender = readSocketAddress(
        new DataView(copy.buffer, EXTENDED_ERROR),
        copy.length - EXTENDED_ERROR,
      );
      const remote = (origin === ORIGIN_ICMP || origin === ORIGIN_ICMP6) &&
        (offender?.family === "inet" || offender?.family === "inet6");
      return {
        errno: view.getUint32(0, true),
        icmp: remote && (offender.family === "inet" || offender.family === "inet6")
          ? { type: view.getUint8(5), code: view.getUint8(6), from: offender.address }
          : undefined,
        info: origin === ORIGIN_LOCAL || remote ? view.getUint32(8, true) : 0,
        data: quoted.slice(0, Math.max(0, length)),
      };
    }
    return undefined;
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
