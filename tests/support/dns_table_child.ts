/** A DNS server at port 53 of an address that knows some names (JSON: name → IPv4 address) and nothing else. Prints "ready". */
import { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { DnsServer } from "../../net/dns/server.ts";
import { Zone } from "../../net/dns/zone.ts";
import { sandboxSockets, upstreamSocket } from "./dns.ts";

const [address = "", table = "{}"] = Deno.args;
const bytes = (text: string): number[] => text.split(".").map(Number);
const zone = new Zone("table");
for (const [name, target] of Object.entries(JSON.parse(table) as Record<string, string>)) {
  zone.set({ id: name, names: [name], addresses: [Uint8Array.from(bytes(target))] });
}
const loop = new EventLoop(kernel);
const server = new DnsServer(loop, { kernel, network }, upstreamSocket);
server.open("table", sandboxSockets(bytes(address), 53), { networks: [{ zone }], upstreams: [] });
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
loop.run();
