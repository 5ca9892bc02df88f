import { describe, expect, it } from "vitest";
import {
  addressAfter,
  addressBytes,
  addressFromBytes,
  addressFromValue,
  compareAddresses,
  type Family,
  formatAddress,
  isLinkLocal,
  isLoopback,
  isMulticast,
  parseAddress,
  tryParseAddress,
  unmapAddress,
} from "../../base/address.ts";
import {
  comparePrefixes,
  everything,
  firstAddress,
  formatPrefix,
  lastAddress,
  masked,
  netmask,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixSize,
  samePrefix,
  tryParsePrefix,
  unmapPrefix,
} from "../../base/address_prefix.ts";

/** A repeatable source of numbers below `limit` (xorshift32). */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

describe("parseAddress() and formatAddress()", () => {
  it.each([
    ["0.0.0.0", "0.0.0.0"],
    ["172.17.0.1", "172.17.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["fe80::1%eth0", "fe80::1%eth0"],
  ])("reads %s and writes %s", (text, canonical) => {
    expect(formatAddress(parseAddress(text))).toBe(canonical);
  });

  // Texts as Go 1.24's netip.ParseAddr has them.
  it.each([
    ["", 'ParseAddr(""): unable to parse IP'],
    ["bad", 'ParseAddr("bad"): unable to parse IP'],
    ["1234", 'ParseAddr("1234"): unable to parse IP'],
    ["1.2.3", 'ParseAddr("1.2.3"): IPv4 address too short'],
    ["1.2.3.4.5", 'ParseAddr("1.2.3.4.5"): IPv4 address too long'],
    ["1.2.3.256", 'ParseAddr("1.2.3.256"): IPv4 field has value >255'],
    ["1.2.03.4", 'ParseAddr("1.2.03.4"): IPv4 field has octet with leading zero'],
    ["1.2.3.", 'ParseAddr("1.2.3."): IPv4 field must have at least one digit (at ".")'],
    ["1..3.4", 'ParseAddr("1..3.4"): IPv4 field must have at least one digit (at ".3.4")'],
    ["1.2.3.x", 'ParseAddr("1.2.3.x"): unexpected character (at "x")'],
    ["%eth0", 'ParseAddr("%eth0"): missing IPv6 address'],
    ["fe80::1%", 'ParseAddr("fe80::1%"): zone must be a non-empty string'],
    ["1:2:3", 'ParseAddr("1:2:3"): address string too short'],
    ["1:2:3:4:5:6:7:8:9", 'ParseAddr("1:2:3:4:5:6:7:8:9"): trailing garbage after address'],
    [
      "1:2:3:4::5:6:7:8",
      'ParseAddr("1:2:3:4::5:6:7:8"): the :: must expand to at least one field of zeros',
    ],
    ["::fffff", 'ParseAddr("::fffff"): each group must have 4 or fewer digits (at "fffff")'],
    ["1:2:3:4:5:6:7:", 'ParseAddr("1:2:3:4:5:6:7:"): colon must be followed by more characters (at ":")'],
    ["::g", 'ParseAddr("::g"): each colon-separated field must have at least one digit (at "g")'],
  ])("refuses %j", (text, message) => {
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ message, kind: "invalid" }));
  });

  it.each(["1::2::3", ":::", ":1", "1:", "::1.2.3", "1.2.3.4::", "::1.2.3.4:5", "::1 ", " ::1", "1.2.3.4/5"])(
    "refuses %j in some words",
    (text) => expect(tryParseAddress(text)).toBeUndefined(),
  );

  it("gives every address back that was written", () => {
    const next = numbers(7);
    for (let round = 0; round < 3000; round++) {
      const family: Family = next(2) === 0 ? 4 : 6;
      // Many zero fields, so that `::` comes in all places.
      const bytes = new Uint8Array(family === 4 ? 4 : 16).map(() => next(3) === 0 ? next(256) : 0);
      const address = addressFromBytes(bytes);
      const text = formatAddress(address);
      expect(parseAddress(text)).toEqual(address);
      expect(addressBytes(address)).toEqual(bytes);
      // A URL's host is written as RFC 5952 says, except that mapped addresses have no dots there.
      if (family === 6 && !text.includes(".")) {
        expect(new URL(`http://[${bytes.reduce(hexFields, "")}]/`).hostname).toBe(`[${text}]`);
      }
    }
  });

  it("never throws anything but its own error", () => {
    const next = numbers(11);
    const letters = "0123456789abcdef::::....%g/ -";
    for (let round = 0; round < 5000; round++) {
      const text = Array.from({ length: next(24) }, () => letters[next(letters.length)]).join("");
      const address = tryParseAddress(text);
      if (address) expect(parseAddress(formatAddress(address))).toEqual(address);
      else expect(() => parseAddress(text)).toThrow(/^ParseAddr\(/);
    }
  });
});

