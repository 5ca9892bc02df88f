/** Names in sandboxes that netd has made: over its bridges, and when it is killed. */
import { expect, it } from "vitest";
import { describeWith, program } from "../support/needs.ts";
import { inNetd } from "../support/netd_child.ts";
import { usersToTest } from "../support/users.ts";

const TABLE = JSON.stringify(new URL("../support/dns_table_child.ts", import.meta.url).pathname);

/** `serve()` starts a DNS server at port 53 in a namespace, `ask()` asks one from a container. */
const PRELUDE = `
  const servers: any[] = [];
  const serve = async (pid: number, address: string, table: Record<string, string>) => {
    const server = new Deno.Command("nsenter", {
      args: ["-t", String(pid), "-n", Deno.execPath(), "run", "-A", ${TABLE}, address, JSON.stringify(table)],
      stdin: "null", stdout: "piped",
    }).spawn();
    servers.push(server);
    const reader = server.stdout.getReader();
    await reader.read();
    reader.releaseLock();
  };
  const ask = (from: any, ...words: string[]) => {
    try {
      return from.run("dig", "@127.0.0.11", "+short", "+tries=1", "+time=3", ...words).trim();
    } catch (error) {
      return "failed: " + error;
    }
  };
  const named = (one: any, names: string[], upstreams: string[], ...endpoints: any[]) => ({
    ...sandbox(one, ...endpoints.map((each) => ({ ...each, dnsNames: names }))),
    dns: { upstreams },
  });
  kernel.interfaceUp("lo");
  state.settings = { hostLoopback: true, outbound: "auto" };
  await start();
`;
const EPILOGUE =
  `for (const server of servers) { server.kill("SIGKILL"); await server.stdout.cancel(); await server.status; }`;

describeWith(program("dig", "bind9-dnsutils"), program("ip", "iproute2"), program("nsenter", "util-linux"))
  .each(usersToTest())("names by netd as $name", (user) => {
    it("are answered by network, follow a rename, and are there again after netd was killed", async () => {
      expect(
        await inNetd(
          user,
          `${PRELUDE}
      const [x, y] = [await add(bridge(18)), await add(bridge(19))];
      const [a, b, c] = [container(), container(), container()];
      const inY = endpoint(y, 2);
      await join(named(a, ["a"], [], endpoint(x, 2)));
      await join(named(b, ["b", "web"], [], endpoint(x, 3)));
      await join(named(c, ["c", "web"], [], inY));
      const at = (name: string) => [ask(a, name), ask(a, "+tcp", name)];
      const first = [at("b"), at("b.n18"), at("c"), ask(a, "-x", "172.18.0.3"), ask(c, "web")];
      state.sandboxes[1] = named(b, ["renamed"], [], endpoint(x, 3, { id: state.sandboxes[1].endpoints[0].id }));
      await client.request({ op: "sandbox.update", sandbox: state.sandboxes[1] });
      const renamed = [at("b"), at("renamed")];
      const listens = () => a.run("busybox", "netstat", "-lun").includes("127.0.0.11:");
      const syncs = state.syncs.length;
      const { pid } = client.hello;
      Deno.kill(pid, "SIGKILL");
      await until(() => state.syncs.length > syncs);
      await until(() => ask(a, "renamed") === "172.18.0.3");
      const again = [at("renamed"), ask(c, "c"), listens(), state.syncs.at(-1).problems];
      await client.request({ op: "sandbox.remove", containerId: state.sandboxes[1].containerId });
      return { first, renamed, again, removed: at("renamed") };
    `,
        ),
      ).toEqual({
        first: [
          ["172.18.0.3", "172.18.0.3"],
          ["172.18.0.3", "172.18.0.3"],
          ["", ""],
          "b.n18.",
          "172.19.0.2",
        ],
        renamed: [["", ""], ["172.18.0.3", "172.18.0.3"]],
        again: [["172.18.0.3", "172.18.0.3"], "172.19.0.2", true, []],
        removed: ["", ""],
      });
    });

    it("of others are asked from the bridge, and from the host", async () => {
      expect(
        await inNetd(
          user,
          `${PRELUDE}
      const [x, y, z] = [await add(bridge(18)), await add(bridge(19)), await add(bridge(20, { internal: true }))];
      const [a, b, c, d, e] = [container(), container(), container(), container(), container()];
      await join(named(b, ["b"], [], endpoint(x, 3)));
      await join(named(a, ["a"], ["172.18.0.3"], endpoint(x, 2)));
      await join(named(c, ["c"], ["172.18.0.3"], endpoint(y, 2)));
      await join(named(d, ["d"], ["127.0.0.53"], endpoint(x, 4)));
      await join(named(e, ["e"], ["127.0.0.53", "10.0.2.3"], endpoint(z, 2)));
      await serve(b.pid, "0.0.0.0", { "by.container": "192.0.2.3" });
      await serve(Deno.pid, "127.0.0.53", { "by.host": "192.0.2.53" });
      await serve(Deno.pid, "127.0.0.1", { "by.gateway": "192.0.2.1" });
      const result = {
        same: [ask(a, "by.container"), ask(a, "+tcp", "by.container")],
        own: b.run("dig", "@127.0.0.1", "+short", "by.container").trim(),
        other: ask(c, "by.container"),
        host: ask(d, "by.host"),
        internal: [ask(e, "by.host"), ask(e, "e")],
      };
      await client.request({ op: "sandbox.update", sandbox: { ...state.sandboxes[3], dns: { upstreams: ["172.18.0.1"] } } });
      const gateway = ask(d, "by.gateway");
      ${EPILOGUE}
      return { ...result, gateway };
    `,
        ),
      ).toEqual({
        same: ["192.0.2.3", "192.0.2.3"],
        own: "192.0.2.3",
        other: "",
        host: "192.0.2.53",
        internal: ["", "172.20.0.2"],
        gateway: "192.0.2.1",
      });
    });
  });
