/** The parts that netd is put together from. Whoever has a part ready adds its line here. */
import { addressBytes, parseAddress } from "../../base/address.ts";
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { Destinations } from "../outbound/destinations.ts";
import { openWayOut } from "../outbound/way_out.ts";
import { Publisher } from "../publish/publisher.ts";
import type { NetdParts } from "./netd.ts";
import { probePaths } from "./paths.ts";
import { HOST_ADDRESS, HOST_ADDRESS6 } from "./rootless_host.ts";
import { SandboxDns } from "./sandbox_dns.ts";

const HOSTS = {
  4: addressBytes(parseAddress(HOST_ADDRESS)),
  6: addressBytes(parseAddress(HOST_ADDRESS6)),
} as const;

export const parts: NetdParts = {
  publisher: ({ loop, host, relay, topology }) =>
    new Publisher({ loop, host, relay, calls: network, topology }),
  names: ({ loop, host, topology, networkName, settings }) => {
    const destinations = new Destinations(topology, network, false);
    return new SandboxDns({
      loop,
      calls: { kernel, network },
      host,
      topology,
      networkName,
      hostAddress: (family) => {
        destinations.hostLoopback = settings()?.hostLoopback ?? false;
        const found = destinations.of(HOSTS[family]);
        return found.kind === "reach" ? found.address : undefined;
      },
      wayOutside: () => settings()?.outbound !== "none",
    });
  },
  outbound: ({ loop, host, relay, topology }, settings) =>
    openWayOut({ loop, host, relay, calls: network, topology, namespace: host.path }, settings),
  paths: ({ host, ground }) => probePaths({ kernel, host, ground: ground() }),
};
