/** Addresses that have moved to another hardware address: whoever remembers the old one is told, and does not wait for his cache to run out. */
import { addressBytes, parseAddress } from "../../base/address.ts";
import * as nl from "../netlink/mod.ts";
import { macOfAddress } from "../network_mac.ts";
import type { EndpointState } from "./protocol.ts";

/** Settings by which the kernel tells the link of an interface's new hardware address: gratuitous ARP, and unsolicited neighbour advertisements. */
const NOTIFY = { ipv4: "arp_notify", ipv6: "ndisc_notify" } as const;

export class Announcements {
  /** Addresses in networks whose last owner had a hardware address of his own choice; all others follow from the IP address. */
  readonly #unusual = new Set<string>();

  /** Notes the endpoint. Whether neighbours may remember another hardware address for what it has. */
  note(endpoint: EndpointState): boolean {
    const { networkId, ipv4, ipv6, mac } = endpoint;
    const addresses = [ipv4, ipv6].filter((text) => text !== undefined);
    if (mac === "" || addresses.length === 0) return false;
    const keys = addresses.map((text) => `${networkId} ${text}`);
    const before = keys.some((key) => this.#unusual.has(key));
    const unusual = mac !== usualMac(addresses[0] ?? "");
    for (const key of keys) {
      if (unusual) this.#unusual.add(key);
      else this.#unusual.delete(key);
    }
    return unusual || before;
  }

  /** Endpoints of a network that is gone. */
  forget(networkId: string): void {
    for (const key of this.#unusual) if (key.startsWith(`${networkId} `)) this.#unusual.delete(key);
  }
}

/** What is to be written below /proc/sys/net before {@link announce}. */
export function announcementSysctls(
  { interface: name, ipv4, ipv6 }: EndpointState,
): [string, string][] {
  return [
    ...(ipv4 === undefined ? [] : [[`ipv4/conf/${name}/${NOTIFY.ipv4}`, "1"] as [string, string]]),
    ...(ipv6 === undefined ? [] : [[`ipv6/conf/${name}/${NOTIFY.ipv6}`, "1"] as [string, string]]),
  ];
}

/** Has the container's kernel tell the link: to set a hardware address, the same one too, is news to it. The interface must be up, its bridge's port too. */
export function announce(inside: nl.Netlink, { interface: name, mac }: EndpointState): void {
  nl.setLink(inside, name, { mac });
}

/** As the engine chooses it, of IPv4, or of the last bytes of IPv6. `text` may have a length. */
function usualMac(text: string): string {
  return macOfAddress(addressBytes(parseAddress(text.replace(/\/.*$/, ""))).slice(-4));
}
