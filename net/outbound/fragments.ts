/** Packets that come in parts, and such as have to leave in parts. */
import { addWords, checksumOf } from "./checksum.ts";
import type { Packet } from "./packet.ts";

/** Linux waits 30 s (net.ipv4.ipfrag_time). The way from a container to here is a few microseconds long. */
const TIMEOUT_MS = 5_000;
/** Packets in parts at a time: of all, and of one sender. Each takes 64 KiB at most. */
const MAX_PACKETS = 64, MAX_PER_SOURCE = 16;
/** The smallest parts are made of 8 bytes; nobody needs more than those of the smallest MTU, 68 bytes, in a large datagram. */
const MAX_PARTS = 2048;

/** What every link of IPv6 takes (RFC 8200, 5). */
export const LEAST_MTU6 = 1280;

interface Part {
  readonly offset: number;
  readonly data: Uint8Array;
}

interface Parts {
  readonly since: number;
  readonly source: string;
  readonly parts: Part[];
  /** What stands before the data, of the first part, when it has come. */
  header: Uint8Array | undefined;
  bytes: number;
  /** Length of all data, when the last part has come. */
  total: number | undefined;
}

const text = (bytes: Uint8Array, start: number, end: number): string =>
  String.fromCharCode(...bytes.subarray(start, end));

/** Puts packets together again. Parts that overlap make the whole packet worthless (RFC 5722), for IPv4 too: only attackers send them. */
export class Reassembly {
  readonly #packets = new Map<string, Parts>();
  readonly #perSource = new Map<string, number>();

  get size(): number {
    return this.#packets.size;
  }

  /** Takes a part. When that was the last one that was missing, `packet` is the whole, parsed; true. */
  add(packet: Packet, now: number): boolean {
    const { addresses, addressLength, bytes, fragmentId, protocol } = packet;
    const addressesText = text(bytes, addresses, addresses + 2 * addressLength);
    // RFC 8200 does without the protocol, since a part's own header says it
    const key = `${addressesText}${fragmentId}${packet.family === 4 ? `/${protocol}` : ""}`;
    const data = bytes.slice(packet.transport, packet.end);
    let parts = this.#packets.get(key);
    if (parts === undefined) {
      const source = addressesText.slice(0, addressLength);
      this.expire(now);
      if (this.#packets.size >= MAX_PACKETS || (this.#perSource.get(source) ?? 0) >= MAX_PER_SOURCE) {
        return false;
      }
      parts = { since: now, source, parts: [], header: undefined, bytes: 0, total: undefined };
      this.#packets.set(key, parts);
      this.#perSource.set(source, (this.#perSource.get(source) ?? 0) + 1);
    }
    const offset = packet.fragmentOffset, end = offset + data.length;
    const { total } = parts;
    const impossible = data.length === 0 || parts.parts.length === MAX_PARTS ||
      (total !== undefined && (end > total || (!packet.moreFragments && end !== total))) ||
      parts.parts.some((part) =>
        (offset < part.offset + part.data.length && part.offset < end) ||
        (!packet.moreFragments && part.offset + part.data.length > end)
      );
    if (impossible) {
      this.#forget(key, parts);
      return false;
    }
    parts.parts.push({ offset, data });
    parts.bytes += data.length;
    if (!packet.moreFragments) parts.total = end;
    if (offset === 0) parts.header = headerOf(packet);
    const { header } = parts;
    if (parts.total !== parts.bytes || header === undefined) return false;
    this.#forget(key, parts);
    if (header.length + parts.bytes > (packet.family === 4 ? 0xffff : 40 + 0xffff)) return false;
    packet.bytes.set(header);
    for (const part of parts.parts) packet.bytes.set(part.data, header.length + part.offset);
    const length = header.length + parts.bytes;
    if (packet.family === 6) packet.view.setUint16(4, length - 40);
    else {
      packet.view.setUint16(2, length);
      // checked in each part
      packet.view.setUint16(10, 0);
      packet.view.setUint16(10, headerChecksum(packet, header.length));
    }
    return packet.parse(length) === undefined && !packet.isFragment;
  }

  /** Forgets what has not come whole in time. */
  expire(now: number): void {
    for (const [key, parts] of this.#packets) {
      if (now - parts.since < TIMEOUT_MS) break;
      this.#forget(key, parts);
    }
  }

  #forget(key: string, { source }: Parts): void {
    this.#packets.delete(key);
    const left = (this.#perSource.get(source) ?? 1) - 1;
    if (left > 0) this.#perSource.set(source, left);
    else this.#perSource.delete(source);
  }
}

/** The headers of the whole packet, from those of its first part. */
function headerOf(packet: Packet): Uint8Array {
  if (packet.family === 4) {
    const header = packet.bytes.slice(0, packet.transport);
    header[6] = header[7] = 0;
    return header;
  }
  const header = packet.bytes.slice(0, packet.fragmentHeader);
  header[packet.fragmentNextAt] = packet.protocol;
  return header;
}

function headerChecksum(packet: Packet, length: number): number {
  return checksumOf(addWords(0, packet.bytes, 0, length));
}

/**
 * Gives an IPv6 packet with a plain header to `write`: whole when it fits into `mtu`, else in parts, since no router does that for
 * IPv6 (RFC 8200, 4.5).
 */
export function writeInParts(
  packet: Uint8Array,
  mtu: number,
  id: number,
  write: (part: Uint8Array) => void,
): void {
  if (packet.length <= mtu) return write(packet);
  const most = (mtu - 48) & ~7;
  const part = new Uint8Array(mtu);
  const view = new DataView(part.buffer);
  for (let at = 40; at < packet.length; at += most) {
    const length = Math.min(most, packet.length - at);
    part.set(packet.subarray(0, 40));
    view.setUint16(4, 8 + length);
    part[6] = 44;
    part[40] = packet[6] ?? 0;
    part[41] = 0;
    view.setUint16(42, (at - 40) | (at + length < packet.length ? 1 : 0));
    view.setUint32(44, id);
    part.set(packet.subarray(at, at + length), 48);
    write(part.subarray(0, 48 + length));
  }
}
