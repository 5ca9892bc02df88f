import { describe, expect, it } from "vitest";
import { bridgeNameOf, checkBridgeConflicts, refuseOwnPrefixes } from "../../net/network_bridge.ts";
import {
  checkConnect,
  checkDisconnect,
  dnsNamesOf,
  type GatewayCandidate,
  gatewayEndpoints,
  interfaceName,
  planEndpoint,
} from "../../net/network_endpoint.ts";
import { validateIpamConfig } from "../../net/network_ipam_config.ts";
import { macOfAddress, parseMac, randomMac } from "../../net/network_mac.ts";
import { familiesWithoutGateway, OPTION, parseDriverOptions } from "../../net/network_options.ts";
import { addressRequest, predefinedNetworks } from "../../net/network_predefined.ts";
import { checkRemovable, planNetwork } from "../../net/network_request.ts";
import { networkView } from "../../net/network_view.ts";
import type { NetworkCreateBody, NetworkRecord } from "../../net/network_types.ts";
import { EMPTY_IPAM } from "../../net/ipam.ts";
import { allocateEndpoint, allocateNetwork, type SubnetAllocation } from "../../net/ipam_network.ts";
import { effectivePools } from "../../net/ipam_pools.ts";

const pools = await effectivePools([], "an engine");
const plan = (body: Partial<NetworkCreateBody>, existing: NetworkRecord[] = []) =>
  planNetwork({ Name: "x1", ...body }, { existing });

function record(body: Partial<NetworkCreateBody>, digit = "1", subnets: string[] = []): NetworkRecord {
  const v4 = subnets.map((subnet): SubnetAllocation => ({
    pool: { subnet },
    auxiliary: {},
    configured: true,
  }));
  return { ...plan(body), id: digit.repeat(64), created: "", addresses: { v4, v6: [] } };
}

