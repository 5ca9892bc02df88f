/** What the engine does with a container's life beyond what a command line shows: lost shims, policies, events, its lock. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { berthExecutable, type Engine, startEngine } from "../support/engine.ts";
import { leftovers, waitFor } from "../support/processes.ts";
import { request } from "../support/raw_http.ts";
import { runAs, spawnAs, testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

describeWith(BUSYBOX).each(usersToTest())("life of containers as $name", (user) => {
  let engine: Engine;
  const berth = (...args: string[]) => engine.berth(args);
  const state = async (name: string) =>
    (await berth("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", name)).stdout
      .trim();
  beforeAll(async () => {
    engine = await startEngine({ user });
    await berth("load", "-q", "-i", await busyboxArchive(testDir()));
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it("a container whose shim is killed is reported as killed, and can be started again", async () => {
    await berth("run", "-d", "--name", "lost", "busybox", "sleep", "1000");
    const shims = [...Deno.readDirSync(`${engine.execRoot}/shims`)].flatMap(({ name }) => {
      try {
        return [JSON.parse(Deno.readTextFileSync(`${engine.execRoot}/shims/${name}/state.json`))];
      } catch {
        // one of the pool, which is still booting
        return [];
      }
    });
    const [holder] = shims.filter(({ containerId }) => containerId !== null);
    Deno.kill(holder.shimPid, "SIGKILL");
    await waitFor(async () => await state("lost") === "exited 137 0", 10_000);
    const error = await berth("inspect", "-f", "{{.State.Error}}", "lost");
    expect(error.stdout).toContain("shim has ended unexpectedly");
    expect((await berth("start", "lost")).code).toBe(0);
    expect(await state("lost")).toBe("running 0 0");
    await berth("rm", "-f", "lost");
  });

  it("on-failure restarts as often as asked, and never after a stop", async () => {
    await berth("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3");
    await waitFor(async () => await state("again") === "exited 3 2", 15_000);
    await berth("run", "-d", "--name", "held", "--restart", "always", "busybox", "sleep", "1000");
    await berth("stop", "-t", "0", "held");
    expect(await state("held")).toBe("exited 137 0");
    await berth("rm", "again", "held");
  });

  it("ps --filter ancestor: by name, id and beginning of an id, with all images made from it", async () => {
    const archive = await busyboxArchive(testDir(), { reference: "base:1", files: { mark: user.name } });
    expect((await berth("load", "-q", "-i", archive)).code).toBe(0);
    await berth("create", "--name", "on-base", "base:1", "true");
    await berth("run", "--name", "changing", "base:1", "touch", "/new");
    expect((await berth("commit", "changing", "child:1")).code).toBe(0);
    // Without a layer of its own: the parent alone says where it comes from.
    expect((await berth("commit", "-c", "ENV A=b", "on-base", "child:2")).code).toBe(0);
    await berth("create", "--name", "on-child", "child:1", "true");
    await berth("create", "--name", "on-copy", "child:2", "true");
    await berth("rm", "changing");
    await berth("create", "--name", "stranger", "busybox", "true");
    const having = async (ancestor: string) =>
      (await berth("ps", "-a", "--filter", `ancestor=${ancestor}`, "--format", "{{.Names}}")).stdout.trim()
        .split("\n").sort();
    const id = (await berth("image", "inspect", "-f", "{{.Id}}", "base:1")).stdout.trim();
    for (const form of ["base:1", id, id.slice("sha256:".length, 20), "docker.io/library/base:1"]) {
      expect(await having(form), form).toEqual(["on-base", "on-child", "on-copy"]);
    }
    expect(await having("child:1")).toEqual(["on-child"]);
    expect(await having("no-such-image")).toEqual([""]);
    // An image that a pull or a load brought, without a word about its parent, is known by its layers.
    await berth("rm", "on-child");
    const file = `${engine.dir}/child.tar`;
    expect((await berth("save", "-o", file, "child:1")).code).toBe(0);
    await berth("rmi", "child:1");
    expect((await berth("load", "-q", "-i", file)).code).toBe(0);
    await berth("create", "--name", "on-loaded", "child:1", "true");
    expect(await having("base:1")).toEqual(["on-base", "on-copy", "on-loaded"]);
    await berth("rm", "on-base", "on-copy", "on-loaded", "stranger");
    await berth("rmi", "child:1", "child:2", "base:1");
  });

  it("an exec goes on when the engine is killed: seen by top, unknown to inspect, ended with the container", async () => {
    await berth("run", "-d", "--name", "busy", "busybox", "sleep", "1000");
    const post = (target: string, body: unknown) =>
      request(engine.socket, "POST", target, {
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    const created = await post("/containers/busy/exec", { Cmd: ["sleep", "777"] });
    const { Id: id } = JSON.parse(created.body) as { Id: string };
    expect((await post(`/exec/${id}/start`, { Detach: true })).status).toBe(200);
    const inspect = () => request(engine.socket, "GET", `/exec/${id}/json`);
    expect(JSON.parse((await inspect()).body)).toMatchObject({ Running: true });
    await engine.kill9();
    await engine.restart();
    const unknown = await inspect();
    expect([unknown.status, JSON.parse(unknown.body)]).toEqual([404, {
      message: `No such exec instance: ${id}`,
    }]);
    expect((await berth("top", "busy")).stdout).toContain("sleep 777");
    // The next one works, and nothing of the forgotten one is in its way.
    expect((await berth("exec", "busy", "echo", "again")).stdout).toBe("again\n");
    expect((await berth("rm", "-f", "busy")).code).toBe(0);
    expect(leftovers(engine.dir).filter(({ what }) => what.includes("sleep 777"))).toEqual([]);
  });

  it("SIGTERM to an attached run without a terminal reaches the process, whose exit code comes back", async () => {
    for (const flags of [[], ["--init"], ["-i"]]) {
      const script = "trap 'exit 7' TERM; echo ready; sleep 1000 & wait";
      const child = spawnAs(user, [
        berthExecutable(),
        "-H",
        engine.host,
        "run",
        "--rm",
        ...flags,
        "busybox",
        "sh",
        "-c",
        script,
      ]);
      const reader = child.stdout.getReader();
      expect(new TextDecoder().decode((await reader.read()).value)).toBe("ready\n");
      child.kill("SIGTERM");
      expect((await child.status).code, flags.join(" ")).toBe(7);
      reader.releaseLock();
      await child.stdout.cancel();
      await child.stderr.cancel();
    }
    expect((await berth("ps", "-aq")).stdout).toBe("");
  });

  it("names are taken once, and a running container is removed by force only", async () => {
    await berth("run", "-d", "--name", "one", "busybox", "sleep", "1000");
    const twice = await berth("create", "--name", "one", "busybox", "true");
    expect(twice.stderr).toContain('The container name "/one" is already in use by container');
    const removal = await berth("rm", "one");
    expect([removal.code, removal.stderr]).toEqual([
      1,
      expect.stringContaining(
        'cannot remove container "one": container is running: stop the container before removing or force remove',
      ),
    ]);
    expect((await berth("rename", "one", "two")).code).toBe(0);
    expect((await berth("rm", "-f", "two")).code).toBe(0);
  });

  it("events come in Docker's order", async () => {
    const since = String(Date.now() / 1000);
    await berth("run", "-d", "--name", "seen", "busybox", "sleep", "1000");
    await berth("stop", "-t", "0", "seen");
    await berth("rm", "seen");
    const events = await berth(
      "events",
      "--since",
      since,
      "--until",
      String(Date.now() / 1000),
      "--filter",
      "container=seen",
      "--format",
      "{{.Action}}",
    );
    expect(events.stdout.trim().split("\n")).toEqual([
      "create",
      "start",
      "kill",
      "kill",
      "die",
      "stop",
      "destroy",
    ]);
  });

  it("a second engine does not get the data root", async () => {
    const second = await runAs(user, [
      berthExecutable(),
      "serve",
      "-H",
      `unix://${engine.dir}/s2`,
      "--data-root",
      engine.dataRoot,
      "--exec-root",
      engine.execRoot,
    ]);
    expect(second.code).toBe(125);
    expect(second.stderr).toContain(
      `another berth engine (pid ${engine.pid}) already uses ${engine.dataRoot}`,
    );
  });
});
