/** Networks over the whole life of containers and engines: what is published, shown, given back, and what survives kill -9. */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { dockerClients, executableOf } from "../support/docker_clients.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, need } from "../support/needs.ts";
import { SLOWNESS, waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

const docker = dockerClients().find(({ version }) => version.startsWith("28."));
const DOCKER = need(docker !== undefined, "no docker command line of version 28 on PATH");

const WORD = "hello from the container";
/** busybox's own option for a deadline crashes when it is linked statically. */
const WGET = ["timeout", "10", "wget", "-qO-"];
/** A server that answers with {@link WORD} at port 80. */
const SERVER = ["sh", "-c", `mkdir /w; echo '${WORD}' >/w/index.html; exec httpd -f -p 80 -h /w`];

/** What a server at a port of this machine answers; undefined when there is none. */
async function fetchPage(port: number, host = "127.0.0.1"): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${host}:${port}/`, {
      signal: AbortSignal.timeout(5_000 * SLOWNESS),
    });
    return (await response.text()).trim();
  } catch {
    return undefined;
  }
}

describeWith(BUSYBOX, DOCKER).each(usersToTest())("networks of $name", (user) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ user, ...(docker === undefined ? {} : { docker: executableOf(docker) }) });
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  /** What a test that has failed leaves. */
  afterEach(async () => {
    const { stdout } = await engine.docker(["ps", "-aq"]);
    if (stdout !== "") await engine.docker(["rm", "-f", ...stdout.trim().split("\n")]);
    await engine.docker(["network", "prune", "-f"]);
  });

  const said = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await engine.docker(words);
    expect({ words, code, stderr }).toEqual({ words, code: 0, stderr: "" });
    return stdout.trimEnd();
  };
  const refused = async (...words: string[]): Promise<string> => {
    const { code, stderr } = await engine.docker(words);
    expect(code).not.toBe(0);
    return stderr;
  };
  const settings = async (name: string) =>
    JSON.parse(await said("inspect", "-f", "{{json .NetworkSettings}}", name)) as {
      IPAddress: string;
      SandboxKey: string;
      Ports: Record<string, { HostIp: string; HostPort: string }[] | null>;
      Networks: Record<string, Record<string, unknown>>;
    };
  const portOf = async (name: string): Promise<number> =>
    Number((await settings(name)).Ports["80/tcp"]?.find(({ HostIp }) => HostIp === "0.0.0.0")?.HostPort);
  const serves = (port: number) =>
    waitFor(
      async () => await fetchPage(port) === WORD,
      10_000,
      () => `nothing at port ${port}: ${engine.log()}`,
    );

  it("a published port is shown by inspect, ps and port, serves, and is free again afterwards", async () => {
    await said("run", "-d", "--name", "web", "-p", "80", "busybox", ...SERVER);
    const port = await portOf("web");
    await serves(port);
    expect(await said("port", "web", "80/tcp")).toContain(`0.0.0.0:${port}`);
    expect(await said("ps", "--filter", "name=web", "--format", "{{.Ports}}")).toContain(
      `0.0.0.0:${port}->80/tcp`,
    );
    expect(await said("ps", "-q", "--filter", `publish=${port}`)).not.toBe("");
    const taken = await refused("run", "--name", "second", "-p", `${port}:80`, "busybox", "true");
    expect(taken).toMatch(
      new RegExp(
        "failed to set up container networking: driver failed programming external connectivity on endpoint second " +
          `\\([0-9a-f]{64}\\): .*${port}.*(already allocated|in use)`,
      ),
    );
    expect(await said("inspect", "-f", "{{.State.Status}} {{.NetworkSettings.IPAddress}}.", "second")).toBe(
      "created .",
    );
    await said("stop", "-t", "0", "web");
    expect(await fetchPage(port)).toBeUndefined();
    await said("start", "-a", "second");
    await said("rm", "second");
    await said("start", "web");
    await serves(await portOf("web"));
    await said("restart", "-t", "0", "web");
    await serves(await portOf("web"));
    await said("rm", "-f", "web");
  });

  it("-P publishes what the image exposes; a range gives any of its ports", async () => {
    await said(
      "run",
      "-d",
      "--name",
      "web",
      "-P",
      "--expose",
      "80",
      "--expose",
      "9/udp",
      "busybox",
      ...SERVER,
    );
    const { Ports } = await settings("web");
    expect(Object.keys(Ports).sort()).toEqual(["80/tcp", "9/udp"]);
    await serves(await portOf("web"));
    await said("rm", "-f", "web");
  });

  it("connect and disconnect work on a running container, with address, alias and gateway priority", async () => {
    await said("network", "create", "--subnet", "10.231.7.0/24", "--ip-range", "10.231.7.128/25", "n1");
    await said("network", "create", "n2");
    await said("run", "-d", "--name", "web", "--network", "n2", "-p", "80", "busybox", ...SERVER);
    await said(
      "network",
      "connect",
      "--ip",
      "10.231.7.9",
      "--alias",
      "front",
      "--gw-priority",
      "7",
      "n1",
      "web",
    );
    const both = await settings("web");
    expect(both.Networks["n1"]).toMatchObject({
      IPAddress: "10.231.7.9",
      IPPrefixLen: 24,
      Gateway: "10.231.7.128",
      GwPriority: 7,
      Aliases: ["front"],
      DNSNames: ["web", "front", expect.stringMatching(/^[0-9a-f]{12}$/)],
    });
    expect(await said("exec", "web", "ip", "route", "show", "default")).toContain("via 10.231.7.128");
    await serves(await portOf("web"));
    const page = await said(
      "run",
      "--rm",
      "--network",
      "n1",
      "busybox",
      ...WGET,
      "http://front/",
    );
    expect(page).toBe(WORD);
    await said("rename", "web", "shop");
    expect(await said("run", "--rm", "--network", "n2", "busybox", ...WGET, "http://shop/"))
      .toBe(WORD);
    expect(await refused("network", "connect", "n1", "shop")).toContain("already exists in network n1");
    expect(await refused("network", "rm", "n1")).toContain('network n1 has active endpoints (name:"shop"');
    await said("network", "disconnect", "n1", "shop");
    expect(await said("exec", "shop", "ip", "-o", "link")).not.toContain("eth1");
    await serves(await portOf("shop"));
    await said("network", "disconnect", "n2", "shop");
    expect((await settings("shop")).Ports).toEqual({});
    await said("network", "connect", "n2", "shop");
    await serves(await portOf("shop"));
    await said("rm", "-f", "shop");
    expect((await said("network", "prune", "-f")).split("\n")).toEqual(["Deleted Networks:", "n1", "n2"]);
  });

  it("tells of it in events", async () => {
    const since = await said("info", "-f", "{{.SystemTime}}");
    await said("network", "create", "e1");
    const id = await said("create", "--name", "brief", "--network", "e1", "busybox", "true");
    await said("start", "-a", "brief");
    await said("rm", "brief");
    await said("network", "rm", "e1");
    const format = '{{.Type}} {{.Action}} {{index .Actor.Attributes "container"}}';
    const until = await said("info", "-f", "{{.SystemTime}}");
    const events = await said("events", "--since", since, "--until", until, "--format", format);
    expect(events.replaceAll("<no value>", "").split("\n").map((line) => line.trim())).toEqual([
      "network create",
      "container create",
      "container attach",
      `network connect ${id}`,
      "container start",
      `network disconnect ${id}`,
      "container die",
      "container destroy",
      "network destroy",
    ]);
  });

  it("containers share a network, are linked, or have none", async () => {
    await said("run", "-d", "--name", "one", "--expose", "80", "busybox", ...SERVER);
    const { IPAddress, SandboxKey } = await settings("one");
    expect(SandboxKey).toMatch(/^\/proc\/\d+\/ns\/net$/);
    expect(await said("run", "--rm", "--network", "container:one", "busybox", "hostname", "-i")).toBe(
      IPAddress,
    );
    const linked = await said(
      "run",
      "--rm",
      "--link",
      "one:uno",
      "busybox",
      "sh",
      "-c",
      "timeout 10 wget -qO- http://uno/; echo $UNO_PORT",
    );
    expect(linked).toBe(`${WORD}\ntcp://${IPAddress}:80`);
    expect(await said("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")).toBe("lo");
    expect(await refused("network", "connect", "none", "one")).toContain("private (none) mode");
    await said("rm", "-f", "one");
  });

  it("an exit by itself gives ports and addresses back, and a policy's restart takes them again", async () => {
    const script = `trap 'exit 1' TERM; ${SERVER[2]?.replace("exec ", "")} & wait`;
    await said(
      "run",
      "-d",
      "--name",
      "web",
      "--restart",
      "always",
      "-p",
      "18497:80",
      "busybox",
      "sh",
      "-c",
      script,
    );
    await serves(18497);
    const before = (await settings("web")).IPAddress;
    await said("exec", "-d", "web", "kill", "-TERM", "1");
    const count = async () => Number(await said("inspect", "-f", "{{.RestartCount}}", "web"));
    await waitFor(async () => await count() > 0, 10_000, () => "waited for the restart");
    await serves(18497);
    expect((await settings("web")).IPAddress).toBe(before);
    await said("rm", "-f", "web");
    expect(await fetchPage(18497)).toBeUndefined();
  });

  it("kill -9 of the engine leaves ports and connections as they are, and the next engine knows them", async () => {
    await said("network", "create", "n1");
    await said("run", "-d", "--name", "web", "--network", "n1", "-p", "80", "busybox", ...SERVER);
    await said("run", "-d", "--name", "echo", "-p", "7", "busybox", "nc", "-ll", "-p", "7", "-e", "cat");
    const port = await portOf("web");
    const echoPort = Number((await settings("echo")).Ports["7/tcp"]?.[0]?.HostPort);
    await serves(port);
    using connection = await Deno.connect({ port: echoPort, hostname: "127.0.0.1" });
    const exchange = async (text: string) => {
      await connection.write(new TextEncoder().encode(text));
      const buffer = new Uint8Array(100);
      return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
    };
    expect(await exchange("before")).toBe("before");
    const before = await settings("web");
    await engine.kill9();
    expect(await exchange("between")).toBe("between");
    expect(await fetchPage(port)).toBe(WORD);
    await engine.restart();
    expect(await exchange("after")).toBe("after");
    expect(await fetchPage(port)).toBe(WORD);
    expect(await settings("web")).toEqual(before);
    const page = await said(
      "run",
      "--rm",
      "--network",
      "n1",
      "busybox",
      ...WGET,
      "http://web/",
    );
    expect(page).toBe(WORD);
    expect(await refused("network", "rm", "n1")).toContain("has active endpoints");
    await said("rm", "-f", "web", "echo");
    expect(await fetchPage(port)).toBeUndefined();
    await said("network", "rm", "n1");
  });

  it("kill -9 of the network process: containers go on, and their ports and names are there again at once", async () => {
    await said("network", "create", "n1");
    await said("run", "-d", "--name", "web", "--network", "n1", "-p", "80", "busybox", ...SERVER);
    const port = await portOf("web");
    await serves(port);
    const before = await settings("web");
    const { pid } = await (await unixFetch(engine.socket, "/berth/network")) as { pid: number };
    Deno.kill(pid, "SIGKILL");
    await serves(port);
    expect(await settings("web")).toEqual(before);
    const page = await said(
      "run",
      "--rm",
      "--network",
      "n1",
      "busybox",
      ...WGET,
      "http://web/",
    );
    expect(page).toBe(WORD);
    await said("rm", "-f", "web");
    await said("network", "rm", "n1");
  });
});

