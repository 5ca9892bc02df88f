/** The resolver at 10.0.2.3 and descriptors; what it answers is tried in tests/integration/outbound_tproxy.test.ts. */
import { expect, it } from "vitest";
import { AF_INET, SOCK_DGRAM } from "../../ffi/constants.ts";
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import type { OutboundContext } from "../../net/outbound/context.ts";
import { HostResolver } from "../../net/outbound/host_resolver.ts";
import { PacketMaker } from "../../net/outbound/packet_maker.ts";
import { Packet } from "../../net/outbound/packet.ts";
import { dnsQuery } from "../support/dns.ts";

it("questions leave descriptors for what else is to be done: those beyond are answered at once", () => {
  using loop = new EventLoop(kernel);
  // whom it asks is silent
  const silent = network.socket(AF_INET, SOCK_DGRAM);
  network.bind(silent, { family: "inet", address: Uint8Array.of(127, 0, 0, 1), port: 0 });
  const name = network.getsockname(silent);
  if (name?.family !== "inet") throw new Error("no address");
  const maker = new PacketMaker();
  const sockets: number[] = [];
  let answers = 0;
  const context = {
    loop,
    calls: {
      ...network,
      socket: (...args: Parameters<typeof network.socket>) => {
        const fd = network.socket(...args);
        sockets.push(fd);
        return fd;
      },
    },
    tun: { write: () => void answers++ },
    maker,
    freeDescriptors: () => false,
    isLate: () => sockets.length > 100,
  } as unknown as OutboundContext;
  const resolver = new HostResolver(context, () => [name], { questions: 1_000 });
  const query = dnsQuery("example.com", 1);
  const ends = { source: Uint8Array.of(172, 17, 0, 2), destination: Uint8Array.of(10, 0, 2, 3) };
  for (let port = 1_000; port < 1_200; port++) {
    maker.bytes.set(query, 28);
    const packet = new Packet();
    const length = maker.udp(ends, port, 53, query.length);
    packet.bytes.set(maker.bytes.subarray(0, length));
    expect(packet.parse(length)).toBeUndefined();
    resolver.datagram(packet);
  }
  for (let turns = 0; turns < 1_000 && answers < 100; turns++) loop.turn(1);
  resolver[Symbol.dispose]();
  kernel.close(silent);
  expect(answers).toBe(100);
  // each was closed: by the one that it came to be, or as one too many
  expect(sockets).toHaveLength(200);
});