function hexFields(text: string, byte: number, index: number): string {
  return text + (index > 0 && index % 2 === 0 ? ":" : "") + byte.toString(16).padStart(2, "0");
}

describe("addresses", () => {
  it("count on, and stop at the ends of the family", () => {
    const after = (text: string, count?: number) => {
      const found = addressAfter(parseAddress(text), count);
      return found && formatAddress(found);
    };
    expect(after("172.17.0.255")).toBe("172.17.1.0");
    expect(after("172.17.1.0", -1)).toBe("172.17.0.255");
    expect(after("255.255.255.255")).toBeUndefined();
    expect(after("::", -1)).toBeUndefined();
    expect(after("2001:db8::ffff")).toBe("2001:db8::1:0");
    expect(() => addressFromValue(4, 1n << 32n)).toThrow(RangeError);
    expect(() => addressFromBytes(new Uint8Array(5))).toThrow(RangeError);
  });

  it("are of the kinds that Go tells apart", () => {
    expect(isLinkLocal(parseAddress("169.254.9.9"))).toBe(true);
    expect(isLinkLocal(parseAddress("febf::1"))).toBe(true);
    expect(isLinkLocal(parseAddress("fec0::1"))).toBe(false);
    expect(isLoopback(parseAddress("127.9.9.9"))).toBe(true);
    expect(isLoopback(parseAddress("::2"))).toBe(false);
    expect(isMulticast(parseAddress("239.1.1.1"))).toBe(true);
    expect(isMulticast(parseAddress("ff02::1"))).toBe(true);
    expect(isMulticast(parseAddress("240.1.1.1"))).toBe(false);
    expect(unmapAddress(parseAddress("::ffff:1.2.3.4"))).toEqual(parseAddress("1.2.3.4"));
    expect(unmapAddress(parseAddress("::1.2.3.4")).family).toBe(6);
  });

  it("are ordered, IPv4 first", () => {
    const sorted = ["10.0.0.1", "172.17.0.1", "::", "::1", "fe80::1", "fe80::1%a"];
    const mixed = [...sorted].reverse().map(parseAddress).sort(compareAddresses);
    expect(mixed.map(formatAddress)).toEqual(sorted);
  });
});

