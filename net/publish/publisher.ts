/**
 * Published ports of all containers: sockets in the host's network, and what comes by them goes to the containers from the rootless host, with the client's
 * own address. One thread, no process for any of them.
 */
import { EngineError, invalid } from "../../base/errors.ts";
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../base/address.ts";
import { DatagramBuffer } from "../../ffi/datagram_buffer.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import type { SandboxPublisher } from "../netd/parts.ts";
import type { PublishState, SandboxState } from "../netd/protocol.ts";
import type { RootlessHost } from "../netd/rootless_host.ts";
import type { Topology } from "../netd/topology.ts";
import {
  EPHEMERAL_PORTS,
  HostPortBook,
  type PublishedPort,
  publishingFailed,
} from "../network_host_ports.ts";
import type { PortRequest } from "../network_ports.ts";
import type { Relay } from "../relay/relay.ts";
import { DescriptorPause } from "./descriptor_pause.ts";
import { bindFailed, type HostSocket, openHostSocket, type PortTarget } from "./host_socket.ts";
import { reassembleFragments } from "./reassembly.ts";
import { type PublishContext, TcpPort } from "./tcp_port.ts";
import { type UDP_LIMITS, UdpFlows, UdpPort } from "./udp_port.ts";

export interface PublisherDeps {
  readonly loop: EventLoop;
  readonly host: RootlessHost;
  readonly relay: Relay;
  /** Calls in the host's network. */
  readonly calls: NetworkSyscalls;
  readonly topology: Topology;
  readonly limits?: { readonly [name in keyof typeof UDP_LIMITS]: number };
}

/** Of TCP in the rootless host. */
const TUNING = {
  // a client that comes again from the same port is not kept waiting by the end of its last connection
  "ipv4.tcp_tw_reuse": "1",
  // half a minute; nobody is asked on the way to a container but this kernel
  "ipv4.tcp_syn_retries": "4",
  // two minutes for a container that is gone without a word: its kernel was this one
  "ipv4.tcp_keepalive_time": "60",
  "ipv4.tcp_keepalive_intvl": "10",
  "ipv4.tcp_keepalive_probes": "6",
};

interface Served {
  readonly port: PublishedPort;
  readonly socket: HostSocket;
  readonly target: PortTarget;
}

/** What is being published for one container; nothing of it is final yet. */
interface Plan {
  readonly sandbox: SandboxState;
  readonly addresses: { readonly 4: Uint8Array | undefined; readonly 6: Uint8Array | undefined };
  /** Sockets of before that have not found a use yet. */
  readonly reusable: Map<string, Served>;
  /** Host ports that are wanted again. */
  readonly assigned: PublishedPort[];
  readonly served: Served[];
  readonly made: Set<HostSocket>;
}

export class Publisher implements SandboxPublisher, Disposable {
  readonly #context: PublishContext;
  readonly #udp: UdpFlows;
  readonly #book = new HostPortBook();
  readonly #containers = new Map<string, readonly Served[]>();
  readonly #ephemeral = ephemeralPorts();

  constructor({ limits, ...deps }: PublisherDeps) {
    this.#context = { ...deps, descriptors: new DescriptorPause(deps.loop) };
    this.#udp = new UdpFlows(this.#context, new DatagramBuffer(), limits);
    reassembleFragments(deps.host);
    for (const [name, value] of Object.entries(TUNING)) tune(deps.host, name, value);
  }

  /** Clients of UDP ports that are remembered. */
  get clients(): number {
    return this.#udp.count;
  }

  publish(sandbox: SandboxState): PublishedPort[] {
    const { containerId, publish } = sandbox;
    const before = this.#containers.get(containerId) ?? [];
    for (const { port } of before) this.#book.remove(port);
    const plan: Plan = {
      sandbox,
      addresses: this.#addressesOf(publish),
      reusable: new Map(before.map((served) => [placeKey(served.port), served])),
      assigned: [...publish.assigned, ...before.map(({ port }) => port)],
      served: [],
      made: new Set(),
    };
    try {
      const { 4: ipv4, 6: ipv6 } = plan.addresses;
      if (ipv4 ?? ipv6) { for (const request of publish.ports) this.#serve(plan, request); }
    } catch (error) {
      for (const { port } of plan.served) this.#book.remove(port);
      for (const { port } of before) this.#book.add(port);
      for (const socket of plan.made) socket.close();
      if (!(error instanceof Error)) throw error;
      throw publishingFailed({ name: sandbox.name, id: endpointOf(sandbox) }, error);
    }
    for (const { socket, target } of plan.served) socket.target = target;
    for (const { socket } of plan.reusable.values()) socket.close();
    if (plan.served.length > 0) this.#containers.set(containerId, plan.served);
    else this.#containers.delete(containerId);
    return plan.served.map(({ port }) => port);
  }

  unpublish(containerId: string): void {
    for (const { port, socket } of this.#containers.get(containerId) ?? []) {
      this.#book.remove(port);
      socket.close();
    }
    this.#containers.delete(containerId);
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#containers.keys()]) this.unpublish(id);
    this.#udp[Symbol.dispose]();
  }

  /** Where connections go to; nothing that is in an internal network is reached from outside. */
  #addressesOf({ ipv4, ipv6 }: PublishState): Plan["addresses"] {
    const [four, six] = [ipv4, ipv6].map((text) => {
      const address = text === undefined ? undefined : addressBytes(parseAddress(text));
      return address !== undefined && this.#context.topology.subnetOf(address)?.internal
        ? undefined
        : address;
    });
    return { 4: four, 6: six };
  }

