/** Policy routing: which table is looked at for which packet (RTM_*RULE). */
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { familyOf, type Prefix, requirePrefix } from "./addresses.ts";
import { Attributes, type NetlinkMessage, Payload } from "./codec.ts";
import type { Netlink } from "./connection.ts";
import * as c from "./constants.ts";
import { given, wordsOf } from "./fields.ts";

// deno-fmt-ignore
const ACTIONS = {
  lookup: c.FR_ACT_TO_TBL, blackhole: c.FR_ACT_BLACKHOLE, unreachable: c.FR_ACT_UNREACHABLE, prohibit: c.FR_ACT_PROHIBIT,
} as const;

export type RuleAction = keyof typeof ACTIONS;

const ACTION_NAMES = wordsOf(ACTIONS);

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export interface Rule {
  readonly family: "inet" | "inet6";
  /** Lower ones are looked at first. The kernel chooses one when it is left out. */
  readonly priority?: number;
  /** Name of the interface that the packet came by; `lo` is what this host sends. */
  readonly iif?: string;
  readonly oif?: string;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly mark?: { readonly value: number; readonly mask?: number };
  /** 6 for TCP, 17 for UDP. Linux 4.17 */
  readonly protocol?: number;
  readonly sourcePorts?: PortRange;
  readonly destinationPorts?: PortRange;
  /** Holds where the rest does not. */
  readonly not?: boolean;
  /** lookup by default, which wants a table. */
  readonly action?: RuleAction;
  readonly table?: number;
}

export interface ListedRule extends Rule {
  readonly priority: number;
  /** lookup in a rule of a kind that is not known here has no table. */
  readonly action: RuleAction;
}

/** `struct fib_rule_hdr`, laid out as rtmsg. */
const RULE_HEADER = 12;

function portRange({ first, last }: PortRange): Uint8Array {
  const value = new Uint8Array(4);
  const view = new DataView(value.buffer);
  view.setUint16(0, first, true);
  view.setUint16(2, last, true);
  return value;
}

/** The payload of {@link addRule} and {@link deleteRule}. */
export function rulePayload(rule: Rule): Uint8Array {
  const family = rule.family === "inet" ? AF_INET : AF_INET6;
  const header = new Uint8Array(RULE_HEADER);
  header[0] = family;
  const table = rule.table ?? 0;
  header[4] = table > 255 ? 0 : table;
  header[7] = ACTIONS[rule.action ?? "lookup"];
  if (rule.not === true) header[8] = c.FIB_RULE_INVERT;
  for (const [at, prefix] of [[1, rule.to], [2, rule.from]] as const) {
    if (prefix === undefined) continue;
    requirePrefix(prefix);
    if (familyOf(prefix.address) !== family) throw new RangeError("Prefix of another family than the rule's");
    header[at] = prefix.length;
  }
  const payload = new Payload(header);
  if (rule.to !== undefined) payload.attribute(c.FRA_DST, rule.to.address);
  if (rule.from !== undefined) payload.attribute(c.FRA_SRC, rule.from.address);
  if (rule.iif !== undefined) payload.string(c.FRA_IIFNAME, rule.iif);
  if (rule.oif !== undefined) payload.string(c.FRA_OIFNAME, rule.oif);
  if (rule.priority !== undefined) payload.u32(c.FRA_PRIORITY, rule.priority);
  if (rule.mark !== undefined) {
    payload.u32(c.FRA_FWMARK, rule.mark.value);
    if (rule.mark.mask !== undefined) payload.u32(c.FRA_FWMASK, rule.mark.mask);
  }
  if (table > 255) payload.u32(c.FRA_TABLE, table);
  if (rule.protocol !== undefined) payload.u8(c.FRA_IP_PROTO, rule.protocol);
  if (rule.sourcePorts !== undefined) payload.attribute(c.FRA_SPORT_RANGE, portRange(rule.sourcePorts));
  if (rule.destinationPorts !== undefined) {
    payload.attribute(c.FRA_DPORT_RANGE, portRange(rule.destinationPorts));
  }
  return payload.bytes;
}

function describe(rule: Rule): string {
  const words = [
    rule.priority,
    ...(rule.iif === undefined ? [] : ["iif", rule.iif]),
    ...(rule.table === undefined ? [] : ["lookup", rule.table]),
  ].filter((word) => word !== undefined);
  return ["rule", ...words].join(" ");
}

/** @throws {NetlinkError} EEXIST when the same rule is there, EPERM */
export function addRule(netlink: Netlink, rule: Rule): void {
  netlink.request({
    type: c.RTM_NEWRULE,
    flags: c.NLM_F_CREATE | c.NLM_F_EXCL,
    payload: rulePayload(rule),
    what: `add ${describe(rule)}`,
  });
}

/** The first one that agrees with what is given. @throws {NetlinkError} ENOENT when there is none. */
export function deleteRule(netlink: Netlink, rule: Rule): void {
  netlink.request({
    type: c.RTM_DELRULE,
    flags: 0,
    payload: rulePayload(rule),
    what: `delete ${describe(rule)}`,
  });
}

/** The rules of one family in the kernel's order. @throws {NetlinkError} */
export function listRules(netlink: Netlink, family: Rule["family"]): ListedRule[] {
  const payload = new Uint8Array(RULE_HEADER);
  payload[0] = family === "inet" ? AF_INET : AF_INET6;
  return netlink.dump({ type: c.RTM_GETRULE, flags: 0, payload, what: "list rules" })
    .filter(({ type }) => type === c.RTM_NEWRULE).map((message) => readRule(message, family));
}

function readRule({ payload }: NetlinkMessage, family: Rule["family"]): ListedRule {
  const { header, attributes } = Attributes.behind(payload, RULE_HEADER);
  const prefix = (attribute: number, length: number): Prefix | undefined => {
    const address = attributes.bytes(attribute)?.slice();
    return address === undefined ? undefined : { address, length };
  };
  const range = (attribute: number): PortRange | undefined => {
    const value = attributes.u32(attribute);
    return value === undefined ? undefined : { first: value & 0xffff, last: value >>> 16 };
  };
  const mark = attributes.u32(c.FRA_FWMARK);
  const optional = given({
    iif: attributes.string(c.FRA_IIFNAME),
    oif: attributes.string(c.FRA_OIFNAME),
    to: prefix(c.FRA_DST, header.getUint8(1)),
    from: prefix(c.FRA_SRC, header.getUint8(2)),
    mark: mark === undefined ? undefined : { value: mark, mask: attributes.u32(c.FRA_FWMASK) ?? 0xffff_ffff },
    protocol: attributes.u8(c.FRA_IP_PROTO),
    sourcePorts: range(c.FRA_SPORT_RANGE),
    destinationPorts: range(c.FRA_DPORT_RANGE),
    table: (attributes.u32(c.FRA_TABLE) ?? header.getUint8(4)) || undefined,
    not: (header.getUint32(8, true) & c.FIB_RULE_INVERT) !== 0 || undefined,
  });
  return {
    family,
    priority: attributes.u32(c.FRA_PRIORITY) ?? 0,
    action: ACTION_NAMES.get(header.getUint8(7)) ?? "lookup",
    ...optional,
  };
}
