/** IP packets as they are read from the TUN device: strictly parsed in place, into an object that is used again and again. */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { addWords, isIntact } from "./checksum.ts";

/** The longest packet: the length field of IPv4 has 16 bits, that of IPv6 counts from behind the header. */
export const MAX_PACKET = 40 + 0xffff;

export const TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16;

export const ICMP_ECHO = { request: 8, reply: 0 } as const;
export const ICMP6_ECHO = { request: 128, reply: 129 } as const;

/** Next headers of IPv6 (IANA, Protocol Numbers). */
const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION_OPTIONS = 60;
/** Linux's own limit for options is the same (net.ipv6.max_dst_opts_number). */
const MAX_EXTENSIONS = 8;
/** Options of IPv4 that choose a way through other hosts: nobody answers them any more (RFC 7126). */
const LOOSE_SOURCE_ROUTE = 131, STRICT_SOURCE_ROUTE = 137;

/** Why a packet is not taken; undefined for one that is all right. */
export type Damage =
  | "short"
  | "version"
  | "length"
  | "header checksum"
  | "options"
  | "extension header"
  | "protocol"
  | "checksum"
  | "source";

/**
 * One packet. The fields tell of the bytes that {@link Packet.parse} has seen last, and offsets count from the packet's first byte.
 */
export class Packet {
  readonly bytes = new Uint8Array(MAX_PACKET);
  readonly view = new DataView(this.bytes.buffer);

  /** 4 or 6. */
  family: 4 | 6 = 4;
  /** End of the packet. */
  end = 0;
  /** Source and destination stand one behind the other. */
  addresses = 0;
  addressLength = 0;
  ttl = 0;
  dontFragment = false;
  /** A part of a packet: protocol and what follows are those of the whole, and not parsed. */
  isFragment = false;
  moreFragments = false;
  /** In bytes. */
  fragmentOffset = 0;
  fragmentId = 0;
  /** IPv6: where the field stands that says what follows the fragment's header. */
  fragmentNextAt = 0;
  /** IPv6: where the fragment's header begins. */
  fragmentHeader = 0;
  protocol = 0;
  /** Begin of TCP, UDP, ICMP; of a fragment's data. */
  transport = 0;
  /** Begin of what they carry. */
  payload = 0;
  /** Both ports in one number, as on the wire; of an echo its identifier in the upper half. */
  ports = 0;
  tcpFlags = 0;
  icmpType = 0;
  icmpCode = 0;

  get source(): Uint8Array {
    return this.bytes.slice(this.addresses, this.addresses + this.addressLength);
  }

  get destination(): Uint8Array {
    return this.bytes.slice(this.addresses + this.addressLength, this.addresses + 2 * this.addressLength);
  }

  get sourcePort(): number {
    return this.ports >>> 16;
  }

  get destinationPort(): number {
    return this.ports & 0xffff;
  }

  /** Reads the first `length` bytes of {@link bytes}. */
  parse(length: number): Damage | undefined {
    if (length < 20) return "short";
    const version = (this.bytes[0] ?? 0) >> 4;
    this.isFragment = this.moreFragments = this.dontFragment = false;
    this.fragmentOffset =
      this.fragmentId =
      this.ports =
      this.tcpFlags =
        0;
    this.icmpType = this.icmpCode = 0;
    const damage = version === 4 ? this.#parse4(length) : version === 6 ? this.#parse6(length) : "version";
    if (damage !== undefined) return damage;
    return this.isFragment ? undefined : this.#parseTransport();
  }

