import { afterAll, beforeAll, expect, test } from "vitest";
import { serveApi } from "../../api/mod.ts";
import { type Server } from "../../api/server.ts";
import { conflict, notFound } from "../../base/errors.ts";
import { type ClientStream, type Engine } from "../../engine/types.ts";
import { type Call, fakeEngine } from "../support/fake_engine.ts";
import { describeWith, program } from "../support/needs.ts";

/** The real docker command line, where there is one; the engine behind the API is a fake. */
const docker = findDocker();
function findDocker(): string | undefined {
  for (const dir of (Deno.env.get("PATH") ?? "").split(":")) {
    try {
      if (Deno.statSync(`${dir}/docker`).isFile) return `${dir}/docker`;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

const ID = "c".repeat(64);
const encoder = new TextEncoder();

function framed(stream: 1 | 2, text: string): Uint8Array {
  const data = encoder.encode(text);
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = stream;
  new DataView(bytes.buffer).setUint32(4, data.length);
  bytes.set(data, 8);
  return bytes;
}

/** What a container running `cat` would do, its half-close included. */
async function cat(ready: (info: { tty: boolean }) => Promise<ClientStream>): Promise<void> {
  const stream = await ready({ tty: false });
  for await (const data of stream.input) await stream.write(framed(1, new TextDecoder().decode(data)));
  await stream.write(framed(2, "end of input\n"));
  await stream.closeWrite();
}

const answers: Partial<Engine> = {
  version: () =>
    Promise.resolve({
      Platform: { Name: "berth" },
      Components: [{
        Name: "Engine",
        Version: "0.1.0",
        Details: { ApiVersion: "1.51", MinAPIVersion: "1.24" },
      }],
      Version: "0.1.0",
      ApiVersion: "1.51",
      MinAPIVersion: "1.24",
      Os: "linux",
      Arch: "amd64",
    }),
  info: () =>
    Promise.resolve({ ID: "x", ServerVersion: "0.1.0", OSType: "linux", NCPU: 2, MemTotal: 1 << 30 }),
  list: () =>
    Promise.resolve([{
      Id: ID,
      Names: ["/quiet_cat"],
      Image: "busybox",
      Command: "cat",
      Created: 1700000000,
      State: "running",
      Status: "Up 3 minutes",
      Ports: [],
    }]),
  inspect: (id) =>
    id === "missing" ? Promise.reject(notFound(`No such container: ${id}`)) : Promise.resolve({
      Id: ID,
      Name: "/quiet_cat",
      State: { Running: true, Status: "running" },
      Config: { Tty: false, OpenStdin: true },
      HostConfig: {},
    }),
  create: () => Promise.resolve({ Id: ID, Warnings: ["fake"] }),
  start: () => Promise.resolve(),
  attach: (_id, _options, ready) => cat(ready),
  wait: () => Promise.resolve({ result: Promise.resolve({ StatusCode: 7 }) }),
  execCreate: () => Promise.resolve({ Id: "e" }),
  execStart: (_id, _options, ready) => cat(ready),
  execInspect: () => Promise.resolve({ ID: "e", Running: false, ExitCode: 3 }),
  logs: () =>
    Promise.resolve({
      tty: false,
      chunks: (async function* () {
        yield await Promise.resolve(framed(1, "to stdout\n"));
        yield framed(2, "to stderr\n");
      })(),
    }),
  async *events() {
    yield await Promise.resolve({
      Type: "container",
      Action: "die",
      Actor: { ID, Attributes: { exitCode: "3" } },
      scope: "local" as const,
      time: 1700000000,
      timeNano: 1700000000123456789n,
    });
  },
  imageLoad: async (input, _signal, send) => {
    let length = 0;
    for await (const bytes of input) length += bytes.length;
    send({ stream: `Loaded image: of ${length} bytes\n` });
  },
  imageInspect: (ref) => Promise.resolve({ Id: "sha256:1", RepoTags: [ref] }),
  stop: () => Promise.resolve(),
  remove: () => Promise.reject(conflict("cannot remove container: it is running")),
};

describeWith(program("docker", "docker.io"))("docker's command line", () => {
  let dir: string;
  let server: Server;
  let calls: Call[];

  beforeAll(async () => {
    dir = await Deno.makeTempDir();
    const fake = fakeEngine(answers);
    calls = fake.calls;
    server = await serveApi(fake.engine, [{ kind: "unix", path: `${dir}/api.sock` }]);
  });
  afterAll(async () => {
    await server.close({ graceMs: 100 });
    await Deno.remove(dir, { recursive: true });
  });

  async function run(args: string[], input = ""): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = new Deno.Command(docker ?? "", {
      args,
      env: { DOCKER_HOST: `unix://${dir}/api.sock`, DOCKER_CONFIG: dir },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(encoder.encode(input)).catch(() => {});
    await writer.close().catch(() => {});
    const { code, stdout, stderr } = await child.output();
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  }

  test("version, info, ps", async () => {
    expect((await run(["version", "--format", "{{.Server.Version}} {{.Client.APIVersion}}"])).stdout).toMatch(
      /^0\.1\.0 1\.\d+\n$/,
    );
    expect(await run(["version"])).toMatchObject({ code: 0, stderr: "" });
    expect(await run(["info"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Server Version: 0.1.0"),
    });
    expect((await run(["ps", "--format", "{{.Names}} {{.Status}}"])).stdout).toBe("quiet_cat Up 3 minutes\n");
    expect((await run(["ps", "-q", "--filter", "label=a=b"])).code).toBe(0);
    expect(calls.at(-1)?.args[0]).toMatchObject({ filters: new Map([["label", ["a=b"]]]) });
  });

  test("run -i: create, attach, wait, start, half-close, exit code", async () => {
    const { code, stdout, stderr } = await run(
      ["run", "-i", "--name", "n", "busybox", "cat"],
      "some input\n",
    );
    expect(stdout).toBe("some input\n");
    expect(stderr).toBe("WARNING: fake\nend of input\n");
    expect(code).toBe(7);
    expect(calls.find(({ method }) => method === "create")?.args[0]).toMatchObject({
      name: "n",
      config: { Image: "busybox", Cmd: ["cat"], OpenStdin: true, StdinOnce: true },
    });
  });

  test("exec -i and attach", async () => {
    expect(await run(["exec", "-i", "quiet_cat", "cat"], "hi\n")).toEqual({
      code: 3,
      stdout: "hi\n",
      stderr: "end of input\n",
    });
    const attached = await run(["attach", "quiet_cat"], "hi\n");
    expect([attached.stdout, attached.stderr]).toEqual(["hi\n", "end of input\n"]);
  });

  test("logs, events, wait", async () => {
    expect(await run(["logs", "x"])).toEqual({ code: 0, stdout: "to stdout\n", stderr: "to stderr\n" });
    const events = await run(["events", "--since", "1", "--until", "2", "--format", "{{json .}}"]);
    expect(events.stdout).toContain('"timeNano":1700000000123456789');
    expect((await run(["wait", "x"])).stdout).toBe("7\n");
  });

  test("load reads an archive from standard input", async () => {
    const { code, stdout } = await run(["load"], "x".repeat(1_000_000));
    expect([code, stdout]).toEqual([0, "Loaded image: of 1000000 bytes\n"]);
  });

  test("errors have the engine's words", async () => {
    expect(await run(["inspect", "--type", "container", "missing"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("No such container: missing"),
    });
    expect(await run(["rm", "x"])).toMatchObject({
      code: 1,
      stderr: "Error response from daemon: cannot remove container: it is running\n",
    });
    expect((await run(["swarm", "leave"])).stderr).toContain("This node is not part of a swarm");
    expect((await run(["plugin", "disable", "x"])).stderr).toContain('plugin "x" not found');
  });
});
