/**
 * Parts of a rule of nf_tables. The kernel runs a rule's expressions one after the other: each loads something into a register,
 * changes it, compares it (and ends the rule when it is something else), or does something with the packet. Here a condition or an
 * action is the list of expressions that it takes; register 1 is free for each of them.
 */
import { AF_INET, AF_INET6 } from "../../ffi/constants.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../ffi/network_constants.ts";
import { familyOf, type Prefix, requirePrefix } from "./addresses.ts";
import { Payload } from "./codec.ts";
import * as n from "./nf_constants.ts";

/** One expression: its name, and its attributes. */
export interface NfExpression {
  readonly name: string;
  readonly data: Uint8Array;
}

export type NfExpressions = readonly NfExpression[];

export type NfVerdict = "accept" | "drop" | "return" | { readonly jump: string };

export type NfBase = "network" | "transport";

const expression = (name: string, write: (data: Payload) => void): NfExpression => {
  const data = new Payload();
  write(data);
  return { name, data: data.bytes };
};

const value = (data: Payload, type: number, bytes: Uint8Array): Payload =>
  data.nested(type, (inner) => inner.attribute(n.NFTA_DATA_VALUE, bytes));

/** A number as the kernel has it in a register that is no part of a packet. */
const u32 = (number: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number, true);
  return bytes;
};

const u16be = (number: number): Uint8Array => Uint8Array.of(number >> 8, number & 0xff);

const loadMeta = (key: number): NfExpression =>
  expression(
    "meta",
    (data) => data.u32be(n.NFTA_META_KEY, key).u32be(n.NFTA_META_DREG, n.NFT_REG_1),
  );

const compare = (bytes: Uint8Array, equal = true): NfExpression =>
  expression("cmp", (data) =>
    value(
      data.u32be(n.NFTA_CMP_SREG, n.NFT_REG_1).u32be(n.NFTA_CMP_OP, equal ? n.NFT_CMP_EQ : n.NFT_CMP_NEQ),
      n.NFTA_CMP_DATA,
      bytes,
    ));

const mask = (bytes: Uint8Array): NfExpression =>
  expression("bitwise", (data) => {
    data.u32be(n.NFTA_BITWISE_SREG, n.NFT_REG_1).u32be(n.NFTA_BITWISE_DREG, n.NFT_REG_1)
      .u32be(n.NFTA_BITWISE_LEN, bytes.length);
    value(data, n.NFTA_BITWISE_MASK, bytes);
    value(data, n.NFTA_BITWISE_XOR, new Uint8Array(bytes.length));
  });

const immediate = (bytes: Uint8Array, register = n.NFT_REG_1): NfExpression =>
  expression(
    "immediate",
    (data) => value(data.u32be(n.NFTA_IMMEDIATE_DREG, register), n.NFTA_IMMEDIATE_DATA, bytes),
  );

const BASES = { network: n.NFT_PAYLOAD_NETWORK_HEADER, transport: n.NFT_PAYLOAD_TRANSPORT_HEADER };

/**
 * Bytes of a header, from `offset`, are `expected`; only the bits of `bits` count, when that is given.
 *
 * The rule must have made sure before that it is such a header: see {@link protocolIs}, {@link familyIs}.
 */
export function headerIs(
  base: NfBase,
  offset: number,
  expected: Uint8Array,
  options: { readonly bits?: Uint8Array; readonly not?: boolean } = {},
): NfExpressions {
  return [
    expression(
      "payload",
      (data) =>
        data.u32be(n.NFTA_PAYLOAD_DREG, n.NFT_REG_1).u32be(n.NFTA_PAYLOAD_BASE, BASES[base])
          .u32be(n.NFTA_PAYLOAD_OFFSET, offset).u32be(n.NFTA_PAYLOAD_LEN, expected.length),
    ),
    ...(options.bits === undefined ? [] : [mask(options.bits)]),
    compare(expected, options.not !== true),
  ];
}

/** An interface's name is compared with all 16 bytes that it can have; the beginning of a name with its own. */
function interfaceIs(key: number, name: string, { prefix = false, not = false }): NfExpressions {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > 15) throw new RangeError(`Not a name for an interface: ${name}`);
  const padded = new Uint8Array(prefix ? bytes.length : 16);
  padded.set(bytes);
  return [loadMeta(key), compare(padded, !not)];
}

export interface InterfaceMatch {
  /** All interfaces whose names begin so. */
  readonly prefix?: boolean;
  readonly not?: boolean;
}

/** The packet came by this interface. */
export const inputIs = (name: string, match: InterfaceMatch = {}): NfExpressions =>
  interfaceIs(n.NFT_META_IIFNAME, name, match);

/** The packet leaves by this interface. */
export const outputIs = (name: string, match: InterfaceMatch = {}): NfExpressions =>
  interfaceIs(n.NFT_META_OIFNAME, name, match);

/** IPPROTO_TCP and so on. */
export const protocolIs = (protocol: number): NfExpressions => [
  loadMeta(n.NFT_META_L4PROTO),
  compare(Uint8Array.of(protocol)),
];

/** For tables of family inet, which see both. */
export const familyIs = (family: "ip" | "ip6"): NfExpressions => [
  loadMeta(n.NFT_META_NFPROTO),
  compare(Uint8Array.of(family === "ip" ? n.NFPROTO_IPV4 : n.NFPROTO_IPV6)),
];

