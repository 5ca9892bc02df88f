/** The engine's networks over a network process of paper: what is asked of it, what is written down, what clients are told. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import { Container } from "../../engine/container.ts";
import { endpointsOf } from "../../engine/container_network.ts";
import { ContainerTable } from "../../engine/container_table.ts";
import type { ContainerRecord } from "../../engine/container_record.ts";
import type { EngineContext } from "../../engine/context.ts";
import { EventLog } from "../../engine/events.ts";
import { ipv4Routes, ipv6Routes } from "../../engine/host_routes.ts";
import { linkEnvironment, linkHosts, resolveLinks } from "../../engine/links.ts";
import { attachmentsOf, leaveNetworks, sandboxOf, takePlaces } from "../../engine/network_join.ts";
import { networkOperations } from "../../engine/network_operations.ts";
import { paperPlane } from "../../engine/network_paper.ts";
import { networkSettings } from "../../engine/network_settings.ts";
import { NetworkStore } from "../../engine/network_store.ts";
import { NetworkTable } from "../../engine/network_table.ts";
import { networkSettingsView, portList } from "../../engine/network_views.ts";
import { Networks } from "../../engine/networks.ts";
import { ensurePredefined } from "../../engine/predefined_networks.ts";
import { Store } from "../../engine/store.ts";
import type { HostConfig } from "../../engine/types.ts";
import { LOCAL_POOLS } from "../../net/ipam_pools.ts";
import type { NetdOrder } from "../../net/netd/client.ts";
import type { SandboxState } from "../../net/netd/protocol.ts";
import type { EndpointSettings } from "../../net/network_types.ts";
import { createdRecord } from "../support/engine_records.ts";

const settings = networkSettings({}, (problem) => new Error(problem));
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-networks-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

interface Stage extends Disposable {
  readonly ctx: EngineContext;
  readonly orders: NetdOrder[];
  /** What the network process answers to the next order instead. */
  refuse: Error | undefined;
  readonly operations: ReturnType<typeof networkOperations>;
  add(n: number, hostConfig?: HostConfig, endpoints?: Record<string, EndpointSettings>): Container;
  /** What a start does with the container's networks. */
  run(container: Container): Promise<ContainerRecord>;
  end(container: Container): void;
}

function stage(given = settings): Stage {
  const store = new Store(`${dir}/berth.db`);
  const containers = new ContainerTable(store);
  const endpoints = containers.all().flatMap(({ record }) => endpointsOf(record.network));
  const problems: string[] = [];
  const table = new NetworkTable(new NetworkStore(store.db), endpoints, (problem) => problems.push(problem));
  expect(problems).toEqual([]);
  ensurePredefined(table, given, LOCAL_POOLS, log);
  const orders: NetdOrder[] = [];
  const open = paperPlane((order) => {
    if (order.op !== "hello") orders.push(order);
    const { refuse } = self;
    self.refuse = undefined;
    if (refuse) throw refuse;
  });
  const networks = new Networks({ open, log, table, settings: () => given, pools: LOCAL_POOLS });
  const ctx = { containers, networks, events: new EventLog(), log } as unknown as EngineContext;
  const self: Stage = {
    ctx,
    orders,
    refuse: undefined,
    operations: networkOperations(ctx),
    add(n, hostConfig = {}, endpoints = {}) {
      const record = createdRecord(n, { hostConfig, config: { Hostname: `host${n}` } });
      const links = resolveLinks(ctx, hostConfig);
      containers.reserve(record.name, record.id);
      const attachments = attachmentsOf(ctx, record, endpoints);
      return containers.add({ ...record, network: { attachments, links, sandbox: null } }, "process");
    },
    async run(container) {
      const network = takePlaces(ctx, container.record);
      const record = { ...container.record, network };
      const sandbox = sandboxOf(ctx, record, { pid: 42, startTime: "7" });
      const published = sandbox === undefined ? [] : await networks.join(sandbox);
      containers.saveState(container, { status: "running", pid: 42, pidStartTime: "7" }, {
        network: { ...network, sandbox: network.sandbox && { ...network.sandbox, published } },
      });
      return container.record;
    },
    end(container) {
      const { network } = leaveNetworks(ctx, container.record);
      containers.saveState(container, { status: "exited", pid: 0 }, { network });
    },
    [Symbol.dispose]: () => store.close(),
  };
  return self;
}

