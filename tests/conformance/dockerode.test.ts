/** dockerode, Node's client, through everything that a container lives through. */
import { Buffer } from "node:buffer";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import Docker from "dockerode";
import { busyboxEngine } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith, itWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { REGISTRY, Registry } from "../support/registry.ts";
import { runAs, testDir, type User, usersToTest } from "../support/users.ts";

/** Collects what a stream carries. */
class Output extends PassThrough {
  text = "";

  constructor() {
    super();
    this.on("data", (data: Buffer) => this.text += data.toString());
  }

  async until(text: string): Promise<void> {
    await waitFor(() => this.text.includes(text), 20_000, () => `so far: ${JSON.stringify(this.text)}`);
  }
}

/** Collects a stream of JSON lines; ends with it. */
class Lines<T> {
  readonly all: T[] = [];
  readonly ended: Promise<void>;

  constructor(stream: NodeJS.ReadableStream) {
    let rest = "";
    stream.on("data", (data: Buffer) => {
      const lines = (rest + data.toString()).split("\n");
      rest = lines.pop() ?? "";
      this.all.push(...lines.filter((line) => line.trim() !== "").map((line) => JSON.parse(line) as T));
    });
    this.ended = finished(stream, { writable: false }).catch(() => {});
  }
}

/** Demultiplexes a stream as dockerode's users do. */
function demultiplex(docker: Docker, stream: NodeJS.ReadWriteStream): { out: Output; err: Output } {
  const [out, err] = [new Output(), new Output()];
  docker.modem.demuxStream(stream, out, err);
  return { out, err };
}

interface DockerError {
  statusCode: number;
  message: string;
  json: { message: string } | null;
}
const refusal = (promise: Promise<unknown>): Promise<[number, string]> =>
  promise.then(
    () => [200, ""],
    // Of answers that may be streams dockerode keeps the words only.
    (error: DockerError) => [error.statusCode, error.json?.message ?? error.message],
  );

