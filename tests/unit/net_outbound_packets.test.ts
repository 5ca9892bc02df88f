/** Packets: read strictly, made right, put together from parts; the kernel is the witness in tests/integration/outbound_tproxy.test.ts. */
import { describe, expect, it } from "vitest";
import { addWords, checksumOf, isIntact } from "../../net/outbound/checksum.ts";
import { type Flow, FlowKey, FlowTable } from "../../net/outbound/flow_table.ts";
import { Reassembly, writeInParts } from "../../net/outbound/fragments.ts";
import { PacketMaker } from "../../net/outbound/packet_maker.ts";
import { type Damage, Packet } from "../../net/outbound/packet.ts";
import { packets, repairPacket } from "../fuzz/packets.ts";

const ENDS4 = { source: Uint8Array.of(172, 17, 0, 2), destination: Uint8Array.of(203, 0, 113, 9) };
const ENDS6 = {
  source: Uint8Array.of(0xfd, ...Array(14).fill(0), 2),
  destination: Uint8Array.of(0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 9),
};

function parsed(bytes: Uint8Array): { packet: Packet; damage: Damage | undefined } {
  const packet = new Packet();
  packet.bytes.set(bytes);
  return { packet, damage: packet.parse(bytes.length) };
}

function udp(ends: typeof ENDS4, length: number): Uint8Array {
  const maker = new PacketMaker();
  const at = ends.source.length === 4 ? 28 : 48;
  for (let index = 0; index < length; index++) maker.bytes[at + index] = index;
  return maker.bytes.slice(0, maker.udp(ends, 1000, 53, length));
}

/** Parts of an IPv4 packet, as a router with that MTU makes them. */
function parts4(whole: Uint8Array, mtu: number): Uint8Array[] {
  const most = (mtu - 20) & ~7;
  const made: Uint8Array[] = [];
  for (let offset = 0; offset < whole.length - 20; offset += most) {
    const data = whole.subarray(20 + offset, Math.min(whole.length, 20 + offset + most));
    const part = new Uint8Array([...whole.subarray(0, 20), ...data]);
    const view = new DataView(part.buffer);
    view.setUint16(2, part.length);
    view.setUint16(6, (offset / 8) | (20 + offset + data.length < whole.length ? 0x2000 : 0));
    view.setUint16(10, 0);
    view.setUint16(10, checksumOf(addWords(0, part, 0, 20)));
    made.push(part);
  }
  return made;
}

describe("checksum", () => {
  it("is that of RFC 1071's example, and of every length", () => {
    const example = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(checksumOf(addWords(0, example, 0, 8))).toBe(0xffff & ~0xddf2);
    for (let length = 0; length < 20; length++) {
      const bytes = Uint8Array.from({ length }, (_, index) => 255 - index);
      let words = 0;
      for (let at = 0; at < length; at += 2) words += ((bytes[at] ?? 0) << 8) + (bytes[at + 1] ?? 0);
      expect(addWords(5, bytes, 0, length)).toBe(words + 5);
    }
    expect(isIntact(0xffff)).toBe(true);
    expect(isIntact(0xfffe)).toBe(false);
    expect(checksumOf(32768 * 0xffff)).toBe(0);
  });
});

describe("Packet", () => {
  it.each([["4", ENDS4], ["6", ENDS6]] as const)("reads what PacketMaker has made, IPv%s", (_, ends) => {
    for (const length of [0, 1, 1472, 65_507]) {
      const { packet, damage } = parsed(udp(ends, length));
      expect([damage, packet.sourcePort, packet.destinationPort, packet.end - packet.payload]).toEqual([
        ...[undefined, 1000, 53],
        length,
      ]);
      expect([packet.source, packet.destination]).toEqual([ends.source, ends.destination]);
    }
  });

  it("says what is wrong", () => {
    const change = (at: number, value: number, repair = true): Damage | undefined => {
      const bytes = udp(ENDS4, 100);
      bytes[at] = value;
      if (repair) {
        const view = new DataView(bytes.buffer);
        view.setUint16(10, 0);
        view.setUint16(10, checksumOf(addWords(0, bytes, 0, 20)));
      }
      return parsed(bytes).damage;
    };
    expect(change(0, 0x55)).toBe("version");
    expect(change(0, 0x44)).toBe("length");
    expect(change(2, 1)).toBe("short");
    expect(change(8, 1, false)).toBe("header checksum");
    expect(change(9, 132)).toBe("protocol");
    expect(change(9, 58)).toBe("protocol");
    expect(change(25, 200)).toBe("length");
    expect(change(21, 1)).toBe("checksum");
    expect(change(60, 99)).toBe("checksum");
    expect(parsed(new Uint8Array(19)).damage).toBe("short");
    const routed = new Uint8Array([...udp(ENDS4, 0), 0, 0, 0, 0]);
    routed.copyWithin(24, 20, 28);
    routed.set([131, 4, 4, 0], 20);
    routed[0] = 0x46;
    routed[3] = 32;
    repairPacket(routed);
    expect(parsed(routed).damage).toBe("options");
    const sumless = udp(ENDS6, 10);
    sumless[46] = sumless[47] = 0;
    expect(parsed(sumless).damage).toBe("checksum");
  });

  it("goes through extension headers of IPv6, not for ever", () => {
    const plain = udp(ENDS6, 10);
    const extended = (headers: number[]): Damage | undefined => {
      const bytes = new Uint8Array(plain.length + 8 * headers.length);
      bytes.set(plain.subarray(0, 40));
      bytes.set(plain.subarray(40), 40 + 8 * headers.length);
      new DataView(bytes.buffer).setUint16(4, bytes.length - 40);
      headers.forEach((_, index) => bytes[40 + 8 * index] = headers[index + 1] ?? 17);
      bytes[6] = headers[0] ?? 17;
      return parsed(bytes).damage;
    };
    expect(extended([0, 60, 60])).toBeUndefined();
    expect(extended([60, 0])).toBe("extension header");
    expect(extended(Array(9).fill(60))).toBe("extension header");
    expect(extended([51])).toBe("protocol");
    const jumbo = plain.slice();
    jumbo[4] = jumbo[5] = 0;
    expect(parsed(jumbo).damage).toBe("length");
  });
});