const addressOf = ({ network }: ContainerRecord, name: string) =>
  network.attachments[name]?.endpoint?.addresses.ipv4?.address;

describe("networks", () => {
  it("are there from the first start, keep their ids, and come back with all addresses that are given out", async () => {
    let ids: string[];
    {
      using first = stage();
      ids = first.ctx.networks.table.all().map(({ id }) => id);
      expect(first.ctx.networks.table.all().map(({ name }) => name)).toEqual(["bridge", "host", "none"]);
      const { Id } = await first.operations.networkCreate({ Name: "x1" });
      ids.push(Id);
      await first.run(first.add(1, { NetworkMode: "x1" }));
    }
    using second = stage();
    expect(second.ctx.networks.table.all().map(({ id }) => id)).toEqual(ids);
    const other = await second.run(second.add(2, { NetworkMode: "x1" }));
    expect(addressOf(other, "x1")).toMatch(/^172\.\d+\.0\.3$/);
    const { Id } = await second.operations.networkCreate({ Name: "x2" });
    const subnets = second.ctx.networks.table.all().flatMap(({ addresses }) =>
      addresses.v4.map(({ pool }) => pool.subnet)
    );
    expect(new Set(subnets).size).toBe(3);
    await second.operations.networkRemove(Id.slice(0, 12));
    await expect(second.operations.networkInspect(Id, { scope: undefined })).rejects.toThrow(
      `network ${Id} not found`,
    );
  });

  it("are made by the network process, or not at all", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "a", Options: { "com.docker.network.bridge.name": "br7" } });
    expect(s.orders.map(({ op }) => op)).toEqual(["sync", "network.add"]);
    expect(s.orders[1]).toMatchObject({ network: { name: "a", link: "br7", driver: "bridge" } });
    s.refuse = new EngineError("system", "add link: EBUSY");
    await expect(s.operations.networkCreate({ Name: "b" })).rejects.toThrow("EBUSY");
    expect(s.ctx.networks.table.byName("b")).toBeUndefined();
    expect((await s.operations.networkCreate({ Name: "b" })).Id).toMatch(/^[0-9a-f]{64}$/);
    await expect(s.operations.networkCreate({ Name: "b" })).rejects.toMatchObject({ kind: "conflict" });
  });

  it("cannot be removed while a running container is in them", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "x1" });
    const container = s.add(1, { NetworkMode: "x1" });
    const record = await s.run(container);
    const endpoint = record.network.attachments["x1"]?.endpoint?.id.slice(0, 12);
    await expect(s.operations.networkRemove("x1")).rejects.toThrow(
      `error while removing network: network x1 has active endpoints (name:"box1" id:"${endpoint}")`,
    );
    s.end(container);
    await s.operations.networkRemove("x1");
    expect(() => takePlaces(s.ctx, container.record)).toThrow("network x1 not found");
  });

  it("are listed by filters", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "x1", Labels: { tier: "a" } });
    await s.operations.networkCreate({ Name: "x2", Internal: true });
    await s.run(s.add(1, { NetworkMode: "x2" }));
    const names = async (filters: Record<string, string[]>) =>
      (await s.operations.networkList(new Map(Object.entries(filters)))).map(({ Name }) => Name);
    expect(await names({})).toEqual(["bridge", "host", "none", "x1", "x2"]);
    expect(await names({ type: ["custom"] })).toEqual(["x1", "x2"]);
    expect(await names({ type: ["builtin"], driver: ["null", "host"] })).toEqual(["host", "none"]);
    expect(await names({ name: ["x", "brid"] })).toEqual(["bridge", "x1", "x2"]);
    expect(await names({ label: ["tier=a"] })).toEqual(["x1"]);
    expect(await names({ dangling: ["true"] })).toEqual(["x1"]);
    expect(await names({ dangling: ["0"] })).toEqual(["bridge", "host", "none", "x2"]);
    expect(await names({ scope: ["swarm"] })).toEqual([]);
    const members = async (detailed: boolean) =>
      (await s.operations.networkList(new Map([["name", ["x2"]]]), detailed)).map(({ Containers }) =>
        Object.keys(Containers as object).length
      );
    expect([await members(false), await members(true)]).toEqual([[0], [1]]);
    await expect(names({ type: ["x"] })).rejects.toThrow("invalid filter: 'type'='x'");
    await expect(names({ color: ["x"] })).rejects.toThrow("invalid filter 'color'");
  });

  it("are pruned when nobody is in them", async () => {
    using s = stage();
    for (const Name of ["x1", "x2", "x3"]) {
      await s.operations.networkCreate({ Name, Labels: Name === "x3" ? { keep: "" } : {} });
    }
    await s.run(s.add(1, { NetworkMode: "x2" }));
    const signal = new AbortController().signal;
    const kept = new Map([["label!", ["keep"]]]);
    expect(await s.operations.pruneNetworks(kept, signal)).toEqual({ NetworksDeleted: ["x1"] });
    expect(await s.operations.pruneNetworks(kept, signal)).toEqual({ NetworksDeleted: null });
    expect(s.ctx.events.history().slice(-2).map(({ Type, Action }) => `${Type} ${Action}`)).toEqual([
      "network prune",
      "network prune",
    ]);
  });
});

