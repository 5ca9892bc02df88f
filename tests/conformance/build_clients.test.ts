/**
 * Three projects (C with packages of apt, Node with npm ci, a static binary on nothing), built by everybody who speaks the classic protocol,
 * and by berth build. Whoever comes later finds what the others have built.
 */
import { finished } from "node:stream/promises";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type BuildProject, cProject, nodeProject, staticProject } from "../support/build_projects.ts";
import { call, COMPOSE, PYTHON, PYTHON_DOCKER } from "../support/conformance.ts";
import { mirrorReached } from "../support/debian_mirror.ts";
import { asDockerArchive, debianRootfs } from "../support/debian_rootfs.ts";
import { dockerClients, executableOf } from "../support/docker_clients.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, itWith, need, program } from "../support/needs.ts";
import { currentUser, runAs, testDir, type User, usersToTest } from "../support/users.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const debian = await debianRootfs();
const tar = "tar" in debian ? debian.tar : "";
const DEBIAN = need(tar !== "", "missing" in debian ? debian.missing : "");
const NODE = [program("node", "nodejs"), program("npm", "npm")];

/** apt's part, the first time. */
const SLOW = { timeout: 300_000 };
vi.setConfig({ testTimeout: SLOW.timeout });

const PYTHON_PROGRAM = `
import sys, docker
client = docker.DockerClient(base_url=sys.argv[1])
image, lines = client.images.build(path=sys.argv[2], tag=sys.argv[3], rm=True, buildargs={"NOBODY": "1"})
text = "".join(line.get("stream", "") for line in lines)
assert "Successfully tagged " + sys.argv[3] + ":latest" in text, text
assert "[Warning] One or more build-args [NOBODY] were not consumed" in text, text
assert sys.argv[3] + ":latest" in image.tags, image.tags
try:
    client.images.build(path=sys.argv[2], dockerfile="nowhere")
    raise AssertionError("no error")
except docker.errors.APIError as error:
    assert error.explanation == "Cannot locate specified Dockerfile: nowhere", error
print(image.id)
`;

