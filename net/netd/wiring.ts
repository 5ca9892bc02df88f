/** The parts that netd is put together from. Whoever has a part ready adds its line here. */
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import { Outbound } from "../outbound/outbound.ts";
import type { NetdParts } from "./netd.ts";
import { probePaths } from "./paths.ts";
import { SandboxDns } from "./sandbox_dns.ts";

export const parts: NetdParts = {
  names: ({ loop, host, topology, networkName }) =>
    new SandboxDns({ loop, calls: { kernel, network }, host, topology, networkName }),
  outbound: ({ loop, host, relay, topology }, settings) => {
    if (settings.outbound === "none") return undefined;
    const outbound = new Outbound({ loop, host, relay, calls: network, topology, settings });
    return { name: "tproxy", [Symbol.dispose]: () => outbound[Symbol.dispose]() };
  },
  paths: ({ host, ground }) => probePaths({ kernel, host, ground }),
};