describe("a network process that is made anew", () => {
  it("is told of all networks and of running containers, with the ports that they have", async () => {
    const store = new Store(`${dir}/berth.db`);
    const table = new NetworkTable(new NetworkStore(store.db), [], () => {});
    ensurePredefined(table, settings, LOCAL_POOLS, log);
    const orders: NetdOrder[] = [];
    let restart = () => Promise.resolve();
    const networks = new Networks({
      open: async (onRestart) => {
        const plane = await paperPlane((order) => {
          if (order.op !== "hello") orders.push(order);
        })(onRestart);
        restart = () => onRestart(plane);
        return plane;
      },
      log,
      table,
      settings: () => settings,
      pools: LOCAL_POOLS,
    });
    const sandbox = (containerId: string): SandboxState => ({
      containerId,
      name: containerId,
      pid: 1,
      startTime: "1",
      endpoints: [],
      publish: {
        ports: [{ port: 80, protocol: "tcp", hostAddresses: ["0.0.0.0"], first: 0, last: 0 }],
        assigned: [],
      },
    });
    await networks.join(sandbox("a"));
    const [port] = await networks.join(sandbox("b"));
    await networks.leave("a");
    await restart();
    expect(orders.at(-1)).toMatchObject({
      op: "sync",
      networks: [{ name: "bridge" }],
      sandboxes: [{ containerId: "b", publish: { assigned: [port] } }],
    });
    store.close();
  });
});

