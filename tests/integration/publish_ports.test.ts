/** Which ports of the host are given out, and that all of a container's are published or none. */
import { describe, expect, it } from "vitest";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

const world = JSON.stringify(new URL("../support/publish_world.ts", import.meta.url).href);

/** Runs `body` with a `world` and containers `one` and `two`; port 9000 of 127.0.0.1 is another program's, over TCP and UDP. */
const inWorld = (user: Parameters<typeof inNetwork>[0], body: string): Promise<unknown> =>
  inNetwork(
    user,
    `const { PublishWorld } = await import(${world});
     using world = new PublishWorld();
     const network = world.network();
     const one = world.container(network), two = world.container(network);
     const foreign = [world.listen(world.self, 9000, "127.0.0.1"), world.datagrams(world.self, "127.0.0.1", 9000)];
     const listening = () => world.run("ss -Hltun | awk '{print $1, $5}' | sort").split("\\n").filter((line) => !line.includes(":9000"));
     void [two, foreign, listening];
     ${body}`,
  );

describe.each(usersToTest())("host ports as $name", (user) => {
  it("are told of with Docker's words and what to type when they cannot be had, and nothing is left then", async () => {
    const failed = `driver failed programming external connectivity on endpoint web (${"e".repeat(64)}): `;
    expect(
      await inWorld(
        user,
        `
        const taken = world.refusal(one, "0.0.0.0:8000:80/tcp", "[::]:8001:80/udp", "0.0.0.0:9000:80/tcp");
        const takenUdp = world.refusal(one, "0.0.0.0:9000:80/udp");
        const low = world.refusal(one, "0.0.0.0:80:80/tcp");
        world.publisher.unpublish("c" + one.pid);
        const strange = world.refusal(one, "203.0.113.200:8000:80/tcp");
        const sctp = world.refusal(one, "0.0.0.0:8000:80/tcp", "0.0.0.0:8000:80/sctp");
        const left = listening().filter((line: string) => line !== "");
        world.publish(one, ["0.0.0.0:8000:80/tcp"]);
        const ours = [world.refusal(two, "127.0.0.1:8000:80/tcp"), world.refusal(two, "0.0.0.0:8000-8000:80/tcp")];
        const others = world.publish(two, ["[::]:8000:80/tcp", "0.0.0.0:8000:80/udp"]);
        return { taken, takenUdp, low, strange, sctp, left, ours, others };
        `,
      ),
    ).toEqual({
      taken:
        `${failed}failed to bind host port for 0.0.0.0:9000:172.20.0.2:80/tcp: address already in use | Another program of this machine has the port. Find it:  ss -tlnp 'sport = :9000'`,
      takenUdp:
        `${failed}failed to bind host port for 0.0.0.0:9000:172.20.0.2:80/udp: address already in use | Another program of this machine has the port. Find it:  ss -ulnp 'sport = :9000'`,
      // the host's network belongs to this test's own user namespace: only there is it permitted
      low: "published",
      strange:
        `${failed}failed to bind host port for 203.0.113.200:8000:172.20.0.2:80/tcp: cannot assign requested address | No interface of this machine has 203.0.113.200. List those there are:  ip -brief address`,
      sctp: `${failed}cannot publish 80/sctp: SCTP cannot be published, only TCP and UDP | `,
      left: [],
      ours: Array(2).fill(0).map((_, index) =>
        `${failed}Bind for ${index === 0 ? "127.0.0.1" : "0.0.0.0"}:8000 failed: port is already allocated | `
      ),
      others: [":: 8000 80/tcp", "0.0.0.0 8000 80/udp"],
    });
  });

  it("of a range go around, pass over what is taken, and come back to who had them", async () => {
    expect(
      await inWorld(
        user,
        `
        const first = world.publish(one, ["0.0.0.0:8999-9002:80/tcp", "0.0.0.0:8999-9002:81/tcp"]);
        const rest = world.publish(two, ["0.0.0.0:8999-9002:80/tcp"]);
        world.publisher.unpublish("c" + two.pid);
        const full = world.refusal(two, "127.0.0.1:8999-9001:80/tcp", "127.0.0.1:8999-9001:81/tcp");
        const [any, other] = world.publish(two, ["0.0.0.0,[::]:0:80/tcp", "0.0.0.0,[::]:0:81/tcp"]).filter((text) => text.startsWith("0"));
        const ports = world.publish(two, ["0.0.0.0,[::]:0:80/tcp", "0.0.0.0,[::]:0:81/tcp"]).filter((text) => text.startsWith("0"));
        // a netd that has started anew takes the ports of before
        world.publisher.unpublish("c" + two.pid);
        const assigned = [{ hostAddress: "0.0.0.0", hostPort: 45678, port: 80, protocol: "tcp" }];
        const again = world.publish(two, ["0.0.0.0:0:81/tcp", "0.0.0.0:0:80/tcp"], { assigned });
        const range = (text: string) => { const port = Number(text.split(" ")[1]); return port >= 32768 && port <= 60999; };
        return { first, rest, full: full.split("): ")[1], any: range(any), same: ports.join() === [any, other].join(), again: again[1] };
        `,
      ),
    ).toEqual({
      first: ["0.0.0.0 8999 80/tcp", "0.0.0.0 9001 81/tcp"],
      rest: ["0.0.0.0 9002 80/tcp"],
      full: "all ports are allocated | ",
      any: true,
      same: true,
      again: "0.0.0.0 45678 80/tcp",
    });
  });

  it("go on where they are when what is published changes, and go to the container's new address", async () => {
    expect(
      await inWorld(
        user,
        `
        const inside = [world.listen(world.placeOf(one), 80), world.listen(world.placeOf(two), 80)];
        world.publish(one, ["127.0.0.1:8000:80/tcp", "127.0.0.1:8001:80/tcp"]);
        const reached = (port: number) => {
          const before = inside.map(({ streams }) => streams.length);
          const stream = world.connect(world.self, "127.0.0.1", port);
          world.until(() => stream.error !== "" || inside.some(({ streams }, index) => streams.length > (before[index] ?? 0)));
          return stream.error || String(inside.findIndex(({ streams }, index) => streams.length > (before[index] ?? 0)));
        };
        const old = world.connect(world.self, "127.0.0.1", 8000);
        world.until(() => inside[0].streams.length === 1);
        // a failed change changes nothing
        const failed = world.refusal(one, "127.0.0.1:8000:81/tcp", "127.0.0.1:8002:80/tcp", "127.0.0.1:9000:80/tcp").includes("in use");
        const unchanged = [reached(8000), reached(8001), reached(8002)];
        world.publish(one, ["127.0.0.1:8000:80/tcp"], { ipv4: two.address });
        const changed = [reached(8000), reached(8001)];
        old.send("still");
        world.until(() => inside[0].streams[0].text === "still");
        // no way to the container from outside any more
        const internal = world.container(world.network({ internal: true }));
        const nothing = world.publish(internal, ["127.0.0.1:8005:80/tcp"]);
        world.publisher.unpublish("c" + one.pid);
        return { failed, unchanged, changed, nothing, gone: reached(8000), left: listening() };
        `,
      ),
    ).toEqual({
      failed: true,
      unchanged: ["0", "0", "ECONNREFUSED"],
      changed: ["1", "ECONNREFUSED"],
      nothing: [],
      gone: "ECONNREFUSED",
      left: [],
    });
  });

  it("below ip_unprivileged_port_start are refused with the command that permits them", async () => {
    expect(
      await inWorld(
        user,
        `
        const { Publisher } = await import(${
          JSON.stringify(new URL("../../net/publish/publisher.ts", import.meta.url).href)
        });
        const { requestOf, sandboxOf } = await import(${world});
        const { loop, host, relay, topology } = world;
        const refuse = () => { throw new SysError("bind", 13); };
        using publisher = new Publisher({ loop, host, relay, topology, calls: { ...net, bind: refuse } });
        try { publisher.publish(sandboxOf(one, [requestOf("0.0.0.0:80:80/tcp")])); return "published"; }
        catch (error) { return [error.message.split("): ")[1], error.hint.split("\\n")[0]]; }
        `,
      ),
    ).toEqual([
      "failed to bind host port for 0.0.0.0:80:172.20.0.2:80/tcp: permission denied",
      "Ports from net.ipv4.ip_unprivileged_port_start on are for everybody. Permit this one:  sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    ]);
  });

  it("cost little when there are a thousand of them", async () => {
    const [more, sockets] = await inWorld(
      user,
      `
      const memory = () => Number(/VmRSS:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1]);
      const before = memory();
      world.publish(one, ["0.0.0.0:20000:80/tcp"]);
      world.publish(two, Array.from({ length: 1000 }, (_, i) => "0.0.0.0,[::]:" + (21000 + i) + ":80/" + (i % 10 === 0 ? "udp" : "tcp")));
      const sockets = listening().length;
      return [memory() - before, sockets];
      `,
    ) as [number, number];
    expect(sockets).toBe(2001);
    expect(more).toBeLessThan(20_000);
  });
});
