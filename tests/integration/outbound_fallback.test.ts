/** The way outside by slirp4netns or pasta, for kernels without tproxy, and none at all. */
import { expect, it } from "vitest";
import { describeWith, itWith, program } from "../support/needs.ts";
import { inNetwork } from "../support/network_child.ts";
import { usersToTest } from "../support/users.ts";

const fallback = JSON.stringify(new URL("../../net/outbound/fallback.ts", import.meta.url).href);
const world = JSON.stringify(new URL("../support/outbound_world.ts", import.meta.url).href);

describeWith().each(usersToTest())("outbound by other programs as $name", (user) => {
  const inWorld = (options: string, body: string): Promise<unknown> =>
    inNetwork(
      user,
      `const { World, OUTSIDE4, OUTSIDE6 } = await import(${world});
       using world = new World(${options});
       void [OUTSIDE4, OUTSIDE6];
       const number = world.network();
       const [one, two] = [world.container(number), world.container(number)];
       ${body}`,
    );

  itWith(program("slirp4netns", "slirp4netns"))(
    "slirp4netns serves all containers, and comes back when it is killed",
    async () => {
      const body = `
      world.serve("203.0.113.9:80", "udp:203.0.113.9:7", "127.0.0.1:80");
      const both = [one, two].map((container) => world.take(container, { op: "connect", to: OUTSIDE4, port: 80 },
        { op: "upload", to: OUTSIDE4, port: 80, bytes: 2_000_000 }, { op: "udp", to: OUTSIDE4, port: 7, sizes: [1, 9000] }));
      const rest = world.take(one, { op: "connect", to: OUTSIDE4, port: 81 }, { op: "connect", to: OUTSIDE6, port: 80 }, { op: "connect", to: "10.0.2.2", port: 80 });
      const [slirp] = run("/bin/sh", "-c", "pgrep -P " + Deno.pid + " -x slirp4netns").split("\\n").map(Number);
      k.kill(slirp ?? 0, 9);
      world.until(() => String(world.take(one, { op: "connect", to: OUTSIDE4, port: 80, ms: 200 })[0]) === OUTSIDE4);
      return [...both, rest, world.way.name];`;
      const served = ["203.0.113.9", "2000000 true", [1, 9000]];
      expect(await inWorld('{ way: "slirp4netns" }', body)).toEqual([
        ...[served, served],
        ["ECONNREFUSED", "ENETUNREACH", "ENETUNREACH"],
        "slirp4netns",
      ]);
      expect(await inWorld('{ way: "slirp4netns", settings: { hostLoopback: true } }', body)).toMatchObject([
        ...[served, served],
        ["ECONNREFUSED", "ENETUNREACH", "127.0.0.1"],
        "slirp4netns",
      ]);
    },
  );

  itWith(program("slirp4netns", "slirp4netns"))(
    "a program that is not there when it is to start again starts later",
    async () => {
      expect(
        await inNetwork(
          user,
          `
        const { World, OUTSIDE4 } = await import(${world});
        const { findProgram } = await import(${fallback});
        const path = Deno.makeTempDirSync() + "/slirp4netns";
        const program = findProgram("slirp4netns");
        Deno.copyFileSync(program, path);
        // without setpriv, so that the program is what cannot be executed
        Deno.env.set("PATH", path.replace("/slirp4netns", ""));
        using world = new World({ way: "slirp4netns" });
        const one = world.container(world.network());
        world.serve("203.0.113.9:80");
        const reaches = () => String(world.take(one, { op: "connect", to: OUTSIDE4, port: 80, ms: 200 })[0]) === OUTSIDE4;
        world.until(reaches);
        const children = () => { try { return run("/bin/sh", "-c", "pgrep -P " + Deno.pid + " -x slirp4netns").split("\\n").map(Number).filter(Boolean); } catch { return []; } };
        const [slirp] = children();
        Deno.renameSync(path, path + ".old");
        k.kill(slirp ?? 0, 9);
        let late = false;
        world.loop.after(1_000, () => late = true);
        world.until(() => late);
        const between = children().length;
        Deno.renameSync(path + ".old", path);
        world.until(reaches);
        Deno.removeSync(path.replace("/slirp4netns", ""), { recursive: true });
        return [between, children().length];`,
        ),
      ).toEqual([0, 1]);
    },
  );

  itWith(program("slirp4netns", "slirp4netns"))("auto takes it where the kernel lacks tproxy", async () => {
    expect(
      await inWorld(
        '{ way: "auto", withoutRules: true }',
        `
        world.serve("203.0.113.9:80");
        const delay = run("/usr/bin/env", "nsenter", "-t", String(world.host.pid), "-n", "cat", "/proc/sys/net/ipv4/neigh/berth1/proxy_delay").trim();
        return [world.way.name, delay, ...world.take(one, { op: "connect", to: OUTSIDE4, port: 80 })];`,
      ),
    ).toEqual(["slirp4netns", "0", "203.0.113.9"]);
    expect(await inWorld('{ way: "auto" }', "return world.way.name;")).toBe("tproxy");
  });

  itWith(program("pasta", "passt"))("pasta serves all containers by one address", async () => {
    expect(
      await inWorld(
        '{ way: "pasta" }',
        `
        world.serve("203.0.113.9:80");
        const both = [one, two].map((container) => world.take(container, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "download", to: OUTSIDE4, port: 80, bytes: 200_000 }));
        return [...both, world.way.name];`,
      ),
    ).toEqual([["203.0.113.9", "200000 true"], ["203.0.113.9", "200000 true"], "pasta"]);
  });

  it("none is told at once", async () => {
    expect(
      await inWorld(
        '{ way: "none" }',
        `return [world.take(one, { op: "connect", to: OUTSIDE4, port: 80 }, { op: "connect", to: OUTSIDE6, port: 80 }), world.way ?? "none"];`,
      ),
    ).toEqual([["EHOSTUNREACH", "ENETUNREACH"], "none"]);
  });

  it("nothing that works is said with every reason", async () => {
    expect(
      await inNetwork(
        user,
        `
        const { World } = await import(${world});
        Deno.env.set("PATH", "/nowhere");
        try { new World({ way: "auto", withoutRules: true }); return "works"; } catch (error) { return error instanceof Error ? error.message : ""; }
        `,
      ),
    ).toMatch(/^tproxy: .*no such file or directory; slirp4netns: not installed; pasta: not installed$/);
  });
});