describe("PacketMaker", () => {
  it("refuses a SYN as a closed port does", () => {
    const syn = packets(ENDS4.source).map((bytes) => parsed(bytes).packet).find(({ tcpFlags }) =>
      tcpFlags === 2
    );
    if (syn === undefined) throw new Error("no SYN");
    const maker = new PacketMaker();
    const { packet, damage } = parsed(maker.bytes.slice(0, maker.reset(syn)));
    expect([damage, packet.tcpFlags]).toEqual([undefined, 4 | 16]);
    expect(packet.view.getUint32(packet.transport + 8)).toBe(
      (syn.view.getUint32(syn.transport + 4) + 1) >>> 0,
    );
    expect([packet.source, packet.destination]).toEqual([syn.destination, syn.source]);
  });

  it.each([["4", ENDS4, 576], ["6", ENDS6, 1280]] as const)(
    "quotes as much in an error as may be, IPv%s",
    (_, ends, most) => {
      const maker = new PacketMaker();
      const length = maker.error(ends, { type: ends === ENDS4 ? 3 : 1, code: 1 }, udp(ends, 3000));
      expect(length).toBe(most);
      expect(parsed(maker.bytes.slice(0, length)).damage).toBeUndefined();
    },
  );
});

describe("Reassembly", () => {
  const add = (reassembly: Reassembly, bytes: Uint8Array, now = 0) => {
    const { packet, damage } = parsed(bytes);
    expect(damage).toBeUndefined();
    return { done: reassembly.add(packet, now), packet };
  };

  it.each([["4", ENDS4], ["6", ENDS6]] as const)("puts parts together in any order, IPv%s", (_, ends) => {
    const whole = udp(ends, 5000);
    const parts: Uint8Array[] = [];
    if (ends === ENDS4) parts.push(...parts4(whole, 1500));
    else writeInParts(whole, 1280, 9, (part) => parts.push(part.slice()));
    for (const order of [parts, parts.toReversed(), [...parts.slice(2), ...parts.slice(0, 2)]]) {
      const reassembly = new Reassembly();
      const results = order.map((part) => add(reassembly, part));
      const last = results.pop();
      expect(results.map(({ done }) => done)).toEqual(results.map(() => false));
      expect(last?.done).toBe(true);
      expect(last?.packet.bytes.slice(last.packet.payload, last.packet.end)).toEqual(
        whole.slice(ends === ENDS4 ? 28 : 48),
      );
      expect(reassembly.size).toBe(0);
    }
  });

  it("throws away what overlaps, what is late and what is too much", () => {
    const parts = parts4(udp(ENDS4, 5000), 1500);
    const [first = new Uint8Array(), second = new Uint8Array()] = parts;
    const reassembly = new Reassembly();
    add(reassembly, first);
    expect(reassembly.size).toBe(1);
    add(reassembly, first);
    expect(reassembly.size).toBe(0);
    add(reassembly, second, 0);
    reassembly.expire(4_999);
    expect(reassembly.size).toBe(1);
    reassembly.expire(5_000);
    expect(reassembly.size).toBe(0);
    for (let id = 0; id < 100; id++) {
      const part = first.slice();
      new DataView(part.buffer).setUint16(4, id);
      new DataView(part.buffer).setUint16(10, 0);
      new DataView(part.buffer).setUint16(10, checksumOf(addWords(0, part, 0, 20)));
      add(reassembly, part);
    }
    expect(reassembly.size).toBe(16);
  });
});

describe("FlowTable", () => {
  const flow = (last: number, port: number, used: number): Flow => ({
    key: new FlowKey(17, Uint8Array.of(10, 0, 0, last, 192, 0, 2, 1), ((port << 16) | 53) >>> 0),
    used,
  });

  it("finds by all of protocol, addresses and ports", () => {
    const table = new FlowTable<Flow>();
    const { packet } = parsed(udp(ENDS4, 1));
    const mine = { key: FlowKey.of(packet), used: 1 };
    table.add(mine);
    for (let port = 0; port < 2000; port++) table.add(flow(7, port, port));
    expect([table.of(packet), table.get(mine.key), table.size]).toEqual([mine, mine, 2001]);
    expect(table.get(new FlowKey(6, mine.key.addresses, mine.key.ports))).toBeUndefined();
    expect(table.get(new FlowKey(17, mine.key.addresses, mine.key.ports + 1))).toBeUndefined();
    table.delete(mine);
    table.delete(mine);
    expect([table.of(packet), table.size, table.countOf(packet)]).toEqual([undefined, 2000, 0]);
  });

  it("names the idlest flow of whoever has the most", () => {
    const table = new FlowTable<Flow>();
    const old = flow(1, 1, 0);
    const idle = flow(2, 3, 10);
    for (const one of [old, flow(2, 1, 30), idle, flow(2, 2, 20)]) table.add(one);
    expect(table.idlest()).toBe(idle);
  });
});
