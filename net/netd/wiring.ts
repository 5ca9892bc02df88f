/** The parts that netd is put together from. Whoever has a part ready adds its line here. */
import { kernel } from "../../ffi/kernel.ts";
import { network } from "../../ffi/kernel_network.ts";
import type { NetdParts } from "./netd.ts";
import { SandboxDns } from "./sandbox_dns.ts";

export const parts: NetdParts = {
  names: ({ loop, host, topology, networkName }) =>
    new SandboxDns({ loop, calls: { kernel, network }, host, topology, networkName }),
};
