/**
 * A published TCP port of one host address. A client is accepted first: in user space there is no other way to hear of it. Then the container
 * is connected to, as the client; when it refuses, the client is reset.
 */
import { EPOLLIN, SOL_SOCKET } from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network, type NetworkSyscalls } from "../../ffi/kernel_network.ts";
import {
  IP_BIND_ADDRESS_NO_PORT,
  SO_KEEPALIVE,
  SO_LINGER,
  SOL_IP,
  SOL_TCP,
  TCP_NODELAY,
} from "../../ffi/network_constants.ts";
import { AddressBuffer, setOption } from "../../ffi/stream_calls.ts";
import type { RootlessHost } from "../netd/rootless_host.ts";
import type { Topology } from "../netd/topology.ts";
import type { Relay } from "../relay/relay.ts";
import { sourceFor } from "./client_source.ts";
import { type DescriptorPause, isOutOfDescriptors } from "./descriptor_pause.ts";
import type { HostSocket, PortTarget } from "./host_socket.ts";

/** What all published ports share. */
export interface PublishContext {
  readonly loop: EventLoop;
  readonly host: RootlessHost;
  readonly relay: Relay;
  /** Calls in the host's network. */
  readonly calls: NetworkSyscalls;
  readonly topology: Topology;
  readonly descriptors: DescriptorPause;
}

/** Clients accepted before others have their turn. */
const BATCH = 32;
/** `struct linger`: closing sends a reset. */
const RESET_ON_CLOSE = new Uint8Array(new Int32Array([1, 0]).buffer);

/** The client that was accepted last. */
const peer = new AddressBuffer();
/** An end of the connection to the container. */
const end = new AddressBuffer();

export class TcpPort implements HostSocket {
  target: PortTarget;
  readonly #context: PublishContext;
  readonly #fd: number;
  #open = true;
  readonly #isOpen = () => this.#open;

  /** @param fd a listener; owned from here on */
  constructor(context: PublishContext, fd: number, target: PortTarget) {
    this.#context = context;
    this.#fd = fd;
    this.target = target;
    context.loop.add(fd, EPOLLIN, () => this.#accept());
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#context.loop.remove(this.#fd);
    kernel.close(this.#fd);
  }

  #accept(): void {
    const { descriptors } = this.#context;
    for (let count = 0; count < BATCH; count++) {
      const client = peer.accept(this.#fd);
      if (client === -ERRNO.EAGAIN) return;
      const problem = client < 0 ? -client : this.#serve(client);
      if (problem !== 0 && !isOutOfDescriptors(problem)) {
        if (client >= 0) continue;
        throw new SysError("accept", problem);
      }
      if (problem === 0 && !descriptors.isLate(client)) continue;
      descriptors.pause(this.#fd, this.#isOpen, EPOLLIN);
      return;
    }
  }

  /** Joins a client, whose address is {@link peer}, with the container. Otherwise the client is reset, and errno says why. */
  #serve(client: number): number {
    const { relay, topology } = this.#context;
    let inside: number;
    try {
      const from = peer.address;
      if (from === undefined) throw new TypeError("Client of a strange family");
      const source = sourceFor(from, this.target.address, topology);
      inside = this.#connect(source, peer.port);
      // another connection is from there to here already
      if (inside === -ERRNO.EADDRINUSE || inside === -ERRNO.EADDRNOTAVAIL) inside = this.#connect(source, 0);
    } catch (error) {
      reset(client);
      if (!(error instanceof SysError)) throw error;
      return error.errno;
    }
    if (inside < 0) {
      reset(client);
      return -inside;
    }
    relay.join(client, inside);
    return 0;
  }

  /** A socket that connects to the container, or minus errno. */
  #connect(source: Uint8Array | undefined, port: number): number {
    const { address, port: targetPort } = this.target;
    const fd = this.#context.host.takeSocket(address.length === 4 ? "tcp4" : "tcp6");
    setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    setOption(fd, SOL_TCP, TCP_NODELAY, 1);
    let result = 0;
    if (source !== undefined) {
      // the number is chosen by connect(2), among those that are free for this destination
      if (port === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
      end.set(source, port);
      result = end.bind(fd);
    }
    if (result === 0) {
      end.set(address, targetPort);
      result = end.connect(fd);
    }
    if (result === 0 || result === -ERRNO.EINPROGRESS) return fd;
    kernel.close(fd);
    return result;
  }
}

function reset(fd: number): void {
  try {
    network.setsockopt(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
  } finally {
    kernel.close(fd);
  }
}
