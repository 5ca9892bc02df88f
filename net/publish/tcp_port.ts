/**
 * A published TCP port of one host address. A client is accepted first: in user space there is no other way to hear of it. Then the container
 * is connected to, as the client; when it refuses, the client is reset.
 */
import { EPOLLIN, SOL_SOCKET } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { type Accepted, network, type NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { IP_BIND_ADDRESS_NO_PORT, SO_KEEPALIVE, SO_LINGER, SOL_IP } from "../../ffi/network_constants.ts";
import type { RootlessHost } from "../netd/rootless_host.ts";
import type { Topology } from "../netd/topology.ts";
import type { Relay } from "../relay/relay.ts";
import { sourceFor } from "./client_source.ts";
import { type DescriptorPause, isOutOfDescriptors } from "./descriptor_pause.ts";
import { type HostSocket, type PortTarget, socketAddress } from "./host_socket.ts";

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
    const { calls, descriptors } = this.#context;
    for (let count = 0; count < BATCH; count++) {
      try {
        const accepted = calls.acceptFrom(this.#fd);
        if (accepted === undefined) return;
        this.#serve(accepted);
        if (!descriptors.isLate(accepted.fd)) continue;
      } catch (error) {
        if (!isOutOfDescriptors(error)) throw error;
      }
      descriptors.pause(this.#fd, this.#isOpen, EPOLLIN);
      return;
    }
  }

  #serve({ fd: client, peer }: Accepted): void {
    let inside = -1;
    try {
      if (peer === undefined || (peer.family !== "inet" && peer.family !== "inet6")) {
        throw new TypeError("Client of a strange family");
      }
      const { address } = this.target;
      const source = sourceFor(peer.address, address, this.#context.topology);
      inside = this.#connect(source, peer.port) ?? this.#connect(source, 0) ?? -1;
    } catch (error) {
      if (isOutOfDescriptors(error)) {
        reset(client);
        throw error;
      }
      if (!(error instanceof SysError)) {
        reset(client);
        throw error;
      }
    }
    if (inside < 0) reset(client);
    else this.#context.relay.join(client, inside);
  }

  /**
   * A socket that connects to the container. With a port, undefined when another connection is from there to here already.
   *
   * @throws {SysError} there is no way to the container
   */
  #connect(source: Uint8Array | undefined, port: number): number | undefined {
    const { address, port: targetPort } = this.target;
    const fd = this.#context.host.takeSocket(address.length === 4 ? "tcp4" : "tcp6");
    try {
      network.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      if (source !== undefined) {
        // the number is chosen by connect(2), among those that are free for this destination
        if (port === 0) network.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        network.bind(fd, socketAddress(source, port));
      }
      network.connect(fd, socketAddress(address, targetPort));
      return fd;
    } catch (error) {
      kernel.close(fd);
      if (port !== 0 && error instanceof SysError && error.is("EADDRINUSE", "EADDRNOTAVAIL")) {
        return undefined;
      }
      throw error;
    }
  }
}

function reset(fd: number): void {
  try {
    network.setsockopt(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
  } finally {
    kernel.close(fd);
  }
}
