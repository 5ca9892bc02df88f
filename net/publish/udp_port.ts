/**
 * A published UDP port of one host address: one socket on the host for all clients, and for each client one in the rootless host, which has the
 * client's address and is connected to the container.
 */
import { EPOLLIN } from "../../ffi/constants.ts";
import type { DatagramBuffer } from "../../ffi/datagram_buffer.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { sourceFor } from "./client_source.ts";
import { type HostSocket, type PortTarget, socketAddress } from "./host_socket.ts";
import type { PublishContext } from "./tcp_port.ts";

/** Datagrams taken before others have their turn. */
const BATCH = 64;
/** As conntrack has it: seconds without a datagram after which a client is forgotten, that was never answered or that was. */
const UNANSWERED_MS = 30_000, ANSWERED_MS = 180_000;
/** Clients of one port, and of all: a new one takes the place of the one that was silent for longest. */
export const UDP_LIMITS = { perPort: 1024, total: 4096 } as const;

/** A client of a port. */
interface Flow {
  readonly port: UdpPort;
  readonly key: number | string;
  readonly fd: number;
  /** `struct sockaddr_in` or `_in6` of the client. */
  readonly client: Uint8Array;
  /** Source, port and target inside, so that no two sockets have the same ends. */
  readonly ends: string;
  /** The host's address that it has used last: what it gets comes from there. */
  local: Uint8Array;
  answered: boolean;
  used: number;
}

/** All flows of all ports: bounds and ends them. */
export class UdpFlows {
  readonly #context: PublishContext;
  readonly #limits: { readonly perPort: number; readonly total: number };
  readonly buffer: DatagramBuffer;
  readonly ends = new Set<string>();
  readonly #ports = new Set<UdpPort>();
  #count = 0;
  #timer: number | undefined;