describeWith(BUSYBOX).each(usersToTest())("dockerode as $name", (user: User) => {
  let engine: Engine;
  let docker: Docker;

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    docker = new Docker({ socketPath: engine.socket });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    for (const { Id } of await docker.listContainers({ all: true })) {
      await docker.getContainer(Id).remove({ force: true, v: true });
    }
  });

  /** Runs `command` in a shell until it is told to end. */
  async function running(command: string, options: Docker.ContainerCreateOptions = {}) {
    const container = await docker.createContainer({
      Image: "busybox",
      Cmd: ["sh", "-c", `trap 'exit 0' TERM; ${command}; while :; do sleep 0.1; done`],
      ...options,
    });
    await container.start();
    return container;
  }

  it("ping, version, info", async () => {
    expect(String(await docker.ping())).toBe("OK");
    expect(await docker.version()).toMatchObject({ ApiVersion: "1.51", MinAPIVersion: "1.24", Os: "linux" });
    expect(await docker.info()).toMatchObject({ Containers: 0, ContainersRunning: 0, OSType: "linux" });
  });

  it("attach before start: input, both outputs, half-close, exit code", async () => {
    const container = await docker.createContainer({
      Image: "busybox",
      Cmd: ["sh", "-c", "cat; echo done >&2; exit 3"],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await container.attach({
      stream: true,
      hijack: true,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const { out, err } = demultiplex(docker, stream);
    const waiting = container.wait({ condition: "next-exit" });
    await container.start();
    stream.write("one\n");
    await out.until("one\n");
    stream.end("two\n");
    expect(await waiting).toEqual({ StatusCode: 3 });
    await err.until("done\n");
    expect(out.text).toBe("one\ntwo\n");
    expect((await container.inspect()).State).toMatchObject({
      Status: "exited",
      ExitCode: 3,
      Running: false,
    });
  });

  it("run() with streams, and its removal", async () => {
    const [out, err] = [new Output(), new Output()];
    const [result, container] = await docker.run("busybox", ["echo", "hello"], [out, err], {
      Tty: false,
    }) as [
      { StatusCode: number },
      Docker.Container,
    ];
    expect(result.StatusCode).toBe(0);
    expect(out.text).toBe("hello\n");
    await container.remove();
    expect(await refusal(container.inspect())).toEqual([404, `No such container: ${container.id}`]);
  });

  it("exec: input and output, exit code, environment, terminal and its size", async () => {
    const container = await running("true");
    const exec = await container.exec({
      Cmd: ["sh", "-c", "cat; echo $WORD >&2; pwd; exit 7"],
      Env: ["WORD=env"],
      WorkingDir: "/tmp",
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    const { out, err } = demultiplex(docker, stream);
    stream.end("in\n");
    await out.until("/tmp\n");
    await err.until("env\n");
    await waitFor(async () => !(await exec.inspect()).Running, 10_000, () => "the exec does not end");
    expect(await exec.inspect()).toMatchObject({ ExitCode: 7, Running: false, ContainerID: container.id });

    const terminal = await container.exec({ Cmd: ["sh"], Tty: true, AttachStdin: true, AttachStdout: true });
    const tty = await terminal.start({ hijack: true, stdin: true, Tty: true });
    const screen = new Output();
    tty.pipe(screen);
    await terminal.resize({ h: 33, w: 99 });
    tty.write("stty size\n");
    await screen.until("33 99");
    tty.write("exit 5\n");
    await waitFor(
      async () => (await terminal.inspect()).ExitCode === 5,
      10_000,
      () => "the shell does not end",
    );
  });

  it("logs: all, the tail, followed to the end", async () => {
    const container = await running("echo one; echo two >&2");
    const { out, err } = demultiplex(
      docker,
      await container.logs({ follow: true, stdout: true, stderr: true }) as NodeJS.ReadWriteStream,
    );
    await out.until("one\n");
    await err.until("two\n");
    const tail = await container.logs({ stdout: true, stderr: true, tail: 1 });
    expect([...tail.subarray(0, 8)].slice(0, 1)).toEqual([2]);
    expect(tail.subarray(8).toString()).toBe("two\n");
    const follow = await container.logs({ follow: true, stdout: true, stderr: true });
    const ended = finished(follow, { writable: false });
    follow.resume();
    await container.stop();
    await ended;
  });

  it("list with filters, rename, top, restart, kill, changes", async () => {
    const container = await running("echo x > /file", { name: "first", Labels: { kind: "test" } });
    expect((await docker.listContainers({ filters: { label: ["kind=test"] } })).map(({ Names }) => Names))
      .toEqual(
        [["/first"]],
      );
    await container.rename({ name: "second" });
    expect((await docker.getContainer("second").inspect()).Id).toBe(container.id);
    expect((await container.top()).Processes.flat().join(" ")).toContain("trap");
    await waitFor(
      async () => JSON.stringify(await container.changes()).includes('"/file"'),
      10_000,
      () => "the file is no change",
    );
    const { State: { Pid: before } } = await container.inspect();
    await container.restart({ t: 5 });
    expect((await container.inspect()).State.Pid).not.toBe(before);
    await container.kill({ signal: "SIGKILL" });
    await waitFor(async () => !(await container.inspect()).State.Running, 10_000, () => "it lives");
    expect((await container.inspect()).State.ExitCode).toBe(137);
    expect(await refusal(container.kill())).toEqual([409, expect.stringContaining("is not running")]);
  });

  it("archives in both directions", async () => {
    const dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "archive-" });
    Deno.writeTextFileSync(`${dir}/file`, "content");
    const tar = await runAs(
      { ...user, name: "root", uid: Deno.uid() ?? 0 },
      ["tar", "-C", dir, "-c", "file"],
      {
        cwd: "/",
      },
    );
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["cat", "/tmp/file"] });
    await container.putArchive(Buffer.from(tar.stdoutBytes), { path: "/tmp" });
    const archive = await container.getArchive({ path: "/tmp/file" });
    const parts: Buffer[] = [];
    archive.on("data", (part: Buffer) => parts.push(part));
    await finished(archive, { writable: false });
    expect(Buffer.concat(parts).includes("content")).toBe(true);
    await container.start();
    expect(await container.wait()).toEqual({ StatusCode: 0 });
    expect((await container.logs({ stdout: true })).toString()).toContain("content");
    expect(await refusal(container.getArchive({ path: "/nowhere" }))).toEqual([
      404,
      expect.stringContaining("Could not find the file /nowhere in container"),
    ]);
  });

  it("events as they come, and those that were", async () => {
    const since = Math.floor(Date.now() / 1000) - 1;
    const live = await docker.getEvents({ filters: { type: ["container"] } });
    const events = new Lines<{ Action: string; Actor: { ID: string } }>(live);
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["true"] });
    await container.start();
    await container.wait();
    await container.remove();
    const actions = () =>
      events.all.filter(({ Actor }) => Actor.ID === container.id).map(({ Action }) => Action);
    await waitFor(() => actions().includes("destroy"), 10_000, () => actions().join(" "));
    expect(actions()).toEqual(["create", "start", "die", "destroy"]);
    (live as NodeJS.ReadableStream & { destroy(): void }).destroy();
    const past = new Lines<{ Action: string }>(
      await docker.getEvents({
        since,
        until: Math.ceil(Date.now() / 1000),
        filters: { container: [container.id] },
      }),
    );
    await past.ended;
    expect(past.all.map(({ Action }) => Action)).toEqual(["create", "start", "die", "destroy"]);
  });

  it("networks and volumes: a container in one, with the other", async () => {
    const network = await docker.createNetwork({ Name: "net", Internal: true });
    await docker.createVolume({ Name: "data", Labels: { a: "b" } });
    const container = await running("hostname > /data/name", {
      Hostname: "inside",
      HostConfig: { NetworkMode: "net", Binds: ["data:/data"] },
    });
    const { Containers } = await network.inspect() as { Containers: Record<string, unknown> };
    expect(Object.keys(Containers)).toEqual([container.id]);
    expect((await container.inspect()).Mounts).toMatchObject([{
      Type: "volume",
      Name: "data",
      Destination: "/data",
    }]);
    expect(await refusal(docker.getVolume("data").remove())).toEqual([
      409,
      expect.stringContaining("volume is in use"),
    ]);
    expect(await refusal(network.remove())).toEqual([403, expect.stringContaining("has active endpoints")]);
    await network.disconnect({ Container: container.id });
    await container.remove({ force: true });
    await network.remove();
    await docker.getVolume("data").remove();
    expect((await docker.listVolumes()).Volumes).toEqual([]);
  });

  it("commit, tag, history, save and load, remove", async () => {
    const container = await running("echo x > /file");
    await waitFor(
      async () => JSON.stringify(await container.changes()).includes("/file"),
      10_000,
      () => "the file is no change",
    );
    const { Id } = await container.commit({ repo: "made", tag: "1", comment: "by hand" }) as { Id: string };
    const image = docker.getImage("made:1");
    expect((await image.inspect()).Id).toBe(Id);
    await image.tag({ repo: "made", tag: "2" });
    expect((await image.history())[0]).toMatchObject({ Comment: "by hand", Tags: ["made:1", "made:2"] });
    const saved = await docker.getImage("made:2").get();
    await docker.getImage("made:1").remove();
    await container.remove({ force: true });
    await docker.getImage("made:2").remove();
    const loaded = new Lines<{ stream?: string }>(await docker.loadImage(saved));
    await loaded.ended;
    expect(loaded.all.map(({ stream }) => stream ?? "").join("")).toContain("Loaded image: made:2\n");
    await docker.getImage("made:2").remove();
  });

  it("errors carry Docker's status and message", async () => {
    expect(await refusal(docker.getContainer("none").inspect())).toEqual([404, "No such container: none"]);
    expect(await refusal(docker.createContainer({ Image: "none" }))).toEqual([
      404,
      "No such image: none:latest",
    ]);
    expect(await refusal(docker.getImage("none").inspect())).toEqual([
      404,
      expect.stringContaining("No such image"),
    ]);
    expect(await refusal(docker.getNetwork("nothing").inspect())).toEqual([404, "network nothing not found"]);
    expect(await refusal(docker.getVolume("none").inspect())).toEqual([404, "get none: no such volume"]);
    expect(await refusal(docker.swarmInspect())).toEqual([
      503,
      expect.stringContaining("not a swarm manager"),
    ]);
    await docker.createContainer({ Image: "busybox", name: "taken" });
    expect(await refusal(docker.createContainer({ Image: "busybox", name: "taken" }))).toEqual([
      409,
      expect.stringMatching(
        /^Conflict\. The container name "\/taken" is already in use by container "[0-9a-f]{64}"/,
      ),
    ]);
  });

  itWith(REGISTRY)("pull and push with progress, and prune", async () => {
    const dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "registry-" });
    await using registry = await Registry.start({ dir });
    const name = `${registry.host}/library/busybox`;
    await docker.getImage("busybox").tag({ repo: name, tag: "1" });
    const progress = (stream: NodeJS.ReadableStream) =>
      new Promise<{ status?: string; error?: string }[]>((resolve, reject) => {
        docker.modem.followProgress(stream, (error, result) => error ? reject(error) : resolve(result));
      });
    const pushed = await progress(await docker.getImage(name).push({ tag: "1" }));
    expect(pushed.map(({ status }) => status).join("\n")).toMatch(
      /^1: digest: sha256:[0-9a-f]{64} size: \d+$/m,
    );
    await docker.getImage(`${name}:1`).remove();
    const pulled = await progress(await docker.pull(`${name}:1`));
    expect(pulled.at(-1)?.status).toBe(`Status: Downloaded newer image for ${name}:1`);
    await docker.getImage(`${name}:1`).remove();
    await expect(docker.pull(`${name}:none`)).rejects.toMatchObject({ statusCode: 404 });
    expect(await docker.pruneContainers()).toMatchObject({ SpaceReclaimed: 0 });
    expect(await docker.pruneImages()).toMatchObject({ SpaceReclaimed: 0 });
  });
});
