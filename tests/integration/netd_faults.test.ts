/** What netd does when something ends or fails: itself, an engine, a container, a call of the kernel's. */
import { expect, it } from "vitest";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { inNetd } from "../support/netd_child.ts";
import { SLOWNESS } from "../support/processes.ts";
import { usersToTest } from "../support/users.ts";

describeWith(program("ip", "iproute2"), BUSYBOX).each(usersToTest())("faults of netd as $name", (user) => {
  it("is there again after kill -9, with everything as it was", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y] = [await add(bridge(17)), await add(bridge(18, { bridge: { enableIcc: false } }))];
      const [a, b, c, d] = [container(), container(), container(), container()];
      await join(sandbox(a, endpoint(x, 2), endpoint(y, 2, { interface: "eth1", gateway4: undefined })));
      await join(sandbox(b, endpoint(x, 3)));
      await join(sandbox(c, endpoint(y, 3)));
      const picture = () => [links(), JSON.parse(host("ip", "-j", "rule")).map((r: any) => [r.priority, r.iif, r.table, r.ipproto].join(" ")), host("ip", "route", "show", "table", "all").split("\\n").map((l: string) => l.trim()).sort(), links(a.pid), a.run("ip", "addr"), a.run("ip", "route")];
      // the kernel tells of a carrier a moment after both ends are up
      for (const end = Date.now() + ${
          10_000 * SLOWNESS
        }; a.run("ip", "addr").includes("NO-CARRIER") && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 20));
      const before = picture();
      const rounds = [];
      for (let round = 0; round < 3; round++) {
        const { pid } = client.hello;
        Deno.kill(pid, "SIGKILL");
        // made while nobody is there: it waits, and is done
        await join(sandbox(d, endpoint(x, 4)));
        rounds.push([client.hello.pid !== pid, a.pings("172.17.0.3"), d.pings("172.17.0.2"), c.pings("172.18.0.2")]);
        await client.request({ op: "sandbox.remove", containerId: sandbox(d).containerId });
        state.sandboxes.pop();
      }
      const after = picture();
      return { rounds, same: JSON.stringify(before) === JSON.stringify(after) || { before, after }, problems: state.syncs.flatMap((sync) => sync.problems) };
    `,
      ),
    ).toEqual({
      rounds: [[true, true, true, false], [true, true, true, false], [true, true, true, false]],
      same: true,
      problems: [],
    });
  });

  it("is consistent after kills at random moments of everything it is asked", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      let seed = 20261122;
      const random = (below: number) => ((seed = (seed * 48271) % 0x7fffffff) >> 4) % below;
      const networks = [await add(bridge(17)), await add(bridge(18, { bridge: { enableIcc: false } }))];
      const all = Array.from({ length: 4 }, container);
      const joined = new Map<any, any>();
      const record = () => { state.sandboxes = [...joined.values()]; };
      const wrong: string[] = [];
      let kills = 0;
      for (let round = 0; round < 24; round++) {
        const one = all[random(4)];
        const place = (network: any, index: number) => { const { gateway4, ...rest } = endpoint(network, 2 + all.indexOf(one), { interface: "eth" + index }); return index === 0 ? { ...rest, gateway4 } : rest; };
        const before = joined.get(one);
        const after = [[networks[0]], [networks[1]], [networks[0], networks[1]], []][random(4)]!.map((network: any, index: number) =>
          before?.endpoints.find((old: any) => old.networkId === network.id && old.interface === "eth" + index) ?? place(network, index));
        const wanted = sandbox(one, ...after);
        // the engine writes down what it wants, then asks for it
        if (after.length === 0) joined.delete(one);
        else joined.set(one, wanted);
        record();
        const order = after.length === 0 ? { op: "sandbox.remove", containerId: wanted.containerId } : before === undefined ? { op: "sandbox.add", sandbox: wanted } : { op: "sandbox.update", sandbox: wanted };
        const { pid } = client.hello;
        const asked = failure(client.request(order));
        await new Promise((resolve) => setTimeout(resolve, random(8)));
        try { Deno.kill(pid, "SIGKILL"); kills++; } catch { /* it is another by now */ }
        const said = await asked;
        if (said !== "ok") wrong.push(round + ": " + said);
        await client.request({ op: "hello" });
        for (const each of all) {
          const expected = ["lo", ...(joined.get(each)?.endpoints ?? []).map((end: any) => end.interface)].sort().join();
          const real = links(each.pid).join();
          if (real !== expected) wrong.push(round + ": " + real + " for " + expected);
          const addresses = each.ip("-4", "addr").flatMap((link: any) => link.addr_info.map((info: any) => info.local + "/" + info.prefixlen)).filter((text: string) => !text.startsWith("127."));
          const right = (joined.get(each)?.endpoints ?? []).map((end: any) => end.ipv4);
          if (addresses.join() !== right.join()) wrong.push(round + ": " + addresses + " for " + right);
          const gateway = each.ip("route", "show", "default").map((route: any) => route.gateway).join();
          const rightGateway = (joined.get(each)?.endpoints ?? []).flatMap((end: any) => end.gateway4 ?? []).join();
          if (gateway !== rightGateway) wrong.push(round + ": default " + gateway + " for " + rightGateway);
        }
        const veths = links().filter((name: string) => name.startsWith("veth")).length;
        const rightVeths = [...joined.values()].flatMap((each) => each.endpoints).length;
        if (veths !== rightVeths) wrong.push(round + ": " + veths + " veths for " + rightVeths);
      }
      return { wrong, kills: kills > 12, problems: state.syncs.flatMap((sync) => sync.problems) };
    `,
        280_000,
      ),
    ).toEqual({ wrong: [], kills: true, problems: [] });
    // two dozen of netd's starts
  }, 300_000 * SLOWNESS);

  it("makes what is missing, takes away what is too much, and reports containers that have gone", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y, z] = [await add(bridge(17)), await add(bridge(18)), bridge(19)];
      // the second parent is called as an ipvlan's, which not all kernels have
      for (const [number, link] of [[40, "dm-0123456789ab"], [41, "di-0123456789ab"]] as const) {
        await add({ ...bridge(number), driver: "macvlan", link, options: { driver: "macvlan", parent: "", mode: "bridge", interfacePrefix: "" } });
      }
      const [a, b, c, d] = [container(), container(), container(), container()];
      await join(sandbox(a, endpoint(x, 2), endpoint(y, 2, { interface: "eth1", gateway4: undefined })));
      await join(sandbox(b, endpoint(y, 3)));
      await join(sandbox(c, endpoint(y, 4)));
      // while netd is dead: y and the macvlan networks were removed, z made; a left y, b moved to z, c has ended, d has begun
      state.networks = [x, z];
      const [first] = state.sandboxes[0].endpoints;
      state.sandboxes = [sandbox(a, first), sandbox(b, endpoint(z, 3)), state.sandboxes[2], sandbox(d, endpoint(z, 4))];
      c.end();
      Deno.kill(client.hello.pid, "SIGKILL");
      await client.request({ op: "hello" });
      const [, sync] = state.syncs;
      return { problems: sync.problems.map((problem: any) => [problem.containerId === "container-" + c.pid, problem.message.replace(/pid \\d+/, "pid N").replace(/c\\d+/, "c")]),
        links: links().map((name: string) => name.startsWith("veth") ? "veth" : name), rules: JSON.parse(host("ip", "-j", "rule")).filter((r: any) => r.iif !== undefined).map((r: any) => r.iif).sort(),
        a: links(a.pid), b: [links(b.pid), b.ip("addr", "show", "eth0")[0].addr_info.map((one: any) => one.local), b.ip("route", "show", "default")[0].gateway], reach: d.pings("172.19.0.3") };
    `,
      ),
    ).toEqual({
      problems: [[true, "the process of container c (pid N) has ended"]],
      links: ["berth0", "br-n17", "br-n19", "lo", "veth", "veth", "veth"],
      rules: ["br-n17", "br-n17", "br-n17", "br-n17", "br-n19", "br-n19", "br-n19", "br-n19"],
      a: ["eth0", "lo"],
      b: [["eth0", "lo"], ["172.19.0.3"], "172.19.0.1"],
      reach: true,
    });
  });

  it("completes what somebody has changed behind its back", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const x = await add(bridge(17));
      const [a, b] = [container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      await join(sandbox(b, endpoint(x, 3)));
      a.run("ip", "route", "del", "default");
      a.run("ip", "addr", "flush", "dev", "eth0");
      host("ip", "addr", "add", "172.17.0.99/16", "dev", "br-n17");
      host("ip", "link", "add", "mine", "type", "bridge");
      host("ip", "route", "flush", "table", String(1000 + JSON.parse(host("ip", "-j", "link", "show", "br-n17"))[0].ifindex));
      const [veth] = links().filter((name: string) => name.startsWith("veth"));
      host("ip", "link", "set", veth, "nomaster");
      Deno.kill(client.hello.pid, "SIGKILL");
      await client.request({ op: "hello" });
      return { mine: links().includes("mine"), ping: a.pings("172.17.0.3"), default: a.ip("route", "show", "default")[0].gateway, addresses: JSON.parse(host("ip", "-j", "-4", "addr", "show", "br-n17"))[0].addr_info.map((one: any) => one.local),
        table: JSON.parse(host("ip", "-j", "route", "show", "table", String(1000 + JSON.parse(host("ip", "-j", "link", "show", "br-n17"))[0].ifindex))).length };
    `,
      ),
    ).toEqual({ mine: true, ping: true, default: "172.17.0.1", addresses: ["172.17.0.1"], table: 3 });
  });

  it("leaves nothing behind, whichever call to the kernel fails", async () => {
    expect(
      await inNetd(
        user,
        `
      let left = Infinity;
      let sent = 0;
      const failing = { ...calls, sendto: (fd: number, data: any, to: any, flags: any) => { sent++; if (--left < 0) { left = Infinity; throw new SysError("netlink", ERRNO.ENOBUFS); } return calls.sendto(fd, data, to, flags); } };
      const { ask, namespace } = paper({ netlink: failing });
      const [x, y] = [bridge(17, { ipv6: true, subnets: [{ subnet: "172.17.0.0/16", gateway: "172.17.0.1" }, { subnet: "fd00:17::/64", gateway: "fd00:17::1" }] }), bridge(18, { bridge: { enableIcc: false } })];
      const a = container();
      // what comes and goes by itself is left out: carriers, link-local addresses and their routes
      const own = (text: string) => !/^(fe80|ff00)/.test(text);
      const list = (pid: number, ...args: string[]) => JSON.parse(inside(pid, "ip", "-j", ...args) || "[]");
      const routes = (pid: number, family: string) => list(pid, family, "route", "show", "table", "all").map((r: any) => ["route", r.type, r.dst, r.gateway, r.dev, r.table].join(" ")).filter((text: string) => !/ (fe80|ff00)/.test(text));
      const addresses = (pid: number) => list(pid, "addr").map((l: any) => ["link", l.ifname, l.mtu, l.address, ...l.addr_info.map((i: any) => i.local).filter(own)].join(" "));
      const rules = (family: string) => list(namespace.pid, family, "rule").map((r: any) => ["rule", r.priority, r.iif, r.ipproto, r.table].join(" "));
      const see = (): string[] => [namespace.pid, a.pid].flatMap((pid) => [...addresses(pid), ...routes(pid, "-4"), ...routes(pid, "-6")]).concat(rules("-4"), rules("-6")).sort();
      /** Fails the 1st, 2nd, … call of an order until it succeeds, and compares the world before and after each failure. */
      const torture = (order: any) => {
        const before = see();
        let failures = 0;
        for (let n = 0; n < 200; n++) {
          left = n;
          const answer = ask(order);
          const failed = left === Infinity;
          left = Infinity;
          if (!failed) return { many: failures > 5, ok: answer.ok };
          failures++;
          if (answer.ok) return { unseen: n };
          const after = see();
          const more = after.filter((one) => !before.includes(one));
          const less = before.filter((one) => !after.includes(one));
          if (more.length + less.length > 0) return { n, more, less, answer };
        }
        return { failures, endless: true };
      };
      const results: any = {};
      results.network = torture({ op: "network.add", network: x });
      results.quiet = torture({ op: "network.add", network: y });
      const first = endpoint(x, 2, { ipv6: "fd00:17::2/64", gateway6: "fd00:17::1", linkLocal: ["169.254.1.2"] });
      const second = endpoint(y, 2, { interface: "eth1", gateway4: undefined });
      results.add = torture({ op: "sandbox.add", sandbox: sandbox(a, first) });
      const { gateway4: _, ...demoted } = first;
      results.update = torture({ op: "sandbox.update", sandbox: sandbox(a, demoted, { ...second, gateway4: "172.18.0.1" }) });
      return { results, links: links(a.pid), pings: a.pings("172.17.0.1") };
    `,
      ),
    ).toEqual({
      results: {
        network: { many: true, ok: true },
        quiet: { many: true, ok: true },
        add: { many: true, ok: true },
        update: { many: true, ok: true },
      },
      links: ["eth0", "eth1", "lo"],
      pings: true,
    });
  });

  it("leaves a default route alone that leads into a container's own tunnel", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const [x, y] = [await add(bridge(17)), await add(bridge(18))];
      const one = container();
      const first = endpoint(x, 2);
      await join(sandbox(one, first));
      const defaults = () => one.ip("route", "show", "default").map(({ dev }: any) => dev);
      one.run("ip", "tuntap", "add", "tun7", "mode", "tun");
      one.run("ip", "link", "set", "tun7", "up");
      one.run("ip", "route", "replace", "default", "dev", "tun7");
      state.sandboxes = [sandbox(one, first, endpoint(y, 2, { interface: "eth1", gateway4: undefined }))];
      await client.request({ op: "sandbox.update", sandbox: state.sandboxes[0] });
      const steps = [defaults()];
      Deno.kill(client.hello.pid, "SIGKILL");
      await client.request({ op: "hello" });
      steps.push(defaults());
      one.run("ip", "link", "del", "tun7");
      await client.request({ op: "sandbox.update", sandbox: sandbox(one, first) });
      steps.push(defaults());
      return steps;
    `,
      ),
    ).toEqual([["tun7"], ["tun7"], ["eth0"]]);
  });

  it("takes what was missing at its start into use when it is asked anew, or by the next engine", async () => {
    expect(
      await inNetd(
        user,
        `
      kernel.mount("/dev/null", "/dev/net/tun", null, MS_BIND, null);
      let broken = true;
      const outbound = () => {
        if (broken) throw new SysError("tproxy", ERRNO.ENOENT);
        return { name: "tproxy", [Symbol.dispose]() {} };
      };
      const { namespace, ask } = paper({ parts: { outbound, paths: ({ ground }: any) => [ground().tunMissing === undefined] } });
      const x = bridge(17);
      const sync = () => ask({ op: "sync", settings: { hostLoopback: false, outbound: "auto" }, networks: [x], sandboxes: [] }).problems.map(({ message }: any) => message);
      const look = (fresh = false) => { const { hello } = ask({ op: "hello", fresh }); return [hello.outbound, ...hello.paths]; };
      const outside = () => nl.listRoutes(namespace.route, 1000 + nl.linkIndex(namespace.route, x.link)).find(({ destination }) => destination.length === 0)?.type;
      const steps = [sync(), look(), outside(), sync()];
      kernel.umount2("/dev/net/tun", 0);
      broken = false;
      steps.push(look(), look(true), outside());
      broken = true;
      steps.push(sync());
      return steps;
    `,
      ),
    ).toEqual([
      ...[["no way outside: tproxy: no such file or directory"], ["none", false], "unreachable"],
      ["no way outside: tproxy: no such file or directory"],
      ...[["none", false], ["tproxy", true], "unicast", []],
    ]);
  });

  it("refuses a container that has ended, and keeps nothing of it", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const x = await add(bridge(17));
      const [a, b] = [container(), container()];
      const wrong = await failure(client.request({ op: "sandbox.add", sandbox: { ...sandbox(a, endpoint(x, 2)), startTime: "1" } }));
      const dead = sandbox(b, endpoint(x, 3));
      b.end();
      const ended = await failure(client.request({ op: "sandbox.add", sandbox: dead }));
      const nowhere = await failure(client.request({ op: "sandbox.add", sandbox: sandbox(a, endpoint(bridge(30), 2)) }));
      const sysctl = await failure(client.request({ op: "sandbox.add", sandbox: sandbox(a, endpoint(x, 2, { sysctls: { "net.ipv4.conf.IFNAME.nonsense": "1" } })) }));
      const climbing = await failure(client.request({ op: "sandbox.add", sandbox: sandbox(a, endpoint(x, 2, { sysctls: { "net.../../../../../tmp/x": "1" } })) }));
      const taken = await failure(client.request({ op: "sandbox.add", sandbox: sandbox(a, endpoint(x, 2), endpoint(x, 3)) }));
      return { all: [wrong, ended, nowhere, sysctl, climbing, taken].map((text) => text.replace(/pid \\d+|c\\d+|[0-9a-f]{64}/g, "N")), a: links(a.pid), host: links() };
    `,
      ),
    ).toEqual({
      all: [
        "conflict: the process of container N (N) has ended",
        "conflict: the process of container N (N) has ended",
        "not-found: network N not found",
        "invalid: failed to set sysctl net.ipv4.conf.eth0.nonsense=1: open /proc/sys/net/ipv4/conf/eth0/nonsense: no such file or directory",
        expect.stringMatching(/^invalid: failed to set sysctl .*: invalid argument$/),
        expect.stringMatching(/^system: add link veth.* type veth: .*exists/),
      ],
      a: ["lo"],
      host: ["berth0", "br-n17", "lo"],
    });
  });

  it("goes on without an engine while containers live, and ends with the last of them", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const x = await add(bridge(17));
      const [a, b] = [container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      await join(sandbox(b, endpoint(x, 3)));
      const { pid } = client.hello;
      const lives = () => { try { Deno.statSync("/proc/" + pid + "/fd"); return true; } catch { return false; } };
      client.close();
      const alone = a.pings("172.17.0.3");
      // the next engine finds it
      await start();
      const found = client.hello.pid === pid;
      const second = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-config", "--no-lock", new URL("main.ts", ${
          JSON.stringify("ROOT")
        }).href, "@netd", JSON.stringify({ dir, version: "other", starter: Deno.pid })], stdout: "piped", stderr: "null" }).outputSync();
      const refused = new TextDecoder().decode(second.stdout).replace(dir, "DIR").trim();
      const left = (await client.request({ op: "shutdown" })).left;
      client.close();
      a.end();
      b.end();
      await until(() => !lives(), 20_000);
      const unmounted = !Deno.readTextFileSync("/proc/self/mounts").includes(dir);
      await start();
      const fresh = links();
      const ended = await client.request({ op: "shutdown" });
      return { alone, found, refused, left, unmounted, fresh, ended: ended.left };
    `.replace('"ROOT"', JSON.stringify(new URL("../../", import.meta.url).href)),
      ),
    ).toEqual({
      alone: true,
      found: true,
      refused: "another netd serves DIR",
      left: 2,
      unmounted: true,
      // a new netd was told of all that is on record: the network is there, its containers are not
      fresh: ["berth0", "br-n17", "lo"],
      ended: 0,
    });
  });

  it("ends at once with an engine that has never connected, and soon when none comes", async () => {
    expect(
      await inNetd(
        user,
        `
      const main = new URL("main.ts", ROOT).href;
      const ended: string[] = [];
      const netd = (name: string, starter: number) => {
        const options = JSON.stringify({ dir: Deno.makeTempDirSync({ dir }), version: "test", starter });
        const args = ["run", "-A", "--no-config", "--no-lock", main, "@netd", options];
        const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "null" }).spawn();
        return { ready: child.stdout.getReader().read(), end: child.status.then(({ code }) => ended.push(name + " " + code)) };
      };
      const engine = () => new Deno.Command("sleep", { args: ["600"] }).spawn();
      const [killed, silent, before] = [engine(), engine(), engine()];
      before.kill("SIGKILL");
      await before.status;
      const all = [netd("its engine was killed", killed.pid), netd("its engine says nothing", silent.pid)];
      await Promise.all(all.map(({ ready }) => ready));
      killed.kill("SIGKILL");
      await Promise.all(all.map(({ end }) => end));
      silent.kill("SIGKILL");
      await netd("its engine was killed before it began", before.pid).end;
      return { ended, mounts: Deno.readTextFileSync("/proc/self/mounts").includes(dir) };
    `.replace("ROOT", JSON.stringify(new URL("../../", import.meta.url).href)),
      ),
    ).toEqual({
      ended: [
        "its engine was killed 0",
        "its engine says nothing 0",
        "its engine was killed before it began 0",
      ],
      mounts: false,
    });
  });

  it("leaves the network of containers alone that no engine has told it of", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const x = await add(bridge(17));
      const [a, b] = [container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      await join(sandbox(b, endpoint(x, 3)));
      // killed; and the engine with the one after it, before that is told of anything
      const { pid } = client.hello;
      client.close();
      Deno.kill(pid, "SIGKILL");
      await until(() => { try { Deno.statSync("/proc/" + pid + "/fd"); return false; } catch { return true; } });
      const main = new URL("main.ts", ROOT).href;
      const args = ["run", "-A", "--no-config", "--no-lock", main, "@netd", JSON.stringify({ dir, version: "test", starter: 999_999_999 })];
      const { code } = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "null" }).outputSync();
      await start();
      return { code, ping: a.pings("172.17.0.3") };
    `.replace("ROOT", JSON.stringify(new URL("../../", import.meta.url).href)),
      ),
    ).toEqual({ code: 0, ping: true });
  });

  it("goes on when the process in the rootless host's network is killed", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      const x = await add(bridge(17));
      const [a, b] = [container(), container()];
      await join(sandbox(a, endpoint(x, 2)));
      Deno.kill(client.hello.hostPid, "SIGKILL");
      await join(sandbox(b, endpoint(x, 3)));
      return { ping: a.pings("172.17.0.3"), starts: client.starts, links: links((await client.request({ op: "hello" })).hello.hostPid).length };
    `,
      ),
    ).toEqual({ ping: true, starts: 1, links: 5 });
  });

  it("answers what is no request by closing the connection, and serves the next one", async () => {
    expect(
      await inNetd(
        user,
        `
      await start();
      // a newer connection replaces the engine's, which comes back and replaces this one
      const raw = await Deno.connect({ transport: "unix", path: dir + "/ctl.sock" });
      await raw.write(new TextEncoder().encode("{ nonsense\\n")).catch(() => {});
      const end = await raw.read(new Uint8Array(10)).catch(() => null);
      const { pid } = await (await client.request({ op: "hello" })).hello;
      return { end, served: pid > 0, mode: (Deno.statSync(dir + "/ctl.sock").mode ?? 0) & 0o777, starts: client.starts };
    `,
      ),
    ).toEqual({ end: null, served: true, mode: 0o600, starts: 1 });
  });
});
