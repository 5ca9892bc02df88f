/** Connections, datagrams and pings of containers to the outside, by the TUN device and tproxy: two namespaces and real programs at both ends. */
import { describe, expect, it } from "vitest";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

const world = JSON.stringify(new URL("../support/outbound_world.ts", import.meta.url).href);
const urlOf = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/** Runs `body` with a `world` made with `options`. */
const inWorld = (user: Parameters<typeof inNetwork>[0], options: string, body: string): Promise<unknown> =>
  inNetwork(
    user,
    `const { World, HOST4, HOST6, OUTSIDE4, OUTSIDE6 } = await import(${world});
     using world = new World(${options});
     void [HOST4, HOST6, OUTSIDE4, OUTSIDE6];
     ${body}`,
  );

describe.each(usersToTest())("outbound as $name", (user) => {
  it("TCP comes through whole, and tells refused, unreachable, prohibited and silent apart", async () => {
    const [v4, v6] = await inWorld(
      user,
      "",
      `
      const one = world.container(world.network());
      world.serve("203.0.113.9:80", "[2001:db8:9::9]:80");
      const steps = (to: string, unreachable: string, prohibited: string, silent: string) => world.take(one,
        { op: "connect", to, port: 80 },
        { op: "connect", to, port: 81 },
        { op: "connect", to: unreachable, port: 80 },
        { op: "connect", to: prohibited, port: 80 },
        { op: "connect", to: silent, port: 80, ms: 300 },
        { op: "upload", to, port: 80, bytes: 10_000_000 },
        { op: "download", to, port: 80, bytes: 10_000_000 },
        { op: "connect", to, port: 80 });
      const results = [
        steps(OUTSIDE4, "203.0.113.66", "203.0.113.67", "203.0.113.68"),
        steps(OUTSIDE6, "2001:db8:9::66", "2001:db8:9::67", "2001:db8:9::68"),
      ];
      world.until(() => world.relay.connections === 0);
      return results;
      `,
    ) as unknown[];
    const whole = "10000000 true";
    expect(v4).toEqual([
      ...["203.0.113.9", "ECONNREFUSED", "EHOSTUNREACH", "EHOSTUNREACH", "timeout"],
      ...[whole, whole, "203.0.113.9"],
    ]);
    expect(v6).toEqual([
      ...["2001:db8:9::9", "ECONNREFUSED", "EHOSTUNREACH", "EACCES", "timeout"],
      ...[whole, whole, "2001:db8:9::9"],
    ]);
  });

  it("a port that has just had a connection to the same server can have the next one", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const one = world.container(world.network());
        world.serve("203.0.113.9:80", "[2001:db8:9::9]:80");
        // the server closes first: what waits for late segments then is netd's end
        const again = (to: string) => Array.from({ length: 3 }, () => ({ op: "connect", to, port: 80, from: 40000, ms: 1_000 }));
        return world.take(one, ...again(OUTSIDE4), ...again(OUTSIDE6));
        `,
      ),
    ).toEqual([...Array(3).fill("203.0.113.9"), ...Array(3).fill("2001:db8:9::9")]);
  });

  it("a port is used again at once, by whoever has closed it last; open connections outlive new settings", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const one = world.container(world.network());
        world.serve("203.0.113.9:80", "[2001:db8:9::9]:80", "127.0.0.1:90");
        // the server closes first: what waits for its end then is netd's socket
        const again = world.take(one, ...[OUTSIDE4, OUTSIDE4, OUTSIDE4, OUTSIDE6, OUTSIDE6].map((to) => ({ op: "connect", to, port: 80, from: 5555, ms: 2000 }) as const));
        const waiting = world.run("ss -tan state time-wait | grep -c 5555", { pid: world.host.pid });
        const running = world.begin(one, { op: "upload", to: OUTSIDE4, port: 80, bytes: 30_000_000 });
        world.until(() => world.relay.connections > 0);
        world.reopen({ hostLoopback: true });
        const after = world.take(one, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "connect", to: "10.0.2.2", port: 90 });
        world.until(() => running.ended);
        return [again, Number(waiting) > 0, after, running.output.trim()];
        `,
      ),
    ).toEqual([
      [...Array(3).fill("203.0.113.9"), ...Array(2).fill("2001:db8:9::9")],
      true,
      ["203.0.113.9", "127.0.0.1"],
      '["30000000 true"]',
    ]);
  });

  it("one container has no more than its share of open connections", async () => {
    expect(
      await inWorld(
        user,
        "{ limits: { tcp: { perSource: 100, total: 200, established: 30 } } }",
        `
        const number = world.network();
        const [bad, good] = [world.container(number), world.container(number)];
        world.serve("203.0.113.9:80");
        const held = world.take(bad, { op: "many", to: OUTSIDE4, port: 80, count: 40, ms: 300 });
        world.until(() => world.relay.connections === 0);
        return [held, world.take(bad, { op: "many", to: OUTSIDE4, port: 80, count: 20, ms: 3000 }), world.take(good, { op: "connect", to: OUTSIDE4, port: 80 })];
        `,
      ),
    ).toEqual([[30], [20], ["203.0.113.9"]]);
  });

  it("UDP echoes every size, refuses closed ports, and says where a datagram is too large or has too far to go", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const one = world.container(world.network());
        world.serve("udp:203.0.113.9:7", "udp:[2001:db8:9::9]:7");
        const sizes = [0, 1, 1472, 1473, 9000, 65507];
        const results = world.take(one,
          { op: "udp", to: OUTSIDE4, port: 7, sizes },
          { op: "udp", to: OUTSIDE6, port: 7, sizes },
          { op: "udp", to: OUTSIDE4, port: 8, sizes: [10] },
          { op: "udp", to: OUTSIDE6, port: 8, sizes: [10] },
          { op: "udp", to: "203.0.113.66", port: 7, sizes: [10] },
          { op: "udp", to: "203.0.113.67", port: 7, sizes: [10] },
          { op: "udp", to: "203.0.113.68", port: 7, sizes: [10], ms: 100 },
          { op: "udp", to: OUTSIDE4, port: 7, sizes: [1472, 1473], dontFragment: true },
        );
        run("/usr/bin/env", "ip", "link", "set", "out0", "mtu", "1300");
        const [small] = world.take(one, { op: "udp", to: "203.0.113.68", port: 7, sizes: [1400, 1400], dontFragment: true, ms: 300 });
        return [...results, small];
        `,
      ),
    ).toEqual([
      [0, 1, 1472, 1473, 9000, 65507],
      [0, 1, 1472, 1473, 9000, 65507],
      ["ECONNREFUSED"],
      ["ECONNREFUSED"],
      ["EHOSTUNREACH"],
      ["EHOSTUNREACH"],
      ["timeout"],
      [1472, "EMSGSIZE"],
      ["EMSGSIZE", "EMSGSIZE"],
    ]);
  });

  it("ping works where the host permits it, and says filtered where not", async () => {
    const steps = `
      const one = world.container(world.network());
      return world.take(one,
        { op: "ping", to: OUTSIDE4, size: 56 }, { op: "ping", to: OUTSIDE4, size: 20_000 },
        { op: "ping", to: OUTSIDE6, size: 56 }, { op: "ping", to: OUTSIDE6, size: 20_000 },
        { op: "ping", to: "203.0.113.66", size: 56 },
        { op: "ping", to: "10.0.2.2", size: 56 }, { op: "ping", to: "10.0.2.3", size: 56 },
        { op: "ping", to: "172.20.0.1", size: 56 }, { op: "ping", to: "fd00:b0:2::2", size: 56 });`;
    expect(await inWorld(user, "", steps)).toEqual([56, 20_000, 56, 20_000, "EHOSTUNREACH", 56, 56, 56, 56]);
    expect(await inWorld(user, "{ ping: false }", steps)).toEqual([
      ...["EHOSTUNREACH", "EHOSTUNREACH", "EACCES", "EACCES", "EHOSTUNREACH"],
      ...[56, 56, 56, 56],
    ]);
  });

  it("a datagram with few hops left ends where a real one would", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const one = world.container(world.network());
        // a router behind the host, and a server behind that
        const router = neighbour();
        run("/bin/sh", "-ec", "ip link add far0 type veth peer name far1 netns " + router.pid + "; ip link set far0 up; ip addr add 198.18.0.1/24 dev far0; ip route add 198.51.100.0/24 via 198.18.0.2");
        run("/usr/bin/nsenter", "-t", String(router.pid), "-n", "sh", "-ec", "ip link set lo up; ip link set far1 up; ip addr add 198.18.0.2/24 dev far1; echo 1 > /proc/sys/net/ipv4/ip_forward; ip route add default via 198.18.0.1; sysctl -qw net.ipv4.icmp_ratelimit=0");
        try {
          // the bridge is the first, the router the second: a packet that is sent back and forth loses the others
          return world.take(one,
            { op: "udp", to: "198.51.100.9", port: 33434, sizes: [10], hops: 1 },
            { op: "udp", to: "198.51.100.9", port: 33435, sizes: [10], hops: 2 },
            { op: "ping", to: "198.51.100.9", size: 10, hops: 2 });
        } finally { router.end(); }
        `,
      ),
      // "time exceeded" is EHOSTUNREACH to a socket
    ).toEqual([["EHOSTUNREACH"], ["EHOSTUNREACH"], "EHOSTUNREACH"]);
  });

  it("10.0.2.3 asks the host's resolvers, by UDP and TCP", async () => {
    const query = "12340100000100000000000007657861 6d706c6503636f6d0000010001".replaceAll(" ", "");
    const answer =
      "1234818000010001000000000765786 16d706c6503636f6d0000010001c00c000100010000003c0004c6336401"
        .replaceAll(" ", "");
    expect(
      await inWorld(
        user,
        `{ upstreams: () => [{ family: "inet", address: Uint8Array.of(127, 0, 0, 9), port: 53 }] }`,
        `
        const one = world.container(world.network());
        // a server of DNS that gives everybody the same answer
        const answer = Uint8Array.from("${answer}".match(/../g) ?? [], (hex) => parseInt(hex, 16));
        const server = net.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
        net.bind(server, { family: "inet", address: Uint8Array.of(127, 0, 0, 9), port: 53 });
        const buffer = new Uint8Array(600);
        let asked = 0;
        world.loop.add(server, c.EPOLLIN, () => {
          const { from } = net.recvfrom(server, buffer);
          asked++;
          answer.set(buffer.subarray(0, 2));
          net.sendto(server, answer, from);
        });
        const results = world.take(one,
          { op: "dns", to: "10.0.2.3", transport: "udp", query: "${query}" },
          { op: "dns", to: "10.0.2.3", transport: "tcp", query: "${query}" },
          { op: "dns", to: "fd00:b0:2::3", transport: "udp", query: "${query}" },
          { op: "dns", to: "fd00:b0:2::3", transport: "tcp", query: "${query}" },
          { op: "connect", to: "10.0.2.3", port: 80 },
          { op: "udp", to: "10.0.2.3", port: 80, sizes: [1] });
        return [...results, asked];
        `,
      ),
    ).toEqual([answer, answer, answer, answer, "ECONNREFUSED", ["ECONNREFUSED"], 4]);
  });

  it("10.0.2.3 gives large answers to who takes them, by both families", async () => {
    // EDNS: 4,096 bytes; the answer has 200 addresses
    const question = "076578616d706c6503636f6d0000010001";
    const query = `123401000001000000000001${question}0000291000000000000000`;
    const answer = `12348180000100c800000000${question}${"c00c000100010000003c0004c6336401".repeat(200)}`;
    const results = await inWorld(
      user,
      `{ upstreams: () => [{ family: "inet", address: Uint8Array.of(127, 0, 0, 9), port: 53 }] }`,
      `
        const one = world.container(world.network());
        const answer = Uint8Array.from("${answer}".match(/../g) ?? [], (hex) => parseInt(hex, 16));
        const server = net.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
        net.bind(server, { family: "inet", address: Uint8Array.of(127, 0, 0, 9), port: 53 });
        const buffer = new Uint8Array(600);
        world.loop.add(server, c.EPOLLIN, () => {
          const { from } = net.recvfrom(server, buffer);
          answer.set(buffer.subarray(0, 2));
          net.sendto(server, answer, from);
        });
        return world.take(one, ...["10.0.2.3", "fd00:b0:2::3"].map((to) => ({ op: "dns", to, transport: "udp", query: "${query}" })));`,
    );
    expect(results).toEqual([answer, answer]);
  });

  it("the host is reached at 10.0.2.2 and at gateways, its loopback only when that is allowed", async () => {
    const body = `
      const number = world.network();
      const one = world.container(number);
      world.network();
      world.serve("0.0.0.0:80", "127.0.0.1:81", "192.168.77.1:82", "[::]:83", "[::1]:84", "udp:192.168.77.1:7", "udp:127.0.0.1:8");
      const connect = (to: string, port: number) => ({ op: "connect", to, port }) as const;
      return world.take(one, connect("10.0.2.2", 80), connect("172.20.0.1", 80), connect("172.21.0.1", 80),
        connect("10.0.2.2", 81), connect("172.20.0.1", 81), connect("10.0.2.2", 82),
        connect("fd00:b0:2::2", 83), connect("fd00:0::1", 83), connect("fd00:b0:2::2", 84),
        { op: "udp", to: "172.20.0.1", port: 7, sizes: [100] }, { op: "udp", to: "10.0.2.2", port: 8, sizes: [100] },
        connect("192.168.77.1", 82),
      );`;
    const [own, refused] = ["192.168.77.1", "ECONNREFUSED"];
    expect(await inWorld(user, "{ settings: { hostLoopback: false } }", body)).toEqual([
      ...[own, own, own, refused, refused, own],
      ...["2001:db8:77::1", "2001:db8:77::1", refused],
      ...[[100], [refused], own],
    ]);
    const [loopback] = ["127.0.0.1"];
    expect(await inWorld(user, "{ settings: { hostLoopback: true } }", body)).toEqual([
      ...[loopback, loopback, loopback, loopback, loopback, refused],
      ...["::1", "::1", "::1"],
      ...[[refused], [100], own],
    ]);
  });

  it("other networks of berth's, loopback and groups get nothing; internal networks have no way out", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const [a, b, inner] = [world.network(), world.network(), world.network({ internal: true })];
        const [one, two, three] = [world.container(a), world.container(b), world.container(inner)];
        world.serve("0.0.0.0:80", "[::]:80", "udp:0.0.0.0:7");
        const results = world.take(one, ...[two.address, two.address6, "172.21.77.7", "10.0.2.99", "127.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "ff02::1"]
          .map((to) => ({ op: "connect", to, port: 80, ms: 100 }) as const), { op: "udp", to: two.address, port: 7, sizes: [9], ms: 100 });
        const inside = world.take(three, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "connect", to: OUTSIDE6, port: 80 }, { op: "connect", to: "172.22.0.1", port: 80, ms: 100 });
        return [...results, ...inside.slice(0, 2), String(inside[2]).includes(".")];
        `,
      ),
    ).toEqual([
      ...["timeout", "timeout", "timeout", "timeout"],
      // the container's own kernel sees to these
      ...["ECONNREFUSED", "ENETUNREACH", "ENETUNREACH", "ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH"],
      ["timeout"],
      ...["EHOSTUNREACH", "ENETUNREACH", false],
    ]);
  });

  it("a host without IPv6 says so at once", async () => {
    expect(
      await inWorld(
        user,
        "{ hostIpv6: false }",
        `
        const one = world.container(world.network());
        world.serve("203.0.113.9:80");
        return world.take(one, { op: "connect", to: OUTSIDE6, port: 80 }, { op: "udp", to: OUTSIDE6, port: 80, sizes: [1] }, { op: "connect", to: "fd00:b0:2::2", port: 80 }, { op: "connect", to: OUTSIDE4, port: 80 });
        `,
      ),
    ).toEqual(["ENETUNREACH", ["ENETUNREACH"], "EHOSTUNREACH", "203.0.113.9"]);
  });

  it("a flood of 50,000 SYNs takes no more than its share, and others are served", async () => {
    const result = await inWorld(
      user,
      "{ limits: { tcp: { perSource: 200, total: 1000 } } }",
      `
      const number = world.network();
      const [bad, good] = [world.container(number), world.container(number)];
      world.serve("203.0.113.9:80");
      const before = Deno.memoryUsage().rss;
      const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
      const few = descriptors();
      let most = 0;
      // to a server that is there, so that each SYN becomes a connection, and to an address that never answers
      const floods = [OUTSIDE4, "203.0.113.68"].map((to) => world.begin(bad, { op: "flood", from: bad.address, to, port: 80, count: 25_000 }));
      const served: unknown[] = [];
      while (floods.some(({ ended }) => !ended)) {
        served.push(...world.take(good, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "upload", to: OUTSIDE4, port: 80, bytes: 100_000 }));
        most = Math.max(most, descriptors());
      }
      const floodedOut = floods.map(({ output }) => output.trim());
      const { connecting } = world.outbound.counts;
      const after = world.take(good, { op: "connect", to: OUTSIDE4, port: 80 });
      world.until(() => world.relay.connections === 0);
      return { floodedOut, served: [...new Set(served.map(String))], after, connecting, descriptors: most - few, grown: Deno.memoryUsage().rss - before };
      `,
    ) as { connecting: number; descriptors: number; grown: number };
    expect(result).toMatchObject({
      floodedOut: ["[25000]", "[25000]"],
      served: ["203.0.113.9", "100000 true"],
      after: ["203.0.113.9"],
    });
    expect(result.connecting).toBeLessThanOrEqual(201);
    expect(result.connecting).toBeGreaterThan(0);
    expect(result.descriptors).toBeLessThan(300);
    expect(result.grown).toBeLessThan(64 * 1024 * 1024);
  });

  it("datagrams from ever new ports take no more than their share either", async () => {
    expect(
      await inWorld(
        user,
        "{ limits: { datagrams: { perSource: 50, total: 80 } } }",
        `
        const number = world.network();
        const [bad, good] = [world.container(number), world.container(number)];
        world.serve("udp:203.0.113.9:7");
        world.take(bad, { op: "ports", to: "203.0.113.68", port: 7, count: 3000 });
        const { flows } = world.outbound.counts;
        const [echo] = world.take(good, { op: "udp", to: OUTSIDE4, port: 7, sizes: [5] });
        world.take(good, { op: "ports", to: "203.0.113.68", port: 7, count: 3000 });
        return [flows, echo, world.outbound.counts.flows];
        `,
      ),
    ).toEqual([50, [5], 80]);
  });

  it("without a descriptor left, a flow that is idle makes room", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        const one = world.container(world.network());
        world.serve("203.0.113.9:80", "udp:203.0.113.9:7");
        world.take(one, { op: "ports", to: "203.0.113.68", port: 7, count: 100 });
        const [first, last] = [k.getrlimit(c.RLIMIT_NOFILE), [...Deno.readDirSync("/proc/self/fd")].length];
        k.setrlimit(c.RLIMIT_NOFILE, BigInt(last + 1), first.hard);
        const running = (() => { try { return world.begin(one, { op: "connect", to: OUTSIDE4, port: 80 }); } catch { k.setrlimit(c.RLIMIT_NOFILE, BigInt(last + 6), first.hard); return world.begin(one, { op: "connect", to: OUTSIDE4, port: 80 }); } })();
        k.setrlimit(c.RLIMIT_NOFILE, BigInt([...Deno.readDirSync("/proc/self/fd")].length - 1), first.hard);
        world.until(() => running.ended);
        k.setrlimit(c.RLIMIT_NOFILE, first.soft, first.hard);
        return [running.output.trim(), world.outbound.counts.flows < 100];
        `,
      ),
    ).toEqual(['["203.0.113.9"]', true]);
  });

  it("connections of several containers leave descriptors for what else is to be done", async () => {
    expect(
      await inNetwork(
        user,
        `
        k.setrlimit(c.RLIMIT_NOFILE, 1000n, 1000n);
        const { World, OUTSIDE4 } = await import(${world});
        using world = new World();
        const number = world.network();
        const containers = [world.container(number), world.container(number)];
        world.serve("203.0.113.9:80");
        const runs = containers.map((one) => world.begin(one, { op: "many", to: OUTSIDE4, port: 80, count: 240, ms: 1500 }));
        let highest = 0;
        world.until(() => {
          const fd = k.dupCloexec(0);
          k.close(fd);
          highest = Math.max(highest, fd);
          return runs.every(({ ended }) => ended);
        });
        const counts = runs.map(({ output }) => JSON.parse(output)[0]);
        return [counts.reduce((sum, count) => sum + count, 0) > 200, highest < 1000 - 150];`,
      ),
    ).toEqual([true, true]);
  });

  it("a device that somebody has deleted does not keep the loop busy", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
      nl.deleteLink(world.host.route, "berth0");
      let turns = 0, over = false;
      world.loop.after(200, () => over = true);
      while (!over) {
        world.loop.turn(50);
        turns++;
      }
      return turns < 20;`,
      ),
    ).toBe(true);
  });

  it("damaged packets do no harm", async () => {
    const result = await inWorld(
      user,
      "",
      `
      const { Random, mutate } = await import(${urlOf("tests/fuzz/random.ts")});
      const { packets } = await import(${urlOf("tests/fuzz/packets.ts")});
      const one = world.container(world.network());
      world.serve("203.0.113.9:80", "udp:203.0.113.9:7");
      const random = new Random(7);
      const samples: Uint8Array[] = packets(Uint8Array.from(one.address.split("."), Number));
      const damaged = Array.from({ length: 1500 }, () => {
        const bytes = mutate(random, samples[random.below(samples.length)] ?? new Uint8Array(20), samples).slice(0, 1480);
        return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      });
      // in pieces that fit into an argument
      for (let at = 0; at < damaged.length; at += 100) world.take(one, { op: "raw", to: OUTSIDE4, packets: damaged.slice(at, at + 100) });
      const after = world.take(one, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "udp", to: OUTSIDE4, port: 7, sizes: [5, 3000] });
      return { after, dropped: Object.values(world.outbound.counts.dropped as Record<string, number>).reduce((a, b) => a + b, 0) > 0 };
      `,
    );
    expect(result).toEqual({ after: ["203.0.113.9", [5, 3000]], dropped: true });
  });
});
