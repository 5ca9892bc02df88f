/** testcontainers for Node, as projects use it: without its reaper Ryuk, and with a container in Ryuk's place. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call, PYTHON } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith, itWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { currentUser, runAs, testDir, type User, usersToTest } from "../support/users.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

describeWith(BUSYBOX).each(usersToTest())("testcontainers as $name", (user: User) => {
  let engine: Engine;
  let file: string;

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    file = Deno.makeTempFileSync({ dir: testDir() });
    Deno.writeTextFileSync(file, "copied\n");
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  /** The client runs as who runs the tests (it needs the checkout), the engine as `user`. */
  async function child(what: string, env: Record<string, string>): Promise<Record<string, unknown>> {
    const script = `${ROOT}tests/conformance/testcontainers_child.ts`;
    const argv = [Deno.execPath(), "run", "-A", "--quiet", script, what, file];
    const { code, stdout, stderr } = await runAs(currentUser(), argv, {
      cwd: ROOT,
      env: { DOCKER_HOST: engine.host, TESTCONTAINERS_HOST_OVERRIDE: "127.0.0.1", ...env },
      timeout: 100_000,
    });
    expect([code, stderr]).toEqual([0, ""]);
    return JSON.parse(stdout) as Record<string, unknown>;
  }
  const containers = async () =>
    (await call(engine.socket, "GET", "/containers/json?all=1")).body as { Id: string; Names: string[] }[];

  it("Ryuk off: waits, ports, files, networks, exec, logs, restart, and nothing is left", async () => {
    expect(await child("life", { TESTCONTAINERS_RYUK_DISABLED: "true" })).toMatchObject({
      exec: [4, "env\n1\n"],
      inside: "served",
      outside: "served",
      later: "later",
      logs: ["starting", "given", "copied"],
      again: "served",
    });
    expect(await containers()).toEqual([]);
    const { body } = await call(engine.socket, "GET", '/networks?filters={"type":["custom"]}');
    expect(body).toEqual([]);
  });

  itWith(program(PYTHON, "python3"))("a reaper in a container removes what a process leaves", async () => {
    // berth/host has Debian's Python: Ryuk's own image would have to be pulled.
    const reaper = Deno.readTextFileSync(`${ROOT}tests/support/reaper.py`);
    const name = "reaper-source";
    const made = await engine.berth([
      "create",
      "-i",
      "--name",
      name,
      "berth/host",
      PYTHON,
      "-u",
      "/reaper.py",
    ]);
    expect([made.code, made.stderr]).toEqual([0, ""]);
    const script = Deno.makeTempFileSync({ dir: testDir() });
    Deno.writeTextFileSync(script, reaper);
    Deno.chmodSync(script, 0o644);
    expect((await engine.berth(["cp", script, `${name}:/reaper.py`])).stderr).not.toContain("rror");
    const commit = await engine.berth(["commit", name, "reaper:1"]);
    expect([commit.code, commit.stderr]).toEqual([0, ""]);
    await engine.berth(["rm", name]);

    const { id } = await child("leave", {
      RYUK_CONTAINER_IMAGE: "reaper:1",
      // Docker's own path, where the machine may have another engine or none: in a container it is this one.
      TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE: "/var/run/docker.sock",
    });
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    // The reaper's own container has the session's label as well.
    await waitFor(
      async () => (await containers()).length === 0,
      20_000,
      () => "the containers are not removed",
    );
  });
});
