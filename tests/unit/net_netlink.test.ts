/** Netlink's bytes: against those that iproute2 6.1 sends (strace -e write), and against a kernel of paper that misbehaves. */
import { describe, expect, it } from "vitest";
import type { ReceivedMessage } from "../../ffi/kernel_network.ts";
import { SysError } from "../../ffi/errno.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { addressPayload } from "../../net/netlink/addresses.ts";
import {
  Attributes,
  NetlinkFormatError,
  Payload,
  readMessages,
  writeMessage,
} from "../../net/netlink/codec.ts";
import { Netlink, type NetlinkCalls } from "../../net/netlink/connection.ts";
import * as c from "../../net/netlink/constants.ts";
import { type NewLink, newLinkPayload } from "../../net/netlink/links.ts";
import { routePayload } from "../../net/netlink/routes.ts";
import { rulePayload } from "../../net/netlink/rules.ts";

const hex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(text.replace(/\s/g, "").match(/../g) ?? [], (byte) => parseInt(byte, 16));
const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const ip = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number);

/** What attributes consist of attributes, and the size of a struct before these. */
type Shape = { readonly [type: number]: { readonly header?: number; readonly inner: Shape } };
const LINK: Shape = { 18: { inner: { 2: { inner: { 1: { header: 16, inner: {} } } }, 5: { inner: {} } } } };
/** In `info` of kinds other than veth, attribute 1 is no struct. */
const PLAIN_LINK: Shape = { 18: { inner: { 2: { inner: {} } } } };

/** A payload as a value in which neither order, nor padding, nor a final NUL counts. */
function meaning(payload: Uint8Array, header: number, shape: Shape): unknown {
  const attributes: [string, unknown][] = [];
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  for (let at = header; at + 4 <= payload.length;) {
    const length = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & 0x3fff;
    const value = payload.slice(at + 4, at + length);
    const inner = shape[type];
    attributes.push([
      String(type),
      inner ? meaning(value, inner.header ?? 0, inner.inner) : toHex(value).replace(/(00)+$/, ""),
    ]);
    at += (length + 3) & ~3;
  }
  return {
    header: toHex(payload.slice(0, header)),
    attributes: attributes.sort(([a], [b]) => Number(a) - Number(b)),
  };
}

const payloadOf = (message: string): Uint8Array => hex(message).slice(16);

