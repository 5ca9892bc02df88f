/** Whole packets of every kind that containers send: what damage begins with. */
import { addWords, checksumOf } from "../../net/outbound/checksum.ts";
import { PacketMaker } from "../../net/outbound/packet_maker.ts";
import { Packet } from "../../net/outbound/packet.ts";
import { writeInParts } from "../../net/outbound/fragments.ts";

const OUTSIDE4 = Uint8Array.of(203, 0, 113, 9);
const SOURCE6 = Uint8Array.of(0xfd, ...Array(14).fill(0), 2);
const OUTSIDE6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 9);

/** Makes the sums of a packet right again, where it looks like one: so damage gets past the first check. */
export function repairPacket(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 20) return;
  const v4 = (bytes[0] ?? 0) >> 4 === 4;
  const at = v4 ? Math.min(((bytes[0] ?? 0) & 15) * 4, bytes.length) : 40;
  if (v4 && at >= 20) {
    view.setUint16(10, 0);
    view.setUint16(10, checksumOf(addWords(0, bytes, 0, at)));
  }
  const protocol = bytes[v4 ? 9 : 6];
  const field = at + (protocol === 6 ? 16 : protocol === 17 ? 6 : 2);
  if (bytes.length < field + 2) return;
  view.setUint16(field, 0);
  const pseudo = protocol === 1
    ? 0
    : addWords((protocol ?? 0) + bytes.length - at, bytes, v4 ? 12 : 8, v4 ? 20 : 40);
  view.setUint16(field, checksumOf(addWords(pseudo, bytes, at, bytes.length)));
}

/** From `source`, an IPv4 address, and from an IPv6 one. */
export function packets(source: Uint8Array): Uint8Array[] {
  const maker = new PacketMaker();
  const made: Uint8Array[] = [];
  for (const ends of [{ source, destination: OUTSIDE4 }, { source: SOURCE6, destination: OUTSIDE6 }]) {
    const v4 = ends.source.length === 4;
    const at = v4 ? 20 : 40;
    const keep = (length: number) => made.push(maker.bytes.slice(0, length));
    for (const size of [0, 100, 1400]) {
      maker.bytes.fill(size & 0xff, at + 8, at + 8 + size);
      keep(maker.udp(ends, 40_000, 7, size));
    }
    keep(maker.udp(ends, 40_000, 53, 0));
    const echo = maker.bytes.slice(0, maker.echoReply(ends, 5, 1, 56));
    echo[at] = v4 ? 8 : 128;
    repairPacket(echo);
    made.push(echo);
    // a SYN with options, made of the reset that answers a datagram's header
    const segment = new Packet();
    segment.bytes.set(
      maker.bytes.slice(0, maker.udp({ source: ends.destination, destination: ends.source }, 80, 40_000, 12)),
    );
    segment.parse(at + 20);
    const syn = new Uint8Array([...maker.bytes.slice(0, maker.reset(segment)), 2, 4, 5, 0xb4]);
    syn[at + 12] = 0x60;
    syn[at + 13] = 2;
    new DataView(syn.buffer).setUint16(v4 ? 2 : 4, v4 ? syn.length : syn.length - 40);
    repairPacket(syn);
    made.push(syn);
    const whole = maker.bytes.slice(0, maker.udp(ends, 40_000, 7, 4000));
    if (!v4) writeInParts(whole, 1280, 77, (part) => made.push(part.slice()));
    else {
      for (let offset = 0; offset < whole.length - 20; offset += 1480) {
        const data = whole.subarray(20 + offset, Math.min(whole.length, 20 + offset + 1480));
        const part = new Uint8Array([...whole.subarray(0, 20), ...data]);
        const view = new DataView(part.buffer);
        view.setUint16(2, part.length);
        view.setUint16(6, (offset / 8) | (20 + offset + data.length < whole.length ? 0x2000 : 0));
        view.setUint16(10, 0);
        view.setUint16(10, checksumOf(addWords(0, part, 0, 20)));
        made.push(part);
      }
    }
  }
  return made;
}