  #parse4(length: number): Damage | undefined {
    const { bytes, view } = this;
    const header = ((bytes[0] ?? 0) & 15) * 4;
    const total = view.getUint16(2);
    if (header < 20 || total < header) return "length";
    if (total > length) return "short";
    if (!isIntact(addWords(0, bytes, 0, header))) return "header checksum";
    for (let at = 20; at < header;) {
      const option = bytes[at] ?? 0;
      if (option === 0) break;
      if (option === 1) at++;
      else {
        const size = at + 1 < header ? bytes[at + 1] ?? 0 : 0;
        if (size < 2 || at + size > header) return "options";
        if (option === LOOSE_SOURCE_ROUTE || option === STRICT_SOURCE_ROUTE) return "options";
        at += size;
      }
    }
    const fragment = view.getUint16(6);
    this.family = 4;
    this.end = total;
    this.addresses = 12;
    this.addressLength = 4;
    this.ttl = bytes[8] ?? 0;
    this.protocol = bytes[9] ?? 0;
    this.dontFragment = (fragment & 0x4000) !== 0;
    this.moreFragments = (fragment & 0x2000) !== 0;
    this.fragmentOffset = (fragment & 0x1fff) * 8;
    this.isFragment = this.moreFragments || this.fragmentOffset > 0;
    this.fragmentId = view.getUint16(4);
    this.transport = header;
    // all but the last are made of whole units, and none ends where no packet can
    if (this.moreFragments && (total - header) % 8 !== 0) return "length";
    if (this.fragmentOffset + total > 0xffff) return "length";
    return undefined;
  }

  #parse6(length: number): Damage | undefined {
    const { bytes, view } = this;
    if (length < 40) return "short";
    const end = 40 + view.getUint16(4);
    // jumbograms (RFC 2675) say 0: no device of ours is wide enough for them
    if (end === 40) return "length";
    if (end > length) return "short";
    this.family = 6;
    this.end = end;
    this.addresses = 8;
    this.addressLength = 16;
    this.ttl = bytes[7] ?? 0;
    this.dontFragment = true;
    let nextAt = 6;
    let at = 40;
    for (let count = 0;; count++) {
      const next = bytes[nextAt] ?? 0;
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== FRAGMENT && next !== DESTINATION_OPTIONS) {
        this.protocol = next;
        this.transport = at;
        return undefined;
      }
      if (count === MAX_EXTENSIONS || at + 8 > end) return "extension header";
      if (next === HOP_BY_HOP && at !== 40) return "extension header";
      // a way through other hosts that has not ended here
      if (next === ROUTING && bytes[at + 3] !== 0) return "extension header";
      const size = next === FRAGMENT ? 8 : ((bytes[at + 1] ?? 0) + 1) * 8;
      if (at + size > end) return "extension header";
      if (next === FRAGMENT) {
        const word = view.getUint16(at + 2);
        this.moreFragments = (word & 1) !== 0;
        this.fragmentOffset = word & 0xfff8;
        this.fragmentId = view.getUint32(at + 4);
        this.isFragment = this.moreFragments || this.fragmentOffset > 0;
        this.fragmentNextAt = nextAt;
        this.fragmentHeader = at;
        if (this.isFragment) {
          this.protocol = bytes[at] ?? 0;
          this.transport = at + 8;
          if (this.moreFragments && (end - this.transport) % 8 !== 0) return "length";
          return this.fragmentOffset + end - this.transport > 0xffff ? "length" : undefined;
        }
      }
      nextAt = at;
      at += size;
    }
  }

  /** The sum of the pseudo header (RFC 768, RFC 8200) and of everything behind the IP header up to `end`. */
  #transportSum(end: number): number {
    const { addresses, addressLength, bytes, protocol, transport } = this;
    const pseudo = addWords(protocol + end - transport, bytes, addresses, addresses + 2 * addressLength);
    return addWords(pseudo, bytes, transport, end);
  }

  #parseTransport(): Damage | undefined {
    const { bytes, view, transport, end } = this;
    switch (this.protocol) {
      case IPPROTO_TCP: {
        if (transport + 20 > end) return "short";
        const header = ((bytes[transport + 12] ?? 0) >> 4) * 4;
        if (header < 20 || transport + header > end) return "length";
        if (!isIntact(this.#transportSum(end))) return "checksum";
        this.ports = view.getUint32(transport);
        this.tcpFlags = bytes[transport + 13] ?? 0;
        this.payload = transport + header;
        return undefined;
      }
      case IPPROTO_UDP: {
        if (transport + 8 > end) return "short";
        const length = view.getUint16(transport + 4);
        if (length < 8 || transport + length > end) return "length";
        const sum = view.getUint16(transport + 6);
        if (sum === 0 ? this.family === 6 : !isIntact(this.#transportSum(transport + length))) {
          return "checksum";
        }
        this.ports = view.getUint32(transport);
        this.payload = transport + 8;
        this.end = transport + length;
        return undefined;
      }
      case IPPROTO_ICMP:
      case IPPROTO_ICMPV6: {
        if ((this.protocol === IPPROTO_ICMP) !== (this.family === 4)) return "protocol";
        if (transport + 8 > end) return "short";
        const sum = this.family === 4 ? addWords(0, bytes, transport, end) : this.#transportSum(end);
        if (!isIntact(sum)) return "checksum";
        this.icmpType = bytes[transport] ?? 0;
        this.icmpCode = bytes[transport + 1] ?? 0;
        // the identifier alone: the sequence number is another one in each packet of a flow
        this.ports = (view.getUint16(transport + 4) << 16) >>> 0;
        this.payload = transport + 8;
        return undefined;
      }
      default:
        return "protocol";
    }
  }
}
