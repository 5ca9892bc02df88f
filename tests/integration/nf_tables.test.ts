/** nf_tables over netlink, with nft as the witness, and the whole way of an outbound connection: TUN, tproxy, marks and routes. */
import { expect, it } from "vitest";
import { describeWith, program } from "../support/needs.ts";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

describeWith(program("nft", "nftables")).each(usersToTest())("nf_tables as $name", (user) => {
  it("has the rules that nft reads", async () => {
    expect(
      await inNetwork(
        user,
        `
      using filter = nl.Netlink.open(nl.NETLINK_NETFILTER);
      const table = { family: "inet", name: "berth" } as const;
      const any = { address: v4("0.0.0.0"), length: 0 };
      nl.commit(filter, []);
      nl.commit(filter, [
        nl.newTable(table), nl.deleteTable(table), nl.newTable(table),
        nl.newChain({ table, name: "prerouting", hook: { at: "prerouting", priority: -150 } }),
        nl.newChain({ table, name: "guard", hook: { at: "forward", priority: 0, policy: "drop" } }),
        nl.newChain({ table, name: "more" }),
        nl.newRule(table, "prerouting", nl.inputIs("tun0"), nl.tcpFlagsAre(2, 2 | 4 | 16), nl.tproxy("ip", 5000), nl.setMark(1), nl.verdict("accept")),
        nl.newRule(table, "prerouting", nl.familyIs("ip6"), nl.protocolIs(6), nl.tproxy("ip6", 5001, v6("::1")), nl.setMark(1)),
        nl.newRule(table, "prerouting", nl.inputIs("br-", { prefix: true }), nl.protocolIs(6), nl.socketIsTransparent(), nl.setMark(1), nl.verdict("accept")),
        nl.newRule(table, "guard", nl.sourceIs({ address: v4("172.18.0.9"), length: 15 }), nl.destinationIs({ address: v4("10.1.2.3"), length: 32 }, { not: true }), nl.verdict("drop")),
        nl.newRule(table, "guard", nl.sourceIs({ address: v6("fd00::1"), length: 64 }), nl.outputIs("lo", { not: true }), nl.verdict({ jump: "more" })),
        nl.newRule(table, "more", nl.markIs(1, 255), nl.protocolIs(17), nl.destinationPortIs(53), nl.sourcePortIs(1024), nl.verdict("return")),
        nl.newRule(table, "more", nl.protocolIs(17), nl.setPort("destination", 17, 5353)),
        nl.newRule(table, "more", nl.protocolIs(6), nl.setPort("source", 6, 53)),
        nl.newRule(table, "more", nl.destinationIs(any), nl.verdict("accept")),
      ]);
      const text = run("/usr/bin/env", "nft", "list", "ruleset").split("\\n").map((line) => line.trim()).filter((line) => line !== "");
      const tables = nl.listTables(filter);
      nl.commit(filter, [nl.flushChain(table, "more")]);
      const flushed = ip("nft", "-j", "list", "chain", "inet", "berth", "more").nftables.filter((entry: Record<string, unknown>) => "rule" in entry).length;
      return { text, tables, flushed };
    `,
      ),
    ).toEqual({
      text: [
        "table inet berth {",
        "chain prerouting {",
        "type filter hook prerouting priority mangle; policy accept;",
        'iifname "tun0" tcp flags syn / syn,rst,ack tproxy ip to :5000 meta mark set 0x00000001 accept',
        "meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:5001 meta mark set 0x00000001",
        'iifname "br-*" meta l4proto tcp socket transparent 1 meta mark set 0x00000001 accept',
        "}",
        "chain guard {",
        "type filter hook forward priority filter; policy drop;",
        "ip saddr 172.18.0.0/15 ip daddr != 10.1.2.3 drop",
        'ip6 saddr fd00::/64 oifname != "lo" jump more',
        "}",
        "chain more {",
        "meta mark & 0x000000ff == 0x00000001 udp dport 53 udp sport 1024 return",
        "udp dport set 5353",
        "tcp sport set 53",
        "ip daddr 0.0.0.0/0 accept",
        "}",
        "}",
      ],
      tables: [{ family: "inet", name: "berth" }],
      flushed: 0,
    });
  });

  it("does nothing at all when one change fails, and says which", async () => {
    expect(
      await inNetwork(
        user,
        `
      using filter = nl.Netlink.open(nl.NETLINK_NETFILTER);
      const table = { family: "ip", name: "t" } as const;
      const chain = nl.newChain({ table, name: "c" });
      const failures = [
        failure(() => nl.commit(filter, [nl.newTable(table), chain, nl.newRule(table, "nowhere", nl.verdict("accept"))])),
        failure(() => nl.commit(filter, [nl.newTable(table), chain, chain, nl.newTable({ family: "ip", name: "u" })])),
        failure(() => nl.commit(filter, [nl.deleteTable(table)])),
        failure(() => nl.commit(filter, [nl.newTable(table), chain, nl.newRule(table, "c", [{ name: "nonsense", data: new Uint8Array() }])])),
      ];
      const none = nl.listTables(filter);
      // more rules than acknowledgements would fit into the socket's buffer
      nl.commit(filter, [nl.newTable(table), chain, ...Array.from({ length: 600 }, (_, mark) => nl.newRule(table, "c", nl.markIs(mark), nl.verdict("accept")))]);
      const rules = ip("nft", "-j", "list", "chain", "ip", "t", "c").nftables.filter((entry: Record<string, unknown>) => "rule" in entry).length;
      return { failures, none, rules };
    `,
      ),
    ).toEqual({
      failures: [
        "add rule ip t nowhere: no such file or directory",
        "add chain ip t c: file exists",
        "delete table ip t: no such file or directory",
        "add rule ip t c: no such file or directory",
      ],
      none: [],
      rules: 600,
    });
  });

  it("a SYN that is written to a TUN reaches a transparent listener with both real addresses", async () => {
    expect(
      await inNetwork(
        user,
        `
      const tun = net.openTun({ name: "tun0", kind: "tun" });
      const busy = failure(() => net.openTun({ name: "tun0", kind: "tun" }));
      nl.setLink(route, "lo", { up: true });
      nl.setLink(route, "tun0", { up: true, mtu: 1500 });
      const link = nl.linkIndex(route, "tun0");
      nl.addAddress(route, { link, address: v4("10.0.2.1"), length: 24 });
      nl.addRoute(route, { destination: { address: v4("0.0.0.0"), length: 0 }, link });
      nl.addRule(route, { family: "inet", priority: 10, mark: { value: 1 }, table: 100 });
      nl.addRoute(route, { destination: { address: v4("0.0.0.0"), length: 0 }, type: "local", link: 1, table: 100 });
      Deno.writeTextFileSync("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
      Deno.writeTextFileSync("/proc/sys/net/ipv4/conf/tun0/rp_filter", "0");
      using filter = nl.Netlink.open(nl.NETLINK_NETFILTER);
      const table = { family: "ip", name: "berth" } as const;
      nl.commit(filter, [nl.newTable(table), nl.newChain({ table, name: "pre", hook: { at: "prerouting", priority: -150 } }),
        nl.newRule(table, "pre", nl.inputIs("tun0"), nl.protocolIs(6), nl.tproxy("ip", 5000), nl.setMark(1), nl.verdict("accept"))]);
      const listener = net.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK);
      net.setsockopt(listener, c.SOL_IP, c.IP_TRANSPARENT, 1);
      net.bind(listener, { family: "inet", address: v4("0.0.0.0"), port: 5000 });
      net.listen(listener, 8);
      // a client at 10.0.2.77 that speaks by hand to 203.0.113.9:80
      const sum = (bytes: Uint8Array): number => {
        let total = 0;
        for (let at = 0; at < bytes.length; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
        return ~total & 0xffff;
      };
      const [from, to] = [v4("10.0.2.77"), v4("203.0.113.9")];
      const packet = (flags: number, sequence: number, acknowledged: number): Uint8Array => {
        const tcp = new Uint8Array(20), header = new Uint8Array(20);
        const view = new DataView(tcp.buffer);
        view.setUint16(0, 40000); view.setUint16(2, 80); view.setUint32(4, sequence); view.setUint32(8, acknowledged);
        view.setUint8(12, 0x50); view.setUint8(13, flags); view.setUint16(14, 65000);
        view.setUint16(16, sum(Uint8Array.of(...from, ...to, 0, 6, 0, 20, ...tcp)));
        header.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, ...from, ...to]);
        new DataView(header.buffer).setUint16(10, sum(header));
        return Uint8Array.of(...header, ...tcp);
      };
      const epoll = k.epollCreate();
      k.epollAdd(epoll, tun.fd, c.EPOLLIN);
      k.write(tun.fd, packet(2, 1000, 0));
      let answered: number[] | undefined;
      const buffer = new Uint8Array(2000);
      while (answered === undefined && k.epollWait(epoll, 5000).length > 0) {
        const length = k.read(tun.fd, buffer);
        if (length >= 40 && buffer[0]! >> 4 === 4 && buffer[9] === 6) answered = [...buffer.subarray(0, length)];
      }
      if (answered === undefined) return "no answer";
      const view = new DataView(Uint8Array.from(answered).buffer);
      k.write(tun.fd, packet(16, 1001, view.getUint32(24) + 1));
      k.epollAdd(epoll, listener, c.EPOLLIN);
      k.epollDelete(epoll, tun.fd);
      k.epollWait(epoll, 5000);
      const accepted = net.acceptFrom(listener);
      net.setTunPersistent(tun.fd, true);
      k.close(tun.fd);
      const stays = nl.getLink(route, "tun0") !== undefined;
      const again = net.openTun({ name: "tun0", kind: "tun" });
      net.setTunPersistent(again.fd, false);
      k.close(again.fd);
      return { name: tun.name, busy, flags: view.getUint8(33), source: answered.slice(12, 16), peer: accepted?.peer,
        own: accepted && net.getsockname(accepted.fd), stays, goes: nl.getLink(route, "tun0") === undefined };
    `,
      ),
    ).toEqual({
      name: "tun0",
      busy: "open tun tun0: device or resource busy",
      flags: 0x12,
      source: [203, 0, 113, 9],
      peer: { family: "inet", address: [10, 0, 2, 77], port: 40000 },
      own: { family: "inet", address: [203, 0, 113, 9], port: 80 },
      stays: true,
      goes: true,
    });
  });
});
