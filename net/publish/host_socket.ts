/** Sockets of the host that ports are published on, and what it means when there is none. */
import { EngineError } from "../../base/errors.ts";
import { hints } from "../../base/hints.ts";
import {
  AF_INET,
  AF_INET6,
  SO_REUSEADDR,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../ffi/constants.ts";
import { errnoText, type SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import {
  IP_PKTINFO,
  IPV6_RECVPKTINFO,
  IPV6_V6ONLY,
  SO_KEEPALIVE,
  SOL_IP,
  SOL_IPV6,
  SOL_TCP,
  TCP_NODELAY,
  TCP_NOTSENT_LOWAT,
} from "../../ffi/network_constants.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { OUTSIDE_UNSENT } from "../local_tcp.ts";
import type { HostPort } from "../network_host_ports.ts";

/** The kernel shortens it to net.core.somaxconn. */
const BACKLOG = 4096;

/** A member of a container's ports. */
export interface PortTarget {
  /** The container's, 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** A published port of one host address. */
export interface HostSocket {
  /** For connections and datagrams from now on. */
  target: PortTarget;
  /** Gives the port back. */
  close(): void;
}

export const socketAddress = (address: Uint8Array, port: number): SocketAddress =>
  address.length === 4 ? { family: "inet", address, port } : { family: "inet6", address, port };

/** A socket that is bound, and listens if it is for TCP. @throws {SysError} */
export function openHostSocket(
  calls: NetworkSyscalls,
  protocol: "tcp" | "udp",
  address: Uint8Array,
  port: number,
): number {
  const v4 = address.length === 4;
  const type = protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const fd = calls.socket(v4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK);
  try {
    if (!v4) calls.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    if (protocol === "tcp") {
      // connections inherit these; without SO_REUSEADDR a port could not be had while old ones are in TIME_WAIT
      calls.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      calls.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      calls.setsockopt(fd, SOL_TCP, TCP_NODELAY, 1);
      calls.setsockopt(fd, SOL_TCP, TCP_NOTSENT_LOWAT, OUTSIDE_UNSENT);
    } else if (v4) calls.setsockopt(fd, SOL_IP, IP_PKTINFO, 1);
    else calls.setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    calls.bind(fd, socketAddress(address, port));
    if (protocol === "tcp") calls.listen(fd, BACKLOG);
    return fd;
  } catch (error) {
    kernel.close(fd);
    throw error;
  }
}

/** `0.0.0.0:80`, `[::]:80`. */
const placeOf = ({ hostAddress, hostPort }: HostPort): string =>
  hostAddress.includes(":") ? `[${hostAddress}]:${hostPort}` : `${hostAddress}:${hostPort}`;

/**
 * Docker's text for a socket that could not be had.
 *
 * @param target `172.17.0.2:80`
 */
export function bindFailed(port: HostPort, target: string, error: SysError): EngineError {
  const { hostPort, protocol } = port;
  const hint = error.is("EACCES", "EPERM")
    ? hints.privilegedPort(hostPort)
    : error.is("EADDRINUSE")
    ? hints.portInUse(hostPort, protocol === "udp" ? "udp" : "tcp")
    : error.is("EADDRNOTAVAIL")
    ? hints.foreignAddress(port.hostAddress)
    : error.is("EMFILE", "ENFILE")
    ? hints.openFiles
    : undefined;
  return new EngineError(
    "system",
    `failed to bind host port for ${placeOf(port)}:${target}/${protocol}: ${errnoText(error.errno)}`,
    { cause: error, hint },
  );
}
