/** rtnetlink against the kernel, with iproute2 as the witness of what is really there. */
import { expect, it } from "vitest";
import { describeWith, program } from "../support/needs.ts";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

describeWith(program("ip", "iproute2"), program("bridge", "iproute2")).each(usersToTest())(
  "rtnetlink as $name",
  (user) => {
    it("makes a bridge, veth pairs into another namespace by descriptor and by pid, and changes them", async () => {
      expect(
        await inNetwork(
          user,
          `
      nl.addLink(route, { kind: "bridge", name: "br-x", up: true, mac: "02:42:00:00:00:01", stp: false, forwardDelay: 200, multicastSnooping: false });
      const bridge = nl.linkIndex(route, "br-x");
      nl.setLink(route, bridge, { mtu: 1400 });
      const other = neighbour();
      nl.addLink(route, { kind: "veth", name: "ve1", master: bridge, up: true, mtu: 1400,
        peer: { name: "eth0", mac: "02:42:ac:12:00:02", mtu: 1400, namespace: { fd: other.fd } } });
      nl.addLink(route, { kind: "veth", name: "ve2", peer: { name: "eth1", namespace: { pid: other.pid } } });
      nl.setLink(route, "ve2", { name: "renamed", mac: "02:00:00:00:00:09", mtu: 1300 });
      nl.setLink(route, "renamed", { master: bridge, up: true });
      nl.setBridgePort(route, "ve1", { isolated: true, hairpin: true });
      const [br] = ip("ip", "-j", "-d", "link", "show", "br-x");
      const ports = ip("bridge", "-j", "-d", "link").map((port: Record<string, unknown>) => [port.ifname, port.isolated, port.hairpin, port.master]);
      const [renamed] = ip("ip", "-j", "link", "show", "renamed");
      const peers = inside(other.pid, "ip", "-j", "link").map((link: Record<string, unknown>) => [link.ifname, link.address, link.mtu]).slice(1);
      const link = nl.getLink(route, "ve1");
      const listed = nl.listLinks(route).map(({ name, kind, up, mtu, master, port, stats }) => ({ name, kind, up, mtu, master: master === bridge, port, stats: typeof stats?.rxBytes }));
      nl.setLink(route, "renamed", { master: 0, up: false });
      const released = ip("ip", "-j", "link", "show", "renamed")[0];
      nl.setLink(route, "renamed", { namespace: { fd: other.fd } });
      const moved = [nl.getLink(route, "renamed") === undefined, inside(other.pid, "ip", "-j", "link", "show", "renamed")[0].ifname];
      nl.deleteLink(route, "ve1");
      const left = inside(other.pid, "ip", "-j", "link").map((link: { ifname: string }) => link.ifname);
      other.end();
      return { br: [br.mtu, br.address, br.linkinfo.info_kind, br.flags.includes("UP"), br.linkinfo.info_data.forward_delay, br.linkinfo.info_data.mcast_snooping],
        ports, renamed: [renamed.mtu, renamed.address, renamed.master], peers, link: [link?.kind, link?.port, link?.parentNamespace !== undefined],
        listed, released: [released.master ?? "none", released.flags.includes("UP")], moved, left: left.includes("eth0") };
    `,
        ),
      ).toMatchObject({
        br: [1400, "02:42:00:00:00:01", "bridge", true, 200, 0],
        ports: [["ve1", true, true, "br-x"], ["renamed", false, false, "br-x"]],
        renamed: [1300, "02:00:00:00:00:09", "br-x"],
        peers: [["eth0", "02:42:ac:12:00:02", 1400], ["eth1", expect.any(String), 1500]],
        link: ["veth", { isolated: true, hairpin: true, learning: true, flood: true }, true],
        listed: [
          { name: "lo", kind: "", up: false, stats: "number" },
          { name: "br-x", kind: "bridge", up: true, mtu: 1400, master: false, stats: "number" },
          { name: "ve1", kind: "veth", up: true, mtu: 1400, master: true, port: { isolated: true } },
          { name: "renamed", kind: "veth", up: true, mtu: 1300, master: true, port: { isolated: false } },
        ],
        released: ["none", false],
        moved: [true, "renamed"],
        left: false,
      });
    });

    it("makes macvlan and vxlan, and says what the kernel lacks", async () => {
      const answer = await inNetwork(
        user,
        `
      nl.addLink(route, { kind: "veth", name: "p0", up: true, peer: { name: "p1" } });
      nl.setLink(route, "p1", { up: true });
      const parent = nl.linkIndex(route, "p0");
      nl.addLink(route, { kind: "macvlan", name: "mv0", parent, mode: "bridge" });
      nl.addLink(route, { kind: "vxlan", name: "vx0", id: 42, local: v4("10.0.0.1"), port: 4789, learning: false, proxy: true });
      const vxlan = nl.linkIndex(route, "vx0");
      for (const last of [1, 2]) nl.addForwarding(route, { link: vxlan, mac: "00:00:00:00:00:00", remote: v4("10.0.0." + last) });
      nl.addForwarding(route, { link: vxlan, mac: "02:42:00:00:00:07", remote: v4("10.0.0.7") });
      nl.deleteForwarding(route, { link: vxlan, mac: "00:00:00:00:00:00", remote: v4("10.0.0.2") });
      const fdb = ip("bridge", "-j", "fdb", "show", "dev", "vx0").map((row: { mac: string; dst: string }) => row.mac + " " + row.dst).sort();
      const [mv] = ip("ip", "-j", "-d", "link", "show", "mv0");
      const [vx] = ip("ip", "-j", "-d", "link", "show", "vx0");
      const { linkinfo: { info_data: data } } = vx;
      return { mv: [mv.linkinfo.info_kind, mv.linkinfo.info_data.mode, mv.link], vx: [data.id, data.local, data.port, data.learning, data.proxy], fdb,
        dummy: failure(() => nl.addLink(route, { kind: "dummy", name: "d0" })),
        ipvlan: failure(() => nl.addLink(route, { kind: "ipvlan", name: "iv0", parent, mode: "l2" })) };
    `,
      );
      expect(answer).toMatchObject({
        mv: ["macvlan", "bridge", "p0"],
        vx: [42, "10.0.0.1", 4789, false, true],
        fdb: ["00:00:00:00:00:00 10.0.0.1", "02:42:00:00:00:07 10.0.0.7"],
      });
      for (const kind of ["dummy", "ipvlan"] as const) {
        expect((answer as Record<string, string>)[kind]).toMatch(
          /^ok$|^add link (d|iv)0 type (dummy|ipvlan): (operation not supported|device or resource busy)( \(Unknown device type\))?$/,
        );
      }
    });

    it("adds, lists and deletes addresses, routes, rules and neighbours of both families", async () => {
      expect(
        await inNetwork(
          user,
          `
      nl.setLink(route, "lo", { up: true });
      nl.addLink(route, { kind: "bridge", name: "br0", up: true });
      const link = nl.linkIndex(route, "br0");
      nl.addAddress(route, { link, address: v4("172.18.0.1"), length: 16, broadcast: v4("172.18.255.255") });
      nl.addAddress(route, { link, address: v6("fd00::1"), length: 64, noDad: true });
      nl.addAddress(route, { link, address: v4("10.7.0.1"), length: 24, noPrefixRoute: true });
      const info = ip("ip", "-j", "addr", "show", "br0")[0].addr_info.filter((entry: { scope: string }) => entry.scope === "global")
        .map((entry: Record<string, unknown>) => [entry.local, entry.prefixlen, entry.broadcast ?? null, entry.noprefixroute ?? false, entry.nodad ?? false]);
      const addresses = nl.listAddresses(route, link).filter(({ scope }) => scope === 0).map((entry) => [nl.prefixText(entry), entry.noPrefixRoute, entry.noDad]);
      const any4 = { address: v4("0.0.0.0"), length: 0 }, any6 = { address: v6("::"), length: 0 };
      nl.addRoute(route, { destination: any4, gateway: v4("172.18.0.2"), link, source: v4("172.18.0.1"), table: 1000, metric: 5, mtu: 1300 });
      nl.addRoute(route, { destination: any4, type: "local", link: 1, table: 100 });
      nl.addRoute(route, { destination: any6, type: "local", link: 1, table: 100 });
      nl.addRoute(route, { destination: { address: v4("10.9.0.0"), length: 16 }, type: "unreachable", table: 7 });
      nl.addRoute(route, { destination: { address: v4("10.10.0.0"), length: 16 }, type: "blackhole" });
      nl.addRoute(route, { destination: { address: v4("10.11.0.0"), length: 16 }, gateway: v4("192.168.77.1"), link, onlink: true });
      nl.addRoute(route, { destination: { address: v6("fd01::"), length: 64 }, gateway: v6("fd00::2"), table: 7 });
      nl.addRoute(route, { destination: { address: v4("10.11.0.0"), length: 16 }, gateway: v4("192.168.77.2"), link, onlink: true }, { replace: true });
      const shown = (family: string, table: string) => ip("ip", family, "-j", "-d", "route", "show", "table", table)
        .map((entry: Record<string, unknown>) => [entry.type, entry.dst, entry.gateway ?? null, entry.dev ?? null, entry.prefsrc ?? null, entry.metric ?? null, (entry.flags as string[]).includes("onlink"), entry.scope ?? null]);
      const routes = { t1000: shown("-4", "1000"), t100: shown("-4", "100"), six100: shown("-6", "100"), t7: shown("-4", "7"), six7: shown("-6", "7"),
        main: shown("-4", "main").filter(([, dst]: string[]) => /^10\\.1/.test(dst ?? "")), tenSeven: shown("-4", "main").some(([, dst]: string[]) => dst === "10.7.0.0/24") };
      const ours = nl.listRoutes(route, 1000);
      nl.deleteRoute(route, { destination: any4, table: 1000 });
      nl.deleteRoute(route, { destination: { address: v4("10.9.0.0"), length: 16 }, type: "unreachable", table: 7 });
      const after = [nl.listRoutes(route, 1000).length, nl.listRoutes(route, 7).map(({ destination }) => nl.prefixText(destination))];
      nl.addRule(route, { family: "inet", priority: 50, iif: "br0", protocol: 6, sourcePorts: { first: 80, last: 80 }, table: 1000 });
      nl.addRule(route, { family: "inet", priority: 51, mark: { value: 1, mask: 255 }, from: { address: v4("10.0.0.0"), length: 8 }, to: { address: v4("10.1.0.0"), length: 16 }, table: 100 });
      nl.addRule(route, { family: "inet6", priority: 52, oif: "br0", protocol: 17, destinationPorts: { first: 1, last: 9 }, not: true, action: "prohibit" });
      const rules = [...ip("ip", "-j", "rule"), ...ip("ip", "-6", "-j", "rule")].filter(({ priority }: { priority: number }) => priority >= 50 && priority < 60);
      const listed = [...nl.listRules(route, "inet"), ...nl.listRules(route, "inet6")].filter(({ priority }) => priority >= 50 && priority < 60);
      nl.deleteRule(route, { family: "inet", priority: 50 });
      nl.deleteRule(route, { family: "inet", priority: 51, table: 100 });
      const rulesAfter = nl.listRules(route, "inet").map(({ priority }) => priority);
      nl.setNeighbour(route, { link, address: v4("172.18.0.9"), mac: "02:42:ac:12:00:09" });
      nl.setNeighbour(route, { link, address: v4("172.18.0.9"), mac: "02:42:ac:12:00:0a" });
      nl.setNeighbour(route, { link, address: v6("fd00::9"), mac: "02:42:ac:12:00:09" });
      const neighbours = [...ip("ip", "-4", "-j", "neigh"), ...ip("ip", "-6", "-j", "neigh")].map((entry: Record<string, unknown>) => [entry.dst, entry.lladdr, entry.state]);
      const seen = nl.listNeighbours(route, link).filter(({ state }) => state === 0x80).map(({ mac, state }) => [mac, state]);
      nl.deleteNeighbour(route, { link, address: v4("172.18.0.9") });
      const neighboursAfter = ip("ip", "-4", "-j", "neigh").length;
      nl.deleteAddress(route, { link, address: v4("172.18.0.1"), length: 16 });
      const gone = nl.listAddresses(route, link).some((entry) => nl.prefixText(entry) === "172.18.0.1/16");
      return { info, addresses, routes, ours, after, rules, listed, rulesAfter, neighbours, seen, neighboursAfter, gone };
    `,
        ),
      ).toMatchObject({
        info: [
          ["172.18.0.1", 16, "172.18.255.255", false, false],
          ["10.7.0.1", 24, null, true, false],
          ["fd00::1", 64, null, false, true],
        ],
        addresses: [
          ["172.18.0.1/16", false, false],
          ["10.7.0.1/24", true, false],
          ["fd00:0:0:0:0:0:0:1/64", false, true],
        ],
        routes: {
          t1000: [["unicast", "default", "172.18.0.2", "br0", "172.18.0.1", 5, false, "global"]],
          t100: [["local", "default", null, "lo", null, null, false, "host"]],
          six100: [["local", "default", null, "lo", null, expect.any(Number), false, "global"]],
          t7: [["unreachable", "10.9.0.0/16", null, null, null, null, false, "global"]],
          six7: [["unicast", "fd01::/64", "fd00::2", "br0", null, expect.any(Number), false, "global"]],
          main: [
            ["blackhole", "10.10.0.0/16", null, null, null, null, false, "global"],
            ["unicast", "10.11.0.0/16", "192.168.77.2", "br0", null, null, true, "global"],
          ],
          tenSeven: false,
        },
        ours: [{
          destination: { address: [0, 0, 0, 0], length: 0 },
          gateway: [172, 18, 0, 2],
          source: [172, 18, 0, 1],
          table: 1000,
          metric: 5,
          mtu: 1300,
          type: "unicast",
        }],
        after: [0, ["fd01:0:0:0:0:0:0:0/64"]],
        rules: [
          { priority: 50, iif: "br0", ipproto: "tcp", sport: 80, table: "1000" },
          {
            priority: 51,
            src: "10.0.0.0",
            srclen: 8,
            dst: "10.1.0.0",
            dstlen: 16,
            fwmark: "0x1",
            fwmask: "0xff",
          },
          { priority: 52, oif: "br0", ipproto: "udp", action: "prohibit" },
        ],
        listed: [
          { priority: 50, iif: "br0", protocol: 6, sourcePorts: { first: 80, last: 80 }, table: 1000 },
          {
            priority: 51,
            mark: { value: 1, mask: 255 },
            from: { address: [10, 0, 0, 0], length: 8 },
            to: { address: [10, 1, 0, 0], length: 16 },
            table: 100,
          },
          {
            priority: 52,
            oif: "br0",
            protocol: 17,
            destinationPorts: { first: 1, last: 9 },
            not: true,
            action: "prohibit",
          },
        ],
        rulesAfter: [0, 32766, 32767],
        neighbours: [
          ["172.18.0.9", "02:42:ac:12:00:0a", ["PERMANENT"]],
          ["fd00::9", "02:42:ac:12:00:09", ["PERMANENT"]],
        ],
        seen: [["02:42:ac:12:00:0a", 0x80], ["02:42:ac:12:00:09", 0x80]],
        neighboursAfter: 0,
        gone: false,
      });
    });

    it("says what was asked, the errno's text and the kernel's own words", async () => {
      expect(
        await inNetwork(
          user,
          `
      nl.setLink(route, "lo", { up: true });
      nl.addLink(route, { kind: "bridge", name: "br0", up: true });
      const link = nl.linkIndex(route, "br0");
      const address = { link, address: v4("10.1.0.1"), length: 24 };
      nl.addAddress(route, address);
      const answers = {
        exists: failure(() => nl.addLink(route, { kind: "bridge", name: "br0" })),
        missing: failure(() => nl.deleteLink(route, "br1")),
        index: failure(() => nl.linkIndex(route, "br1")),
        twice: failure(() => nl.addAddress(route, address)),
        nobody: failure(() => nl.deleteAddress(route, { ...address, address: v4("10.1.0.9") })),
        gateway: failure(() => nl.addRoute(route, { destination: { address: v4("0.0.0.0"), length: 0 }, gateway: v4("10.3.0.1") })),
        noRoute: failure(() => nl.deleteRoute(route, { destination: { address: v4("10.9.9.0"), length: 24 } })),
        noRule: failure(() => nl.deleteRule(route, { family: "inet", priority: 77 })),
        mtu: failure(() => nl.setLink(route, "br0", { mtu: 40 })),
        port: failure(() => nl.setBridgePort(route, "br0", { isolated: true })),
        name: failure(() => nl.addLink(route, { kind: "bridge", name: "a-name-of-16-byte" })),
        mac: failure(() => nl.addLink(route, { kind: "bridge", name: "b", mac: "no" })),
        prefix: failure(() => nl.addAddress(route, { ...address, length: 33 })),
      };
      const left = nl.listLinks(route).map(({ name }) => name);
      using filter = nl.Netlink.open(nl.NETLINK_NETFILTER);
      k.capset({ effective: 0n, permitted: 0n, inheritable: 0n });
      const right = [
        failure(() => nl.addLink(route, { kind: "bridge", name: "br1" })),
        failure(() => nl.addAddress(route, { ...address, address: v4("10.1.0.2") })),
        failure(() => nl.addRule(route, { family: "inet", priority: 7, table: 7 })),
        failure(() => nl.commit(filter, [nl.newTable({ family: "ip", name: "t" })])),
        failure(() => net.openTun({ name: "tun0", kind: "tun" })),
      ];
      return { ...answers, left, right };
    `,
        ),
      ).toEqual({
        exists: "add link br0 type bridge: file exists",
        missing: "delete link br1: no such device",
        index: "link br1: no such device",
        twice: expect.stringMatching(/^add address 10\.1\.0\.1\/24: file exists/),
        nobody: expect.stringMatching(/^delete address 10\.1\.0\.9\/24: cannot assign requested address/),
        gateway: "add route 0.0.0.0/0: network is unreachable (Nexthop has invalid gateway)",
        noRoute: "delete route 10.9.9.0/24: no such process",
        noRule: "delete rule 77: no such file or directory",
        mtu: expect.stringMatching(/^set link br0: invalid argument \(mtu less than device minimum\)/),
        port: expect.stringMatching(/^set bridge port br0: /),
        name: 'RangeError: Not a name for an interface: "a-name-of-16-byte"',
        mac: "RangeError: Not a MAC address: no",
        prefix: "RangeError: Prefix of 33 bits for an address of 4 bytes",
        left: ["lo", "br0"],
        right: [
          "add link br1 type bridge: operation not permitted",
          "add address 10.1.0.2/24: operation not permitted",
          "add rule 7 lookup 7: operation not permitted",
          "change nf_tables: operation not permitted",
          "open tun tun0: operation not permitted",
        ],
      });
    });

    it("works in another namespace: by calls of a stub there, and by a descriptor that was made there", async () => {
      expect(
        await inNetwork(
          user,
          `
      const stub = new StubProcess({ stderr: 2, onSlow: () => {} });
      try {
        stub.calls.unshare(c.CLONE_NEWNET);
        const theirs = networkCalls(stub.machine, stub.calls);
        using inside = nl.Netlink.open(nl.NETLINK_ROUTE, theirs, (fd) => stub.calls.close(fd));
        nl.setLink(inside, "lo", { up: true });
        nl.addLink(route, { kind: "veth", name: "ve0", peer: { name: "eth0", namespace: { pid: stub.pid } } });
        // the same over a socket that was made there and is used here
        const socket = theirs.socket(c.AF_NETLINK, c.SOCK_RAW, nl.NETLINK_ROUTE);
        stub.calls.sendmsg(4, new Uint8Array(1), [socket]);
        const [fd = -1] = k.recvmsg(stub.socket, new Uint8Array(1)).fds;
        using there = new nl.Netlink(fd);
        nl.addAddress(there, { link: nl.linkIndex(there, "eth0"), address: v4("172.17.0.2"), length: 16 });
        nl.setLink(there, "eth0", { up: true });
        return {
          ours: nl.listLinks(route).map(({ name }) => name),
          theirs: nl.listLinks(inside).map(({ name, up }) => [name, up]),
          addresses: nl.listAddresses(inside).filter(({ address }) => address.length === 4).map(nl.prefixText),
        };
      } finally {
        stub[Symbol.dispose]();
        k.kill(stub.pid, 9);
        k.wait(stub.pid, false);
      }
    `,
        ),
      ).toEqual({
        ours: ["lo", "ve0"],
        theirs: [["lo", true], ["eth0", true]],
        addresses: ["127.0.0.1/8", "172.17.0.2/16"],
      });
    });

    it("reads whole lists that are longer than one message, while they change", async () => {
      expect(
        await inNetwork(
          user,
          `
      nl.addLink(route, { kind: "bridge", name: "br0", up: true });
      const link = nl.linkIndex(route, "br0");
      nl.addAddress(route, { link, address: v4("10.0.0.1"), length: 8 });
      for (let i = 0; i < 3000; i++) nl.addRoute(route, { destination: { address: Uint8Array.of(172, 16, i >> 8, i & 255), length: 32 }, link, table: 500 });
      const whole = nl.listRoutes(route, 500).length;
      const pid = k.spawn({ path: "/bin/sh", args: ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do ip link add b$i type bridge; ip addr add 10.5.0.$i/24 dev br0; done"], env: ["PATH=/usr/sbin:/sbin:/usr/bin:/bin"] });
      let reads = 0;
      while (k.wait(pid, true) === undefined) {
        if (nl.listRoutes(route, 500).length !== 3000 || nl.listLinks(route).filter(({ name }) => name === "br0").length !== 1) return "not whole";
        reads++;
      }
      return { whole, reads: reads > 0, links: nl.listLinks(route).length, addresses: nl.listAddresses(route, link).filter(({ address }) => address.length === 4).length };
    `,
        ),
      ).toEqual({ whole: 3000, reads: true, links: 11, addresses: 10 });
    });
  },
);