describe("payloads", () => {
  // deno-fmt-ignore
  const links: [string, NewLink, Shape, string][] = [
    ["ip link add br9 up mtu 1400 type bridge stp_state 1 forward_delay 200 mcast_snooping 0",
      { kind: "bridge", name: "br9", up: true, mtu: 1400, stp: true, forwardDelay: 200, multicastSnooping: false }, PLAIN_LINK,
      "5c00000010000506a471026b0000000000000000000000000100000001000000080004007805000008000300627239002c0012000a00010062726964676500001c000200080005000100000008000100c80000000500170000000000"],
    ["ip link add veth9 address 02:42:ac:11:00:02 mtu 1400 type veth peer name eth9 mtu 1400",
      { kind: "veth", name: "veth9", mac: "02:42:ac:11:00:02", mtu: 1400, peer: { name: "eth9", mtu: 1400 } }, LINK,
      "7800000010000506a471026b00000000000000000000000000000000000000000a0001000242ac110002000008000400780500000a00030076657468390000003800120008000100766574682c00020028000100000000000000000000000000000000000800040078050000090003006574683900000000"],
    ["ip link add mv0 link p0 type macvlan mode bridge",
      { kind: "macvlan", name: "mv0", parent: 3, mode: "bridge" }, PLAIN_LINK,
      "4c00000010000506cc74026b00000000000000000000000000000000000000000800050003000000080003006d7630001c0012000b0001006d6163766c616e000c0002000800010004000000"],
    ["ip link add iv0 link p0 type ipvlan mode l3 private",
      { kind: "ipvlan", name: "iv0", parent: 3, mode: "l3", flag: "private" }, PLAIN_LINK,
      "5400000010000506cc74026b000000000000000000000000000000000000000008000500030000000800030069763000240012000a0001006970766c616e00001400020006000100010000000600020001000000"],
    ["ip link add vx0 type vxlan id 42 local 10.0.0.1 dstport 4789 nolearning",
      { kind: "vxlan", name: "vx0", id: 42, local: ip("10.0.0.1"), port: 4789, learning: false }, PLAIN_LINK,
      "5c00000010000506a471026b00000000000000000000000000000000000000000800030076783000340012000900010076786c616e00000024000200080001002a000000080004000a000001050007000000000006000f0012b50000"],
  ];
  it.each(links)("are those of: %s", (_, link, shape, theirs) => {
    expect(meaning(newLinkPayload(link), 16, shape)).toEqual(meaning(payloadOf(theirs), 16, shape));
  });

  // deno-fmt-ignore
  it.each<[string, Uint8Array, number, string]>([
    ["ip addr add 172.18.0.1/16 broadcast 172.18.255.255 dev br9",
      addressPayload({ address: ip("172.18.0.1"), length: 16, broadcast: ip("172.18.255.255"), link: 2 }), 8,
      "3000000014000506a471026b00000000021000000200000008000200ac12000108000400ac12ffff08000100ac120001"],
    ["ip addr add fd00::1/64 dev br9 nodad",
      addressPayload({ address: hex("fd000000000000000000000000000001"), length: 64, link: 2, noDad: true }), 8,
      "4000000014000506a471026b000000000a4002000200000014000200fd00000000000000000000000000000114000100fd000000000000000000000000000001"],
    ["ip route add default via 172.18.0.2 table 1000 metric 5 dev br9 src 172.18.0.1 onlink",
      routePayload({ destination: { address: ip("0.0.0.0"), length: 0 }, gateway: ip("172.18.0.2"), table: 1000, metric: 5, link: 2, source: ip("172.18.0.1"), onlink: true }), 12,
      "4400000018000506a471026b0000000002000000000300010400000008000500ac12000208000f00e8030000080006000500000008000700ac1200010800040002000000"],
    ["ip route add local default dev lo table 100",
      routePayload({ destination: { address: ip("0.0.0.0"), length: 0 }, type: "local", link: 1, table: 100 }), 12,
      "2400000018000506a471026b00000000020000006403fe02000000000800040001000000"],
    ["ip route add unreachable 10.9.0.0/16 table 7",
      routePayload({ destination: { address: ip("10.9.0.0"), length: 16 }, type: "unreachable", table: 7 }), 12,
      "2400000018000506a471026b00000000021000000703000700000000080001000a090000"],
    ["ip rule add iif br9 ipproto tcp sport 80 lookup 1000 pref 50",
      rulePayload({ family: "inet", iif: "br9", protocol: 6, sourcePorts: { first: 80, last: 80 }, table: 1000, priority: 50 }), 12,
      "4400000020000506a471026b0000000002000000000000010000000008000300627239000500160006000000080017005000500008000f00e80300000800060032000000"],
    ["ip rule add fwmark 0x1/0xff from 10.0.0.0/8 to 10.1.0.0/16 lookup 100 pref 51",
      rulePayload({ family: "inet", mark: { value: 1, mask: 255 }, from: { address: ip("10.0.0.0"), length: 8 }, to: { address: ip("10.1.0.0"), length: 16 }, table: 100, priority: 51 }), 12,
      "4400000020000506a471026b0000000002100800640000010000000008000a000100000008001000ff000000080002000a000000080001000a0100000800060033000000"],
  ])("are those of: %s", (_, ours, header, theirs) => {
    expect(meaning(ours, header, {})).toEqual(meaning(payloadOf(theirs), header, {}));
  });

  it("grow, nest, align and refuse what does not fit", () => {
    const payload = new Payload(new Uint8Array(6));
    payload.u8(1, 7).u16(2, 0x1234).u16be(3, 0x1234).u32be(4, 5).u64be(5, 6n).flag(6).string(7, "näme");
    payload.nested(
      8,
      (inner) => inner.u32(1, 9).nested(2, (deep) => deep.attribute(3, new Uint8Array(1000).fill(5))),
    );
    const { attributes } = Attributes.behind(payload.bytes, 6);
    expect(payload.bytes.length % 4).toBe(0);
    expect([attributes.u8(1), attributes.u16(2), attributes.u16(3), attributes.u32be(4)]).toEqual([
      7,
      0x1234,
      0x3412,
      5,
    ]);
    expect([attributes.has(6), attributes.has(9), attributes.string(7), attributes.u8(9)]).toEqual([
      true,
      false,
      "näme",
      undefined,
    ]);
    expect(attributes.nested(8)?.u32(1)).toBe(9);
    expect(attributes.nested(8)?.nested(2)?.bytes(3)).toEqual(new Uint8Array(1000).fill(5));
    expect(() => attributes.u32(1)).toThrow(NetlinkFormatError);
    expect(() => new Payload().attribute(1, new Uint8Array(65_532))).toThrow(RangeError);
    expect(() => new Payload().string(1, "a\0b")).toThrow(TypeError);
  });
});

