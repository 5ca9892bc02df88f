import { describe, expect, it } from "vitest";
import {
  encodeAnswer,
  encodeBadQuery,
  parseAnswer,
  parseQuery,
  type Query,
  RCODE,
  sizeLimit,
  truncateAnswer,
  TYPE,
} from "../../net/dns/message.ts";
import { DnsFormatError, encodeName, nameFromText, readName, skipName } from "../../net/dns/name.ts";
import { Random } from "../fuzz/random.ts";
import { dnsQuery, dnsReply } from "../support/dns.ts";

const bytes = (...parts: (string | number)[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    parts.flatMap((part) => typeof part === "string" ? [...new TextEncoder().encode(part)] : [part]),
  );
/** What stands before a name in a message. */
const header = new Array<number>(12).fill(0);

function query(message: Uint8Array): Query {
  const parsed = parseQuery(message);
  if (parsed === undefined || "rcode" in parsed) throw new Error(`no query: ${JSON.stringify(parsed)}`);
  return parsed;
}

describe("readName()", () => {
  it("reads labels in lower case, and through pointers", () => {
    const message = bytes(...header, 3, "WeB", 2, "x1", 0, 2, "c1", 0xc0, 16, 0xc0, 20);
    expect(readName(message, 12)).toEqual({ name: "web.x1", end: 20 });
    expect(readName(message, 20)).toEqual({ name: "c1.x1", end: 25 });
    expect(readName(message, 25)).toEqual({ name: "c1.x1", end: 27 });
    expect(skipName(message, 20)).toBe(25);
    expect(skipName(message, 25)).toBe(27);
  });

  it("keeps a dot inside a label apart from one between labels", () => {
    expect(readName(bytes(3, "a.b", 0), 0).name).toBe("a\\.b");
    expect(readName(bytes(2, 0xc3, 0xbc, 0), 0).name).toBe("\\195\\188");
    expect(nameFromText("Bü.x.")).toBe("b\\195\\188.x");
  });

  it.each([
    ["a pointer to itself", bytes(...header, 0xc0, 12)],
    ["a pointer forward", bytes(...header, 0xc0, 14, 0)],
    ["a pointer into the header", bytes(...header, 0xc0, 0)],
    ["a pointer into what it comes from", bytes(...header, 1, "a", 0xc0, 12)],
    ["a label that is cut", bytes(...header, 5, "ab")],
    ["no end", bytes(...header, 1, "a")],
    ["half a pointer", bytes(...header, 0xc0)],
    ["a reserved label type", bytes(...header, 0x41, "a", 0)],
    ["256 bytes", bytes(...header, ...Array.from({ length: 128 }, () => [1, "a"]).flat(), 0)],
  ])("refuses %s", (_, message) => {
    expect(() => readName(message, 12)).toThrow(DnsFormatError);
    expect(() => skipName(message, 12)).toThrow(/./);
  });

  it("takes 255 bytes, and encodeName() brings them back", () => {
    const message = bytes(...Array.from({ length: 127 }, () => [1, "a"]).flat(), 0);
    const { name } = readName(message, 0);
    expect(encodeName(name)).toEqual(message);
    expect(() => encodeName(`${name}.a`)).toThrow(DnsFormatError);
    expect(() => encodeName("a..b")).toThrow(DnsFormatError);
    expect(() => encodeName("a".repeat(64))).toThrow(DnsFormatError);
    const strange = bytes(5, 0, 0x2e, 0x5c, 0xff, 0x20, 1, "b", 0);
    expect(encodeName(readName(strange, 0).name)).toEqual(strange);
  });
});

describe("parseQuery()", () => {
  it("reads the question and what the client takes", () => {
    const parsed = query(dnsQuery("Web.x1", TYPE.AAAA, 7, 4096));
    expect(parsed).toMatchObject({
      id: 7,
      question: { name: "web.x1", type: 28, class: 1 },
      edns: { udpSize: 4096, version: 0 },
    });
    expect(sizeLimit(parsed, "udp")).toBe(4096);
    expect(sizeLimit(parsed, "tcp")).toBe(65535);
    expect(sizeLimit(query(dnsQuery("web", 1, 1, 65535)), "udp")).toBe(65507);
    expect(sizeLimit(query(dnsQuery("web", 1)), "udp")).toBe(512);
    expect(sizeLimit(query(dnsQuery("web", 1, 1, 100)), "udp")).toBe(512);
  });

  it("answers nothing to an answer or to less than a header", () => {
    expect(parseQuery(dnsReply(dnsQuery("web", 1)))).toBeUndefined();
    expect(parseQuery(new Uint8Array(11))).toBeUndefined();
  });

  it("says FORMERR and NOTIMP by the header alone", () => {
    const cut = dnsQuery("web", 1).slice(0, -1);
    const bad = parseQuery(cut);
    expect(bad).toEqual({ id: 0x1234, flags: 0x100, rcode: RCODE.FORMERR });
    if (bad === undefined || !("rcode" in bad)) throw new Error("not bad");
    expect([...encodeBadQuery(bad)]).toEqual([0x12, 0x34, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
    const update = dnsQuery("web", 1);
    update[2] = 5 << 3;
    expect(parseQuery(update)).toMatchObject({ rcode: RCODE.NOTIMP });
    const two = dnsQuery("web", 1);
    two[5] = 2;
    expect(parseQuery(two)).toMatchObject({ rcode: RCODE.FORMERR });
    expect(parseQuery(new Uint8Array([...dnsQuery("web", 1), 0]))).toMatchObject({ rcode: RCODE.FORMERR });
  });
});

describe("encodeAnswer()", () => {
  const records = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      type: TYPE.A,
      ttl: 600,
      data: new Uint8Array([172, 18, index >> 8, index & 0xff]),
    }));

  it("writes the bytes of RFC 1035", () => {
    const asked = query(dnsQuery("c1", 1, 0xabcd));
    expect([...encodeAnswer(asked, RCODE.NOERROR, records(1), [], 512)]).toEqual([
      ...[0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0],
      ...[2, 0x63, 0x31, 0, 0, 1, 0, 1],
      ...[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 2, 0x58, 0, 4, 172, 18, 0, 0],
    ]);
  });

  it("stays within the limit, and says so when answers are missing", () => {
    const plain = encodeAnswer(query(dnsQuery("c1", 1)), RCODE.NOERROR, records(100), [], 512);
    expect(plain.length).toBeLessThanOrEqual(512);
    expect(parseAnswer(plain)).toMatchObject({ truncated: true, rcode: 0 });
    const edns = encodeAnswer(query(dnsQuery("c1", 1, 1, 4096)), RCODE.NOERROR, records(100), [], 4096);
    expect(parseAnswer(edns)).toMatchObject({ truncated: false });
    expect(edns.at(7)).toBe(100);
    const additional = encodeAnswer(query(dnsQuery("c1", 1)), RCODE.NOERROR, records(20), records(50), 512);
    expect(parseAnswer(additional)).toMatchObject({ truncated: false });
  });

  it("puts the upper bits of the code into OPT", () => {
    const answer = encodeAnswer(query(dnsQuery("c1", 1, 1, 1232)), RCODE.BADVERS, [], [], 512);
    expect(parseAnswer(answer).rcode).toBe(0);
    expect([...answer.slice(-11)]).toEqual([0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0]);
  });
});

