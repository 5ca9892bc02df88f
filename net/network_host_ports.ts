/**
 * The host's ports that are published: which are free in the engine's books, in the order in which Docker tries them. Whether the kernel
 * agrees is seen when the socket is bound; then the next candidate is tried, or the error here is told.
 */
import { EngineError } from "../base/errors.ts";
import { tryParseAddress } from "../base/address.ts";
import type { ContainerPort, PortProtocol, PortRequest } from "./network_ports.ts";

/** A published port. */
export interface PublishedPort extends ContainerPort {
  readonly hostAddress: string;
  readonly hostPort: number;
}

/** An address and port of the host's. */
export interface HostPort {
  readonly protocol: PortProtocol;
  readonly hostAddress: string;
  readonly hostPort: number;
}

/** Ports that any program may get: net.ipv4.ip_local_port_range, or this where it cannot be read (moby: portallocator). */
export const EPHEMERAL_PORTS = { first: 49153, last: 65535 } as const;

/** Published ports of one engine, to look up by number. */
export class HostPortBook {
  readonly #byPort = new Map<string, string[]>();
  /** The last port that was given out of a range, by range. */
  readonly #last = new Map<string, number>();

  constructor(taken: Iterable<HostPort> = []) {
    for (const port of taken) this.add(port);
  }

  add({ protocol, hostAddress, hostPort }: HostPort): void {
    const key = `${hostPort}/${protocol}`;
    this.#byPort.set(key, [...this.#byPort.get(key) ?? [], hostAddress]);
  }

  remove({ protocol, hostAddress, hostPort }: HostPort): void {
    const key = `${hostPort}/${protocol}`;
    const addresses = this.#byPort.get(key) ?? [];
    const at = addresses.indexOf(hostAddress);
    const left = addresses.filter((_, index) => index !== at);
    if (left.length > 0) this.#byPort.set(key, left);
    else this.#byPort.delete(key);
  }

  /** The first of `addresses` on which the port is taken. All addresses of a family (0.0.0.0, ::) are taken with any one of it. */
  takenOn(protocol: PortProtocol, addresses: readonly string[], port: number): string | undefined {
    const taken = this.#byPort.get(`${port}/${protocol}`);
    if (!taken) return undefined;
    return addresses.find((address) => taken.some((other) => collide(address, other)));
  }

  /**
   * The ports to try for a request, best first: a range goes on behind the port that it gave last.
   * @throws {EngineError} system: Docker's texts for a port that is taken, and for a range without a free port
   */
  *candidates(
    request: PortRequest,
    ephemeral: { first: number; last: number } = EPHEMERAL_PORTS,
  ): Generator<number> {
    const { protocol, hostAddresses } = request;
    const { first, last } = request.first === 0 ? ephemeral : request;
    if (first === last) {
      const address = this.takenOn(protocol, hostAddresses, first);
      if (address !== undefined) throw portTaken(address, first);
      yield first;
      return;
    }
    const key = `${first}-${last}/${protocol}/${hostAddresses[0]}`;
    const count = last - first + 1;
    const start = this.#last.get(key) ?? last;
    for (let i = 1; i <= count; i++) {
      const port = first + (start - first + i) % count;
      if (this.takenOn(protocol, hostAddresses, port) !== undefined) continue;
      this.#last.set(key, port);
      yield port;
    }
    throw new EngineError("system", "all ports are allocated");
  }
}

function collide(a: string, b: string): boolean {
  if (a === b) return true;
  const [left, right] = [tryParseAddress(a), tryParseAddress(b)];
  return left?.family === right?.family && (left?.value === 0n || right?.value === 0n);
}

/** Docker's text for a port that is in use. */
export const portTaken = (address: string, port: number): EngineError =>
  new EngineError("system", `Bind for ${address}:${port} failed: port is already allocated`);

/** What Docker puts before an error of publishing. */
export const publishingFailed = (endpoint: { name: string; id: string }, error: Error): EngineError =>
  new EngineError(
    "system",
    `driver failed programming external connectivity on endpoint ${endpoint.name} (${endpoint.id}): ${error.message}`,
    { cause: error, hint: error instanceof EngineError ? error.hint : undefined },
  );

/** `NetworkSettings.Ports` of a running container: exposed ports with where they are published, null where they are not. */
export function portsView(
  exposed: readonly ContainerPort[],
  published: readonly PublishedPort[],
): Record<string, { HostIp: string; HostPort: string }[] | null> {
  const ports: Record<string, { HostIp: string; HostPort: string }[] | null> = {};
  for (const { port, protocol } of exposed) ports[`${port}/${protocol}`] = null;
  for (const { port, protocol, hostAddress, hostPort } of published) {
    const key = `${port}/${protocol}`;
    ports[key] = [...ports[key] ?? [], { HostIp: hostAddress, HostPort: String(hostPort) }];
  }
  return ports;
}
