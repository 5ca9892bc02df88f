import { note } from "../../base/note.ts";
import { SysError } from "../../ffi/errno.ts";
import { IPPROTO_UDP } from "../../ffi/network_constants.ts";
import type { RootlessHost } from "../netd/rootless_host.ts";
import { NFT_TABLE } from "../netd/rootless_host.ts";
import * as nl from "../netlink/mod.ts";

const CHAIN = "reassemble";
const FAMILIES = ["ip", "ip6"] as const;

/**
 * Has fragments of datagrams put together before rules see them: only the first one has ports, so that no rule would find the socket that the
 * others are for. The kernel does so in a namespace where any rule says tproxy; here one that nothing leads to.
 */
export function reassembleFragments({ filter }: RootlessHost): void {
  const table = NFT_TABLE;
  for (const family of FAMILIES) {
    // one for each family: a kernel may have tproxy for the one only
    const chain = `${CHAIN}-${family}`;
    try {
      nl.commit(filter, [
        nl.newChain({ table, name: chain }),
        nl.newRule(table, chain, nl.familyIs(family), nl.protocolIs(IPPROTO_UDP), nl.tproxy(family, 1)),
      ]);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      note(`published UDP ports: large answers are lost, since tproxy is missing: ${error.message}`);
    }
  }
}