  /** @throws {EngineError} */
  #serve(plan: Plan, request: PortRequest): void {
    if (request.protocol === "sctp") {
      throw invalid(`cannot publish ${request.port}/sctp: SCTP cannot be published, only TCP and UDP`);
    }
    const range = request.first === 0 ? this.#ephemeral : request;
    for (const hostPort of this.#candidates(plan, request)) {
      const found = this.#tryPort(plan, request, hostPort, range.first === range.last);
      if (found === undefined) continue;
      for (const one of found) this.#book.add(one.port);
      plan.served.push(...found);
      return;
    }
  }

  /** The port that was given out before first. @throws {EngineError} there is none */
  *#candidates({ assigned }: Plan, request: PortRequest): Generator<number> {
    const { first, last, hostAddresses, port, protocol } = request;
    const index = assigned.findIndex((one) =>
      one.port === port && one.protocol === protocol && hostAddresses.includes(one.hostAddress) &&
      (first === 0 || (one.hostPort >= first && one.hostPort <= last)) &&
      this.#book.takenOn(protocol, hostAddresses, one.hostPort) === undefined
    );
    const again = assigned[index]?.hostPort;
    if (again !== undefined) {
      for (let at = assigned.length - 1; at >= 0; at--) {
        const one = assigned[at];
        if (one?.port === port && one.protocol === protocol && one.hostPort === again) assigned.splice(at, 1);
      }
      yield again;
    }
    for (const candidate of this.#book.candidates(request, this.#ephemeral)) {
      if (candidate !== again) yield candidate;
    }
  }

  /**
   * Sockets on all addresses of a request. Undefined: another program has the port.
   *
   * @throws {EngineError} none can be had; also when another program has the `only` port
   */
  #tryPort(plan: Plan, request: PortRequest, hostPort: number, only: boolean): Served[] | undefined {
    const { port, protocol, hostAddresses } = request;
    const found: { served: Served; made: boolean }[] = [];
    const giveBack = (): void => {
      for (const { served, made } of found) {
        if (!made) plan.reusable.set(placeKey(served.port), served);
        else {
          plan.made.delete(served.socket);
          served.socket.close();
        }
      }
    };
    for (const hostAddress of hostAddresses) {
      const published: PublishedPort = { port, protocol, hostAddress, hostPort };
      const host = addressBytes(parseAddress(hostAddress));
      const target = targetOf(plan, host, port);
      const key = placeKey(published);
      const there = plan.reusable.get(key);
      if (there !== undefined) {
        plan.reusable.delete(key);
        found.push({ served: { port: published, socket: there.socket, target }, made: false });
        continue;
      }
      try {
        const socket = this.#open(published, host, target);
        plan.made.add(socket);
        found.push({ served: { port: published, socket, target }, made: true });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        // all addresses were meant, and of this family there is none
        if (
          hostAddress === "::" && hostAddresses.length > 1 && error.is("EAFNOSUPPORT", "EADDRNOTAVAIL")
        ) continue;
        giveBack();
        if (error.is("EADDRINUSE") && !only) return undefined;
        throw bindFailed(published, placeOf(target), error);
      }
    }
    return found.map(({ served }) => served);
  }

  /** @throws {SysError} */
  #open({ protocol, hostPort }: PublishedPort, host: Uint8Array, target: PortTarget): HostSocket {
    const context = this.#context;
    if (protocol === "tcp") {
      return new TcpPort(context, openHostSocket(context.calls, "tcp", host, hostPort), target);
    }
    const fd = openHostSocket(context.calls, "udp", host, hostPort);
    return new UdpPort(context, this.#udp, fd, host.length === 4, target);
  }
}

function tune(host: RootlessHost, name: string, value: string): void {
  try {
    host.sysctl(name, value);
  } catch (error) {
    // a kernel that has it for all namespaces together: its own value does as well
    if (!(error instanceof SysError && error.is("ENOENT", "EACCES", "EPERM", "EROFS"))) throw error;
  }
}

/** The container's address of the family that clients come by, or else the other one. */
function targetOf({ addresses }: Plan, host: Uint8Array, port: number): PortTarget {
  const address = host.length === 4 ? addresses[4] ?? addresses[6] : addresses[6] ?? addresses[4];
  if (address === undefined) throw new EngineError("system", "the container has no address");
  return { address, port };
}

const placeKey = ({ protocol, hostAddress, hostPort }: PublishedPort): string =>
  `${protocol} ${hostAddress} ${hostPort}`;

const placeOf = ({ address, port }: PortTarget): string =>
  address.length === 4
    ? `${address.join(".")}:${port}`
    : `[${formatAddress(addressFromBytes(address))}]:${port}`;

/** The endpoint by which the container is reached. */
function endpointOf({ endpoints, publish }: SandboxState): string {
  const has = (prefix: string | undefined, address: string | undefined) =>
    address !== undefined && prefix?.split("/")[0] === address;
  return endpoints.find(({ ipv4, ipv6 }) => has(ipv4, publish.ipv4) || has(ipv6, publish.ipv6))?.id ??
    endpoints[0]?.id ?? "";
}

/** net.ipv4.ip_local_port_range, as Docker. */
function ephemeralPorts(): { first: number; last: number } {
  try {
    const text = Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range");
    const [first = NaN, last = NaN] = text.trim().split(/\s+/).map(Number);
    if (first >= 1 && last >= first && last <= 65535) return { first, last };
  } catch {
    // a /proc that shows less
  }
  return EPHEMERAL_PORTS;
}