describe("truncateAnswer()", () => {
  it("keeps whole records and OPT", () => {
    const long = dnsReply(dnsQuery("c1", 1), { count: 200 });
    long[11] = 1;
    const withOpt = new Uint8Array([...long, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    expect(truncateAnswer(withOpt, 65535)).toBe(withOpt);
    const cut = truncateAnswer(withOpt, 512);
    expect(cut.length).toBeLessThanOrEqual(512);
    expect(cut.length).toBeGreaterThan(512 - 16);
    expect(parseAnswer(cut).truncated).toBe(true);
    expect(cut.at(7)).toBe((cut.length - 12 - 8 - 11) / 16);
    expect([...cut.slice(-11)]).toEqual([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
  });
});

describe("hostile packets", () => {
  it("are refused by a DnsFormatError or an answer code, nothing else", () => {
    const random = new Random(20261122);
    const seeds = [
      dnsQuery("web.x1", 1, 1, 4096),
      dnsReply(dnsQuery("web.x1", 1), { count: 20 }),
      dnsQuery("4.3.2.1.in-addr.arpa", 12),
    ];
    let refused = 0;
    for (let round = 0; round < 60_000; round++) {
      const seed = seeds[random.below(seeds.length)] ?? new Uint8Array();
      let message = new Uint8Array(seed);
      for (let left = 1 + random.below(6); left > 0; left--) {
        const at = random.below(message.length);
        if (random.chance(8)) message = message.slice(0, at);
        else {message[at] = random.chance(3)
            ? random.pick([0xc0, 0x0c, 0xff, 0x3f, 0, 41])
            : random.below(256);}
      }
      const parsed = parseQuery(message);
      if (parsed !== undefined && "question" in parsed) {
        const answer = encodeAnswer(parsed, RCODE.NOERROR, [], [], 512);
        expect(parseAnswer(answer).question).toEqual(parsed.question);
      }
      try {
        parseAnswer(message);
        const limit = 12 + random.below(message.length + 1);
        const cut = truncateAnswer(message, limit);
        if (cut.length > limit) expect(cut.length).toBeLessThanOrEqual(12 + 259);
        parseAnswer(cut);
      } catch (error) {
        expect(error).toBeInstanceOf(DnsFormatError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(refused).toBeLessThan(60_000);
  });
});
