/**
 * The session about networks that every Docker course does, typed to the docker command line and to berth's, as an ordinary user and
 * as root; and what it is all for: a package installed inside a container, over berth's own way out.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { mirrorReached } from "../support/debian_mirror.ts";
import { asDockerArchive, debianRootfs } from "../support/debian_rootfs.ts";
import { dockerClients, executableOf } from "../support/docker_clients.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, need, program } from "../support/needs.ts";
import { SLOWNESS, waitFor } from "../support/processes.ts";
import { type RunResult, testDir, type User, usersToTest } from "../support/users.ts";

const docker = dockerClients().find(({ version }) => version.startsWith("28."));
const DOCKER = need(docker !== undefined, "no docker command line of version 28 on PATH");

/** The course's addresses are those of a machine that has none of its own in 172.16.0.0/12. */
const POOLS_FREE = need(
  !/\b172\.(1[6-9]|2\d|3[01])\./.test(output("ip", "-4", "address")),
  "this machine has addresses in 172.16.0.0/12 itself",
);

function output(command: string, ...args: string[]): string {
  try {
    const { stdout } = new Deno.Command(command, { args, stderr: "null" }).outputSync();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

const SERVER = "mkdir /www; echo page of $(hostname) >/www/index.html; exec httpd -f -p 80 -h /www";
/** The host's own bash as client: a static busybox cannot look up names, glibc wants libraries for that. */
const CLIENT = "berth/host";
const get = (host: string, seconds: number) => [
  "timeout",
  String(seconds),
  "bash",
  "-c",
  `exec 3<>/dev/tcp/${host}/80 && printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3 && sed '1,/^\\r$/d' <&3`,
];

const cases = usersToTest().flatMap((user) =>
  (["docker", "berth"] as const).map((client) => ({ user, client, name: user.name }))
);

describeWith(BUSYBOX, DOCKER, POOLS_FREE, program("ip", "iproute2")).each(cases)(
  "the course's session, typed to $client as $name",
  ({ user, client }: { user: User; client: "docker" | "berth" }) => {
    let engine: Engine;
    const type = (...words: string[]): Promise<RunResult> => engine[client](words);
    const said = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await type(...words);
      expect({ words, code, stderr }).toEqual({ words, code: 0, stderr: "" });
      return stdout.trimEnd();
    };
    /** What a new container in the network gets from a server. */
    const page = (network: string, host: string, seconds = 10 * SLOWNESS) =>
      type("run", "--rm", "--network", network, CLIENT, ...get(host, seconds));
    const address = (name: string, network: string) =>
      said("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);

    beforeAll(async () => {
      engine = await startEngine({ user, ...(docker === undefined ? {} : { docker: executableOf(docker) }) });
      await said("load", "-i", await busyboxArchive(testDir()));
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    it("has the three networks that are always there", async () => {
      expect(await said("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")).toBe(
        "bridge bridge local\nhost host local\nnone null local",
      );
      expect((await type("network", "ls")).stdout).toMatch(
        /^NETWORK ID {5}NAME {6}DRIVER {4}SCOPE\n([0-9a-f]{12} {3}\w+ +\w+ +local\n){3}$/,
      );
    });

    it("makes a network with a server, which others in it reach by name and by address", async () => {
      expect(await said("network", "create", "-d", "bridge", "x1")).toMatch(/^[0-9a-f]{64}$/);
      await said(
        "run",
        "-d",
        "--name",
        "c1",
        "--hostname",
        "one",
        "--network",
        "x1",
        "busybox",
        "sh",
        "-c",
        SERVER,
      );
      await waitFor(async () => (await page("x1", "c1")).stdout === "page of one\n", 20_000);
      expect(await page("x1", "172.18.0.2")).toMatchObject({ code: 0, stdout: "page of one\n", stderr: "" });
    });

    it("tells the address from outside and from inside", async () => {
      const inspected = await said("inspect", "c1");
      const lines = inspected.split("\n").filter((line) => /"IPAddress"/i.test(line)).map((line) =>
        line.trim()
      );
      expect(lines).toContain('"IPAddress": "172.18.0.2",');
      expect(await said("exec", "c1", "ip", "a")).toMatch(
        /inet 172\.18\.0\.2\/16 brd 172\.18\.255\.255 scope global eth0/,
      );
      // One address always has one MAC: nobody's neighbour table is wrong when an address goes to the next container.
      expect(await said("exec", "c1", "ip", "link")).toContain("link/ether 02:42:ac:12:00:02 ");
      const route = await said("exec", "c1", "route", "-n");
      expect(route).toMatch(/^0\.0\.0\.0 +172\.18\.0\.1 +0\.0\.0\.0 +UG/m);
      expect(route).toMatch(/^172\.18\.0\.0 +0\.0\.0\.0 +255\.255\.0\.0 +U /m);
      const network = JSON.parse(await said("network", "inspect", "x1")) as {
        IPAM: { Config: { Subnet: string; Gateway: string }[] };
        Containers: Record<string, { Name: string; IPv4Address: string }>;
      }[];
      expect(network[0]?.IPAM.Config).toEqual([{ Subnet: "172.18.0.0/16", Gateway: "172.18.0.1" }]);
      expect(Object.values(network[0]?.Containers ?? {})).toMatchObject([
        { Name: "c1", IPv4Address: "172.18.0.2/16" },
      ]);
    });

    it("shows the bridges in the rootless host", async () => {
      const { code, stdout, stderr } = await engine.berth(["netns", "ip", "-4", "-br", "address"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/^docker0 +\w+ +172\.17\.0\.1\/16/m);
      expect(stdout).toMatch(/^br-[0-9a-f]{12} +UP +172\.18\.0\.1\/16/m);
      const links = await engine.berth(["netns", "ip", "-br", "link", "show", "type", "veth"]);
      expect(links.stdout).toMatch(/^veth[0-9a-f]{7}@/m);
      expect(await engine.berth(["netns", "sh", "-c", "pwd; exit 7"], { cwd: "/usr/bin" })).toMatchObject({
        code: 7,
        stdout: "/usr/bin\n",
      });
      const doctor = await engine.berth(["network", "doctor", "--format", "{{.Name}} {{.Works}}"]);
      expect(doctor.stdout).toMatch(/^tun (yes|no)$/m);
      expect(doctor.stdout).toMatch(/^low-ports (yes|no)$/m);
      const way = /^Connections to the outside: (.*)$/m.exec(
        (await engine.berth(["network", "doctor"])).stdout,
      )?.[1];
      const warned = (await type("info")).stderr.includes("cannot connect to the outside");
      expect({ way, warned }).toEqual({ way, warned: way === "none" });
    });

    it("gives .2 and .3 to two containers on the default bridge, which find each other by address only", async () => {
      for (const name of ["d1", "d2"]) {
        await said("run", "-d", "--name", name, "--hostname", name, "busybox", "sh", "-c", SERVER);
      }
      expect([await address("d1", "bridge"), await address("d2", "bridge")]).toEqual([
        "172.17.0.2",
        "172.17.0.3",
      ]);
      await waitFor(async () => (await page("bridge", "172.17.0.3")).stdout === "page of d2\n", 20_000);
      const byName = await page("bridge", "d2");
      expect(byName.code).not.toBe(0);
      // Without a network nobody answers.
      expect(byName.stderr).toMatch(/d2: (Name or service not known|Temporary failure in name resolution)/);
    });

    it("keeps networks apart", async () => {
      await said("network", "create", "x2");
      for (const network of ["x2", "bridge"]) {
        for (const host of ["172.18.0.2", "c1"]) {
          const { code, stdout } = await page(network, host, 1);
          expect({ network, host, reached: code === 0, stdout }).toEqual({
            network,
            host,
            reached: false,
            stdout: "",
          });
        }
      }
      expect((await page("x1", "172.17.0.2", 1)).code).not.toBe(0);
    });

    it("joins a running container to a second network, and takes it out again", async () => {
      await said("network", "connect", "--alias", "web", "x2", "c1");
      expect(await page("x2", "web")).toMatchObject({ code: 0, stdout: "page of one\n" });
      expect(await said("exec", "c1", "ip", "-4", "address", "show", "dev", "eth1")).toContain(
        "inet 172.19.0.2/16",
      );
      const inUse = await type("network", "rm", "x2");
      expect(inUse.code).toBe(1);
      expect(inUse.stderr).toMatch(/network x2 has active endpoints/);
      await said("network", "disconnect", "x2", "c1");
      expect((await page("x2", "web")).code).not.toBe(0);
      expect(await said("network", "rm", "x2")).toBe("x2");
    });

    it("publishes a port, and says where", async () => {
      await said(
        "run",
        "-d",
        "--name",
        "pub",
        "--hostname",
        "pub",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        SERVER,
      );
      const port = (await said("port", "pub", "80")).replace("127.0.0.1:", "");
      expect(await said("ps", "--filter", "name=pub", "--format", "{{.Ports}}")).toBe(
        `127.0.0.1:${port}->80/tcp`,
      );
      const published = async () => {
        try {
          return await (await fetch(`http://127.0.0.1:${port}/`)).text();
        } catch {
          return "";
        }
      };
      await waitFor(async () => await published() === "page of pub\n", 20_000);
    });

    it("says of a port that cannot be had what to type", async () => {
      const port = (await said("port", "pub", "80")).replace("127.0.0.1:", "");
      const second = await type("run", "--rm", "-p", `127.0.0.1:${port}:80`, "busybox", "true");
      expect(second.code).toBe(125);
      expect(second.stderr).toContain(`Bind for 127.0.0.1:${port} failed: port is already allocated`);
      using foreign = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const taken = foreign.addr.port;
      const third = await type("run", "--rm", "-p", `127.0.0.1:${taken}:80`, "busybox", "true");
      expect(third.stderr).toContain("address already in use");
      expect(third.stderr).toContain(`ss -tlnp 'sport = :${taken}'`);
      if (Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start")) <= 81) return;
      const low = await type("run", "--rm", "-p", "81:80", "busybox", "true");
      expect(low.stderr).toContain("permission denied");
      expect(low.stderr).toContain("sudo sysctl -w net.ipv4.ip_unprivileged_port_start=81");
    });

    it("leaves nothing behind", async () => {
      await said("rm", "-f", "c1", "d1", "d2", "pub");
      expect(await said("network", "prune", "-f")).toBe("Deleted Networks:\nx1");
      expect(await said("network", "ls", "-q", "--filter", "type=custom")).toBe("");
      const links = await engine.berth(["netns", "ip", "-br", "link"]);
      expect(links.stdout).not.toMatch(/^(br-|veth)/m);
    });
  },
);

const debian = await debianRootfs();
const tar = "tar" in debian ? debian.tar : "";
const DEBIAN = need(tar !== "", "missing" in debian ? debian.missing : "");

describeWith(DEBIAN, mirrorReached()).each(usersToTest())("a Debian container as $name", (user: User) => {
  it("gets and installs a package over berth's own way out", { timeout: 300_000 * SLOWNESS }, async () => {
    await using engine = await startEngine({ user });
    const archive = await asDockerArchive(tar, testDir(), "debian:loaded");
    expect((await engine.berth(["load", "-i", archive])).code).toBe(0);
    await Deno.remove(archive);
    // The machine's own sources, keys and proxies, whatever they are.
    const apt = await Deno.makeTempDir({ dir: testDir(), prefix: "apt-" });
    await Deno.chmod(apt, 0o755);
    const acquire = output("apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire");
    await Deno.writeTextFile(`${apt}/99machine`, acquire);
    await new Deno.Command("cp", { args: ["-rL", "/etc/apt/sources.list.d", `${apt}/sources`] }).output();
    const list = await Deno.readTextFile("/etc/apt/sources.list").catch(() => "");
    await Deno.writeTextFile(`${apt}/sources/machine.list`, list);
    await new Deno.Command("chmod", { args: ["-R", "a+rX", apt] }).output();
    const script = "set -e; rm -f /etc/apt/sources.list; export DEBIAN_FRONTEND=noninteractive; " +
      "apt-get update -q; apt-get install -y -q --no-install-recommends sl; dpkg -s sl | grep ^Status; test -x /usr/games/sl; ip route || true";
    const { code, stdout, stderr } = await engine.berth([
      "run",
      "--rm",
      "-v",
      `${apt}/sources:/etc/apt/sources.list.d:ro`,
      "-v",
      `${apt}/99machine:/etc/apt/apt.conf.d/99machine:ro`,
      "debian:loaded",
      "bash",
      "-c",
      script,
    ], { timeout: 240_000 });
    expect({ code, stderr, stdout: stdout.slice(-2000) }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Status: install ok installed"),
    });
    await Deno.remove(apt, { recursive: true });
  });
});