describeWith(BUSYBOX).each(usersToTest())("builds as $name", (user: User) => {
  let engine: Engine;
  let dir: string;
  const projects: BuildProject[] = [];
  const missing = new Map([
    ["c", [DEBIAN, mirrorReached()]],
    ["node", NODE],
    ["static", []],
  ]);
  // what takes its time is built for one user
  const names = user.name === usersToTest()[0]?.name ? [...missing.keys()] : ["static"];

  beforeAll(async () => {
    engine = await startEngine({ user });
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-" });
    Deno.chmodSync(dir, 0o755);
    projects.push(await nodeProject(dir), staticProject(dir));
    if (tar === "" || !names.includes("c")) return;
    const archive = await asDockerArchive(tar, testDir(), "debian:loaded");
    expect((await engine.berth(["load", "-i", archive])).code).toBe(0);
    Deno.removeSync(archive);
    projects.push(cProject(dir, "debian:loaded"));
  }, 60_000);
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    if (dir) Deno.removeSync(dir, { recursive: true });
  });

  const projectOf = (name: string): BuildProject => {
    const found = projects.find((project) => project.name === name);
    if (found === undefined) throw new Error(`no project ${name}`);
    return found;
  };
  const prints = async (image: string) => {
    const { stdout, stderr } = await engine.berth(["run", "--rm", image]);
    return stdout + stderr;
  };
  const idOf = async (image: string) =>
    (await engine.berth(["inspect", "-f", "{{.Id}}", image])).stdout.trim();

  describe.each(names)("the project %s", (name) => {
    const project = () => projectOf(name);
    const test = itWith(...missing.get(name) ?? []);

    test("is built by berth build, and what has not changed is not built again", async () => {
      const { directory, source, prints: printed } = project();
      const first = await engine.berth(["build", "-t", `berth-${name}`, directory], SLOW);
      expect([first.code, first.stderr]).toEqual([0, expect.stringContaining("exporting to image")]);
      expect(await prints(`berth-${name}`)).toBe(printed);
      // as after git checkout: the same with other times
      Deno.utimeSync(source, new Date(), new Date());
      const again = await engine.berth(["build", "-t", `berth-${name}`, directory]);
      expect(again.stderr).not.toMatch(
        /^#\d+ \[(?!internal\])[^\]]*\] (?:RUN|COPY|WORKDIR) .*\n#\d+ (?!CACHED)/m,
      );
      const old = Deno.readTextFileSync(source);
      Deno.writeTextFileSync(source, old.replace("hello", "goodbye"));
      try {
        const changed = await engine.berth(["build", "-q", "-t", `changed-${name}`, directory]);
        expect([changed.code, changed.stdout]).toEqual([0, `${await idOf(`changed-${name}`)}\n`]);
        expect(await prints(`changed-${name}`)).toBe(printed.replace("hello", "goodbye"));
      } finally {
        Deno.writeTextFileSync(source, old);
      }
    });

    for (const client of dockerClients()) {
      test(`is built by docker ${client.version} and its classic protocol`, async () => {
        const { directory, prints: printed } = project();
        const docker = (...args: string[]) =>
          runAs(user, [executableOf(client), ...args], {
            env: { DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "0" },
            ...SLOW,
          });
        const { code, stdout, stderr } = await docker("build", "-t", `docker-${name}`, directory);
        expect([code, stdout], stderr).toEqual([
          0,
          expect.stringContaining(`Successfully tagged docker-${name}:latest\n`),
        ]);
        expect(stdout).toMatch(/^Step 1\/\d+ : FROM .*\n ---> [0-9a-f]{0,12}\n/m);
        const id = await idOf(`docker-${name}`);
        expect(stdout).toContain(`Successfully built ${id.slice("sha256:".length, "sha256:".length + 12)}\n`);
        expect(await prints(`docker-${name}`)).toBe(printed);
        const quiet = await docker("build", "-q", directory);
        expect(quiet.stdout).toBe(`${id}\n`);
        const wrong = await docker("build", "--target", "nowhere", directory);
        expect([wrong.code, wrong.stderr]).toEqual([
          1,
          expect.stringContaining('target stage "nowhere" could not be found'),
        ]);
      });
    }

    test("is built by dockerode", async () => {
      const { directory, prints: printed } = project();
      const docker = new Docker({ socketPath: engine.socket });
      const files = [...Deno.readDirSync(directory)].map((entry) => entry.name);
      const stream = await docker.buildImage({ context: directory, src: files }, { t: `dockerode-${name}` });
      const lines = await new Promise<{ stream?: string; aux?: { ID: string }; error?: string }[]>((
        resolve,
        reject,
      ) => docker.modem.followProgress(stream, (error, output) => error ? reject(error) : resolve(output)));
      expect(lines.find(({ error }) => error !== undefined)).toBeUndefined();
      expect(lines.find(({ aux }) => aux !== undefined)?.aux?.ID).toBe(await idOf(`dockerode-${name}`));
      await finished(stream, { writable: false }).catch(() => {});
      expect(await prints(`dockerode-${name}`)).toBe(printed);
    });

    const python = itWith(PYTHON_DOCKER, ...missing.get(name) ?? []);
    python("is built by python3-docker", async () => {
      const { directory, prints: printed } = project();
      const argv = [PYTHON, "-c", PYTHON_PROGRAM, engine.host, directory, `python-${name}`];
      const { code, stdout, stderr } = await runAs(user, argv, { ...SLOW });
      expect([code, stderr, stdout]).toEqual([0, "", `${await idOf(`python-${name}`)}\n`]);
      expect(await prints(`python-${name}`)).toBe(printed);
    });

    const compose = itWith(COMPOSE, ...missing.get(name) ?? []);
    compose("is built by docker-compose 1.29", async () => {
      const { directory, prints: printed } = project();
      const file = `${dir}/compose-${name}.yml`;
      Deno.writeTextFileSync(
        file,
        `version: "2.4"\nservices: {app: {build: {context: ${directory}, labels: {of: compose}}, image: "compose-${name}"}}\n`,
      );
      Deno.chmodSync(file, 0o644);
      const run = (...args: string[]) =>
        runAs(user, ["docker-compose", "--ansi", "never", "-p", `p${name}`, "-f", file, ...args], {
          env: { DOCKER_HOST: engine.host, COMPOSE_DOCKER_CLI_BUILD: "0", DOCKER_BUILDKIT: "0" },
          ...SLOW,
        });
      const built = await run("build");
      expect([built.code, built.stdout], built.stderr).toEqual([
        0,
        expect.stringContaining(`Successfully tagged compose-${name}:latest`),
      ]);
      expect((await run("run", "--rm", "app")).stdout).toBe(printed);
      expect((await engine.berth(["inspect", "-f", "{{.Config.Labels.of}}", `compose-${name}`])).stdout).toBe(
        "compose\n",
      );
      expect((await run("down", "-v")).code).toBe(0);
    });

    test("is built by testcontainers", async () => {
      const { directory, prints: printed } = project();
      const argv = [
        Deno.execPath(),
        "run",
        "-A",
        "--quiet",
        `${ROOT}tests/conformance/testcontainers_child.ts`,
      ];
      const { code, stdout, stderr } = await runAs(currentUser(), [...argv, "build", directory], {
        cwd: ROOT,
        env: {
          DOCKER_HOST: engine.host,
          TESTCONTAINERS_HOST_OVERRIDE: "127.0.0.1",
          TESTCONTAINERS_RYUK_DISABLED: "true",
        },
        ...SLOW,
      });
      expect([code, stderr]).toEqual([0, ""]);
      expect(JSON.parse(stdout)).toEqual({ prints: printed });
    });
  });

  it("shows the cache in system df, and gives it back", async () => {
    const { body } = await call(engine.socket, "GET", "/v1.51/system/df?type=build-cache");
    const records = (body as { BuildCache: { ID: string; Type: string; Description: string }[] }).BuildCache;
    expect(records.length).toBeGreaterThan(2);
    expect(records.map(({ Description }) => Description).join("\n")).toContain("COPY busybox /bin/");
    const pruned = await engine.berth(["builder", "prune", "-a", "-f"]);
    expect(pruned.stdout).toMatch(/^Deleted build cache objects:\n[^]*Total reclaimed space: /);
    const { body: after } = await call(engine.socket, "GET", "/v1.51/system/df?type=build-cache");
    expect((after as { BuildCache: unknown[] }).BuildCache).toEqual([]);
  });
});
