/** Published UDP ports: who sends, from where answers come, and how many clients are remembered. */
import { describe, expect, it } from "vitest";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

const world = JSON.stringify(new URL("../support/publish_world.ts", import.meta.url).href);

/** Runs `body` with a `world`, a container `one` that echoes on port 53, and a `client`. */
const inWorld = (user: Parameters<typeof inNetwork>[0], options: string, body: string): Promise<unknown> =>
  inNetwork(
    user,
    `const { PublishWorld } = await import(${world});
     using world = new PublishWorld(${options});
     const one = world.container(world.network());
     const inside = world.placeOf(one);
     const echo = [world.datagrams(inside, "0.0.0.0", 53), world.datagrams(inside, one.address6, 53)];
     for (const socket of echo) socket.echoes = true;
     const client = world.client();
     ${body}`,
  );

describe.each(usersToTest())("published UDP ports as $name", (user) => {
  it("the container knows the client's address and port, and answers come from the address that was asked", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        world.publish(one, ["0.0.0.0,[::]:5300:53/udp", "127.0.0.1:5301:53/udp"]);
        world.run("ip addr add 192.168.80.77/24 dev line80; ip -6 addr add 2001:db8:80::77/64 dev line80 nodad");
        const ask = (place: unknown, from: string, port: number, to: string, toPort = 5300, data: string | Uint8Array = "hello") => {
          const socket = world.datagrams(place, from, port);
          const before = echo.map(({ received }) => received.length);
          socket.send(to, toPort, data);
          world.until(() => socket.received.length > 0);
          const { from: answered, length } = socket.received[0];
          const met = echo.find(({ received }, index) => received.length > before[index]).received.at(-1);
          socket.close();
          return [met.from, answered, length];
        };
        return {
          remote: ask(client, client.address, 4000, client.host),
          otherAddress: ask(client, client.address, 4001, "192.168.80.77"),
          sameClientOtherAddress: ask(client, client.address, 4002, client.host).concat(ask(client, client.address, 4002, "192.168.80.77")),
          remote6: ask(client, client.address6, 4003, client.host6),
          other6: ask(client, client.address6, 4004, "2001:db8:80::77"),
          loopback: ask(world.self, "127.0.0.1", 4005, "127.0.0.1"),
          loopback6: ask(world.self, "::1", 4006, "::1"),
          single: ask(world.self, "127.0.0.1", 4007, "127.0.0.1", 5301),
          largest: ask(client, client.address, 4008, client.host, 5300, new Uint8Array(65507)),
          empty: ask(client, client.address, 4009, client.host, 5300, new Uint8Array(0)),
        };
        `,
      ),
    ).toEqual({
      remote: ["192.168.80.2 4000", "192.168.80.1 5300", 5],
      otherAddress: ["192.168.80.2 4001", "192.168.80.77 5300", 5],
      sameClientOtherAddress: [
        "192.168.80.2 4002",
        "192.168.80.1 5300",
        5,
        "192.168.80.2 4002",
        "192.168.80.77 5300",
        5,
      ],
      remote6: ["2001:db8:80::2 4003", "2001:db8:80::1 5300", 5],
      other6: ["2001:db8:80::2 4004", "2001:db8:80::77 5300", 5],
      loopback: ["172.20.0.1 4005", "127.0.0.1 5300", 5],
      loopback6: ["fd00::1 4006", "::1 5300", 5],
      single: ["172.20.0.1 4007", "127.0.0.1 5301", 5],
      largest: ["192.168.80.2 4008", "192.168.80.1 5300", 65507],
      empty: ["192.168.80.2 4009", "192.168.80.1 5300", 0],
    });
  });

  it("a container without IPv6 meets clients of IPv6 as the gateway; two ports of one container keep their clients apart", async () => {
    expect(
      await inWorld(
        user,
        "",
        `
        world.publish(one, ["0.0.0.0,[::]:5300:53/udp", "0.0.0.0:5301:53/udp"], { ipv6: undefined });
        const six = world.datagrams(client, client.address6, 4000);
        six.send(client.host6, 5300, "six");
        world.until(() => six.received.length === 1);
        const socket = world.datagrams(client, client.address, 4000);
        for (let i = 0; i < 3; i++) for (const port of [5300, 5301]) socket.send(client.host, port, "to " + port);
        world.until(() => socket.received.length === 6);
        return { six: [six.received[0].from, echo[0].received[0].from], answers: socket.received.map(({ from, text }) => from + " " + text).sort() };
        `,
      ),
    ).toEqual({
      six: ["2001:db8:80::1 5300", "172.20.0.1 4000"],
      answers: [
        ...Array(3).fill("192.168.80.1 5300 to 5300"),
        ...Array(3).fill("192.168.80.1 5301 to 5301"),
      ],
    });
  });

  it("remembers so many clients and no more, and a closed port of the container spoils nothing", async () => {
    expect(
      await inWorld(
        user,
        "{ limits: { perPort: 20, total: 30 } }",
        `
        world.publish(one, ["0.0.0.0:5300:53/udp", "0.0.0.0:5301:53/udp", "0.0.0.0:5302:9/udp"]);
        const clients = Array.from({ length: 50 }, (_, i) => world.datagrams(client, client.address, 4000 + i));
        for (const socket of clients) {
          socket.send(client.host, 5300, "x");
          world.until(() => socket.received.length === 1);
        }
        const first = world.publisher.clients;
        for (const socket of clients) {
          socket.send(client.host, 5301, "x");
          world.until(() => socket.received.length === 2);
        }
        const second = world.publisher.clients;
        for (let i = 0; i < 5; i++) { clients[0].send(client.host, 5302, "nobody is there"); world.turnFor(5); }
        const late = world.datagrams(inside, "0.0.0.0", 9);
        late.echoes = true;
        world.until(() => { clients[0].send(client.host, 5302, "now"); world.turnFor(5); return clients[0].received.at(-1).text === "now"; });
        world.publisher.unpublish("c" + one.pid);
        return { first, second, last: world.publisher.clients };
        `,
      ),
    ).toEqual({ first: 20, second: 30, last: 0 });
  });

  it("clients leave descriptors for what else is to be done", async () => {
    expect(
      await inNetwork(
        user,
        `
        const { PublishWorld } = await import(${world});
        k.setrlimit(c.RLIMIT_NOFILE, 1000n, 1000n);
        using world = new PublishWorld();
        const one = world.container(world.network());
        world.datagrams(world.placeOf(one), "0.0.0.0", 53).echoes = true;
        world.publish(one, ["127.0.0.1:5300:53/udp"]);
        let highest = 0;
        for (let count = 0; count < 1_200; count++) {
          const socket = net.socket(c.AF_INET, c.SOCK_DGRAM);
          highest = Math.max(highest, socket);
          net.bind(socket, { family: "inet", address: v4("127.0.0.1"), port: 20_000 + count });
          net.sendto(socket, new Uint8Array(1), { family: "inet", address: v4("127.0.0.1"), port: 5300 });
          k.close(socket);
          world.loop.turn(0);
        }
        const last = world.datagrams(world.self, "127.0.0.1", 30_000);
        // one that finds no descriptor has the idlest client's next time
        world.until(() => {
          last.send("127.0.0.1", 5300, "x");
          world.loop.turn(10);
          return last.received.length > 0;
        });
        return [highest > 500, highest < 1000 - 150];
        `,
      ),
    ).toEqual([true, true]);
  });
});