describe("planNetwork()", () => {
  it("fills in what `docker network create x1` leaves open", () => {
    expect(plan({})).toMatchObject({
      name: "x1",
      driver: "bridge",
      scope: "local",
      internal: false,
      attachable: false,
      ingress: false,
      enableIPv4: true,
      enableIPv6: false,
      ipamDriver: "default",
      v4: [],
      v6: [],
      driverOptions: { enableIcc: true, masquerade: true, gatewayMode4: "nat", bridgeName: "", mtu: 0 },
    });
  });

  it.each(
    [
      [{ Name: "bridge" }, "forbidden", "operation is not permitted on predefined bridge network "],
      [{ Name: "default" }, "forbidden", "operation is not permitted on predefined default network "],
      [{ Name: " " }, "invalid", "invalid name: name is empty"],
      [{ Driver: "weave" }, "not-found", 'plugin "weave" not found'],
      [{ Driver: "host" }, "forbidden", 'only one instance of "host" network is allowed'],
      [{ Driver: "null" }, "forbidden", 'only one instance of "null" network is allowed'],
      [{ Ingress: true }, "forbidden", "Ingress network can only be global scope network"],
      [{ Scope: "swarm" }, "forbidden", "cannot create a swarm scoped network when swarm is not active"],
      [{ EnableIPv4: false }, "invalid", "IPv4 or IPv6 must be enabled"],
      [{ IPAM: { Driver: "dhcp" } }, "not-found", 'plugin "dhcp" not found'],
      [
        { Options: { [OPTION.enableIpv6]: "maybe" } },
        "invalid",
        `driver-opt "${OPTION.enableIpv6}" is not a valid bool`,
      ],
      [
        { IPAM: { Config: [{ Subnet: "10.0.0.0/24" }, { Subnet: "10.1.0.0/24" }] } },
        "forbidden",
        "bridge driver doesn't support multiple subnets",
      ],
      [
        { EnableIPv6: true, IPAM: { Config: [{ Subnet: "ff00::/64" }] } },
        "invalid",
        "multicast subnet 'ff00::/64' is not allowed",
      ],
      [
        { EnableIPv6: true, IPAM: { Config: [{ Subnet: "fe80::/10" }] } },
        "invalid",
        "'fe80::/10' clashes with the Link-Local prefix 'fe80::/64'",
      ],
      [
        { ConfigOnly: true, Internal: true },
        "forbidden",
        "configuration network can only contain network specific fields. Network operator fields like " +
        "[ ingress | internal | attachable | scope ] are not supported.",
      ],
      [{ ConfigFrom: { Network: "c" } }, "not-found", 'configuration network "c" does not exist'],
    ] satisfies [Partial<NetworkCreateBody>, string, string][],
  )("refuses %j", (body, kind, message) => {
    expect(() => plan(body)).toThrow(expect.objectContaining({ kind, message }));
  });

  it("refuses overlay as an engine without swarm does", () => {
    expect(() => plan({ Driver: "overlay" })).toThrow(
      /^This node is not a swarm manager\. Use "docker swarm init"/,
    );
  });

  it("refuses a second network of the name", () => {
    expect(() => plan({}, [record({})])).toThrow(
      expect.objectContaining({ kind: "conflict", message: "network with name x1 already exists" }),
    );
  });

  it("sorts subnets by family, and takes families from options", () => {
    const made = plan({
      Options: { [OPTION.enableIpv6]: "1", [OPTION.enableIpv4]: "false" },
      IPAM: { Config: [{ Subnet: "fd00::/64", Gateway: "fd00::9" }] },
    });
    expect(made).toMatchObject({
      enableIPv4: false,
      enableIPv6: true,
      v4: [],
      v6: [{ subnet: "fd00::/64", gateway: "fd00::9" }],
    });
    const given = plan({ EnableIPv6: true, Options: { [OPTION.enableIpv6]: "0" } });
    expect(given.enableIPv6).toBe(true);
    expect(given.options).toEqual({});
  });

  it("takes the configuration of another network, and nothing beside it", () => {
    const config = record({
      Name: "c",
      ConfigOnly: true,
      Options: { parent: "eth0" },
      IPAM: { Config: [{ Subnet: "10.0.0.0/24" }] },
    });
    expect(config.driver).toBe("null");
    const made = plan({ Driver: "macvlan", ConfigFrom: { Network: "c" } }, [config]);
    expect(made).toMatchObject({
      driver: "macvlan",
      v4: [{ subnet: "10.0.0.0/24" }],
      driverOptions: { parent: "eth0", mode: "bridge" },
      internal: false,
    });
    expect(() => plan({ ConfigFrom: { Network: "c" }, EnableIPv6: true }, [config])).toThrow(
      "user specified configurations are not supported if the network depends on a configuration network",
    );
    expect(() => checkRemovable(config, [], [made]))
      .toThrow(
        'configuration network "c" is in use',
      );
  });

  it("applies the engine's default options of the driver", () => {
    const context = { existing: [], defaultOptions: { bridge: { [OPTION.mtu]: "1400" } } };
    expect(planNetwork({ Name: "a" }, context).driverOptions).toMatchObject({ mtu: 1400 });
    const own = planNetwork({ Name: "a", Options: { [OPTION.mtu]: "9000" } }, context);
    expect(own.driverOptions).toMatchObject({ mtu: 9000 });
  });
});

