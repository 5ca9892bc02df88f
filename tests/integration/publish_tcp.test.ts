/** Published TCP ports: real namespaces, with clients on a line of their own. */
import { describe, expect, it } from "vitest";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

const world = JSON.stringify(new URL("../support/publish_world.ts", import.meta.url).href);

/** Runs `body` with a `world`, a container `one` and a `client`. */
const inWorld = (user: Parameters<typeof inNetwork>[0], body: string): Promise<unknown> =>
  inNetwork(
    user,
    `const { PublishWorld } = await import(${world});
     using world = new PublishWorld();
     const one = world.container(world.network());
     const inside = world.placeOf(one);
     const client = world.client();
     ${body}`,
  );

describe.each(usersToTest())("published TCP ports as $name", (user) => {
  it("the container knows the client by its own address and port, and by the gateway's whom it cannot know", async () => {
    expect(
      await inWorld(
        user,
        `
        const published = world.publish(one, ["0.0.0.0,[::]:8080:80/tcp", "127.0.0.1:8081:80/tcp"]);
        const listeners = [world.listen(inside, 80), world.listen(inside, 80, one.address6)];
        const meet = (place: unknown, address: string, port = 8080, from = 0) => {
          const before = listeners.map(({ streams }) => streams.length);
          const stream = world.connect(place, address, port, from);
          world.until(() => stream.error !== "" || listeners.some(({ streams }, index) => streams.length > (before[index] ?? 0)));
          if (stream.error !== "") return stream.error;
          const met = listeners.find(({ streams }, index) => streams.length > (before[index] ?? 0))?.last;
          stream.send("hello");
          world.until(() => met.text === "hello");
          met.send("world");
          world.until(() => stream.text === "world");
          return met.peer.split(" ").map((word: string, index: number) => index === 0 || from !== 0 ? word : "").join(" ").trim();
        };
        return {
          published,
          remote: meet(client, client.host, 8080, 5555),
          samePort: meet(client, client.host, 8080, 5556),
          remote6: meet(client, client.host6, 8080, 5555),
          ownAddress: meet(world.self, client.host),
          loopback: meet(world.self, "127.0.0.1"),
          loopback6: meet(world.self, "::1"),
          local: meet(world.self, "127.0.0.1", 8081),
          notLocal: meet(client, client.host, 8081),
        };
        `,
      ),
    ).toEqual({
      published: ["0.0.0.0 8080 80/tcp", ":: 8080 80/tcp", "127.0.0.1 8081 80/tcp"],
      remote: "192.168.80.2 5555",
      samePort: "192.168.80.2 5556",
      remote6: "2001:db8:80::2 5555",
      ownAddress: "192.168.80.1",
      loopback: "172.20.0.1",
      loopback6: "fd00::1",
      local: "172.20.0.1",
      notLocal: "ECONNREFUSED",
    });
  });

  it("containers reach the host's published ports by their gateway, their own as well, over TCP and UDP", async () => {
    expect(
      await inNetwork(
        user,
        `
        const { PublishWorld } = await import(${world});
        using world = new PublishWorld({ outbound: true });
        const one = world.container(world.network()), two = world.container(world.network());
        world.publish(one, ["0.0.0.0:8080:80/tcp", "0.0.0.0:8080:80/udp"]);
        const listener = world.listen(world.placeOf(one), 80);
        const echo = world.datagrams(world.placeOf(one), "0.0.0.0", 80);
        echo.echoes = true;
        return [[one, "172.20.0.1"], [two, "172.21.0.1"]].map(([from, gateway]) => {
          const count = listener.streams.length;
          const stream = world.connect(world.placeOf(from), gateway, 8080);
          world.until(() => listener.streams.length > count || stream.error !== "");
          const socket = world.datagrams(world.placeOf(from), "0.0.0.0", 4000);
          socket.send(gateway, 8080, "x");
          world.until(() => socket.received.length > 0);
          socket.close();
          return [listener.last.peer.split(" ")[0], socket.received[0].from, echo.received.at(-1).from.split(" ")[0]];
        });
        `,
      ),
    ).toEqual([
      ["192.168.77.1", "172.20.0.1 8080", "192.168.77.1"],
      ["192.168.77.1", "172.21.0.1 8080", "192.168.77.1"],
    ]);
  });

  it("half-close, end and reset go through both ways, with all bytes that were before them", async () => {
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const listener = world.listen(inside, 80);
        const meet = () => {
          const count = listener.streams.length;
          const there = world.connect(client, client.host, 8080);
          world.until(() => listener.streams.length > count && there.connected);
          return [there, listener.last];
        };
        const halfClosed = [meet(), meet().reverse()].map(([first, second]) => {
          first.sendPattern(3_000_000);
          world.until(() => first.sent === 3_000_000);
          first.shutdown();
          world.until(() => second.ended);
          second.sendPattern(2_000_000);
          world.until(() => first.received === 2_000_000);
          const open = first.ended;
          second.shutdown();
          world.until(() => first.ended);
          const result = [second.received, second.damaged, first.received, first.damaged, open];
          first.close(); second.close();
          return result;
        });
        world.until(() => world.relay.connections === 0);
        const reset = [meet(), meet().reverse()].map(([first, second]) => {
          first.send("last words");
          world.until(() => second.text !== "");
          first.reset();
          world.until(() => second.over);
          second.close();
          return second.error;
        });
        // a server that answers and closes without having read everything: its kernel sends a reset behind the answer
        const [uploader, server] = meet();
        server.pause();
        uploader.send("unread");
        world.until(() => world.relay.connections === 1);
        world.turnFor(20);
        server.send("answer");
        world.turnFor(20);
        server.close();
        world.until(() => uploader.over);
        const afterwards = [uploader.text, uploader.error];
        uploader.close();
        // nobody reads, and the other one goes
        const [stuck, reader] = meet();
        reader.pause();
        stuck.sendPattern(50_000_000);
        world.turnFor(200);
        const taken = stuck.sent < 50_000_000;
        reader.reset();
        world.until(() => stuck.error !== "");
        stuck.close();
        world.until(() => world.relay.connections === 0);
        return { halfClosed, reset, afterwards, taken, pipes: world.relay.pipes <= 16 };
        `,
      ),
    ).toEqual({
      halfClosed: [[3_000_000, false, 2_000_000, false, false], [3_000_000, false, 2_000_000, false, false]],
      reset: ["ECONNRESET", "ECONNRESET"],
      afterwards: ["answer", "ECONNRESET"],
      taken: true,
      pipes: true,
    });
  });

  it("a container that refuses, or is not there, resets the client; one that comes later is reached", async () => {
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const outcome = () => {
          const stream = world.connect(client, client.host, 8080);
          world.until(() => stream.over);
          stream.close();
          return stream.error;
        };
        const refused = outcome();
        const listener = world.listen(inside, 80);
        const stream = world.connect(client, client.host, 8080);
        world.until(() => listener.streams.length === 1);
        // what has been accepted before goes on when the port is given back
        world.publisher.unpublish("c" + one.pid);
        const closed = outcome();
        stream.send("still here");
        world.until(() => listener.last.text === "still here");
        // an address where nobody is: asked in vain for three seconds
        world.host.sysctl("ipv4.tcp_syn_retries", "1");
        world.publish(one, ["0.0.0.0:8080:80/tcp"], { ipv4: "172.20.0.99" });
        const early = world.connect(client, client.host, 8080);
        world.until(() => early.connected);
        early.send("is anybody there");
        early.shutdown();
        const before = [early.error, world.relay.connections];
        world.until(() => early.over);
        early.close();
        // the client gives up first
        const impatient = world.connect(client, client.host, 8080);
        world.until(() => impatient.connected && world.relay.connections === 2);
        impatient.reset();
        world.until(() => world.relay.connections === 1);
        return { refused, closed, before, absent: early.error };
        `,
      ),
    ).toEqual({ refused: "ECONNRESET", closed: "ECONNREFUSED", before: ["", 2], absent: "ECONNRESET" });
  });

  it("a slow reader holds up its own connection only, and nothing is lost", async () => {
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const listener = world.listen(inside, 80);
        const streams = Array.from({ length: 6 }, () => world.connect(client, client.host, 8080));
        world.until(() => listener.streams.length === 6);
        const [slow, ...quick] = listener.streams;
        slow.pause();
        const total = 60_000_000;
        for (const stream of streams) stream.sendPattern(total);
        world.until(() => quick.every(({ received }) => received === total));
        const behind = slow.received;
        const writer = streams.find(({ sent }) => sent < total);
        const held = writer.sent < total;
        slow.resume();
        world.until(() => slow.received === total);
        return { behind, held, damaged: listener.streams.some(({ damaged }) => damaged) };
        `,
      ),
    ).toEqual({ behind: 0, held: true, damaged: false });
  });

  it("what a client does not read stays with the container, but for what is on its way and a little", async () => {
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const listener = world.listen(inside, 80);
        const slow = world.connect(client, client.host, 8080);
        world.until(() => listener.streams.length === 1);
        slow.pause();
        const writer = listener.last, total = 100_000_000;
        writer.sendPattern(total);
        let before = -1;
        world.until(() => {
          world.turnFor(100);
          const stands = writer.sent === before && writer.sent > 0;
          before = writer.sent;
          return stands;
        });
        const [, unsent] = /notsent:([0-9]+)/.exec(world.run("ss -tniH state established sport = :8080")) ?? [];
        slow.resume();
        world.until(() => slow.received === total);
        return { waits: Number(unsent) > 0, little: Number(unsent) <= 512 * 1024, damaged: slow.damaged };
        `,
      ),
    ).toEqual({ waits: true, little: true, damaged: false });
  });

  it("a long stream wakes netd up seldom, and what it brings in small pieces afterwards arrives as well", async () => {
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const listener = world.listen(inside, 80);
        const [long, short] = [world.connect(client, client.host, 8080), world.connect(client, client.host, 8080)];
        world.until(() => listener.streams.length === 2);
        const [there, other] = listener.streams;
        const counts = new Set<number>();
        const bring = (total: number) => {
          long.sendPattern(total);
          world.until(() => { counts.add(world.relay.gathering); return there.received === total; });
        };
        short.sendPattern(1_000_000);
        bring(50_000_000);
        world.until(() => other.received === 1_000_000 && world.relay.gathering === 0);
        const damaged = there.damaged || other.damaged;
        const before = there.received;
        long.send("x");
        world.until(() => there.received === before + 1);
        there.send("y");
        world.until(() => long.text === "y");
        long.shutdown();
        world.until(() => there.ended);
        return { counts: [...counts].sort(), damaged };
        `,
      ),
    ).toEqual({ counts: [0, 1], damaged: false });
  });

  it("clients beyond the limit of descriptors wait until others have gone", async () => {
    expect(
      await inNetwork(
        user,
        `
        const { PublishWorld } = await import(${world});
        k.setrlimit(7, 1000n, 1000n);
        using world = new PublishWorld();
        const one = world.container(world.network());
        world.publish(one, ["127.0.0.1:8080:80/tcp"]);
        const listener = world.listen(world.placeOf(one), 80);
        const streams = Array.from({ length: 300 }, () => world.connect(world.self, "127.0.0.1", 8080));
        world.until(() => streams.every(({ connected }) => connected));
        world.turnFor(500);
        const served = listener.streams.length;
        const open = k.dupCloexec(0);
        k.close(open);
        // the other half hears of the end as the server does
        while (listener.streams.length < 300) {
          const count = listener.streams.length;
          const closed = listener.streams.filter(({ fd }) => fd >= 0).slice(0, count);
          for (const stream of streams.splice(0, 20)) stream.close();
          world.until(() => closed.filter(({ ended }) => ended).length > 0);
          for (const stream of closed) if (stream.ended && !stream.closed) { stream.closed = true; stream.close(); }
          world.until(() => listener.streams.length > count);
        }
        return [served > 50, served < 200, open < 1000 - 150];
        `,
      ),
    ).toEqual([true, true, true]);
  });

  it("without any pipe all bytes come through, slow readers or not", async () => {
    expect(
      await inNetwork(
        user,
        `
        const { PublishWorld } = await import(${world});
        using world = new PublishWorld({ maxPipes: 0 });
        const one = world.container(world.network());
        world.publish(one, ["127.0.0.1:8080:80/tcp"]);
        const listener = world.listen(world.placeOf(one), 80);
        const stream = world.connect(world.self, "127.0.0.1", 8080);
        world.until(() => listener.streams.length === 1);
        listener.last.pause();
        stream.sendPattern(40_000_000);
        world.turnFor(200);
        listener.last.resume();
        world.until(() => stream.sent === 40_000_000);
        stream.shutdown();
        world.until(() => listener.last.ended);
        return [listener.last.received, listener.last.damaged, world.relay.pipes];
        `,
      ),
    ).toEqual([40_000_000, false, 0]);
  });

  it("with a few pipes for many that stop and go at random, all bytes come whole and in order", async () => {
    const [sent, ...rest] = await inNetwork(
      user,
      `
      const { PublishWorld } = await import(${world});
      using world = new PublishWorld({ maxPipes: 3 });
      const one = world.container(world.network());
      world.publish(one, ["127.0.0.1:8080:80/tcp"]);
      const listener = world.listen(world.placeOf(one), 80);
      const clients = Array.from({ length: 60 }, () => world.connect(world.self, "127.0.0.1", 8080));
      world.until(() => listener.streams.length === 60);
      const all = [...clients, ...listener.streams];
      let seed = 7, wanted = 0;
      const random = (below: number) => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) % below;
      const sizes = [1, 100, 8191, 8192, 8193, 70_000, 1_500_000];
      for (let round = 0; round < 300; round++) {
        for (let i = 0; i < 15; i++) {
          const stream = all[random(all.length)], what = random(10);
          if (what < 5) {
            const size = sizes[random(sizes.length)];
            stream.sendPattern(size);
            wanted += size;
          } else if (what < 7) stream.pause();
          else stream.resume();
        }
        world.loop.turn(1);
      }
      for (const stream of all) stream.resume();
      const sum = (count: (stream: unknown) => number) => all.reduce((total, stream) => total + count(stream), 0);
      world.until(() => sum(({ received }) => received) === wanted);
      for (const stream of clients) stream.shutdown();
      world.until(() => listener.streams.every(({ ended }) => ended));
      for (const stream of listener.streams) stream.shutdown();
      world.until(() => clients.every(({ ended }) => ended));
      return [wanted, sum(({ sent }) => sent), all.some(({ damaged, error }) => damaged || error !== "")];
      `,
    ) as [number, number, boolean];
    expect(sent).toBeGreaterThan(100_000_000);
    expect(rest).toEqual([sent, false]);
  });

  it("10,000 connections at once take no pipe and each works", async () => {
    const most = await raiseOpenFiles();
    const count = most >= 70_000 ? 10_000 : Math.floor(most / 4.5);
    expect(
      await inWorld(
        user,
        `
        world.publish(one, ["0.0.0.0:8080:80/tcp"]);
        const listener = world.listen(inside, 80);
        const streams: unknown[] = [];
        for (let made = 0; made < ${count}; made += 200) {
          for (let i = made; i < Math.min(made + 200, ${count}); i++) streams.push(world.connect(client, client.host, 8080));
          world.until(() => listener.streams.length === streams.length);
        }
        for (const stream of streams) stream.send("one");
        world.until(() => listener.streams.every(({ received }) => received === 3));
        for (const stream of listener.streams) stream.send("four");
        world.until(() => streams.every(({ received }) => received === 4));
        const ports = new Set(listener.streams.map(({ peer }) => peer));
        const result = { connections: world.relay.connections, peers: ports.size, pipes: world.relay.pipes };
        for (const stream of streams) stream.close();
        world.until(() => world.relay.connections === 0 || listener.streams.every(({ ended }) => ended));
        return result;
        `,
      ),
    ).toEqual({ connections: count, peers: count, pipes: 1 });
  });
});

/** Root may have more open files than the machine allows to everybody; what it starts has as many. Answers how many. */
async function raiseOpenFiles(): Promise<number> {
  await new Deno.Command("prlimit", {
    args: ["--pid", String(Deno.pid), "--nofile=70000:70000"],
    stderr: "null",
  })
    .output();
  const limits = await Deno.readTextFile("/proc/self/limits");
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
}