describe("readMessages() and Attributes", () => {
  it("refuse every cut of a message, and whatever its lengths are made to be", () => {
    const whole = writeMessage(16, 0, 1, newLinkPayload({ kind: "veth", name: "a", peer: { name: "b" } }));
    const read = (data: Uint8Array<ArrayBuffer>): boolean => {
      try {
        for (const { payload } of readMessages(data)) {
          Attributes.behind(payload, 16).attributes.nested(18)?.nested(2)?.bytes(1);
        }
        return true;
      } catch (error) {
        if (error instanceof NetlinkFormatError) return false;
        throw error;
      }
    };
    expect(read(whole)).toBe(true);
    for (let length = 1; length < whole.length; length++) expect(read(whole.slice(0, length))).toBe(false);
    // every byte of every kind: an answer or a refusal, and an end
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 1, 3, 4, 0x7f, 0xff]) {
        const changed = whole.slice();
        changed[at] = value;
        read(changed);
      }
    }
  });
});

/** A kernel of paper: what is in `pieces` comes, one piece for each recvmsg after a request. */
class Paper implements NetlinkCalls {
  readonly sent: Uint8Array[] = [];
  #waiting: (Uint8Array | "stranger")[] = [];
  constructor(readonly answer: (request: number, sequence: number) => (Uint8Array | "stranger")[]) {}
  socket = () => 9;
  bind = () => {};
  setsockopt = () => {};
  getsockname = () => ({ family: "netlink", port: 77, groups: 0 }) as const;
  sendto = (_: number, data: Uint8Array) => {
    this.sent.push(data);
    this.#waiting.push(...this.answer(this.sent.length, new DataView(data.buffer).getUint32(8, true)));
    return data.length;
  };
  recvMessage = (_: number, buffer: Uint8Array): ReceivedMessage => {
    const next = this.#waiting.shift();
    if (next === undefined) return { length: WOULD_BLOCK, from: undefined, control: [], truncated: false };
    const data = next === "stranger" ? message(c.NLMSG_ERROR, 1, { port: 77, payload: error(-1) }) : next;
    buffer.set(data);
    const port = next === "stranger" ? 1234 : 0;
    return {
      length: data.length,
      from: { family: "netlink", port, groups: 0 },
      control: [],
      truncated: false,
    };
  };
}

function message(
  type: number,
  sequence: number,
  { flags = 0, port = 77, payload = new Uint8Array() }: {
    flags?: number;
    port?: number;
    payload?: Uint8Array;
  } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = writeMessage(type, flags, sequence, payload);
  new DataView(bytes.buffer).setUint32(12, port, true);
  return bytes;
}

function error(errno: number, text?: string): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  view.setInt32(0, errno, true);
  view.setUint32(4, 16, true);
  return text === undefined ? header : new Payload(header).string(c.NLMSGERR_ATTR_MSG, text).bytes;
}