describe("validateIpamConfig()", () => {
  const messages = (config: Parameters<typeof validateIpamConfig>[0][number], ipv6 = false) => {
    try {
      validateIpamConfig([config], ipv6);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    return "";
  };

  // Cases of moby's TestNetworkInvalidSubnet and its neighbours.
  it.each([
    [{ Subnet: "10.0.0.0" }, "invalid subnet 10.0.0.0: invalid CIDR block notation"],
    [{}, "invalid subnet : invalid CIDR block notation"],
    [{ Subnet: "10.0.0.5/24" }, "invalid subnet 10.0.0.5/24: it should be 10.0.0.0/24"],
    [
      { Subnet: "10.0.0.0/24", IPRange: "10.0.0.0" },
      "invalid ip-range 10.0.0.0: invalid CIDR block notation",
    ],
    [
      { Subnet: "10.0.0.0/24", IPRange: "fd00::/64" },
      "invalid ip-range fd00::/64: parent subnet is an IPv4 block",
    ],
    [
      { Subnet: "10.0.0.0/24", IPRange: "10.0.0.0/16" },
      "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24",
    ],
    [
      { Subnet: "10.0.0.0/24", IPRange: "10.0.0.5/25" },
      "invalid ip-range 10.0.0.5/25: it should be 10.0.0.0/25",
    ],
    [
      { Subnet: "10.0.0.0/24", IPRange: "10.0.1.0/25" },
      "invalid ip-range 10.0.1.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
    ],
    [{ Subnet: "10.0.0.0/24", Gateway: "x" }, "invalid gateway x: invalid address"],
    [
      { Subnet: "10.0.0.0/24", Gateway: "fd00::1" },
      "invalid gateway fd00::1: parent subnet is an IPv4 block",
    ],
    [
      { Subnet: "10.0.0.0/24", Gateway: "10.0.1.1" },
      "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
    ],
    [
      { Subnet: "10.0.0.0/24", AuxiliaryAddresses: { host1: "10.0.1.1" } },
      "invalid auxiliary address host1: parent subnet 10.0.0.0/24 doesn't contain this address",
    ],
  ])("%j", (config, message) => expect(messages(config)).toBe(`invalid network config:\n${message}`));

  it("says all that is wrong, in a list", () => {
    expect(messages({ Subnet: "10.0.0.5/24", Gateway: "10.1.0.1" })).toBe(
      "invalid network config:\n* invalid subnet 10.0.0.5/24: it should be 10.0.0.0/24\n" +
        "* invalid gateway 10.1.0.1: parent subnet 10.0.0.5/24 doesn't contain this address",
    );
  });

  it("passes over IPv6 subnets where IPv6 is off", () => {
    expect(messages({ Subnet: "fd00::5/64" })).toBe("");
    expect(messages({ Subnet: "fd00::5/64" }, true)).toContain("it should be fd00::/64");
  });
});

describe("parseDriverOptions()", () => {
  it("reads the bridge driver's", () => {
    expect(parseDriverOptions("bridge", {
      [OPTION.bridgeName]: "docker1",
      [OPTION.enableIcc]: "false",
      [OPTION.masquerade]: "F",
      [OPTION.hostBinding]: "127.0.0.1",
      [OPTION.gatewayMode4]: "routed",
      [OPTION.trustedInterfaces]: "eth0:eth1",
      [OPTION.mtu]: "1400",
      [OPTION.interfacePrefix]: "net",
      unknown: "kept",
    }, false)).toEqual({
      driver: "bridge",
      bridgeName: "docker1",
      defaultBridge: false,
      enableIcc: false,
      masquerade: false,
      hostBinding: "127.0.0.1",
      inhibitIpv4: false,
      gatewayMode4: "routed",
      gatewayMode6: "nat",
      trustedInterfaces: ["eth0", "eth1"],
      mtu: 1400,
      interfacePrefix: "net",
    });
  });

  it.each([
    [OPTION.enableIcc, "x", '(strconv.ParseBool: parsing "x": invalid syntax)'],
    [OPTION.mtu, "x", '(strconv.Atoi: parsing "x": invalid syntax)'],
    [OPTION.gatewayMode6, "x", "(unknown gateway mode x)"],
    [OPTION.hostBinding, "x", "(nil ip)"],
  ])("says that %s=%s is wrong", (key, value, why) => {
    expect(() => parseDriverOptions("bridge", { [key]: value }, false)).toThrow(
      expect.objectContaining({ kind: "invalid", message: `failed to parse ${key} value: ${value} ${why}` }),
    );
  });

  it("refuses negative sizes, impossible names, and isolated gateways of open networks", () => {
    expect(() => parseDriverOptions("bridge", { [OPTION.mtu]: "-1" }, false)).toThrow(
      "invalid MTU number: -1",
    );
    for (const name of ["a/b", "sixteen-letters-", "."]) {
      expect(() => parseDriverOptions("bridge", { [OPTION.bridgeName]: name }, false)).toThrow(
        "1 to 15 characters",
      );
    }
    const isolated = { [OPTION.gatewayMode4]: "isolated" };
    expect(() => parseDriverOptions("bridge", isolated, false)).toThrow(
      "can only be used for an internal network",
    );
    expect(familiesWithoutGateway(parseDriverOptions("bridge", isolated, true), true)).toEqual([4]);
  });

  it("reads macvlan's and ipvlan's", () => {
    expect(parseDriverOptions("macvlan", { parent: "eth0.10", macvlan_mode: "vepa" }, false)).toMatchObject({
      parent: "eth0.10",
      mode: "vepa",
    });
    const ipvlan = parseDriverOptions("ipvlan", {}, false);
    expect(ipvlan).toMatchObject({ mode: "l2", flag: "bridge", parent: "" });
    expect(familiesWithoutGateway(ipvlan, false)).toEqual([4, 6]);
    expect(plan({ Driver: "ipvlan" }).internal).toBe(true);
    expect(() => parseDriverOptions("macvlan", { macvlan_mode: "x" }, false)).toThrow(
      "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
    );
    expect(() => parseDriverOptions("ipvlan", { ipvlan_flag: "x" }, false)).toThrow(
      "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default",
    );
    expect(() => parseDriverOptions("ipvlan", { parent: "lo" }, false)).toThrow("loopback interface");
  });
});

describe("bridges", () => {
  it("are named by their network, and differ in name and addresses", () => {
    const a = record({ Name: "a" }, "a", ["10.0.0.0/16"]);
    expect(bridgeNameOf(a)).toBe("br-aaaaaaaaaaaa");
    expect(bridgeNameOf(record({ Name: "bridge1", Options: { [OPTION.defaultBridge]: "true" } }))).toBe(
      "docker0",
    );
    const overlapping = record({ Name: "b" }, "b", ["10.0.9.0/24"]);
    expect(() => checkBridgeConflicts(overlapping, [a])).toThrow(
      expect.objectContaining({
        kind: "forbidden",
        message:
          `cannot create network ${overlapping.id} (br-bbbbbbbbbbbb): conflicts with network ${a.id} ` +
          "(br-aaaaaaaaaaaa): networks have overlapping IPv4",
      }),
    );
    const namesake = record({ Name: "c", Options: { [OPTION.bridgeName]: "br-aaaaaaaaaaaa" } }, "c", [
      "10.9.0.0/16",
    ]);
    expect(() => checkBridgeConflicts(namesake, [a])).toThrow("networks have same bridge name");
    checkBridgeConflicts(record({ Name: "d" }, "d", ["10.9.0.0/16"]), [a]);
    checkBridgeConflicts(record({ Name: "e", Driver: "macvlan" }, "e", ["10.0.0.0/16"]), [a]);
  });

  it("do not take the addresses that stand for the host", () => {
    const bridge = record({ Name: "a" }, "a");
    expect(() => refuseOwnPrefixes(bridge, ["10.9.0.0/24", "10.0.2.128/25"])).toThrow(
      expect.objectContaining({
        kind: "forbidden",
        message: expect.stringContaining("with 10.0.2.128/25: berth keeps 10.0.2.0/24 for itself"),
      }),
    );
    refuseOwnPrefixes(bridge, ["10.0.0.0/16", "10.0.3.0/24", "fd00:b0:3::/64"]);
    refuseOwnPrefixes(record({ Name: "d", Driver: "macvlan" }, "d"), ["10.0.2.0/24"]);
  });

  it("stay while they are used", () => {
    const network = record({});
    expect(() => checkRemovable({ name: "none", configOnly: false }, [], [])).toThrow(
      "none is a pre-defined network and cannot be removed",
    );
    expect(() => checkRemovable(network, [{ name: "c1", id: "f".repeat(64) }], [])).toThrow(
      expect.objectContaining({
        kind: "forbidden",
        message:
          'error while removing network: network x1 has active endpoints (name:"c1" id:"ffffffffffff")',
      }),
    );
    checkRemovable(network, [], [network]);
  });
});

describe("planEndpoint()", () => {
  const network = record({}, "1", ["10.0.0.0/24"]);

  it("reads settings", () => {
    expect(
      planEndpoint("x1", {
        IPAMConfig: { IPv4Address: "10.0.0.7" },
        Aliases: ["db"],
        MacAddress: "02-42-AC-11-00-02",
        GwPriority: 3,
      }, network),
    ).toEqual({
      ipv4: "10.0.0.7",
      ipv6: undefined,
      linkLocal: [],
      aliases: ["db"],
      links: [],
      mac: "02:42:ac:11:00:02",
      driverOptions: {},
      gatewayPriority: 3,
    });
  });

  it.each([
    [
      "bridge",
      { IPAMConfig: { IPv4Address: "172.17.0.9" } },
      "user specified IP address is supported on user defined networks only",
    ],
    [
      "bridge",
      { Aliases: ["a"] },
      "network-scoped alias is supported only for containers in user defined networks",
    ],
    [
      "x1",
      { IPAMConfig: { IPv4Address: "10.0.1.7" } },
      "no configured subnet or ip-range contain the IP address 10.0.1.7",
    ],
    [
      "x1",
      { IPAMConfig: { IPv6Address: "fd00::7" } },
      "user specified IP address is supported only when connecting to networks with user configured subnets",
    ],
    ["x1", { IPAMConfig: { IPv4Address: "0.0.0.0" } }, "invalid IPv4 address: 0.0.0.0"],
    ["x1", { IPAMConfig: { IPv6Address: "10.0.0.1" } }, "invalid IPv6 address: 10.0.0.1"],
    ["x1", { IPAMConfig: { LinkLocalIPs: ["x"] } }, "invalid link-local IP address: x"],
    ["x1", { IPAMConfig: { LinkLocalIPs: ["10.0.0.1"] } }, "invalid link local IP address: 10.0.0.1"],
  ])("refuses on %s: %j", (name, settings, message) => {
    const given = name === "bridge" ? undefined : network;
    expect(() => planEndpoint(name, settings, given)).toThrow(
      expect.objectContaining({ kind: "invalid", message: `invalid endpoint settings:\n${message}` }),
    );
  });

  it("refuses addresses of subnets that were not named by the user, and wrong MACs and sysctls", () => {
    const automatic = {
      addresses: { v4: [{ pool: { subnet: "172.18.0.0/16" }, auxiliary: {}, configured: false }], v6: [] },
    };
    expect(() => planEndpoint("x1", { IPAMConfig: { IPv4Address: "172.18.0.9" } }, automatic)).toThrow(
      "supported only when connecting to networks with user configured subnets",
    );
    expect(() => planEndpoint("x1", { MacAddress: "02:42" })).toThrow("invalid MAC address 02:42");
    const sysctls = (value: string) =>
      planEndpoint("x1", { DriverOpts: { [OPTION.endpointSysctls]: value } });
    sysctls("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=0");
    expect(() => sysctls("net.ipv4.conf.eth0.log_martians=1")).toThrow(
      "unrecognised network interface sysctl",
    );
  });
});

describe("checkConnect()", () => {
  const bridge = { name: "x1", driver: "bridge" };
  it("lets a container have many networks, each once", () => {
    expect(checkConnect("x1", [bridge], { name: "x2", driver: "bridge" })).toBe(true);
    expect(checkConnect("x1", [bridge], bridge)).toBe(false);
  });

  it.each([
    [
      "container:a",
      [],
      bridge,
      "container sharing network namespace with another container or host cannot be connected to any other network",
    ],
    [
      "bridge",
      [],
      { name: "host", driver: "host" },
      "cannot connect container to host network - container must be created in host network mode",
    ],
    [
      "host",
      [{ name: "host", driver: "host" }],
      bridge,
      "container sharing network namespace with another container or host cannot be connected to any other network",
    ],
    [
      "none",
      [{ name: "none", driver: "null" }],
      bridge,
      "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    ],
  ])("refuses %s %j + %j", (mode, attached, target, message) => {
    expect(() => checkConnect(mode, attached, target)).toThrow(
      expect.objectContaining({ kind: "invalid", message }),
    );
  });

  it("knows what can be disconnected", () => {
    const container = { id: "abc", mode: "x1", attached: ["x1"] };
    checkDisconnect(container, bridge);
    expect(() => checkDisconnect({ ...container, attached: [] }, bridge)).toThrow(
      "container abc is not connected to network x1",
    );
    expect(() => checkDisconnect({ ...container, mode: "host" }, { name: "host", driver: "host" })).toThrow(
      "cannot disconnect container from host network",
    );
  });
});

describe("gatewayEndpoints()", () => {
  const candidate = (networkName: string, more: Partial<GatewayCandidate> = {}): GatewayCandidate => ({
    networkName,
    driver: "bridge",
    internal: false,
    gatewayPriority: 0,
    gateway4: true,
    gateway6: false,
    ...more,
  });
  const names = (...endpoints: GatewayCandidate[]) => {
    const { ipv4, ipv6 } = gatewayEndpoints(endpoints);
    return [ipv4?.networkName, ipv6?.networkName];
  };

  it("takes the first name, unless a priority or a second family says other", () => {
    expect(names(candidate("b"), candidate("a"))).toEqual(["a", undefined]);
    expect(names(candidate("b", { gatewayPriority: 1 }), candidate("a"))).toEqual(["b", undefined]);
    expect(names(candidate("b"), candidate("a", { gatewayPriority: -1 }))).toEqual(["b", undefined]);
    expect(names(candidate("b", { gateway6: true }), candidate("a"))).toEqual(["b", "b"]);
    expect(names(candidate("b", { gateway6: true, gateway4: false }), candidate("a"))).toEqual(["a", "b"]);
    expect(names(candidate("a", { internal: true, gateway4: false }), candidate("b"))).toEqual([
      "b",
      undefined,
    ]);
    expect(names(candidate("host", { driver: "host" }))).toEqual([undefined, undefined]);
  });
});

describe("names and MACs", () => {
  it("are Docker's", () => {
    const container = { id: "0123456789abcdef", name: "/web", hostname: "0123456789ab" };
    expect(dnsNamesOf(container, ["www", "web"])).toEqual(["web", "www", "0123456789ab"]);
    expect(interfaceName([])).toBe("eth0");
    expect(interfaceName(["eth0", "eth2"])).toBe("eth1");
    expect(macOfAddress(Uint8Array.of(172, 17, 0, 2))).toBe("02:42:ac:11:00:02");
    expect(parseMac("0242.AC11.0002")).toBe("02:42:ac:11:00:02");
    for (
      const wrong of ["", "02:42:ac:11:00", "02:42-ac:11:00:02", "01:00:5e:00:00:01", "02:42:ac:11:00:0g"]
    ) {
      expect(parseMac(wrong)).toBeUndefined();
    }
  });

  it("are local, never multicast, and differ", () => {
    const macs = Array.from({ length: 200 }, randomMac);
    expect(new Set(macs).size).toBe(200);
    for (const mac of macs) {
      expect(parseMac(mac)).toBe(mac);
      expect(parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
    }
  });
});

describe("predefinedNetworks() and networkView()", () => {
  it("are what `docker network inspect bridge` shows", () => {
    const plans = predefinedNetworks({ mtu: 1500 });
    expect(plans.map(({ name, driver }) => [name, driver])).toEqual([
      ["bridge", "bridge"],
      ["host", "host"],
      ["none", "null"],
    ]);
    let state = EMPTY_IPAM;
    const records = plans.map((one, i): NetworkRecord => {
      const made = allocateNetwork(state, addressRequest(one, pools, []));
      state = made.state;
      return { ...one, id: `${i}`.repeat(64), created: "2026-01-01T00:00:00Z", addresses: made.addresses };
    });
    const [bridge, host] = records;
    if (!bridge || !host) throw new Error("no networks");
    const given = allocateEndpoint(state, bridge);
    const view = networkView(bridge, [{
      id: "e".repeat(64),
      networkId: bridge.id,
      containerId: "c".repeat(64),
      name: "web",
      dnsNames: [],
      addresses: given.addresses,
      mac: "02:42:ac:11:00:02",
      gatewayPriority: 0,
    }]);
    expect(view).toEqual({
      Name: "bridge",
      Id: "0".repeat(64),
      Created: "2026-01-01T00:00:00Z",
      Scope: "local",
      Driver: "bridge",
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: {
        Driver: "default",
        Options: null,
        Config: [{ Subnet: "172.17.0.0/16", Gateway: "172.17.0.1" }],
      },
      Internal: false,
      Attachable: false,
      Ingress: false,
      ConfigFrom: { Network: "" },
      ConfigOnly: false,
      Containers: {
        ["c".repeat(64)]: {
          Name: "web",
          EndpointID: "e".repeat(64),
          MacAddress: "02:42:ac:11:00:02",
          IPv4Address: "172.17.0.2/16",
          IPv6Address: "",
        },
      },
      Options: {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": "docker0",
        "com.docker.network.driver.mtu": "1500",
      },
      Labels: {},
    });
    expect(networkView(host, []).IPAM.Config).toEqual([]);
  });

  it("show what the user asked for and what was given", () => {
    const asked = plan({
      EnableIPv6: true,
      IPAM: {
        Config: [{ Subnet: "10.0.0.0/16", IPRange: "10.0.9.0/24", AuxiliaryAddresses: { a: "10.0.0.5" } }],
      },
    });
    const { addresses } = allocateNetwork(EMPTY_IPAM, addressRequest(asked, pools, []));
    const view = networkView({ ...asked, id: "1", created: "", addresses }, []);
    expect(view.IPAM.Config).toEqual([
      {
        Subnet: "10.0.0.0/16",
        IPRange: "10.0.9.0/24",
        Gateway: "10.0.9.0",
        AuxiliaryAddresses: { a: "10.0.0.5" },
      },
      { Subnet: expect.stringMatching(/^fd.*::\/64$/), Gateway: expect.stringMatching(/^fd.*::1$/) },
    ]);
    const macvlan = plan({ Driver: "macvlan", Options: { parent: "eth0" } });
    expect(allocateNetwork(EMPTY_IPAM, addressRequest(macvlan, pools, [])).addresses.v4[0]?.gateway)
      .toBeUndefined();
  });
});