export const markIs = (mark: number, bits?: number): NfExpressions => [
  loadMeta(n.NFT_META_MARK),
  ...(bits === undefined ? [] : [mask(u32(bits))]),
  compare(u32(mark)),
];

/** TCP with these flags of those in `of` (SYN 2, RST 4, ACK 16). */
export const tcpFlagsAre = (flags: number, of: number): NfExpressions => [
  ...protocolIs(IPPROTO_TCP),
  ...headerIs("transport", 13, Uint8Array.of(flags), { bits: Uint8Array.of(of) }),
];

/** TCP and UDP: after {@link protocolIs}. */
export const destinationPortIs = (port: number): NfExpressions => headerIs("transport", 2, u16be(port));
export const sourcePortIs = (port: number): NfExpressions => headerIs("transport", 0, u16be(port));

/**
 * Writes another port into a TCP or UDP header, and corrects its checksum: translation without connection tracking. After
 * {@link protocolIs} with the same protocol.
 */
export const setPort = (
  which: "source" | "destination",
  protocol: typeof IPPROTO_TCP | typeof IPPROTO_UDP,
  port: number,
): NfExpressions => [
  immediate(u16be(port)),
  expression(
    "payload",
    (data) =>
      data.u32be(n.NFTA_PAYLOAD_SREG, n.NFT_REG_1).u32be(n.NFTA_PAYLOAD_BASE, n.NFT_PAYLOAD_TRANSPORT_HEADER)
        .u32be(n.NFTA_PAYLOAD_OFFSET, which === "source" ? 0 : 2).u32be(n.NFTA_PAYLOAD_LEN, 2)
        .u32be(n.NFTA_PAYLOAD_CSUM_TYPE, n.NFT_PAYLOAD_CSUM_INET)
        .u32be(n.NFTA_PAYLOAD_CSUM_OFFSET, protocol === IPPROTO_TCP ? 16 : 6),
  ),
];

function prefixBits({ address, length }: Prefix): Uint8Array {
  return Uint8Array.from(
    address,
    (_, index) => 0xff00 >> Math.max(0, Math.min(8, length - 8 * index)) & 0xff,
  );
}

function addressIs(prefix: Prefix, v4: number, v6: number, not: boolean): NfExpressions {
  requirePrefix(prefix);
  const family = familyOf(prefix.address) === AF_INET ? "ip" : "ip6";
  const bits = prefixBits(prefix);
  const network = prefix.address.map((byte, index) => byte & (bits[index] ?? 0));
  return [...familyIs(family), ...headerIs("network", family === "ip" ? v4 : v6, network, { bits, not })];
}

export const sourceIs = (prefix: Prefix, { not = false } = {}): NfExpressions =>
  addressIs(prefix, 12, 8, not);
export const destinationIs = (prefix: Prefix, { not = false } = {}): NfExpressions =>
  addressIs(prefix, 16, 24, not);

/** There is a socket for the packet, and it has IP_TRANSPARENT. After {@link protocolIs}. */
export const socketIsTransparent = (): NfExpressions => [
  expression(
    "socket",
    (data) => data.u32be(n.NFTA_SOCKET_KEY, n.NFT_SOCKET_TRANSPARENT).u32be(n.NFTA_SOCKET_DREG, n.NFT_REG_1),
  ),
  compare(Uint8Array.of(1)),
];

/**
 * Gives the packet to the transparent socket that listens at `port`, or to the one whose connection it belongs to. The packet
 * has to be routed to this host besides, by a mark. In prerouting only, after {@link protocolIs}.
 */
export function tproxy(family: "ip" | "ip6", port: number, address?: Uint8Array): NfExpressions {
  return [
    ...(address === undefined ? [] : [immediate(address, n.NFT_REG_2)]),
    immediate(u16be(port)),
    expression("tproxy", (data) => {
      data.u32be(n.NFTA_TPROXY_FAMILY, family === "ip" ? AF_INET : AF_INET6);
      if (address !== undefined) data.u32be(n.NFTA_TPROXY_REG_ADDR, n.NFT_REG_2);
      data.u32be(n.NFTA_TPROXY_REG_PORT, n.NFT_REG_1);
    }),
  ];
}

export const setMark = (mark: number): NfExpressions => [
  immediate(u32(mark)),
  expression(
    "meta",
    (data) => data.u32be(n.NFTA_META_KEY, n.NFT_META_MARK).u32be(n.NFTA_META_SREG, n.NFT_REG_1),
  ),
];

/** What becomes of the packet; the last part of a rule. */
export function verdict(verdict: NfVerdict): NfExpressions {
  const code = typeof verdict === "object"
    ? n.NFT_JUMP
    : { accept: n.NF_ACCEPT, drop: n.NF_DROP, return: n.NFT_RETURN }[verdict];
  return [
    expression("immediate", (data) =>
      data.u32be(n.NFTA_IMMEDIATE_DREG, n.NFT_REG_VERDICT).nested(
        n.NFTA_IMMEDIATE_DATA,
        (inner) =>
          inner.nested(n.NFTA_DATA_VERDICT, (attributes) => {
            attributes.u32be(n.NFTA_VERDICT_CODE, code);
            if (typeof verdict === "object") attributes.string(n.NFTA_VERDICT_CHAIN, verdict.jump);
          }),
      )),
  ];
}
