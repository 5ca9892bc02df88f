import { describe, expect, it } from "vitest";
import { formatPrefix, parsePrefix, prefixContains, prefixesOverlap } from "../../base/address_prefix.ts";
import { parseAddress } from "../../base/address.ts";
import {
  EMPTY_IPAM,
  type IpamState,
  type PoolId,
  poolStatus,
  releaseAddress,
  releasePool,
  requestAddress,
  requestPool,
} from "../../net/ipam.ts";
import {
  type AddressPool,
  effectivePools,
  LOCAL_POOLS,
  normalizePools,
  reservedPrefixes,
  uniqueLocalPool,
} from "../../net/ipam_pools.ts";
import {
  allocateEndpoint,
  allocateNetwork,
  type NetworkRequest,
  releaseEndpoint,
  releaseNetwork,
} from "../../net/ipam_network.ts";

const POOLS = await effectivePools([], "an engine");

/** Takes pools one after the other until there are no more. */
function all(pools: readonly AddressPool[], reserved: string[] = []): string[] {
  let state = EMPTY_IPAM;
  const subnets: string[] = [];
  const routes = reservedPrefixes({ routes: reserved });
  try {
    while (subnets.length < 100) {
      const made = requestPool(state, { family: 4, pools, reserved: routes });
      state = made.state;
      subnets.push(made.id.subnet);
    }
  } catch (error) {
    expect(error).toMatchObject({
      kind: "invalid",
      message: "all predefined address pools have been fully subnetted",
    });
  }
  expect(state.pools.map(({ subnet }) => subnet).sort()).toEqual([...subnets].sort());
  return subnets;
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe("requestPool() without a subnet", () => {
  it("gives Docker's 31 default subnets in Docker's order", () => {
    expect(all(LOCAL_POOLS)).toEqual([
      ...range(17, 31).map((n) => `172.${n}.0.0/16`),
      ...range(0, 15).map((n) => `192.168.${n * 16}.0/20`),
    ]);
  });

  it("passes over what the host uses, and not over its default route", () => {
    const subnets = all(LOCAL_POOLS, [
      "0.0.0.0/0",
      "172.17.0.0/16",
      "172.20.5.0/24",
      "172.29.1.2",
      "192.168.0.0/17",
    ]);
    expect(subnets.slice(0, 3)).toEqual(["172.18.0.0/16", "172.19.0.0/16", "172.21.0.0/16"]);
    expect(subnets).not.toContain("172.29.0.0/16");
    expect(subnets.filter((subnet) => subnet.startsWith("192."))).toEqual(
      range(8, 15).map((n) => `192.168.${n * 16}.0/20`),
    );
    expect(all(LOCAL_POOLS, ["172.16.0.0/12", "192.168.0.0/16"])).toEqual([]);
  });

  it("leaves the host its DNS servers", () => {
    const nameservers = ["172.17.0.0", "172.18.255.255", "fe80::1%eth0", "not an address"];
    const reserved = reservedPrefixes({ routes: ["also none"], nameservers });
    expect(reserved.map(formatPrefix)).toEqual([
      ...["10.0.2.0/24", "172.17.0.0/32", "172.18.255.255/32"],
      ...["fd00:b0:2::/64", "fe80::1/128"],
    ]);
    expect(requestPool(EMPTY_IPAM, { family: 4, pools: POOLS, reserved }).id.subnet).toBe("172.19.0.0/16");
  });

  it("passes over the addresses that stand for the host", () => {
    const pools = [{ base: "10.0.0.0/16", size: 24 }];
    const reserved = reservedPrefixes({ routes: [] });
    let state = EMPTY_IPAM;
    const subnets = range(1, 3).map(() => {
      const taken = requestPool(state, { family: 4, pools, reserved });
      state = taken.state;
      return taken.id.subnet;
    });
    expect(subnets).toEqual(["10.0.0.0/24", "10.0.1.0/24", "10.0.3.0/24"]);
  });

  it("takes what was given back, and what lies between", () => {
    let { state } = requestPool(EMPTY_IPAM, { family: 4, pools: POOLS });
    ({ state } = requestPool(state, { family: 4, pools: POOLS }));
    ({ state } = requestPool(state, { family: 4, pools: POOLS }));
    state = releasePool(state, { subnet: "172.18.0.0/16" });
    expect(requestPool(state, { family: 4, pools: POOLS }).id.subnet).toBe("172.18.0.0/16");
  });

  it("takes the length alone of an unspecified address", () => {
    expect(requestPool(EMPTY_IPAM, { family: 4, subnet: "0.0.0.0/24", pools: POOLS }).id.subnet).toBe(
      "172.17.0.0/24",
    );
    expect(requestPool(EMPTY_IPAM, { family: 4, subnet: "0.0.0.0/15", pools: POOLS }).id.subnet).toBe(
      "172.20.0.0/15",
    );
    expect(() => requestPool(EMPTY_IPAM, { family: 4, subnet: "0.0.0.0/8", pools: POOLS })).toThrow(
      "invalid address pool",
    );
  });

  it("gives IPv6 of a unique local prefix that stays the same", async () => {
    const { state, id } = requestPool(EMPTY_IPAM, { family: 6, pools: POOLS });
    expect(id.subnet).toMatch(/^fd[0-9a-f]{2}:[0-9a-f:]+\/64$/);
    expect(requestPool(state, { family: 6, pools: await effectivePools([], "an engine") }).id.subnet).not
      .toBe(id.subnet);
    expect(await uniqueLocalPool("an engine")).not.toEqual(await uniqueLocalPool("another"));
    // sha256("") begins e3b0c44298fc1c14: its low 40 bits are 4298fc1c14.
    expect(await uniqueLocalPool("")).toEqual({ base: "fd42:98fc:1c14::/48", size: 64 });
  });
});

describe("normalizePools()", () => {
  it("sorts, and leaves out what lies inside of another", () => {
    expect(normalizePools([
      { base: "192.168.9.9/16", size: 24 },
      { base: "10.1.0.0/16", size: 24 },
      { base: "10.0.0.0/8", size: 16 },
    ])).toEqual([{ base: "10.0.0.0/8", size: 16 }, { base: "192.168.0.0/16", size: 24 }]);
  });

  it("refuses what cannot be cut", () => {
    expect(() => normalizePools([{ base: "10.0.0.0/16", size: 8 }])).toThrow(
      "network at index 0 ({10.0.0.0/16 8}) has a smaller prefix (/16) than the target size of that pool (/8)",
    );
    expect(() => normalizePools([{ base: "10.0.0.0", size: 8 }])).toThrow("is not in canonical form");
    expect(() => normalizePools([{ base: "10.0.0.0/8", size: 33 }])).toThrow("no valid target size");
  });

  it("keeps a user's IPv6 pools instead of adding one", async () => {
    const pools = await effectivePools(
      [{ base: "fd00:1::/60", size: 64 }, { base: "10.0.0.0/8", size: 24 }],
      "x",
    );
    expect(pools.map(({ base }) => base)).toEqual(["10.0.0.0/8", "fd00:1::/60"]);
  });
});

describe("requestPool() with a subnet", () => {
  const OVERLAP = "invalid pool request: Pool overlaps with other one on this address space";
  const request = (state: IpamState, subnet: string, rangeText?: string) =>
    requestPool(state, { family: subnet.includes(":") ? 6 : 4, subnet, range: rangeText, pools: POOLS });

  it("refuses overlaps, with status 403 as Docker does", () => {
    const { state } = request(EMPTY_IPAM, "10.9.0.0/16");
    for (const subnet of ["10.9.0.0/16", "10.0.0.0/8", "10.9.3.0/24"]) {
      expect(() => request(state, subnet)).toThrow(
        expect.objectContaining({ kind: "forbidden", message: OVERLAP }),
      );
    }
    expect(request(state, "10.10.0.0/16").state.pools).toHaveLength(2);
    // The state is a value: what failed has not changed it.
    expect(state.pools).toHaveLength(1);
  });

  it("shares a subnet between networks with different ranges, and frees it with the last one", () => {
    const a = request(EMPTY_IPAM, "10.9.0.0/16", "10.9.1.0/24");
    expect(() => request(a.state, "10.9.0.0/16", "10.9.1.0/24")).toThrow(OVERLAP);
    const b = request(a.state, "10.9.0.0/16", "10.9.2.0/24");
    const given = requestAddress(b.state, b.id);
    expect(given.address).toBe("10.9.2.0");
    expect(() => requestAddress(given.state, a.id, { address: "10.9.2.0" })).toThrow(
      "Address already in use",
    );
    const rest = releasePool(given.state, b.id);
    expect(rest.pools).toHaveLength(1);
    expect(releasePool(rest, a.id)).toEqual(EMPTY_IPAM);
  });

  it("keeps automatic subnets away from a user's", () => {
    const { state } = request(EMPTY_IPAM, "172.17.4.0/24");
    expect(requestPool(state, { family: 4, pools: POOLS }).id.subnet).toBe("172.18.0.0/16");
  });

  it("says what is wrong with the request", () => {
    expect(() => request(EMPTY_IPAM, "10.0.0.0/8", "fd00::/64")).toThrow("incompatible address families");
    expect(() => request(EMPTY_IPAM, "10.0.0.0/99")).toThrow("invalid address pool");
    expect(() => requestPool(EMPTY_IPAM, { family: 4, range: "10.0.0.0/8", pools: POOLS })).toThrow(
      "invalid address subpool",
    );
    expect(() => releasePool(EMPTY_IPAM, { subnet: "10.0.0.0/8" })).toThrow(
      "address space does not contain specified address pool",
    );
    expect(() => requestAddress(EMPTY_IPAM, { subnet: "10.0.0.0/8" })).toThrow("cannot find address pool");
  });
});

describe("requestAddress()", () => {
  const pool = (subnet: string, rangeText?: string) =>
    requestPool(EMPTY_IPAM, { family: subnet.includes(":") ? 6 : 4, subnet, range: rangeText, pools: POOLS });
  /** All addresses that are given out until there are none. */
  function drain(state: IpamState, id: PoolId): string[] {
    const given: string[] = [];
    try {
      while (given.length < 300) {
        const one = requestAddress(state, id);
        state = one.state;
        given.push(one.address);
      }
    } catch (error) {
      expect(error).toMatchObject({ kind: "unavailable", message: "no available addresses on this pool" });
    }
    return given;
  }
  const drained = (subnet: string, rangeText?: string) => {
    const { state, id } = pool(subnet, rangeText);
    return drain(state, id);
  };

  it("gives every address that hosts may have, from below", () => {
    expect(drained("10.0.0.0/29")).toEqual(range(1, 6).map((n) => `10.0.0.${n}`));
    expect(drained("10.0.0.0/30")).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(drained("10.0.0.4/31")).toEqual(["10.0.0.4", "10.0.0.5"]);
    expect(drained("10.0.0.7/32")).toEqual(["10.0.0.7"]);
    expect(drained("10.0.0.0/24")).toHaveLength(254);
    expect(drained("10.0.0.0/24", "10.0.0.0/29")).toEqual(range(1, 7).map((n) => `10.0.0.${n}`));
    expect(drained("10.0.0.0/24", "10.0.0.248/29")).toEqual(range(248, 254).map((n) => `10.0.0.${n}`));
    expect(drained("fd00::/126")).toEqual(["fd00::1", "fd00::2", "fd00::3"]);
    expect(drained("fd00::/64").slice(0, 2)).toEqual(["fd00::1", "fd00::2"]);
    expect(drained("fd00::/128")).toEqual([]);
  });

  it("gives the lowest free one again, or goes on when asked to", () => {
    let { state, id } = pool("10.0.0.0/29");
    for (let i = 0; i < 4; i++) ({ state } = requestAddress(state, id, { serial: true }));
    state = releaseAddress(releaseAddress(state, id, "10.0.0.2"), id, "10.0.0.4");
    expect(requestAddress(state, id).address).toBe("10.0.0.2");
    const texts: string[] = [];
    for (let i = 0; i < 4; i++) {
      const given = requestAddress(state, id, { serial: true });
      state = given.state;
      texts.push(given.address);
    }
    expect(texts).toEqual(["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.4"]);
  });

  it("gives the one that is asked for, once", () => {
    const { state, id } = pool("10.0.0.0/24", "10.0.0.128/25");
    const given = requestAddress(state, id, { address: "10.0.0.9" });
    expect(given.address).toBe("10.0.0.9");
    expect(() => requestAddress(given.state, id, { address: "10.0.0.9" })).toThrow(
      expect.objectContaining({ kind: "forbidden", message: "Address already in use" }),
    );
    for (const reserved of ["10.0.0.0", "10.0.0.255"]) {
      expect(() => requestAddress(state, id, { address: reserved })).toThrow("Address already in use");
    }
    expect(() => requestAddress(state, id, { address: "10.0.1.1" })).toThrow(
      expect.objectContaining({ kind: "invalid", message: "requested address is out of range" }),
    );
    expect(releaseAddress(given.state, id, "10.0.0.9")).toEqual(state);
    expect(releaseAddress(state, id, "10.0.0.9")).toEqual(state);
    expect(() => releaseAddress(state, id, "11.0.0.1")).toThrow("requested address is out of range");
  });

  it("counts", () => {
    const { state, id } = pool("10.0.0.0/24", "10.0.0.128/25");
    const given = requestAddress(requestAddress(state, id).state, id, { address: "10.0.0.9" });
    expect(poolStatus(given.state, id)).toEqual({ inUse: 4n, available: 126n });
    const wide = pool("fd00::/64");
    expect(poolStatus(wide.state, wide.id)).toEqual({ inUse: 1n, available: (1n << 64n) - 1n });
  });

  it("holds the books like a list would, in whatever order things come, and stays JSON", () => {
    let { state, id } = pool("10.0.0.0/26");
    const taken = new Set(["10.0.0.0", "10.0.0.63"]);
    let seed = 5;
    const next = (limit: number) => (seed = (seed * 48271) % 2147483647) % limit;
    for (let round = 0; round < 2000; round++) {
      const address = `10.0.0.${next(64)}`;
      const kind = next(3);
      if (kind === 0) {
        state = releaseAddress(state, id, address);
        taken.delete(address);
      } else {
        const wanted = kind === 1 ? { address } : { serial: next(2) === 0 };
        const free = kind === 1 ? !taken.has(address) : taken.size < 64;
        if (free) {
          const given = requestAddress(state, id, wanted);
          expect(taken.has(given.address)).toBe(false);
          taken.add(given.address);
          state = given.state;
        } else expect(() => requestAddress(state, id, wanted)).toThrow();
      }
      state = JSON.parse(JSON.stringify(state));
      expect(poolStatus(state, id).inUse).toBe(BigInt(taken.size));
    }
  });

  it("needs one range for thousands of containers", () => {
    let { state, id } = pool("10.0.0.0/16");
    for (let i = 0; i < 3000; i++) ({ state } = requestAddress(state, id));
    expect(state.pools[0]?.used).toEqual(["10.0.0.0-10.0.11.184", "10.0.255.255"]);
  });
});

describe("allocateNetwork()", () => {
  const network = (request: Partial<NetworkRequest>, state: IpamState = EMPTY_IPAM) =>
    allocateNetwork(state, { name: "n", pools: POOLS, ...request });

  it("gives docker0 its 172.17.0.1 and the next network 172.18.0.1", () => {
    const first = network({ v4: [] });
    expect(first.addresses).toEqual({
      v4: [{ pool: { subnet: "172.17.0.0/16" }, gateway: "172.17.0.1", auxiliary: {}, configured: false }],
      v6: [],
    });
    expect(network({ v4: [] }, first.state).addresses.v4[0]?.gateway).toBe("172.18.0.1");
    expect(releaseNetwork(first.state, first.addresses)).toEqual(EMPTY_IPAM);
  });

  it("does the example of docker network create's manual", () => {
    const { addresses, state } = network({
      v4: [
        {
          subnet: "192.168.0.0/16",
          range: "192.168.1.0/24",
          gateway: "192.168.0.100",
          auxiliary: { "my-router": "192.168.1.5", "my-switch": "192.168.1.6" },
        },
        { subnet: "192.170.0.0/16", gateway: "192.170.0.100", auxiliary: { "my-printer": "192.170.1.5" } },
      ],
    });
    expect(addresses.v4.map(({ gateway }) => gateway)).toEqual(["192.168.0.100", "192.170.0.100"]);
    expect(addresses.v4[0]?.auxiliary).toEqual({ "my-router": "192.168.1.5", "my-switch": "192.168.1.6" });
    const net = { id: "1", name: "n", addresses };
    let now = state;
    const given = Array.from({ length: 7 }, () => {
      const made = allocateEndpoint(now, net);
      now = made.state;
      return made.addresses.ipv4?.address;
    });
    expect(given).toEqual([0, 1, 2, 3, 4, 7, 8].map((n) => `192.168.1.${n}`));
    expect(releaseNetwork(now, addresses)).toEqual(EMPTY_IPAM);
  });

  it("gives both families, and no gateway to drivers that have none", () => {
    const both = network({ v4: [], v6: [{ subnet: "2001:db8::/64" }] });
    expect(both.addresses.v6[0]).toEqual({
      pool: { subnet: "2001:db8::/64" },
      gateway: "2001:db8::1",
      auxiliary: {},
      configured: true,
    });
    const none = network({ v4: [], v6: [], withoutGateway: [4, 6] });
    expect([none.addresses.v4[0]?.gateway, none.addresses.v6[0]?.gateway]).toEqual([undefined, undefined]);
    const named = network({ v4: [{ subnet: "10.0.0.0/24", gateway: "10.0.0.9" }], withoutGateway: [4] });
    expect(named.addresses.v4[0]?.gateway).toBe("10.0.0.9");
    const only = network({ v6: [] });
    expect(only.addresses.v4).toEqual([]);
  });

  it("takes nothing when one part fails", () => {
    const { state } = network({ v4: [{ subnet: "10.0.0.0/24" }] });
    expect(() => network({ v4: [], v6: [{ subnet: "fd00::/64", gateway: "fd01::1" }] }, state)).toThrow(
      "failed to allocate gateway (fd01::1): requested address is out of range",
    );
    expect(state.pools.map(({ subnet }) => subnet)).toEqual(["10.0.0.0/24"]);
    expect(() => network({ v4: [{ subnet: "10.0.0.0/24" }] }, state)).toThrow("Pool overlaps");
  });

  it.each([
    [{ subnet: "10.0.0.0/24", gateway: "x" }, "invalid gateway address x in Ipam configuration"],
    [
      { subnet: "10.0.0.0/24", gateway: "10.0.0.2", auxiliary: { DefaultGatewayIPv4: "10.0.0.2" } },
      "failed to allocate secondary ip address (DefaultGatewayIPv4:10.0.0.2): Address already in use",
    ],
    [
      { subnet: "10.0.0.0/24", auxiliary: { a: "10.0.1.2" } },
      "auxiliary address: (a:10.0.1.2) must belong to the master pool: 10.0.0.0/24",
    ],
    [
      { subnet: "10.0.0.0/24", auxiliary: { a: "b" } },
      "non parsable secondary ip address (a:b) passed for network n",
    ],
  ])("says what is wrong with %j", (config, message) => {
    expect(() => network({ v4: [config] })).toThrow(expect.objectContaining({ message }));
  });
});

describe("allocateEndpoint()", () => {
  function made(v4: NetworkRequest["v4"], v6?: NetworkRequest["v6"]) {
    const { state, addresses } = allocateNetwork(EMPTY_IPAM, { name: "x1", v4, v6, pools: POOLS });
    return { state, network: { id: "0123456789ab", name: "x1", addresses } };
  }

  it("gives two containers .2 and .3, and .2 again to the next one when it is free", () => {
    const { state, network } = made([]);
    const one = allocateEndpoint(state, network);
    const two = allocateEndpoint(one.state, network);
    expect([one, two].map(({ addresses }) => addresses.ipv4)).toEqual([
      { pool: { subnet: "172.17.0.0/16" }, address: "172.17.0.2", bits: 16 },
      { pool: { subnet: "172.17.0.0/16" }, address: "172.17.0.3", bits: 16 },
    ]);
    const freed = releaseEndpoint(two.state, one.addresses);
    expect(allocateEndpoint(freed, network).addresses.ipv4?.address).toBe("172.17.0.2");
  });

  it("says by Docker's words that a /29 is full, and goes to the next subnet where there is one", () => {
    const full = made([{ subnet: "10.0.0.0/29" }]);
    let state = full.state;
    for (let i = 0; i < 5; i++) ({ state } = allocateEndpoint(state, full.network));
    expect(() => allocateEndpoint(state, full.network)).toThrow(expect.objectContaining({
      kind: "system",
      message: "no available IPv4 addresses on this network's address pools: x1 (0123456789ab)",
    }));
    const two = made([{ subnet: "10.0.0.0/30" }, { subnet: "10.1.0.0/24" }]);
    const first = allocateEndpoint(two.state, two.network);
    expect(first.addresses.ipv4?.address).toBe("10.0.0.2");
    expect(allocateEndpoint(first.state, two.network).addresses.ipv4).toEqual(
      { pool: { subnet: "10.1.0.0/24" }, address: "10.1.0.2", bits: 24 },
    );
  });

  it("gives what is asked for, and nothing when one family fails", () => {
    const { state, network } = made([{ subnet: "10.0.0.0/24" }], [{ subnet: "fd00::/64" }]);
    const given = allocateEndpoint(state, network, { ipv4: "10.0.0.50", ipv6: "fd00::50" });
    expect(given.addresses.ipv4?.address).toBe("10.0.0.50");
    expect(given.addresses.ipv6).toEqual({ pool: { subnet: "fd00::/64" }, address: "fd00::50", bits: 64 });
    expect(() => allocateEndpoint(given.state, network, { ipv4: "10.0.0.50" })).toThrow(
      "Address already in use",
    );
    expect(() => allocateEndpoint(given.state, network, { ipv4: "10.0.0.51", ipv6: "fd00::50" })).toThrow(
      "Address already in use",
    );
    expect(() => allocateEndpoint(state, network, { ipv4: "10.1.0.1" })).toThrow(
      "invalid address 10.1.0.1: It does not belong to any of this network's subnets",
    );
    expect(allocateEndpoint(state, network, { withoutIpv6: true }).addresses.ipv6).toBeUndefined();
    expect(releaseEndpoint(given.state, given.addresses)).toEqual(state);
  });
});

it("Subnets of many networks never overlap and lie in their pools", () => {
  let state = EMPTY_IPAM;
  let seed = 9;
  const next = (limit: number) => (seed = (seed * 48271) % 2147483647) % limit;
  for (let round = 0; round < 400; round++) {
    const subnets = state.pools.map(({ subnet }) => parsePrefix(subnet));
    const victim = subnets[next(subnets.length + 3)];
    if (victim) {
      state = releasePool(state, { subnet: formatPrefix(victim) });
      continue;
    }
    const reserved = reservedPrefixes({ routes: [`172.${17 + next(15)}.${next(256)}.0/24`] });
    const length = next(3) === 0 ? `0.0.0.0/${17 + next(12)}` : undefined;
    const made = requestPool(state, { family: 4, subnet: length, pools: POOLS, reserved });
    const subnet = parsePrefix(made.id.subnet);
    expect([...subnets, ...reserved].filter((other) => prefixesOverlap(other, subnet))).toEqual([]);
    const inPool = POOLS.some(({ base }) =>
      prefixContains(parsePrefix(base), parseAddress(made.id.subnet.split("/")[0] ?? ""))
    );
    expect(inPool).toBe(true);
    state = made.state;
  }
});
