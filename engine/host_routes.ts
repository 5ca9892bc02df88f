/** Which addresses the host itself uses: networks do not take them by themselves. */
import { addressFromBytes, formatAddress } from "../base/address.ts";
import { serversOf } from "../net/dns/resolv_conf.ts";
import type { HostNetwork } from "../net/ipam_pools.ts";

/** RTF_GATEWAY, RTF_REJECT (linux/route.h). */
const RTF_GATEWAY = 0x2;
const RTF_REJECT = 0x200;

/**
 * The host's on-link routes and DNS servers, of the network namespace that the engine lives in: the main table, as
 * /proc/net shows it. What cannot be read counts as empty.
 */
export function readHostNetwork(read: (path: string) => string = readText): HostNetwork {
  return {
    routes: [...ipv4Routes(read("/proc/net/route")), ...ipv6Routes(read("/proc/net/ipv6_route"))],
    nameservers: serversOf(read("/etc/resolv.conf")),
  };
}

/** Destinations of the routes without a gateway in the text of /proc/net/route. */
export function ipv4Routes(text: string): string[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const [, destination = "", , flags = "", , , , mask = ""] = line.split("\t");
    if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask)) return [];
    if ((parseInt(flags, 16) & (RTF_GATEWAY | RTF_REJECT)) !== 0) return [];
    // Both are numbers in the machine's order, which is little-endian wherever berth runs.
    const address = addressFromBytes(Uint8Array.fromHex(destination).reverse());
    const bits = parseInt(mask, 16).toString(2).replaceAll("0", "").length;
    return [`${formatAddress(address)}/${bits}`];
  });
}

/** The same of /proc/net/ipv6_route. Link-local and loopback addresses are nobody's network. */
export function ipv6Routes(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const [destination = "", length = "", , , nextHop = "", , , , flags = "", device = ""] = line.trim()
      .split(/ +/);
    if (!/^[0-9a-f]{32}$/.test(destination) || device === "lo") return [];
    if ((parseInt(flags, 16) & RTF_REJECT) !== 0 || !/^0+$/.test(nextHop)) return [];
    if (destination.startsWith("fe80") || destination.startsWith("ff")) return [];
    return [`${formatAddress(addressFromBytes(Uint8Array.fromHex(destination)))}/${parseInt(length, 16)}`];
  });
}

/** Can a socket be bound to `::`? */
export function hostHasIpv6(): boolean {
  return readText("/proc/net/if_inet6") !== "";
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