  constructor(
    context: PublishContext,
    buffer: DatagramBuffer,
    limits: { readonly perPort: number; readonly total: number } = UDP_LIMITS,
  ) {
    this.#context = context;
    this.buffer = buffer;
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  add(port: UdpPort): void {
    this.#ports.add(port);
  }

  delete(port: UdpPort): void {
    this.#ports.delete(port);
  }

  /** Makes room for one more client of a port. */
  opened(port: UdpPort): void {
    this.#count++;
    if (port.clients > this.#limits.perPort) port.closeIdlest();
    else if (this.#count > this.#limits.total) this.yieldOne();
    this.#timer ??= this.#context.loop.after(UNANSWERED_MS / 4, () => this.#sweep());
  }

  closed(): void {
    this.#count--;
  }

  /** The port with most clients loses one. False: there is none. */
  yieldOne(): boolean {
    let most: UdpPort | undefined;
    for (const port of this.#ports) if (port.clients > (most?.clients ?? 0)) most = port;
    most?.closeIdlest();
    return most !== undefined;
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const port of this.#ports) port.sweep(now);
    if (this.#count > 0) this.#timer = this.#context.loop.after(UNANSWERED_MS / 4, () => this.#sweep());
  }

  [Symbol.dispose](): void {
    this.#context.loop.cancel(this.#timer);
  }
}

export class UdpPort implements HostSocket {
  readonly #context: PublishContext;
  readonly #shared: UdpFlows;
  readonly #fd: number;
  readonly #v4: boolean;
  readonly #flows = new Map<number | string, Flow>();
  #target: PortTarget;
  #open = true;

  /** @param fd bound, and telling where datagrams were sent to; owned from here on */
  constructor(context: PublishContext, shared: UdpFlows, fd: number, v4: boolean, target: PortTarget) {
    this.#context = context;
    this.#shared = shared;
    this.#fd = fd;
    this.#v4 = v4;
    this.#target = target;
    context.loop.add(fd, EPOLLIN, () => this.#receive());
    shared.add(this);
  }

  get clients(): number {
    return this.#flows.size;
  }

  get target(): PortTarget {
    return this.#target;
  }

  /** Clients go on as new ones. */
  set target(target: PortTarget) {
    const { address, port } = this.#target;
    const same = port === target.port && address.length === target.address.length &&
      address.every((byte, index) => byte === target.address[index]);
    this.#target = target;
    if (!same) { for (const flow of this.#flows.values()) this.#drop(flow); }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const flow of this.#flows.values()) this.#drop(flow);
    this.#shared.delete(this);
    this.#context.loop.remove(this.#fd);
    kernel.close(this.#fd);
  }

  closeIdlest(): void {
    let idlest: Flow | undefined;
    for (const flow of this.#flows.values()) {
      if (idlest === undefined || flow.used < idlest.used) idlest = flow;
    }
    if (idlest !== undefined) this.#drop(idlest);
  }

  sweep(now: number): void {
    for (const flow of this.#flows.values()) {
      if (now - flow.used > (flow.answered ? ANSWERED_MS : UNANSWERED_MS)) this.#drop(flow);
    }
  }

  /** From clients. */
  #receive(): void {
    const { buffer } = this.#shared;
    const now = performance.now();
    for (let count = 0; count < BATCH; count++) {
      const length = buffer.receiveFrom(this.#fd);
      // an error, if not EAGAIN, is one of an answer that could not be delivered
      if (length < 0) {
        if (length === -ERRNO.EAGAIN) return;
        continue;
      }
      const key = this.#v4 ? buffer.peerAddress4 * 0x1_0000 + buffer.peerPort : peerKey(buffer.peer);
      const flow = this.#flows.get(key) ?? this.#start(key);
      if (flow === undefined) continue;
      flow.used = now;
      if (!sameStart(flow.local, buffer.local)) flow.local = buffer.local.slice(0, flow.local.length);
      // ECONNREFUSED tells of an earlier one, and is over with that
      if (buffer.send(flow.fd, length) === -ERRNO.ECONNREFUSED) buffer.send(flow.fd, length);
    }
  }

  /** From the container. */
  #answer(flow: Flow): void {
    const { buffer } = this.#shared;
    for (let count = 0; count < BATCH; count++) {
      const length = buffer.receive(flow.fd);
      if (length < 0) {
        if (length === -ERRNO.EAGAIN) return;
        continue;
      }
      flow.used = performance.now();
      flow.answered = true;
      buffer.peer.set(flow.client);
      buffer.sendTo(this.#fd, length, flow.local);
    }
  }

  #start(key: number | string): Flow | undefined {
    const { buffer } = this.#shared;
    const { loop, topology } = this.#context;
    const { address } = this.#target;
    const client = this.#v4 ? buffer.peer.slice(4, 8) : buffer.peer.slice(8, 24);
    const source = sourceFor(client, address, topology);
    const port = buffer.peerPort;
    let ends = `${source?.join(".")}:${port} ${address.join(".")}:${this.#target.port}`;
    const isFree = source !== undefined && !this.#shared.ends.has(ends);
    let fd: number;
    try {
      fd = this.#connect(source, isFree ? port : 0);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // for want of descriptors: the next datagram finds one
      if (error.is("EMFILE", "ENFILE")) this.#shared.yieldOne();
      return undefined;
    }
    if (!isFree) ends = "";
    else this.#shared.ends.add(ends);
    const flow: Flow = {
      port: this,
      key,
      fd,
      client: buffer.peer.slice(),
      ends,
      local: buffer.local.slice(0, this.#v4 ? 4 : 16),
      answered: false,
      used: performance.now(),
    };
    loop.add(fd, EPOLLIN, () => this.#answer(flow));
    this.#flows.set(key, flow);
    this.#shared.opened(this);
    return flow;
  }

  #connect(source: Uint8Array | undefined, port: number): number {
    const { address, port: targetPort } = this.#target;
    const { descriptors, host } = this.#context;
    const fd = host.takeSocket(address.length === 4 ? "udp4" : "udp6");
    try {
      if (descriptors.isLate(fd)) throw new SysError("socket", ERRNO.EMFILE);
      if (source !== undefined) network.bind(fd, socketAddress(source, port));
      network.connect(fd, socketAddress(address, targetPort));
      return fd;
    } catch (error) {
      kernel.close(fd);
      throw error;
    }
  }

  #drop(flow: Flow): void {
    this.#flows.delete(flow.key);
    if (flow.ends !== "") this.#shared.ends.delete(flow.ends);
    this.#shared.closed();
    this.#context.loop.remove(flow.fd);
    kernel.close(flow.fd);
  }
}

/** Port, address and interface of an IPv6 client, as text. */
function peerKey(peer: Uint8Array): string {
  let key = "";
  for (let index = 2; index < 28; index++) {
    if (index < 4 || index > 7) key += String.fromCharCode(peer[index] ?? 0);
  }
  return key;
}

function sameStart(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