const join = (...parts: Uint8Array[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(parts.flatMap((part) => [...part]));
const ASK = { type: 18, flags: 0, payload: new Uint8Array(16), what: "get it" };

function thrown(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error instanceof SysError ? `${error.code} ${error.message}` : (error as Error).name;
  }
  return "nothing";
}

const connect = (answer: Paper["answer"]): { paper: Paper; netlink: Netlink } => {
  const paper = new Paper(answer);
  return { paper, netlink: Netlink.open(0, paper, () => {}) };
};

describe("Netlink", () => {
  it("takes only the kernel's answers to its own request", () => {
    const { netlink } = connect((_, sequence) => [
      "stranger",
      join(
        message(16, sequence + 5),
        message(16, sequence, { port: 3 }),
        message(16, sequence, { payload: Uint8Array.of(1) }),
      ),
      message(c.NLMSG_NOOP, sequence),
      message(c.NLMSG_ERROR, sequence, { payload: error(0) }),
      message(c.NLMSG_ERROR, sequence, { payload: error(-1) }),
    ]);
    expect(netlink.request(ASK).map(({ payload }) => [...payload])).toEqual([[1]]);
    // what was left of the first one is not the second one's
    expect(netlink.request(ASK).length).toBe(1);
  });

  it("throws errno with the kernel's words, behind a header or the whole request", () => {
    const flags = c.NLM_F_ACK_TLVS;
    const capped = connect((_, sequence) => [
      message(c.NLMSG_ERROR, sequence, { flags: flags | c.NLM_F_CAPPED, payload: error(-17, "It is there") }),
    ]);
    expect(thrown(() => capped.netlink.request(ASK))).toBe("EEXIST get it: file exists (It is there)");
    const whole = connect((_, sequence) => {
      const header = new Uint8Array(4 + 16 + 16);
      new DataView(header.buffer).setInt32(0, -22, true);
      new DataView(header.buffer).setUint32(4, 32, true);
      const payload = new Payload(header).string(c.NLMSGERR_ATTR_MSG, "No").bytes;
      return [message(c.NLMSG_ERROR, sequence, { flags, payload })];
    });
    expect(thrown(() => whole.netlink.request(ASK))).toBe("EINVAL get it: invalid argument (No)");
    const silent = connect((_, sequence) => [message(c.NLMSG_ERROR, sequence, { payload: error(-1) })]);
    expect(thrown(() => silent.netlink.request(ASK))).toBe("EPERM get it: operation not permitted");
  });

  it("refuses silence, cut answers and lists without an end", () => {
    for (
      const [answers, expected] of [
        [() => [], "EPROTO get it: protocol error (no answer from the kernel)"],
        [
          (sequence: number) => [message(c.NLMSG_ERROR, sequence, { payload: new Uint8Array(2) })],
          "NetlinkFormatError",
        ],
        [(sequence: number) => [message(c.NLMSG_ERROR, sequence).slice(0, 15)], "NetlinkFormatError"],
        [
          (
            sequence: number,
          ) => [
            message(c.NLMSG_ERROR, sequence, { flags: c.NLM_F_ACK_TLVS, payload: error(-1).slice(0, 8) }),
          ],
          "NetlinkFormatError",
        ],
        [
          (sequence: number) => [message(c.NLMSG_OVERRUN, sequence)],
          "ENOBUFS get it: no buffer space available",
        ],
      ] as [(sequence: number) => Uint8Array[], string][]
    ) {
      expect(thrown(() => connect((_, sequence) => answers(sequence)).netlink.request(ASK))).toBe(expected);
    }
    const endless = connect((_, sequence) => [message(16, sequence, { flags: c.NLM_F_MULTI })]);
    expect(thrown(() => endless.netlink.dump(ASK))).toBe(
      "EPROTO get it: protocol error (no answer from the kernel)",
    );
    const single = connect((_, sequence) => [message(16, sequence)]);
    expect(thrown(() => single.netlink.dump(ASK))).toBe("NetlinkFormatError");
  });

  it("reads a list again that changed under it, though not for ever", () => {
    const piece = (sequence: number, flags = 0) => message(16, sequence, { flags: c.NLM_F_MULTI | flags });
    const done = (sequence: number, flags = 0) =>
      message(c.NLMSG_DONE, sequence, { flags, payload: new Uint8Array(4) });
    const twice = connect((request, sequence) =>
      request === 1
        ? [piece(sequence), join(piece(sequence, c.NLM_F_DUMP_INTR), done(sequence))]
        : [join(piece(sequence), piece(sequence)), piece(sequence), done(sequence)]
    );
    expect(twice.netlink.dump(ASK).length).toBe(3);
    expect(twice.paper.sent.length).toBe(2);
    const always = connect((_, sequence) => [done(sequence, c.NLM_F_DUMP_INTR)]);
    expect(thrown(() => always.netlink.dump(ASK))).toMatch(/^EAGAIN get it: /);
    const failed = connect((_, sequence) => {
      const payload =
        new Payload(Uint8Array.of(0xea, 0xff, 0xff, 0xff)).string(c.NLMSGERR_ATTR_MSG, "Bad filter").bytes;
      return [message(c.NLMSG_DONE, sequence, { flags: c.NLM_F_ACK_TLVS | c.NLM_F_MULTI, payload })];
    });
    expect(thrown(() => failed.netlink.dump(ASK))).toBe("EINVAL get it: invalid argument (Bad filter)");
  });

  it("a batch fails with its first failure, and when its last part is not acknowledged", () => {
    const ack = (sequence: number, errno = 0) => message(c.NLMSG_ERROR, sequence, { payload: error(errno) });
    const batch = (answers: (first: number) => Uint8Array[]): unknown => {
      const { netlink } = connect((_, sequence) => answers(sequence));
      const step = (what: string) => ({ ...ASK, what });
      return thrown(() =>
        netlink.batch(step("begin"), [step("one"), step("two"), step("three")], step("end"))
      );
    };
    expect(batch((first) => [ack(first + 3)])).toBe("nothing");
    expect(batch((first) => [ack(first + 1), ack(first + 3, -22), ack(first + 2, -17)])).toBe(
      "EEXIST two: file exists",
    );
    expect(batch((first) => [ack(first, -1)])).toBe("EPERM begin: operation not permitted");
    expect(batch((first) => [ack(first + 1), ack(first + 2)])).toMatch(/^EPROTO begin/);
  });

  it("is closed once, and then refuses", () => {
    let closed = 0;
    const netlink = Netlink.open(0, new Paper(() => []), () => closed++);
    netlink.close();
    netlink.close();
    expect(closed).toBe(1);
    expect(() => netlink.request(ASK)).toThrow(TypeError);
  });
});
