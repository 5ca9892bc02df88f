/** IP packets that are written to the TUN device: made in one buffer, which the next one overwrites. */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { addWords, checksumOf } from "./checksum.ts";
import { MAX_PACKET, type Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "./packet.ts";

/** What of a packet an error quotes: RFC 1812 (4.3.2.3) and RFC 4443 (2.4) want the error below 576 and 1,280 bytes. */
const QUOTED4 = 548, QUOTED6 = 1232;
const TTL = 64;

export const ICMP_UNREACHABLE = 3, ICMP_TIME_EXCEEDED = 11;
/** Codes of {@link ICMP_UNREACHABLE}. */
export const UNREACHABLE = { network: 0, host: 1, port: 3, fragmentationNeeded: 4, prohibited: 13 } as const;
export const ICMP6_UNREACHABLE = 1, ICMP6_TOO_BIG = 2, ICMP6_TIME_EXCEEDED = 3;
/** Codes of {@link ICMP6_UNREACHABLE}. */
export const UNREACHABLE6 = { noRoute: 0, prohibited: 1, address: 3, port: 4 } as const;

/** An ICMP or ICMPv6 error; `rest` is the second word: the MTU of "too big" and "fragmentation needed". */
export interface IcmpError {
  readonly type: number;
  readonly code: number;
  readonly rest?: number;
}

/** Both ends of what is made: 4 or 16 bytes each, as on the wire. */
export interface Ends {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** Length of the IP header in front of everything that is made. */
export const headerLength = ({ source }: Ends): 20 | 40 => source.length === 4 ? 20 : 40;

export class PacketMaker {
  readonly bytes = new Uint8Array(MAX_PACKET);
  readonly view = new DataView(this.bytes.buffer);
  #id = crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;

  /** Writes the IP header for `length` bytes behind it; answers where those begin. */
  #header(ends: Ends, protocol: number, length: number): number {
    const { bytes, view } = this;
    if (ends.source.length === 4) {
      view.setUint32(0, 0x45000000 | (20 + length));
      this.#id = (this.#id + 1) & 0xffff;
      // may be fragmented on its way: the container's MTU is smaller than ours
      view.setUint32(4, (this.#id << 16) >>> 0);
      view.setUint32(8, (TTL << 24) | (protocol << 16));
      bytes.set(ends.source, 12);
      bytes.set(ends.destination, 16);
      view.setUint16(10, checksumOf(addWords(0, bytes, 0, 20)));
      return 20;
    }
    view.setUint32(0, 0x60000000);
    view.setUint32(4, ((length << 16) | (protocol << 8) | TTL) >>> 0);
    bytes.set(ends.source, 8);
    bytes.set(ends.destination, 24);
    return 40;
  }

  #pseudoSum(at: number, protocol: number, length: number): number {
    return at === 20
      ? addWords(protocol + length, this.bytes, 12, 20)
      : addWords(protocol + length, this.bytes, 8, 40);
  }

  /** A datagram around the `length` bytes that stand behind the headers already, at {@link headerLength} + 8. Answers the packet's length. */
  udp(ends: Ends, sourcePort: number, destinationPort: number, length: number): number {
    const { bytes, view } = this;
    const at = this.#header(ends, IPPROTO_UDP, 8 + length);
    view.setUint16(at, sourcePort);
    view.setUint16(at + 2, destinationPort);
    view.setUint16(at + 4, 8 + length);
    view.setUint16(at + 6, 0);
    const end = at + 8 + length;
    const sum = checksumOf(addWords(this.#pseudoSum(at, IPPROTO_UDP, 8 + length), bytes, at, end));
    view.setUint16(at + 6, sum === 0 ? 0xffff : sum);
    return end;
  }

  /** An answer to an echo, around the `length` bytes that stand at {@link headerLength} + 8 already. */
  echoReply(ends: Ends, identifier: number, sequence: number, length: number): number {
    const v4 = ends.source.length === 4;
    const at = this.#header(ends, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 8 + length);
    this.view.setUint32(at + 4, ((identifier << 16) | sequence) >>> 0);
    return this.#icmp(at, v4 ? 0 : 129, 0, at + 8 + length);
  }

  /** An error about the packet that is quoted from `quoted`, its IP header first. */
  error(ends: Ends, { type, code, rest = 0 }: IcmpError, quoted: Uint8Array): number {
    const v4 = ends.source.length === 4;
    const length = Math.min(quoted.length, v4 ? QUOTED4 : QUOTED6);
    const at = this.#header(ends, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 8 + length);
    this.view.setUint32(at + 4, rest);
    this.bytes.set(quoted.subarray(0, length), at + 8);
    return this.#icmp(at, type, code, at + 8 + length);
  }

  #icmp(at: number, type: number, code: number, end: number): number {
    const { bytes, view } = this;
    view.setUint32(at, ((type << 24) | (code << 16)) >>> 0);
    const pseudo = at === 20 ? 0 : this.#pseudoSum(at, IPPROTO_ICMPV6, end - at);
    view.setUint16(at + 2, checksumOf(addWords(pseudo, bytes, at, end)));
    return end;
  }

  /** The reset that a host without such a connection answers with (RFC 9293, 3.5.2). The segment must not be a reset itself. */
  reset(segment: Packet): number {
    const { bytes, view } = this;
    const theirs = segment.transport;
    const at = this.#header(
      { source: segment.destination, destination: segment.source },
      IPPROTO_TCP,
      20,
    );
    view.setUint16(at, segment.destinationPort);
    view.setUint16(at + 2, segment.sourcePort);
    const acknowledges = (segment.tcpFlags & TCP_ACK) !== 0;
    const length = segment.end - segment.payload +
      ((segment.tcpFlags & TCP_SYN) !== 0 ? 1 : 0) + ((segment.tcpFlags & TCP_FIN) !== 0 ? 1 : 0);
    view.setUint32(at + 4, acknowledges ? segment.view.getUint32(theirs + 8) : 0);
    view.setUint32(at + 8, acknowledges ? 0 : (segment.view.getUint32(theirs + 4) + length) >>> 0);
    view.setUint32(at + 12, (0x5000 | TCP_RST | (acknowledges ? 0 : TCP_ACK)) << 16);
    view.setUint32(at + 16, 0);
    view.setUint16(at + 16, checksumOf(addWords(this.#pseudoSum(at, IPPROTO_TCP, 20), bytes, at, at + 20)));
    return at + 20;
  }
}