describe("prefixes", () => {
  it.each([
    ["172.17.0.0", `netip.ParsePrefix("172.17.0.0"): no '/'`],
    ["172.17.0.0/33", 'netip.ParsePrefix("172.17.0.0/33"): prefix length out of range'],
    ["172.17.0.0/016", 'netip.ParsePrefix("172.17.0.0/016"): bad bits after slash: "016"'],
    ["172.17.0.0/", 'netip.ParsePrefix("172.17.0.0/"): bad bits after slash: ""'],
    ["172.17.0.0/+8", 'netip.ParsePrefix("172.17.0.0/+8"): bad bits after slash: "+8"'],
    ["fe80::%a/64", 'netip.ParsePrefix("fe80::%a/64"): IPv6 zones cannot be present in a prefix'],
    ["x/8", 'netip.ParsePrefix("x/8"): ParseAddr("x"): unable to parse IP'],
  ])("%s is refused", (text, message) => {
    expect(() => parsePrefix(text)).toThrow(expect.objectContaining({ message, kind: "invalid" }));
    expect(tryParsePrefix(text)).toBeUndefined();
  });

  it("have a first and a last address", () => {
    const ends = (text: string) => {
      const prefix = parsePrefix(text);
      return [
        formatPrefix(masked(prefix)),
        formatAddress(firstAddress(prefix)),
        formatAddress(lastAddress(prefix)),
      ];
    };
    expect(ends("172.17.42.1/16")).toEqual(["172.17.0.0/16", "172.17.0.0", "172.17.255.255"]);
    expect(ends("10.0.0.5/31")).toEqual(["10.0.0.4/31", "10.0.0.4", "10.0.0.5"]);
    expect(ends("10.0.0.5/32")).toEqual(["10.0.0.5/32", "10.0.0.5", "10.0.0.5"]);
    expect(ends("0.0.0.0/0")).toEqual(["0.0.0.0/0", "0.0.0.0", "255.255.255.255"]);
    expect(ends("fd00::7/64")).toEqual(["fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff"]);
    expect(prefixSize(parsePrefix("fd00::/64"))).toBe(1n << 64n);
  });

  it("contain and overlap", () => {
    const overlap = (a: string, b: string) => prefixesOverlap(parsePrefix(a), parsePrefix(b));
    expect(prefixContains(parsePrefix("10.0.0.0/8"), parseAddress("10.255.255.255"))).toBe(true);
    expect(prefixContains(parsePrefix("10.0.0.0/8"), parseAddress("11.0.0.0"))).toBe(false);
    expect(prefixContains(parsePrefix("10.0.0.0/8"), parseAddress("::ffff:10.0.0.1"))).toBe(false);
    expect(prefixContains(parsePrefix("fe80::/64"), parseAddress("fe80::1%eth0"))).toBe(false);
    expect(overlap("10.0.0.0/8", "10.9.0.0/16")).toBe(true);
    expect(overlap("10.9.0.0/16", "10.0.0.0/8")).toBe(true);
    expect(overlap("10.9.0.0/16", "10.8.0.0/16")).toBe(false);
    expect(overlap("0.0.0.0/0", "::/0")).toBe(false);
    expect(samePrefix(parsePrefix("::/0"), everything(6))).toBe(true);
  });

  it("overlap exactly when they share an address", () => {
    const next = numbers(23);
    for (let round = 0; round < 2000; round++) {
      const any = () => ({ address: addressFromValue(4, BigInt(next(256))), bits: 24 + next(9) });
      const [a, b] = [any(), any()];
      const shared = Array.from({ length: 256 }, (_, i) => addressFromValue(4, BigInt(i)))
        .some((address) => prefixContains(a, address) && prefixContains(b, address));
      expect(prefixesOverlap(a, b)).toBe(shared);
      expect(Math.sign(comparePrefixes(a, b))).toBe(-Math.sign(comparePrefixes(b, a)) + 0);
    }
  });

  it("are unmapped as Docker's API does, and written as masks", () => {
    expect(formatPrefix(unmapPrefix(parsePrefix("::ffff:1.2.3.4/120")))).toBe("1.2.3.4/24");
    expect(formatPrefix(unmapPrefix(parsePrefix("::ffff:1.2.3.4/24")))).toBe("1.2.3.4/0");
    expect(formatPrefix(unmapPrefix(parsePrefix("fd00::/8")))).toBe("fd00::/8");
    expect([0, 16, 20, 32].map(netmask)).toEqual([
      "0.0.0.0",
      "255.255.0.0",
      "255.255.240.0",
      "255.255.255.255",
    ]);
    expect(() => netmask(33)).toThrow(RangeError);
  });
});