describe("a container", () => {
  it("gets addresses at its start, and gives them back at its end", async () => {
    using s = stage();
    const [one, two, three] = [s.add(1), s.add(2), s.add(3)];
    expect(addressOf(await s.run(one), "bridge")).toBe("172.17.0.2");
    expect(addressOf(await s.run(two), "bridge")).toBe("172.17.0.3");
    s.end(one);
    expect(one.record.network.attachments["bridge"]?.endpoint).toBeNull();
    expect(addressOf(await s.run(three), "bridge")).toBe("172.17.0.2");
    const ops = s.orders.map((order) => order.op);
    expect(ops).toEqual(["sync", "sandbox.add", "sandbox.add", "sandbox.remove", "sandbox.add"]);
    expect(s.orders[1]).toMatchObject({
      sandbox: {
        pid: 42,
        startTime: "7",
        endpoints: [{
          interface: "eth0",
          ipv4: "172.17.0.2/16",
          gateway4: "172.17.0.1",
          dnsNames: [],
          linkLocal: [],
        }],
        publish: { ipv4: "172.17.0.2", ports: [] },
      },
    });
    expect(s.orders[1]).not.toHaveProperty("sandbox.dns");
  });

  it("in several networks has an interface in each, names where users have made them, and one way outside", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "a", IPAM: { Config: [{ Subnet: "10.5.0.0/24" }] } });
    await s.operations.networkCreate({ Name: "b" });
    const endpoints = {
      bridge: {},
      a: { IPAMConfig: { IPv4Address: "10.5.0.77" }, Aliases: ["db"], MacAddress: "02:42:0a:05:00:4d" },
      b: { GwPriority: 5, Links: ["box2:cache"] },
    };
    await s.run(
      s.add(1, { NetworkMode: "a", PortBindings: { "80/tcp": [{ HostPort: "8080" }] } }, endpoints),
    );
    const order = s.orders.at(-1);
    const names = ["db", "010101010101", "host1"];
    expect(order).toMatchObject({
      op: "sandbox.add",
      sandbox: {
        endpoints: [
          { interface: "eth0", dnsNames: [] },
          { interface: "eth1", ipv4: "10.5.0.77/24", mac: "02:42:0a:05:00:4d", dnsNames: ["box1", ...names] },
          { interface: "eth2", links: { cache: "box2" } },
        ],
        dns: { upstreams: expect.any(Array) },
      },
    });
    const { sandbox } = order as Extract<NetdOrder, { op: "sandbox.add" }>;
    expect(sandbox.endpoints.map(({ gateway4 }) => gateway4 !== undefined)).toEqual([false, false, true]);
    expect(`${sandbox.publish.ipv4}/16`).toBe(sandbox.endpoints[2]?.ipv4);
    expect(sandbox.publish.ports).toMatchObject([{ port: 80, protocol: "tcp", first: 8080, last: 8080 }]);
  });

  it("has the MAC of its address, so that neighbours of its predecessor find it", async () => {
    using s = stage();
    const IPAM = { Config: [{ Subnet: "fd00:7::/64" }] };
    await s.operations.networkCreate({ Name: "six", EnableIPv4: false, EnableIPv6: true, IPAM });
    const macs = async (n: number, mode: string) => {
      const container = s.add(n, { NetworkMode: mode });
      const record = await s.run(container);
      s.end(container);
      return record.network.attachments[mode]?.endpoint?.mac;
    };
    expect([await macs(1, "bridge"), await macs(2, "bridge")]).toEqual(Array(2).fill("02:42:ac:11:00:02"));
    expect([await macs(3, "six"), await macs(4, "six")]).toEqual(Array(2).fill("02:42:00:00:00:02"));
  });

  it("takes nothing when one of its networks is missing or full", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "tiny", IPAM: { Config: [{ Subnet: "10.5.0.0/30" }] } });
    await s.run(s.add(1, { NetworkMode: "tiny" }));
    const second = s.add(2, { NetworkMode: "tiny" }, { bridge: {}, tiny: {} });
    expect(() => takePlaces(s.ctx, second.record)).toThrow("no available IPv4 addresses");
    const third = s.add(3, { NetworkMode: "bridge" }, { bridge: {}, nosuch: {} });
    expect(() => takePlaces(s.ctx, third.record)).toThrow("network nosuch not found");
    expect(addressOf(await s.run(s.add(4)), "bridge")).toBe("172.17.0.2");
  });

  it("is shown as Docker shows it", async () => {
    using s = stage();
    const container = s.add(1, { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }] } });
    const record = await s.run(container);
    const network = s.ctx.networks.table.byName("bridge");
    const own = {
      EndpointID: record.network.attachments["bridge"]?.endpoint?.id,
      Gateway: "172.17.0.1",
      IPAddress: "172.17.0.2",
      IPPrefixLen: 16,
      IPv6Gateway: "",
      GlobalIPv6Address: "",
      GlobalIPv6PrefixLen: 0,
      MacAddress: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
    };
    expect(networkSettingsView(record)).toEqual({
      Bridge: "",
      SandboxID: expect.stringMatching(/^[0-9a-f]{64}$/),
      SandboxKey: "/proc/42/ns/net",
      Ports: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }] },
      HairpinMode: false,
      LinkLocalIPv6Address: "",
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      ...own,
      Networks: {
        bridge: {
          ...own,
          IPAMConfig: null,
          Links: null,
          Aliases: null,
          DriverOpts: null,
          GwPriority: 0,
          NetworkID: network?.id,
          DNSNames: null,
        },
      },
    });
    expect(portList(record)).toEqual([{ IP: "127.0.0.1", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }]);
    expect(await s.operations.networkInspect("bridge", { scope: undefined })).toMatchObject({
      Containers: { [record.id]: { Name: "box1", IPv4Address: "172.17.0.2/16", EndpointID: own.EndpointID } },
    });
    s.end(container);
    expect(networkSettingsView(container.record)).toMatchObject({ SandboxID: "", Ports: {}, IPAddress: "" });
  });

  it("is connected and disconnected while it runs, and when it does not", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "x1" });
    const container = s.add(1);
    await s.operations.networkConnect("x1", "box1", { Aliases: ["web"] });
    expect(Object.keys(container.record.network.attachments)).toEqual(["bridge", "x1"]);
    await s.operations.networkDisconnect("x1", "box1", false);
    await expect(s.operations.networkDisconnect("x1", "box1", false)).rejects.toThrow(
      `container ${container.id} is not connected to the network x1`,
    );
    await s.run(container);
    await s.operations.networkConnect("x1", "box1", { Aliases: ["web"] });
    expect(s.orders.at(-1)).toMatchObject({
      op: "sandbox.update",
      sandbox: {
        endpoints: [{ interface: "eth0" }, { interface: "eth1", dnsNames: expect.arrayContaining(["web"]) }],
      },
    });
    await expect(s.operations.networkConnect("x1", "box1", {})).rejects.toMatchObject({
      kind: "forbidden",
      message: "endpoint with name box1 already exists in network x1",
    });
    await s.operations.networkDisconnect("bridge", "box1", false);
    await s.operations.networkDisconnect("x1", "box1", false);
    expect(s.orders.at(-1)).toMatchObject({ op: "sandbox.update", sandbox: { endpoints: [] } });
    await expect(s.operations.networkDisconnect("x1", "box1", false)).rejects.toThrow(
      "is not connected to network x1",
    );
    const events = s.ctx.events.history().filter(({ Type }) => Type === "network").map(({ Action, Actor }) =>
      `${Action} ${Actor.Attributes["name"]} ${Actor.Attributes["type"]} ${
        Actor.Attributes["container"] ?? "-"
      }`
    );
    const id = container.id;
    expect(events).toEqual([
      "create x1 bridge -",
      `disconnect x1 bridge ${id}`,
      `connect x1 bridge ${id}`,
      `disconnect bridge bridge ${id}`,
      `disconnect x1 bridge ${id}`,
    ]);
  });

  it("has what it had when the network process refuses a change", async () => {
    using s = stage();
    await s.operations.networkCreate({ Name: "x1" });
    const container = s.add(1);
    const before = await s.run(container);
    s.refuse = new EngineError("system", "add link: ENOMEM");
    await expect(s.operations.networkConnect("x1", "box1", {})).rejects.toThrow("ENOMEM");
    expect(container.record.network).toEqual(before.network);
    await s.operations.networkRemove("x1");
    expect(s.ctx.networks.has(container.id)).toBe(true);
  });

  it("on the host's network, on none, or on another's asks for nothing", async () => {
    using s = stage();
    const other = s.add(1);
    await s.run(s.add(2, { NetworkMode: "host" }));
    const alone = await s.run(s.add(3, { NetworkMode: "none" }));
    await s.run(s.add(4, { NetworkMode: `container:${other.id}` }));
    expect(s.orders).toEqual([]);
    expect(networkSettingsView(alone)).toMatchObject({
      Networks: { none: { IPAddress: "", EndpointID: /./ } },
    });
    expect(await s.operations.networkInspect("none", { scope: undefined })).toMatchObject({
      Containers: { [alone.id]: { Name: "box3", IPv4Address: "" } },
    });
  });

  it("with a link has the other's name in hosts and its ports in the environment", async () => {
    using s = stage();
    const db = s.add(1);
    s.ctx.containers.save(db, {
      config: { Hostname: "host1", ExposedPorts: { "5432/tcp": {} }, Env: ["LANG=C", "PATH=/bin"] },
    });
    expect(() => s.add(3, { Links: ["nosuch:x"] })).toThrow("could not get container for nosuch");
    const web = s.add(2, { Links: ["box1:my-db"] });
    await s.run(db);
    expect(linkHosts(s.ctx, web.record)).toEqual([{
      address: "172.17.0.2",
      names: ["my-db", "host1", "box1"],
    }]);
    expect(linkEnvironment(s.ctx, web.record)).toEqual([
      "MY_DB_PORT=tcp://172.17.0.2:5432",
      "MY_DB_PORT_5432_TCP=tcp://172.17.0.2:5432",
      "MY_DB_PORT_5432_TCP_ADDR=172.17.0.2",
      "MY_DB_PORT_5432_TCP_PORT=5432",
      "MY_DB_PORT_5432_TCP_PROTO=tcp",
      "MY_DB_NAME=/box2/my-db",
      "MY_DB_ENV_LANG=C",
    ]);
  });
});

