/**
 * The DNS server as netd runs it: on sockets at 127.0.0.11:53, in an event loop that nothing of Deno's turns. Started in a network
 * namespace of its own; prints "ready".
 */
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { DnsServer } from "../../net/dns/server.ts";
import { Zone } from "../../net/dns/zone.ts";
import { sandboxSockets, upstreamSocket } from "./dns.ts";

kernel.interfaceUp("lo");
const zone = new Zone("x1");
zone.set({ id: "e1", names: ["c1", "web"], addresses: [new Uint8Array([172, 18, 0, 2])] });
zone.set({
  id: "e2",
  names: ["c2", "web"],
  addresses: [new Uint8Array([172, 18, 0, 3]), new Uint8Array([0xfd, ...new Array<number>(14).fill(0), 3])],
});
const loop = new EventLoop(kernel);
const server = new DnsServer(loop, { kernel, network }, upstreamSocket);
server.open("s1", sandboxSockets([127, 0, 0, 11], 53), { networks: [{ zone }], upstreams: [] });
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
loop.run();
