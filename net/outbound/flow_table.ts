/** Flows of containers by protocol, addresses and ports; finding one allocates nothing. */
import type { Packet } from "./packet.ts";

/** A flow's name: protocol, both addresses one behind the other, both ports as on the wire. */
export class FlowKey {
  readonly protocol: number;
  /** Source, then destination. */
  readonly addresses: Uint8Array;
  readonly ports: number;
  hash = 0;

  constructor(protocol: number, addresses: Uint8Array, ports: number) {
    this.protocol = protocol;
    this.addresses = addresses;
    this.ports = ports;
  }

  static of(packet: Packet): FlowKey {
    const { addresses, addressLength, bytes, ports, protocol } = packet;
    return new FlowKey(protocol, bytes.slice(addresses, addresses + 2 * addressLength), ports);
  }

  get source(): Uint8Array {
    return this.addresses.subarray(0, this.addresses.length / 2);
  }

  get destination(): Uint8Array {
    return this.addresses.subarray(this.addresses.length / 2);
  }

  get sourcePort(): number {
    return this.ports >>> 16;
  }

  get destinationPort(): number {
    return this.ports & 0xffff;
  }
}

export interface Flow {
  readonly key: FlowKey;
  /** When something was heard of it last, by performance.now(). */
  used: number;
}

/** What one source has, the newest last. */
export type Source<F extends Flow> = Set<F>;

export class FlowTable<F extends Flow> {
  readonly #buckets = new Map<number, F[]>();
  readonly #sources = new Map<string, Source<F>>();
  /** Containers choose addresses and ports: without it they could choose such as collide. */
  readonly #seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  #hash(protocol: number, bytes: Uint8Array, at: number, length: number, ports: number): number {
    let hash = this.#seed ^ protocol;
    for (let index = at; index < at + length; index++) {
      hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
    }
    hash = Math.imul(hash ^ ports, 0x85ebca6b);
    return Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35) | 0;
  }

  #find(protocol: number, bytes: Uint8Array, at: number, length: number, ports: number): F | undefined {
    const bucket = this.#buckets.get(this.#hash(protocol, bytes, at, length, ports));
    if (bucket === undefined) return undefined;
    next: for (const flow of bucket) {
      const { key } = flow;
      if (key.ports !== ports || key.protocol !== protocol || key.addresses.length !== length) continue;
      for (let index = 0; index < length; index++) {
        if (key.addresses[index] !== bytes[at + index]) continue next;
      }
      return flow;
    }
    return undefined;
  }

  of(packet: Packet): F | undefined {
    return this.#find(
      packet.protocol,
      packet.bytes,
      packet.addresses,
      2 * packet.addressLength,
      packet.ports,
    );
  }

  get({ protocol, addresses, ports }: FlowKey): F | undefined {
    return this.#find(protocol, addresses, 0, addresses.length, ports);
  }

  add(flow: F): void {
    const { key } = flow;
    key.hash = this.#hash(key.protocol, key.addresses, 0, key.addresses.length, key.ports);
    const bucket = this.#buckets.get(key.hash);
    if (bucket === undefined) this.#buckets.set(key.hash, [flow]);
    else bucket.push(flow);
    const name = sourceName(key);
    const source = this.#sources.get(name);
    if (source === undefined) this.#sources.set(name, new Set([flow]));
    else source.add(flow);
    this.#size++;
  }

  delete(flow: F): void {
    const { key } = flow;
    const bucket = this.#buckets.get(key.hash);
    const index = bucket?.indexOf(flow) ?? -1;
    if (bucket === undefined || index < 0) return;
    if (bucket.length === 1) this.#buckets.delete(key.hash);
    else bucket.splice(index, 1);
    const name = sourceName(key);
    const source = this.#sources.get(name);
    source?.delete(flow);
    if (source?.size === 0) this.#sources.delete(name);
    this.#size--;
  }

  /** Flows of the packet's source. */
  countOf(packet: Packet): number {
    const { addresses, addressLength, bytes } = packet;
    return this.#sources.get(
      String.fromCharCode(...bytes.subarray(addresses, addresses + addressLength)),
    )?.size ?? 0;
  }

  /** Of the packet's source the one that has been idle for longest; of the source with the most flows, without a packet. */
  idlest(packet?: Packet): F | undefined {
    let source: Source<F> | undefined;
    if (packet !== undefined) {
      const { addresses, addressLength, bytes } = packet;
      source = this.#sources.get(
        String.fromCharCode(...bytes.subarray(addresses, addresses + addressLength)),
      );
    } else {
      for (const one of this.#sources.values()) {
        if (one.size > (source?.size ?? 0)) source = one;
      }
    }
    let idlest: F | undefined;
    for (const flow of source ?? []) {
      if (idlest === undefined || flow.used < idlest.used) idlest = flow;
    }
    return idlest;
  }

  *[Symbol.iterator](): Iterator<F> {
    for (const source of [...this.#sources.values()]) yield* [...source];
  }
}

const sourceName = ({ source }: FlowKey): string => String.fromCharCode(...source);