describe("networkSettings()", () => {
  const read = (values: Record<string, unknown>) => networkSettings(values, (problem) => new Error(problem));

  it("makes the default bridge of bip and fixed-cidr, and none of bridge: none", () => {
    const given = read({ "bip": "10.9.0.1/16", "fixed-cidr": "10.9.8.0/24", "mtu": 1400, "icc": false });
    {
      using s = stage(given);
      const bridge = s.ctx.networks.table.byName("bridge");
      expect(bridge?.addresses.v4).toMatchObject([{
        pool: { subnet: "10.9.0.0/16", range: "10.9.8.0/24" },
        gateway: "10.9.0.1",
      }]);
      expect(bridge?.driverOptions).toMatchObject({ enableIcc: false, mtu: 1400, bridgeName: "docker0" });
    }
    const before = stageId();
    using changed = stage(settings);
    expect(changed.ctx.networks.table.byName("bridge")).toMatchObject({
      id: before,
      addresses: { v4: [{ pool: { subnet: expect.stringMatching(/^172\./) } }] },
    });
  });

  it("leads containers out by default-gateway, an address of the bridge's subnet that is not the bridge's own", async () => {
    using s = stage(read({ "bip": "10.9.0.1/16", "default-gateway": "10.9.0.254" }));
    expect(s.ctx.networks.table.byName("bridge")?.addresses.v4).toMatchObject([{ gateway: "10.9.0.1" }]);
    const container = s.add(1);
    await s.run(container);
    expect(container.record.network.attachments["bridge"]?.endpoint).toMatchObject({
      gateway4: "10.9.0.254",
      addresses: { ipv4: { address: "10.9.0.2" } },
    });
    expect(() => read({ "default-gateway": "fd00::1" })).toThrow(
      "default-gateway: invalid IPv4 address: fd00::1",
    );
    expect(() => read({ "default-gateway-v6": "x" })).toThrow("default-gateway-v6: invalid IPv6 address: x");
  });

  const stageId = (): string | undefined => {
    using store = new Store(`${dir}/berth.db`);
    return new NetworkStore(store.db).all().find(({ name }) => name === "bridge")?.id;
  };

  it("without a default bridge leaves containers without it", async () => {
    using s = stage(read({ bridge: "none" }));
    expect(s.ctx.networks.table.byName("bridge")).toBeUndefined();
    await s.run(s.add(1));
    expect(s.orders).toEqual([]);
  });

  it("refuses what makes no sense", () => {
    expect(() => read({ bip: "10.0.0.0/8" })).toThrow("invalid --bip: 10.0.0.0/8");
    expect(() => read({ mtu: "x" })).toThrow("mtu: must be a whole number");
    expect(() => read({ dns: ["x"] })).toThrow("IP address is not correctly formatted: x");
    expect(() => read({ outbound: "vpn" })).toThrow("outbound: must be one of auto");
  });
});

describe("host routes", () => {
  it("are those on the link, in both families", () => {
    const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    expect(ipv4Routes(
      `${header}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n`,
    )).toEqual(["192.0.2.0/24"]);
    const zero = "0".repeat(32);
    const via = "fd000000000000000000000000000001";
    expect(ipv6Routes([
      `fd000000000000000000000000000000 40 ${zero} 00 ${zero} 00000100 00000001 00000000 00000001     eth0`,
      `fe800000000000000000000000000000 40 ${zero} 00 ${zero} 00000100 00000001 00000000 00000001     eth0`,
      `${zero} 00 ${zero} 00 ${via} 00000400 00000002 00000000 00000003     eth0`,
    ].join("\n"))).toEqual(["fd00::/64"]);
  });
});