describeWith(BUSYBOX).each(usersToTest().slice(0, 1))("without a network process", (user) => {
  it("containers start all the same, with a warning; who asks for more is told why not", async () => {
    await using engine = await startEngine({ user });
    await engine.stop();
    // A file where its directory should be: it cannot start.
    await Deno.remove(`${engine.execRoot}/netd`, { recursive: true });
    await Deno.writeTextFile(`${engine.execRoot}/netd`, "");
    await engine.restart();
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
    const first = await engine.berth(["run", "--rm", "busybox", "ls", "/sys/class/net"]);
    expect(first).toMatchObject({ code: 0, stdout: "lo\n" });
    const second = await engine.berth(["run", "--rm", "busybox", "true"]);
    expect(second).toMatchObject({ code: 0, stderr: expect.stringContaining("no network but loopback") });
    expect((await engine.berth(["info"])).stderr).toContain("No container networks");
    const wanted = await engine.berth(["run", "--rm", "-p", "80", "busybox", "true"]);
    expect(wanted).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("failed to set up container networking"),
    });
  });
});

/** GET by a Unix socket. */
async function unixFetch(path: string, route: string): Promise<unknown> {
  using connection = await Deno.connect({ transport: "unix", path });
  await connection.write(
    new TextEncoder().encode(`GET ${route} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n`),
  );
  const text = await new Response(connection.readable).text();
  return JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4));
}
