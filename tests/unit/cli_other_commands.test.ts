/** What is not berth's own: docker's commands that it does not have, plugins of the command line, engines behind ssh. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sshArguments } from "../../cli/ssh_dial.ts";
import { runBerth, startBerth } from "../support/berth_cli.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { itWith } from "../support/needs.ts";
import { type Handler, scriptedEngine } from "../support/scripted_engine.ts";
import { testDir } from "../support/users.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  if (path.endsWith("/attach")) {
    await connection.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello");
    await connection.read();
    await connection.send(" and goodbye");
    return connection.close();
  }
  const answers: Record<string, unknown> = {
    "/_ping": "OK",
    "/containers/json": [],
    "/volumes": { Volumes: [{ Name: "behind-ssh", Driver: "local" }] },
  };
  await connection.answer(path in answers ? 200 : 404, answers[path] ?? { message: `no ${path}` }, {
    "Api-Version": "1.51",
    "Content-Type": "application/json",
  });
};

/** A directory with programs, for PATH and for plugins. */
let programs = "";
function program(name: string, text: string): void {
  Deno.writeTextFileSync(`${programs}/${name}`, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}
beforeAll(() => {
  programs = Deno.makeTempDirSync({ dir: testDir(), prefix: "programs-" });
});
afterAll(() => Deno.removeSync(programs, { recursive: true }));

describe("docker's commands that berth does not have", () => {
  test.each([
    ["trust", ["trust", "sign", "busybox:1"], /no content trust[^]*NAME@sha256:…/],
    ["swarm", ["swarm", "init"], /^This node is not a swarm manager[^]*docker compose/],
    ["service", ["service", "ls"], /^This node is not a swarm manager/],
    ["plugin", ["plugin", "install", "x"], /no managed plugins[^]*berth info/],
    [
      "checkpoint",
      ["checkpoint", "create", "web", "c1"],
      /only supported on a Docker daemon with experimental features/,
    ],
    [
      "compose",
      ["compose", "up"],
      /^berth: unknown command: berth compose[^]*DOCKER_HOST=[^]*docker-compose in/,
    ],
  ])("%s says what it is, what to do instead, and exits with 1", async (_name, argv, text) => {
    const { code, stdout, stderr } = await runBerth(argv, { env: { DOCKER_CONFIG: programs } });
    expect(stderr).toMatch(text);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });

  itWith(DOCKER_28)("start --checkpoint is refused as by docker", async () => {
    const { docker, berth } = await compare(["start", "--checkpoint", "c1", "web"], engine);
    expect(berth.stderr).toBe(docker.stderr);
    expect(berth.code).toBe(1);
  });
});

describe("content trust", () => {
  const env = { DOCKER_CONTENT_TRUST: "1" };
  test.each([["pull"], ["push"], ["run"], ["create"]])(
    "%s refuses what nobody has verified",
    async (command) => {
      await using scripted = scriptedEngine(engine);
      const result = await runBerth(["-H", scripted.host, command, "busybox:1"], { env });
      expect(result.stderr).toMatch(/content trust is switched on[^]*unset DOCKER_CONTENT_TRUST/);
      expect(result.code).toBe(command === "run" ? 125 : 1);
      expect(scripted.requests).toEqual([]);
    },
  );

  test("--disable-content-trust and a digest go on", async () => {
    await using scripted = scriptedEngine(engine);
    const digest = `busybox@sha256:${"a".repeat(64)}`;
    for (const args of [["--disable-content-trust", "busybox:1"], [digest]]) {
      const { stderr } = await runBerth(["-H", scripted.host, "pull", ...args], { env });
      expect(stderr).toBe("Error response from daemon: no /images/create\n");
    }
  });
});

describe("plugins of the command line", () => {
  test("are run with the whole command line, are told where the engine is, and give their exit code", async () => {
    Deno.mkdirSync(`${programs}/cli-plugins`, { recursive: true });
    program("cli-plugins/docker-greet", 'echo "$DOCKER_HOST" "$@"; cat; exit 7');
    await using scripted = scriptedEngine(engine);
    const result = await runBerth(["greet", "--to", "you"], {
      env: { DOCKER_CONFIG: programs, BERTH_HOST: scripted.host },
      stdin: "from stdin\n",
    });
    expect(result).toEqual({ code: 7, stdout: `${scripted.host} greet --to you\nfrom stdin\n`, stderr: "" });
    const flags = await runBerth(["-H", scripted.host, "greet"], { env: { DOCKER_CONFIG: programs } });
    expect(flags.stdout).toBe(` -H ${scripted.host} greet\n`);
  });

  test("are asked for their help, and what is refused says why", async () => {
    Deno.mkdirSync(`${programs}/cli-plugins`, { recursive: true });
    program("cli-plugins/docker-greet", 'echo "asked: $*"');
    const env = { DOCKER_CONFIG: programs };
    expect(await runBerth(["help", "greet"], { env })).toEqual({
      code: 0,
      stdout: "asked: help greet\n",
      stderr: "",
    });
    expect((await runBerth(["help", "swarm"], { env })).stderr).toMatch(/^This node is not a swarm manager/);
    expect((await runBerth(["help", "nosuch"], { env })).stderr).toBe("unknown help topic: nosuch\n");
  });

  test("are found in cliPluginsExtraDirs first, and only when they can be executed", async () => {
    const config = Deno.makeTempDirSync({ dir: programs });
    Deno.mkdirSync(`${config}/cli-plugins`);
    Deno.mkdirSync(`${config}/extra`);
    Deno.writeTextFileSync(`${config}/cli-plugins/docker-plain`, "", { mode: 0o644 });
    for (const dir of ["cli-plugins", "extra"]) {
      Deno.writeTextFileSync(`${config}/${dir}/docker-two`, `#!/bin/sh\necho ${dir}\n`, { mode: 0o755 });
    }
    Deno.writeTextFileSync(
      `${config}/config.json`,
      JSON.stringify({ cliPluginsExtraDirs: [`${config}/extra`] }),
    );
    const env = { DOCKER_CONFIG: config, BERTH_HOST: "unix:///nowhere" };
    expect((await runBerth(["two", "version"], { env })).stdout).toBe("extra\n");
    expect((await runBerth(["plain"], { env })).stderr).toContain("berth: unknown command: berth plain");
  });
});

describe("engines behind ssh", () => {
  test("sshArguments() reads docker's addresses, and lets nothing in by them", () => {
    const words = (url: string) => sshArguments(url).slice(0, -1).join(" ");
    const dial = (url: string) => sshArguments(url).at(-1);
    expect(words("ssh://me@host:2222")).toBe("-o ConnectTimeout=30 -T -l me -p 2222 -- host");
    expect(words("ssh://host")).toBe("-o ConnectTimeout=30 -T -- host");
    expect(words("ssh://me@[::1]:22")).toBe("-o ConnectTimeout=30 -T -l me -p 22 -- ::1");
    expect(dial("ssh://host/")).not.toContain("--host");
    expect(dial("ssh://host/run/user/1000/docker.sock")).toContain(
      "exec docker --host=unix:///run/user/1000/docker.sock system dial-stdio",
    );
    for (
      const bad of [
        "ssh://",
        "ssh://me:secret@host",
        "ssh://host?x=y",
        "ssh://host/a#b",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://host/a;b",
        "ssh://host/a'b",
        "ssh://host/a b",
        "ssh://host:port",
      ]
    ) {
      expect(() => sshArguments(bad)).toThrow(
        /^Failed to initialize: unable to resolve docker endpoint: ssh host/,
      );
    }
  });

  /** Stands for ssh, and for the other machine: its berth is this one, with an engine of its own. */
  function otherMachine(host: string): Record<string, string> {
    program("ssh", 'while [ "$1" != -- ]; do shift; done; shift 2; exec sh -c "$*"');
    program("berth", `export DOCKER_HOST=${host}; exec ${Deno.execPath()} run -A --quiet ${MAIN} "$@"`);
    return { PATH: `${programs}:${Deno.env.get("PATH")}`, DOCKER_HOST: "ssh://me@far" };
  }

  test("are asked over `system dial-stdio`, for answers and for streams", async () => {
    await using scripted = scriptedEngine(engine);
    const env = otherMachine(scripted.host);
    expect((await runBerth(["volume", "ls", "-q"], { env })).stdout).toBe("behind-ssh\n");
    const refused = await runBerth(["rm", "x"], { env });
    expect(refused.stderr).toBe("Error response from daemon: no /containers/x\n");
  });

  test("dial-stdio passes bytes both ways until the engine ends its side", async () => {
    await using scripted = scriptedEngine(engine);
    const child = startBerth(["-H", scripted.host, "system", "dial-stdio"], { stdin: "" });
    const writer = child.stdin.getWriter();
    await writer.write(
      new TextEncoder().encode("POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n\r\nbytes"),
    );
    const { code, stdout } = await child.output();
    expect(code).toBe(0);
    expect(new TextDecoder().decode(stdout)).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\nhello and goodbye$/);
  });

  test("that cannot be reached are told in ssh's own words", async () => {
    program("ssh", 'echo "ssh: Could not resolve hostname far" >&2; exit 255');
    const env = { PATH: `${programs}:${Deno.env.get("PATH")}`, DOCKER_HOST: "ssh://far" };
    const { code, stderr } = await runBerth(["ps"], { env });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error during connect: command \[ssh .*\] has exited with exit status 255, make sure/,
    );
    expect(stderr).toContain("stderr=ssh: Could not resolve hostname far");
    const none = await runBerth(["ps"], { env: { ...env, PATH: "/nonexistent" } });
    expect(none.stderr).toContain("there is no ssh on PATH");
  });

  itWith(DOCKER_28)("docker's own command line reaches an engine over berth's dial-stdio", async () => {
    await using scripted = scriptedEngine(engine);
    const env = otherMachine(scripted.host);
    program("docker", `exec berth "$@"`);
    const { stdout } = await new Deno.Command("/usr/bin/env", {
      args: [
        "-i",
        `PATH=${env["PATH"]}`,
        "HOME=/",
        "DOCKER_HOST=ssh://me@far",
        dockerOf(),
        "volume",
        "ls",
        "-q",
      ],
      stdin: "null",
    }).output();
    expect(new TextDecoder().decode(stdout)).toBe("behind-ssh\n");
  });
});

/** docker's command line proper: a stand-in for it is first on PATH. */
function dockerOf(): string {
  for (const dir of (Deno.env.get("PATH") ?? "").split(":")) {
    try {
      Deno.statSync(`${dir}/docker`);
      return `${dir}/docker`;
    } catch {
      // in another one
    }
  }
  return "docker";
}

test("global flags in front of serve do not change what is behind it", async () => {
  const flags = ["--default-address-pool", "base=10.9.0.0/16,size=24", "--default-network-opt", "bridge=a=b"];
  const { code, stderr } = await runBerth(["-D", "serve", ...flags, "--exec-root", "/proc/nowhere"]);
  expect(stderr).toContain("berth: cannot use /proc/nowhere: ");
  expect(code).toBe(125);
});
