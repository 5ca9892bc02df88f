/** Tables, chains and rules of nf_tables, over netlink (NETLINK_NETFILTER). All changes of one commit happen, or none. */
import { AF_UNSPEC } from "../../ffi/network_constants.ts";
import { Attributes, Payload } from "./codec.ts";
import type { Netlink, NetlinkRequest } from "./connection.ts";
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL } from "./constants.ts";
import { wordsOf } from "./fields.ts";
import * as n from "./nf_constants.ts";
import type { NfExpressions } from "./nf_expressions.ts";

export type NfFamily = "ip" | "ip6" | "inet" | "bridge";

export interface NfTable {
  readonly family: NfFamily;
  readonly name: string;
}

export interface NfChain {
  readonly table: NfTable;
  readonly name: string;
  /** Where the kernel calls it; without one it is called by `jump` only. */
  readonly hook?: {
    readonly at: "prerouting" | "input" | "forward" | "output" | "postrouting";
    /** Lower ones are called first: -150 mangle, -100 dstnat, 0 filter, 100 srcnat. */
    readonly priority: number;
    /** filter by default; route is called again for a packet of this host whose mark has changed. */
    readonly type?: "filter" | "nat" | "route";
    /** What happens to a packet that no rule decides about: accept by default. */
    readonly policy?: "accept" | "drop";
  };
}

const FAMILIES = { inet: n.NFPROTO_INET, ip: n.NFPROTO_IPV4, bridge: n.NFPROTO_BRIDGE, ip6: n.NFPROTO_IPV6 };
const FAMILY_NAMES = wordsOf(FAMILIES);

// deno-fmt-ignore
const HOOKS = {
  prerouting: n.NF_INET_PRE_ROUTING, input: n.NF_INET_LOCAL_IN, forward: n.NF_INET_FORWARD,
  output: n.NF_INET_LOCAL_OUT, postrouting: n.NF_INET_POST_ROUTING,
};

/** `struct nfgenmsg`: family, version, resource in network order. */
const nfgenmsg = (family: number, resource = 0): Uint8Array =>
  Uint8Array.of(family, 0, resource >> 8, resource);

const change = (
  what: string,
  operation: number,
  flags: number,
  family: NfFamily,
  write: (payload: Payload) => void,
): NetlinkRequest => {
  const payload = new Payload(nfgenmsg(FAMILIES[family]));
  write(payload);
  return { what, type: (n.NFNL_SUBSYS_NFTABLES << 8) | operation, flags, payload: payload.bytes };
};

/** A table, unless it is there. */
export const newTable = ({ family, name }: NfTable): NetlinkRequest =>
  change(
    `add table ${family} ${name}`,
    n.NFT_MSG_NEWTABLE,
    NLM_F_CREATE,
    family,
    (payload) => payload.string(n.NFTA_TABLE_NAME, name),
  );

/** The table must be there: put {@link newTable} before it where that is not certain, and after it to have an empty one. */
export const deleteTable = ({ family, name }: NfTable): NetlinkRequest =>
  change(
    `delete table ${family} ${name}`,
    n.NFT_MSG_DELTABLE,
    0,
    family,
    (payload) => payload.string(n.NFTA_TABLE_NAME, name),
  );

export const newChain = ({ table, name, hook }: NfChain): NetlinkRequest =>
  change(
    `add chain ${table.family} ${table.name} ${name}`,
    n.NFT_MSG_NEWCHAIN,
    NLM_F_CREATE | NLM_F_EXCL,
    table.family,
    (payload) => {
      payload.string(n.NFTA_CHAIN_TABLE, table.name).string(n.NFTA_CHAIN_NAME, name);
      if (hook === undefined) return;
      payload.nested(
        n.NFTA_CHAIN_HOOK,
        (inner) =>
          inner.u32be(n.NFTA_HOOK_HOOKNUM, HOOKS[hook.at]).u32be(n.NFTA_HOOK_PRIORITY, hook.priority),
      );
      payload.string(n.NFTA_CHAIN_TYPE, hook.type ?? "filter");
      payload.u32be(n.NFTA_CHAIN_POLICY, hook.policy === "drop" ? n.NF_DROP : n.NF_ACCEPT);
    },
  );

/** A rule at the end of a chain: all conditions hold, then the actions are done. */
export const newRule = (table: NfTable, chain: string, ...parts: NfExpressions[]): NetlinkRequest =>
  change(
    `add rule ${table.family} ${table.name} ${chain}`,
    n.NFT_MSG_NEWRULE,
    NLM_F_CREATE | NLM_F_APPEND,
    table.family,
    (payload) => {
      payload.string(n.NFTA_RULE_TABLE, table.name).string(n.NFTA_RULE_CHAIN, chain);
      payload.nested(n.NFTA_RULE_EXPRESSIONS, (list) => {
        for (const { name, data } of parts.flat()) {
          list.nested(n.NFTA_LIST_ELEM, (element) => {
            element.string(n.NFTA_EXPR_NAME, name);
            element.nested(n.NFTA_EXPR_DATA, (inner) => inner.raw(data));
          });
        }
      });
    },
  );

/** Deletes all rules of a chain. */
export const flushChain = (table: NfTable, chain: string): NetlinkRequest =>
  change(
    `flush chain ${table.family} ${table.name} ${chain}`,
    n.NFT_MSG_DELRULE,
    0,
    table.family,
    (payload) => payload.string(n.NFTA_RULE_TABLE, table.name).string(n.NFTA_RULE_CHAIN, chain),
  );

/**
 * Makes all changes, in their order, or none. `netlink` is of NETLINK_NETFILTER.
 *
 * @throws {NetlinkError} ENOENT for what is not there, also an expression that the kernel lacks (tproxy, socket); EEXIST;
 * EOPNOTSUPP for one that the chain's hook does not have; EINVAL when the kernel has no nf_tables, EPERM.
 */
export function commit(netlink: Netlink, changes: readonly NetlinkRequest[]): void {
  const frame = (type: number): NetlinkRequest => ({
    what: "change nf_tables",
    type,
    flags: 0,
    payload: nfgenmsg(AF_UNSPEC, n.NFNL_SUBSYS_NFTABLES),
  });
  netlink.batch(frame(n.NFNL_MSG_BATCH_BEGIN), changes, frame(n.NFNL_MSG_BATCH_END));
}

/** All tables of the families that {@link NfFamily} names. @throws {NetlinkError} */
export function listTables(netlink: Netlink): NfTable[] {
  return netlink.dump({
    what: "list nf_tables",
    type: (n.NFNL_SUBSYS_NFTABLES << 8) | n.NFT_MSG_GETTABLE,
    flags: 0,
    payload: nfgenmsg(AF_UNSPEC),
  }).flatMap(({ payload }) => {
    const { header, attributes } = Attributes.behind(payload, 4);
    const family = FAMILY_NAMES.get(header.getUint8(0));
    const name = attributes.string(n.NFTA_TABLE_NAME);
    return family === undefined || name === undefined ? [] : [{ family, name }];
  });
}
