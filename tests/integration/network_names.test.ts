/** Names in containers, as their users see them: the docker command line, and dig, getent and busybox in the containers. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { dockerClients, executableOf } from "../support/docker_clients.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, need, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

const [client] = dockerClients();

/** Answers every question about an address with 192.0.2.3. */
const DNS_SERVER = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    q, a = s.recvfrom(2000)
    end = q.index(b"\\0", 12) + 5
    s.sendto(q[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + q[12:end] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0<\\0\\4\\xc0\\0\\2\\3", a)
`;

describeWith(
  need(client !== undefined, "no docker command line: sudo apt-get install docker.io"),
  BUSYBOX,
  program("dig", "bind9-dnsutils"),
  program("python3", "python3"),
).each(usersToTest())("names as $name", (user) => {
  let engine: Engine;

  beforeAll(async () => {
    // Nobody listens there: names that no container has are unknown at once, whatever resolver the machine has, or none.
    engine = await startEngine({
      user,
      args: ["--dns", "127.0.0.1"],
      ...(client === undefined ? {} : { docker: executableOf(client) }),
    });
    expect((await engine.docker(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    for (const network of ["x1", "x2"]) {
      expect((await engine.docker(["network", "create", network])).code).toBe(0);
    }
    await up("c1", "--network", "x1");
    await up("c2", "--network", "x1", "--network-alias", "web", "--hostname", "c2.example");
    await up("c3", "--network", "x1", "--network-alias", "web");
    await up("other", "--network", "x2");
  });

  afterAll(async () => {
    await engine?.docker([
      "rm",
      "-f",
      ...(await engine.docker(["ps", "-aq"])).stdout.split("\n").filter(Boolean),
    ]);
    await engine?.[Symbol.asyncDispose]();
  });

  async function docker(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await engine.docker(args);
    if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${code} ${stderr}`);
    return stdout.trim();
  }

  /** A container of this machine's programs that sleeps. */
  const up = (name: string, ...flags: string[]) =>
    docker("run", "-d", "--init", "--name", name, ...flags, "berth/host", "sleep", "600");
  const exec = async (name: string, script: string): Promise<string> =>
    (await engine.docker(["exec", name, "sh", "-c", script])).stdout.trim();
  const dig = (name: string, ...words: string[]) =>
    exec(name, `dig +short +tries=1 +time=3 ${words.join(" ")}`);
  const address = (name: string, network: string) =>
    docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);

  it("are the containers' names, short ids, host names and aliases, in their own networks only", async () => {
    const [c2, c3] = [await address("c2", "x1"), await address("c3", "x1")];
    expect(await dig("c1", "c2")).toBe(c2);
    expect(await dig("c1", "+tcp", "c2.x1")).toBe(c2);
    expect(await dig("c1", (await docker("inspect", "-f", "{{.Id}}", "c2")).slice(0, 12))).toBe(c2);
    expect((await dig("c1", "web")).split("\n").sort()).toEqual([c2, c3].sort());
    expect(await dig("c1", "-x", c2)).toBe("c2.x1.");
    expect(await exec("c1", "getent ahostsv4 c2 | head -1")).toMatch(new RegExp(`^${c2}\\s+STREAM c2$`));
    expect(await exec("c1", "dig AAAA c2")).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    expect(await dig("c1", "other")).toBe("");
    const { stdout } = await engine.docker(["run", "--rm", "--network", "x1", "busybox", "nslookup", "c2"]);
    expect(stdout).toMatch(new RegExp(`Name:\\s+c2\\nAddress:\\s+${c2}`));
  });

  it("follow connecting, disconnecting, renaming and the end of containers", async () => {
    await docker("network", "connect", "--alias", "joined", "--link", "other:else", "x2", "c1");
    expect(await dig("c1", "other")).toBe(await address("other", "x2"));
    expect(await dig("c1", "else")).toBe(await address("other", "x2"));
    expect(await dig("other", "joined")).toBe(await address("c1", "x2"));
    expect(await exec("c1", "cat /etc/hosts")).toContain(`${await address("c1", "x2")}\t`);
    await docker("rename", "other", "renamed");
    expect([await dig("c1", "other"), await dig("c1", "renamed")]).toEqual([
      "",
      await address("renamed", "x2"),
    ]);
    // the link goes with the container, also when that is looked for by name again
    expect(await dig("c1", "else")).toBe(await address("renamed", "x2"));
    expect(await docker("inspect", "-f", "{{.NetworkSettings.Networks.x2.Links}}", "c1")).toBe(
      "[renamed:else]",
    );
    await docker("network", "disconnect", "x2", "c1");
    expect(await dig("c1", "renamed")).toBe("");
    expect(await exec("c1", "cat /etc/hosts")).toMatch(/^(\d+\.){3}\d+\t[0-9a-f]{12}$/m);
    await up("brief", "--network", "x1");
    expect(await dig("c1", "brief")).toBe(await address("brief", "x1"));
    await docker("stop", "-t", "0", "brief");
    expect(await dig("c1", "brief")).toBe("");
    await docker("start", "brief");
    expect(await dig("c1", "brief")).toBe(await address("brief", "x1"));
    await docker("rm", "-f", "brief");
    expect(await dig("c1", "brief")).toBe("");
  });

  it("come to a container on the default bridge when it is connected to a network, and go again", async () => {
    await up("plain");
    expect(await exec("plain", "cat /etc/resolv.conf")).not.toContain("127.0.0.11");
    expect(await dig("plain", "@127.0.0.11", "c2")).not.toMatch(/^\d/);
    await docker("network", "connect", "x1", "plain");
    expect(await exec("plain", "cat /etc/resolv.conf")).toContain("nameserver 127.0.0.11\n");
    expect(await dig("plain", "c2")).toBe(await address("c2", "x1"));
    await docker("network", "disconnect", "x1", "plain");
    expect(await exec("plain", "cat /etc/resolv.conf")).not.toContain("127.0.0.11");
    await docker("rm", "-f", "plain");
  });

  it("of links and added hosts stand in hosts, and what the user writes there stays", async () => {
    await up("db");
    await up(
      "app",
      "--link",
      "db:sql",
      "--add-host",
      "host.docker.internal:host-gateway",
      "--add-host",
      "n:192.0.2.7",
    );
    const db = await docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db");
    const own = await docker("inspect", "-f", "{{.NetworkSettings.IPAddress}} {{.Config.Hostname}}", "app");
    const hosts = await exec("app", "grep -v '^#' /etc/hosts");
    expect(hosts.split("\n").slice(-4)).toEqual([
      "10.0.2.2\thost.docker.internal",
      "192.0.2.7\tn",
      `${db}\tsql ${(await docker("inspect", "-f", "{{.Config.Hostname}}", "db"))} db`,
      own.replace(" ", "\t"),
    ]);
    await exec("app", "echo '192.0.2.8 mine' >> /etc/hosts; echo 'nameserver 192.0.2.9' > /etc/resolv.conf");
    await docker("restart", "-t", "0", "app");
    await docker("network", "connect", "x1", "app");
    expect(await exec("app", "cat /etc/hosts")).toMatch(
      new RegExp(`192.0.2.8 mine[^]*|${await address("app", "x1")}\t`),
    );
    expect(await exec("app", "cat /etc/resolv.conf")).toBe("nameserver 192.0.2.9");
    await docker("rm", "-f", "app", "db");
  });

  it("in a network that is shared, none, or the host's", async () => {
    const shared = await docker(
      "run",
      "--rm",
      "--network",
      "container:c1",
      "berth/host",
      "cat",
      "/etc/hosts",
      "/etc/resolv.conf",
    );
    expect(shared).toBe(await exec("c1", "cat /etc/hosts /etc/resolv.conf"));
    expect(await docker("run", "--rm", "--network", "none", "busybox", "grep", "-cv", "^[f:#]", "/etc/hosts"))
      .toBe("1");
    const host = await docker(
      "run",
      "--rm",
      "--network",
      "host",
      "--add-host",
      "n:192.0.2.7",
      "busybox",
      "cat",
      "/etc/hosts",
    );
    expect(host).toBe(`${Deno.readTextFileSync("/etc/hosts").trimEnd()}\n192.0.2.7\tn`);
  });

  it("of others come from --dns: a container's DNS server, at its own port 53", async () => {
    await docker(
      "run",
      "-d",
      "--init",
      "--name",
      "dns",
      "--network",
      "x1",
      "berth/host",
      "python3",
      "-uc",
      DNS_SERVER,
    );
    await waitFor(async () => (await docker("logs", "dns")).includes("ready"), 20_000, () => "a DNS server");
    const server = await address("dns", "x1");
    await up(
      "asks",
      "--network",
      "x1",
      "--dns",
      server,
      "--dns-search",
      "example.org",
      "--dns-option",
      "timeout:2",
    );
    expect(await dig("asks", "www.example.com")).toBe("192.0.2.3");
    expect(await dig("asks", "c2")).toBe(await address("c2", "x1"));
    expect(await dig("asks", `@${server}`, "x")).toBe("192.0.2.3");
    expect(await dig("dns", "@127.0.0.1", "x")).toBe("192.0.2.3");
    expect(await dig("dns", "c2")).toBe(await address("c2", "x1"));
    const conf = await exec("asks", "cat /etc/resolv.conf");
    expect(conf).toContain("nameserver 127.0.0.11\nsearch example.org\noptions timeout:2 ndots:0\n");
    expect(conf).toContain(`# ExtServers: [${server}]`);
    await up("far", "--network", "x2", "--dns", server);
    expect(await exec("far", "dig +tries=1 +time=5 www.example.com")).toContain("status: SERVFAIL");
    await docker("rm", "-f", "dns", "asks", "far");
  });

  it("stay when the engine is killed", async () => {
    await engine.kill9();
    await engine.restart();
    expect(await dig("c1", "c2")).toBe(await address("c2", "x1"));
    await up("later", "--network", "x1");
    expect(await dig("c1", "later")).toBe(await address("later", "x1"));
    await docker("rm", "-f", "later");
  });
});
