/** Which addresses are berth's own: what the data path asks about each new flow. */

/** A subnet of a network of berth's. */
export interface Subnet {
  readonly networkId: string;
  /** The bridge, or the parent of a macvlan or ipvlan. */
  readonly link: string;
  /** 4 or 16 bytes; bits beyond {@link length} are 0. */
  readonly address: Uint8Array;
  /** Bits of the prefix. */
  readonly length: number;
  readonly gateway: Uint8Array | undefined;
  /** No way outside. */
  readonly internal: boolean;
}

export interface Topology {
  /** Another number after each change: whoever keeps something worked out from this can compare. */
  readonly version: number;
  subnets(): readonly Subnet[];
  /** The subnet that an address of 4 or 16 bytes is in. */
  subnetOf(address: Uint8Array): Subnet | undefined;
  /** Is it the gateway of some network, and with that a name for the host? */
  isGateway(address: Uint8Array): boolean;
}

/** The one that netd keeps. */
export class NetworkTopology implements Topology {
  #subnets: readonly Subnet[] = [];
  #v4: readonly V4Subnet[] = [];
  #v6: readonly Subnet[] = [];
  #version = 0;

  get version(): number {
    return this.#version;
  }

  subnets(): readonly Subnet[] {
    return this.#subnets;
  }

  /** Replaces everything. */
  set(subnets: readonly Subnet[]): void {
    this.#subnets = subnets;
    this.#v4 = subnets.filter(({ address }) => address.length === 4).map(v4Subnet);
    this.#v6 = subnets.filter(({ address }) => address.length === 16);
    this.#version++;
  }

  subnetOf(address: Uint8Array): Subnet | undefined {
    if (address.length === 4) {
      const value = v4Value(address);
      for (const { network, mask, subnet } of this.#v4) {
        if ((value & mask) === network) return subnet;
      }
      return undefined;
    }
    return this.#v6.find((subnet) => hasPrefix(address, subnet.address, subnet.length));
  }

  isGateway(address: Uint8Array): boolean {
    const gateway = this.subnetOf(address)?.gateway;
    return gateway !== undefined && sameBytes(gateway, address);
  }
}

interface V4Subnet {
  /** As signed numbers of 32 bits, which is what `&` answers. */
  readonly network: number;
  readonly mask: number;
  readonly subnet: Subnet;
}

const v4Value = (address: Uint8Array): number =>
  ((address[0] ?? 0) << 24) | ((address[1] ?? 0) << 16) | ((address[2] ?? 0) << 8) | (address[3] ?? 0);

function v4Subnet(subnet: Subnet): V4Subnet {
  const mask = subnet.length === 0 ? 0 : -1 << (32 - subnet.length);
  return { network: v4Value(subnet.address) & mask, mask, subnet };
}

/** Are the first `length` bits of both the same? */
export function hasPrefix(address: Uint8Array, prefix: Uint8Array, length: number): boolean {
  if (address.length !== prefix.length) return false;
  const whole = length >> 3;
  for (let index = 0; index < whole; index++) if (address[index] !== prefix[index]) return false;
  const bits = length & 7;
  if (bits === 0) return true;
  const mask = 0xff00 >> bits & 0xff;
  return ((address[whole] ?? 0) & mask) === ((prefix[whole] ?? 0) & mask);
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && hasPrefix(a, b, 8 * a.length);
