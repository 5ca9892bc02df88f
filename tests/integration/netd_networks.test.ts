/** Bridges, sandboxes and isolation, with processes in network namespaces as containers, and iproute2 and ping as witnesses. */
import { expect, it } from "vitest";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { inNetd } from "../support/netd_child.ts";
import { inNetwork } from "../support/network_child.ts";
import { SLOWNESS } from "../support/processes.ts";
import { usersToTest } from "../support/users.ts";

describeWith(program("ip", "iproute2"), BUSYBOX).each(usersToTest())("networks of netd as $name", (user) => {
  it("gives containers interfaces that reach each other on one bridge, and nobody on another", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y, z] = [await add(bridge(17)), await add(bridge(18)), await add(bridge(19, { internal: true }))];
      const [a, b, c, d, e] = [container(), container(), container(), container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      await join(sandbox(b, endpoint(x, 3)));
      await join(sandbox(c, endpoint(y, 2)));
      await join(sandbox(d, endpoint(z, 2)));
      await join(sandbox(e, endpoint(z, 3)));
      const [eth] = a.ip("addr", "show", "eth0");
      return {
        eth: [eth.ifname, eth.address, eth.mtu, eth.flags.includes("UP"), eth.addr_info.map((one: any) => [one.local, one.prefixlen, one.broadcast, one.scope])],
        routes: a.ip("route").map((route: any) => [route.dst, route.gateway ?? "", route.dev]),
        reach: { peer: a.pings("172.17.0.3"), gateway: a.pings("172.17.0.1"), other: a.pings("172.18.0.2"), internalPeer: d.pings("172.19.0.3"), internalGateway: d.pings("172.19.0.1") },
        internalRoutes: d.ip("route").map((route: any) => route.dst),
        fromInternal: [d.pings("172.17.0.2"), d.pings("10.0.2.2")],
        internalForced: [d.run("ip", "route", "add", "default", "via", "172.19.0.1"), d.pings("172.17.0.2"), d.pings("8.8.8.8")],
        host: JSON.parse(host("ip", "-j", "addr", "show", "br-n17"))[0].addr_info.map((one: any) => one.local),
      };
    `,
      ),
    ).toEqual({
      eth: ["eth0", "02:42:ac:00:00:02", 1500, true, [["172.17.0.2", 16, "172.17.255.255", "global"]]],
      routes: [["default", "172.17.0.1", "eth0"], ["172.17.0.0/16", "", "eth0"]],
      reach: { peer: true, gateway: true, other: false, internalPeer: true, internalGateway: true },
      internalRoutes: ["172.19.0.0/16"],
      fromInternal: [false, false],
      internalForced: ["", false, false],
      host: ["172.17.0.1"],
    });
  });

  it("tells neighbours when an address has another hardware address", async () => {
    const steps = await inNetd(
      user,
      `
      await start();
      const network = await add(bridge(17));
      const [neighbour, first, second, third] = [container(), container(), container(), container()];
      const at = (mac: string) => endpoint(network, 3, { mac });
      const usual = "02:42:ac:11:00:03";
      await join(sandbox(neighbour, endpoint(network, 2)));
      const steps: boolean[] = [];
      const reaches = (address: string) => { try { host("busybox", "ping", "-c1", "-W3", address); return true; } catch { return false; } };
      const turn = async (one: any, mac: string) => {
        await join(sandbox(one, at(mac)));
        // once: a neighbour whose packets are not answered asks again after some seconds
        steps.push(neighbour.succeeds("busybox", "ping", "-c1", "-W3", "172.17.0.3"));
        steps.push(reaches("172.17.0.3"));
        await client.request({ op: "sandbox.remove", containerId: sandbox(one).containerId });
      };
      await turn(first, usual);
      await turn(second, "02:42:ac:11:00:77");
      await turn(third, usual);
      return steps;
    `,
    );
    expect(steps).toEqual([true, true, true, true, true, true]);
  });

  it("takes an ended container's interface from those who share its namespace: the address is another's by now", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const network = await add(bridge(17));
      const [neighbour, owner, next] = [container(), container(), container()];
      await join(sandbox(neighbour, endpoint(network, 2)));
      const own = sandbox(owner, endpoint(network, 3));
      await join(own);
      const companion = new Deno.Command("nsenter", { args: ["-t", String(owner.pid), "-n", "sleep", "600"], stdin: "null", stdout: "null" }).spawn();
      try {
        const namespace = Deno.readLinkSync("/proc/" + owner.pid + "/ns/net");
        await until(() => Deno.readLinkSync("/proc/" + companion.pid + "/ns/net") === namespace);
        const pings = (address: string) => { try { inside(companion.pid, "busybox", "ping", "-c1", "-W1", address); return true; } catch { return false; } };
        const before = pings("172.17.0.2");
        owner.end();
        await client.request({ op: "sandbox.remove", containerId: own.containerId });
        // what is on its way may arrive
        const meanwhile = pings("172.17.0.2");
        await join(sandbox(next, endpoint(network, 3)));
        const after = [pings("172.17.0.2"), neighbour.pings("172.17.0.3")];
        const veths = () => links().filter((name: string) => name.startsWith("veth")).length;
        await until(() => veths() === 2);
        return { before, meanwhile, after, inside: links(companion.pid) };
      } finally {
        companion.kill("SIGKILL");
        await companion.status;
      }
    `,
      ),
    ).toEqual({ before: true, meanwhile: true, after: [false, true], inside: ["lo"] });
  });

  it("keeps networks apart by routes where another program leads outside", async () => {
    expect(
      await inNetd(
        user,
        `
      const way = { name: "slirp4netns", route: { link: "berth0", gateway4: new Uint8Array([10, 0, 2, 2]) }, [Symbol.dispose]() {} };
      const { namespace, ask } = paper({ parts: { outbound: (_: any, { outbound }: any) => outbound === "auto" ? way : undefined } });
      const [x, y] = [bridge(17), bridge(18)];
      const set = (outbound: string, ...networks: any[]) => ask({ op: "sync", settings: { hostLoopback: false, outbound }, networks, sandboxes: [] }).problems;
      const closed = (network: any) => nl.listRoutes(namespace.route, 1000 + nl.linkIndex(namespace.route, network.link))
        .filter(({ type }) => type === "blackhole").map(({ destination }) => destination.address.join(".") + "/" + destination.length);
      const problems = set("auto", x);
      const steps = [closed(x)];
      ask({ op: "network.add", network: y });
      steps.push(closed(x), closed(y));
      set("none", x, y);
      steps.push(closed(x));
      set("auto", x, y);
      ask({ op: "network.remove", id: y.id });
      steps.push(closed(x));
      return { problems, steps };
    `,
      ),
    ).toEqual({ problems: [], steps: [[], ["172.18.0.0/16"], ["172.17.0.0/16"], [], []] });
  });

  it("takes links away by another thread: who waits is told when they are gone, or waits for his own", async () => {
    expect(
      await inNetd(
        user,
        `
      const loop = new EventLoop(kernel);
      const { namespace } = paper();
      const removal = new BackgroundRemoval(loop, namespace.route, namespace.connect());
      const there = () => nl.listLinks(namespace.route).map(({ name }) => name).filter((name) => /^[ab]\\d$/.test(name)).sort();
      for (const n of [1, 2, 3]) nl.addLink(namespace.route, { kind: "veth", name: "a" + n, peer: { name: "b" + n } });
      removal.remove("a1", "one");
      removal.remove("a2", "two");
      removal.remove("nosuch", "two");
      // another one under a name that was free meanwhile stays
      removal.settle("one");
      const settled = there().includes("a1");
      nl.addLink(namespace.route, { kind: "veth", name: "a1", peer: { name: "b1" } });
      let told;
      removal.afterwards(() => told = there());
      for (const deadline = Date.now() + ${
          10_000 * SLOWNESS
        }; told === undefined && Date.now() < deadline;) loop.turn(100);
      let atOnce = false;
      removal.afterwards(() => atOnce = true);
      return { settled, told, begun: removal.begun, atOnce };
    `,
      ),
    ).toEqual({ settled: false, told: ["a1", "a3", "b1", "b3"], begun: 2, atOnce: true });
  });

  it("has TCP of the rootless host neither pace nor hoard, and leaves containers what the machine has", async () => {
    const [theirs, ...own] = await inNetd(
      user,
      `
      await start();
      const one = container();
      await join(sandbox(one, endpoint(await add(bridge(17)), 2)));
      const read = (pid: number, name: string) => inside(pid, "cat", "/proc/sys/net/ipv4/" + name).trim();
      return [read(one.pid, "tcp_congestion_control"),
        ...["tcp_congestion_control", "tcp_rmem", "tcp_wmem"].map((name) => read(client.hello.hostPid, name).split(/\\s+/).at(-1))];
    `,
    ) as string[];
    expect(theirs).toBe(Deno.readTextFileSync("/proc/sys/net/ipv4/tcp_congestion_control").trim());
    expect(own).toEqual(["reno", "1048576", "1048576"]);
  });

  it("hands on what containers send each other in the pieces that TCP has made, uncut", async () => {
    const world = JSON.stringify(new URL("../support/publish_world.ts", import.meta.url).href);
    const { bytes, packets } = await inNetwork(
      user,
      `
      const { PublishWorld } = await import(${world});
      using world = new PublishWorld();
      const network = world.network();
      const [one, two] = [world.container(network), world.container(network)];
      const listener = world.listen(world.placeOf(two), 80);
      const stream = world.connect(world.placeOf(one), two.address, 80);
      world.until(() => listener.streams.length === 1);
      const total = 100_000_000;
      stream.sendPattern(total);
      world.until(() => listener.last.received === total);
      return JSON.parse(world.run("ip -j -s link show eth0", two))[0].stats64.rx;
    `,
    ) as { bytes: number; packets: number };
    // cut pieces are 1,500 bytes
    expect(bytes / packets).toBeGreaterThan(6000);
  });

  it("lets nobody in who is not let in: not by a gateway, not by a forged address, not around enable_icc=false", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y, quiet] = [await add(bridge(17)), await add(bridge(18)), await add(bridge(19, { bridge: { enableIcc: false } }))];
      const [a, b, c, d] = [container(), container(), container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      await join(sandbox(b, endpoint(y, 2)));
      await join(sandbox(c, endpoint(quiet, 2)));
      await join(sandbox(d, endpoint(quiet, 3)));
      // a server that listens in the rootless host, by accident
      const server = new Deno.Command("nsenter", { args: ["-t", String(client.hello.hostPid), "-n", "busybox", "httpd", "-f", "-p", "7777", "-h", "/proc/self"], stdin: "null", stdout: "null", stderr: "null" }).spawn();
      await until(() => host("ss", "-ltn").includes(":7777"));
      const connects = (from: any, address: string) => from.succeeds("busybox", "nc", "-w", "1", address, "7777");
      const itself = (() => { try { host("busybox", "nc", "-w", "1", "172.17.0.1", "7777"); return true; } catch { return false; } })();
      const tcp = [connects(a, "172.17.0.1"), connects(a, "172.18.0.1"), connects(a, "10.0.2.100")];
      server.kill("SIGKILL");
      await server.status;
      // by the gateway's hardware address, with c's neighbour behind it
      const gatewayMac = JSON.parse(host("ip", "-j", "link", "show", "br-n19"))[0].address;
      const quietly = c.pings("172.19.0.3");
      c.run("ip", "neigh", "replace", "172.19.0.3", "lladdr", gatewayMac, "dev", "eth0", "nud", "permanent");
      d.run("ip", "neigh", "replace", "172.19.0.2", "lladdr", gatewayMac, "dev", "eth0", "nud", "permanent");
      const around = c.pings("172.19.0.3");
      // somebody else's address as one's own
      const before = JSON.parse(host("ip", "-j", "-s", "link", "show", "br-n18"))[0].stats64.tx.packets;
      a.run("ip", "addr", "add", "172.18.0.77/32", "dev", "eth0");
      a.succeeds("busybox", "ping", "-c1", "-W1", "-I", "172.18.0.77", "172.18.0.2");
      const after = JSON.parse(host("ip", "-j", "-s", "link", "show", "br-n18"))[0].stats64.tx.packets;
      return { itself, tcp, quietly, around, gateway: c.pings("172.19.0.1"), leaked: after - before };
    `,
      ),
    ).toEqual({
      itself: true,
      tcp: [false, false, false],
      quietly: false,
      around: false,
      gateway: true,
      leaked: 0,
    });
  });

  it("changes a running container's networks: connect, disconnect, where the default route leads", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y] = [await add(bridge(17)), await add(bridge(18, { bridge: { mtu: 1400 } }))];
      const [a, b] = [container(), container()];
      const first = endpoint(x, 2);
      await join(sandbox(a, first));
      await join(sandbox(b, endpoint(y, 2)));
      const second = endpoint(y, 3, { interface: "eth1", sysctls: { "net.ipv4.conf.IFNAME.log_martians": "1" }, linkLocal: ["169.254.7.8"] });
      const defaults = () => a.ip("route", "show", "default").map((route: any) => route.gateway + " " + route.dev);
      const { gateway4: _, ...secondary } = second;
      await client.request({ op: "sandbox.update", sandbox: sandbox(a, first, secondary) });
      const both = { links: links(a.pid), defaults: defaults(), peer: a.pings("172.18.0.2"), gateway: a.pings("172.17.0.1"), mtu: a.ip("link", "show", "eth1")[0].mtu,
        martians: a.run("cat", "/proc/sys/net/ipv4/conf/eth1/log_martians").trim(), addresses: a.ip("addr", "show", "eth1")[0].addr_info.map((one: any) => one.local + "/" + one.prefixlen) };
      const { gateway4: __, ...demoted } = first;
      await client.request({ op: "sandbox.update", sandbox: sandbox(a, demoted, second) });
      const moved = defaults();
      const stats = Object.keys((await client.request({ op: "stats", containerId: sandbox(a).containerId })).stats);
      await client.request({ op: "sandbox.update", sandbox: sandbox(a, second) });
      const alone = { links: links(a.pid), defaults: defaults() };
      await client.request({ op: "sandbox.update", sandbox: sandbox(a) });
      const none = links(a.pid);
      await client.request({ op: "sandbox.update", sandbox: sandbox(a, first) });
      const again = { links: links(a.pid), defaults: defaults(), ping: a.pings("172.17.0.1") };
      return { both, moved, stats, alone, none, again, host: links().filter((name: string) => name.startsWith("veth")).length };
    `,
      ),
    ).toEqual({
      both: {
        links: ["eth0", "eth1", "lo"],
        defaults: ["172.17.0.1 eth0"],
        peer: true,
        gateway: true,
        mtu: 1400,
        martians: "1",
        addresses: ["169.254.7.8/16", "172.18.0.3/16"].toReversed(),
      },
      moved: ["172.18.0.1 eth1"],
      stats: ["eth0", "eth1"],
      alone: { links: ["eth1", "lo"], defaults: ["172.18.0.1 eth1"] },
      none: ["lo"],
      again: { links: ["eth0", "lo"], defaults: ["172.17.0.1 eth0"], ping: true },
      host: 2,
    });
  });

  it("has IPv6 where a network wants it, usable at once, and no IPv6 where it does not", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const six = await add(bridge(17, { ipv6: true, subnets: [{ subnet: "172.17.0.0/16", gateway: "172.17.0.1" }, { subnet: "fd00:17::/64", gateway: "fd00:17::1" }] }));
      const four = await add(bridge(18));
      const other = await add(bridge(20, { ipv6: true, subnets: [{ subnet: "172.20.0.0/16", gateway: "172.20.0.1" }, { subnet: "fd00:20::/64", gateway: "fd00:20::1" }] }));
      const [a, b, c, d] = [container(), container(), container(), container()];
      await join(sandbox(d, endpoint(other, 2, { ipv6: "fd00:20::2/64", gateway6: "fd00:20::1" })));
      await join(sandbox(a, endpoint(six, 2, { ipv6: "fd00:17::2/64", gateway6: "fd00:17::1" })));
      await join(sandbox(b, endpoint(six, 3, { ipv6: "fd00:17::3/64", gateway6: "fd00:17::1" })));
      await join(sandbox(c, endpoint(four, 2)));
      // as somebody of another network, to the gateway
      a.run("ip", "addr", "add", "fd00:20::77/128", "dev", "eth0", "nodad");
      const as = (source: string) => a.succeeds("busybox", "ping", "-c1", "-W1", "-I", source, "fd00:17::1");
      return { ping: [a.pings("fd00:17::3"), a.pings("fd00:17::1"), as("fd00:17::2"), as("fd00:20::77"), a.pings("fd00:20::2")],
        default: a.ip("-6", "route", "show", "default").map((route: any) => route.gateway),
        tentative: a.run("ip", "-6", "addr", "show", "tentative").trim(),
        none: c.ip("-6", "addr", "show", "eth0").length,
        hostLinkLocal: JSON.parse(host("ip", "-j", "-6", "addr", "show", "br-n18")).length };
    `,
      ),
    ).toEqual({
      ping: [true, true, true, false, false],
      default: ["fd00:17::1"],
      tentative: "",
      none: 0,
      hostLinkLocal: 0,
    });
  });

  it("works with a /29, with /31 and other prefixes, and without gateway or bridge address", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const small = await add(bridge(17, { subnets: [{ subnet: "172.17.0.8/29", gateway: "172.17.0.9" }] }));
      const bare = await add(bridge(18, { subnets: [{ subnet: "172.18.0.0/24" }] }));
      const inhibited = await add(bridge(19, { bridge: { inhibitIpv4: true } }));
      const [a, b, c, d, e] = [container(), container(), container(), container(), container()];
      await join(sandbox(a, endpoint(small, 10, { ipv4: "172.17.0.10/29" })));
      await join(sandbox(b, endpoint(small, 14, { ipv4: "172.17.0.14/29" })));
      await join(sandbox(c, endpoint(bare, 2)));
      await join(sandbox(d, endpoint(bare, 3)));
      const { gateway4: _, ...e0 } = endpoint(inhibited, 2);
      await join(sandbox(e, e0));
      return { broadcast: a.ip("addr", "show", "eth0")[0].addr_info[0].broadcast, small: [a.pings("172.17.0.14"), a.pings("172.17.0.9")], bare: c.pings("172.18.0.3"),
        defaults: c.ip("route", "show", "default").length, bridges: ["br-n18", "br-n19"].map((name) => JSON.parse(host("ip", "-j", "-4", "addr", "show", name)).length),
        // from the rootless host a container is reached all the same: published ports
        inhibited: (() => { try { host("busybox", "ping", "-c1", "-W1", "172.19.0.2"); return true; } catch (error) { return String(error).includes("1 packets transmitted") } })() };
    `,
      ),
    ).toEqual({
      broadcast: "172.17.0.15",
      small: [true, true],
      bare: true,
      defaults: 0,
      bridges: [0, 0],
      inhibited: true,
    });
  });

  it("has macvlan, says what the kernel lacks, and refuses what is not there yet", async () => {
    const answer = await inNetd(
      user,
      `
      await start();
      const vlan = (driver: string, more: any = {}) => ({ ...bridge(40), driver, link: "dm-" + driver, options: { driver, parent: "", mode: driver === "macvlan" ? "bridge" : "l2", flag: "bridge", interfacePrefix: "" }, ...more });
      const ipvlan = vlan("ipvlan");
      const refused = { ipvlan: await failure(add(ipvlan)), overlay: await failure(add(vlan("overlay"))) };
      state.networks.length = 0;
      if (refused.ipvlan === "ok") await client.request({ op: "network.remove", id: ipvlan.id });
      const macvlan = await add(vlan("macvlan"));
      const [a, b] = [container(), container()];
      await join(sandbox(a, endpoint(macvlan, 2)));
      await join(sandbox(b, endpoint(macvlan, 3)));
      const kind = a.ip("-d", "link", "show", "eth0")[0].linkinfo.info_kind;
      const reach = a.pings("172.40.0.3");
      const stats = (await client.request({ op: "stats", containerId: sandbox(a).containerId })).stats.eth0;
      await client.request({ op: "sandbox.update", sandbox: sandbox(a) });
      const left = links(a.pid);
      await client.request({ op: "sandbox.remove", containerId: sandbox(b).containerId });
      await client.request({ op: "network.remove", id: macvlan.id });
      return { kind, reach, counted: stats.txPackets > 0 && stats.rxPackets > 0, left, refused, host: links() };
    `,
    );
    expect(answer).toMatchObject({
      kind: "macvlan",
      reach: true,
      counted: true,
      left: ["lo"],
      host: ["berth0", "lo"],
      refused: {
        overlay: "not-implemented: the driver overlay is not there yet: " +
          "networks over several hosts need what tells the hosts of each other",
        ipvlan: expect.stringMatching(/^(ok|not-implemented: network n40: the kernel has no ipvlan .*)$/),
      },
    });
  });
});
