/** docker with buildx, and compose v2: BuildKit's clients, over /session and /grpc. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildkitClient, BUILDX } from "../support/buildkit_clients.ts";
import { busyboxEngine, call } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { runAs, type RunResult, spawnAs, testDir, type User, usersToTest } from "../support/users.ts";

const DOCKERFILE = `# syntax=docker/dockerfile:1
FROM busybox AS base
ARG WORD=none
WORKDIR /work
COPY hello.txt ./
RUN echo "$WORD" >word.txt

FROM base AS app
COPY --from=base /work/word.txt /copied.txt
LABEL from=dockerfile
CMD ["cat", "/work/hello.txt", "/copied.txt"]

FROM scratch AS files
COPY --from=base /work /

FROM base AS fails
RUN echo before && exit 3

FROM base AS hangs
RUN echo waiting && sleep 98761

FROM base AS mounts
RUN --mount=type=secret,id=word,required cat /run/secrets/word | tr a-z A-Z >secret.txt
RUN --mount=type=ssh,required test -S "$SSH_AUTH_SOCK"
COPY --from=other other.txt ./
`;

describeWith(BUSYBOX, BUILDX).each(usersToTest())("buildx as $name", (user: User) => {
  const { docker, config } = buildkitClient();
  let engine: Engine;
  let dir: string;

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "buildx" });
    Deno.chmodSync(dir, 0o777);
    for (const sub of ["context", "other"]) Deno.mkdirSync(`${dir}/${sub}`);
    Deno.writeTextFileSync(`${dir}/context/Dockerfile`, DOCKERFILE);
    Deno.writeTextFileSync(`${dir}/context/hello.txt`, "hello\n");
    Deno.writeTextFileSync(`${dir}/context/ignored.bin`, "x".repeat(100_000));
    Deno.writeTextFileSync(`${dir}/context/.dockerignore`, "# what nobody needs\n*.bin\n");
    Deno.writeTextFileSync(`${dir}/other/other.txt`, "other\n");
    Deno.writeTextFileSync(`${dir}/secret`, "confidential\n");
    for (const path of ["context/Dockerfile", "context/hello.txt", "context/.dockerignore", "secret"]) {
      Deno.chmodSync(`${dir}/${path}`, 0o644);
    }
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  const environment = () => ({
    DOCKER_HOST: engine.host,
    DOCKER_CONFIG: config,
    BUILDX_CONFIG: `${config}/buildx`,
    BUILDKIT_PROGRESS: "plain",
    BUILDX_GIT_INFO: "false",
  });
  const run = (args: string[], env: Record<string, string> = {}): Promise<RunResult> =>
    runAs(user, [docker, ...args], { cwd: dir, env: { ...environment(), ...env }, timeout: 100_000 });
  async function succeeds(args: string[], env: Record<string, string> = {}): Promise<RunResult> {
    const result = await run(args, env);
    expect([result.code, args.join(" ")], result.stderr).toEqual([0, args.join(" ")]);
    return result;
  }

  it("lists berth as a builder", async () => {
    const { stdout } = await succeeds(["buildx", "ls"]);
    expect(stdout).toMatch(/default.*running/);
  });

  it("builds an image with build arguments and labels, which runs", async () => {
    const args = ["build", "-t", "app", "-t", "app:two", "--target", "app", "--build-arg", "WORD=given"];
    const { stderr } = await succeeds([...args, "--label", "by=test", "--iidfile", "id", "context"]);
    expect(stderr).toContain("[internal] load build definition from Dockerfile");
    expect(stderr).toContain('[base 4/4] RUN echo "given" >word.txt');
    expect(stderr).not.toMatch(/^#\d+ (?:ARG|LABEL|CMD|FROM base)/m);
    expect(stderr.match(/load build definition/g)).toHaveLength(1);
    const { body } = await call(engine.socket, "GET", "/images/app:two/json");
    const image = body as { Id: string; Config: { Labels: Record<string, string> } };
    expect(image.Config.Labels).toEqual({ from: "dockerfile", by: "test" });
    expect(Deno.readTextFileSync(`${dir}/id`)).toBe(image.Id);
    expect((await succeeds(["run", "--rm", "app"])).stdout).toBe("hello\ngiven\n");
  });

  it("takes everything from the cache the second time, also after a touch", async () => {
    const args = ["build", "-t", "app", "--target", "app", "--build-arg", "WORD=given", "context"];
    await succeeds(args);
    Deno.utimeSync(`${dir}/context/hello.txt`, 1, 1);
    const { stderr } = await succeeds(args);
    const steps = [...stderr.matchAll(/^#(\d+) \[(?:base|app) .*\] (?:RUN|COPY|WORKDIR)/gm)].map(([, id]) =>
      id
    );
    expect(new Set(steps).size).toBe(4);
    for (const id of new Set(steps)) expect(stderr).toMatch(new RegExp(`^#${id} CACHED$`, "m"));
  });

  it("sends of a directory what has changed since the build before", async () => {
    const path = `${dir}/large`;
    Deno.mkdirSync(path);
    Deno.writeTextFileSync(`${path}/Dockerfile`, "FROM scratch\nCOPY . /\n");
    Deno.writeTextFileSync(`${path}/large`, "y".repeat(300_000));
    Deno.writeTextFileSync(`${path}/small`, "one");
    // long ago, and not to the second
    for (const name of ["large", "small"]) {
      Deno.utimeSync(`${path}/${name}`, 1_600_000_000.123, 1_600_000_000.123);
    }
    const transferred = async () => {
      const { stderr } = await succeeds(["build", "-o", "type=tar,dest=large.tar", "large"]);
      return /^#\d+ transferring context: (\d+)(?:\.\d+)?(k?B) .*done$/m.exec(
        stderr.slice(stderr.indexOf("load build context")),
      )?.slice(1).join("");
    };
    expect(await transferred()).toMatch(/^30\dkB$/);
    expect(await transferred()).toMatch(/^\d{1,3}B$/);
    Deno.writeTextFileSync(`${path}/small`, "two");
    expect(await transferred()).toMatch(/^\d{1,3}B$/);
    const { stdout } = await runAs(user, ["tar", "-xOf", `${dir}/large.tar`, "small"]);
    expect(stdout).toBe("two");
    expect((await succeeds(["buildx", "du", "--verbose"])).stdout).toMatch(/source\.local/);
  });

  it("sends what .dockerignore leaves in", async () => {
    const { stderr } = await succeeds(["build", "--target", "files", "-o", "out", "context"]);
    expect(stderr).not.toMatch(/transferring context: 1\d\d(?:\.\d+)?kB/);
  });

  it("exports files to a directory and to an archive", async () => {
    await succeeds(["build", "--target", "files", "--build-arg", "WORD=out", "-o", "out", "context"]);
    expect([...Deno.readDirSync(`${dir}/out`)].map(({ name }) => name).sort()).toEqual([
      "hello.txt",
      "word.txt",
    ]);
    expect(Deno.readTextFileSync(`${dir}/out/word.txt`)).toBe("out\n");
    await succeeds(["build", "--target", "files", "-o", "type=tar,dest=out.tar", "context"]);
    const list = await runAs(user, ["tar", "-tf", `${dir}/out.tar`]);
    expect(list.stdout.split("\n").map((line) => line.replace(/^\.\//, ""))).toContain("hello.txt");
  });

  it("shows the line that failed, and what it printed", async () => {
    const { code, stderr } = await run(["build", "--target", "fails", "context"]);
    expect(code).toBe(1);
    expect(stderr).toContain("before");
    expect(stderr).toMatch(/Dockerfile:\d+\n-+\n/);
    expect(stderr).toMatch(/>>> RUN echo before && exit 3/);
    expect(stderr).toContain(
      'failed to solve: process "/bin/sh -c echo before && exit 3" did not complete successfully: exit code: 3',
    );
  });

  it("shows the line that failed of a long Dockerfile, and the beginning of a long message", async () => {
    const comments = `# ${"x".repeat(98)}\n`.repeat(4000);
    Deno.writeTextFileSync(`${dir}/long`, `FROM busybox\n${comments}RUN exit 4\n`);
    Deno.writeTextFileSync(`${dir}/wide`, `FROM busybox\nRUN exit 5 # ${"é".repeat(40_000)}\n`);
    for (const path of ["long", "wide"]) Deno.chmodSync(`${dir}/${path}`, 0o644);
    const long = await run(["build", "-f", "long", "context"]);
    expect([long.code, long.stderr]).toEqual([1, expect.stringMatching(/long:4002\n-+\n/)]);
    expect(long.stderr).toMatch(/4002 \| >>> RUN exit 4/);
    const wide = await run(["build", "-f", "wide", "context"]);
    expect(wide.code).toBe(1);
    expect(wide.stderr.replaceAll(/é+/g, "é")).toMatch(/ERROR: .*: process "\/bin\/sh -c exit 5 # é …\n$/);
  });

  it("gives secrets, the client's agent and other directories to a step, and keeps none", async () => {
    using _agent = Deno.listen({ transport: "unix", path: `${dir}/agent.sock` });
    Deno.chmodSync(`${dir}/agent.sock`, 0o777);
    await succeeds([
      ...["build", "-t", "mounts", "--target", "mounts", "--secret", "id=word,src=secret"],
      ...["--ssh", `default=${dir}/agent.sock`, "--build-context", "other=other", "context"],
    ]);
    const show = "cat secret.txt other.txt; ls -d /run /tmp/*ssh* 2>/dev/null || true";
    const { stdout } = await succeeds(["run", "--rm", "mounts", "sh", "-c", show]);
    expect(stdout).toBe("CONFIDENTIAL\nother\n");
    const history = await succeeds(["history", "--no-trunc", "mounts"]);
    expect(history.stdout).not.toContain("confidential");
  });

  it("says which secret is missing", async () => {
    const { code, stderr } = await run([
      "build",
      "--no-cache",
      "--target",
      "mounts",
      "--build-context",
      "other=other",
      "context",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("secret word: not found");
  });

  it("takes a Dockerfile or an archive from standard input", async () => {
    const typed = await runAs(user, [docker, "build", "-q", "-t", "typed", "-"], {
      cwd: dir,
      env: environment(),
      stdin: "FROM busybox\nRUN echo typed >/typed\n",
    });
    expect(typed.code, typed.stderr).toBe(0);
    expect((await succeeds(["run", "--rm", "typed", "cat", "/typed"])).stdout).toBe("typed\n");
    const packed = await runAs(user, [
      ...["sh", "-c", 'tar -c -C context . | "$0" build -q --target app -t packed -', docker],
    ], { cwd: dir, env: environment() });
    expect(packed.code, packed.stderr).toBe(0);
    expect((await succeeds(["run", "--rm", "packed"])).stdout).toBe("hello\nnone\n");
  });

  it("fetches contexts from the web", async () => {
    const { stdoutBytes } = await runAs(user, ["tar", "-c", "-z", "-C", `${dir}/context`, "."]);
    const served = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response(stdoutBytes.slice()),
    );
    try {
      const url = `http://127.0.0.1:${served.addr.port}/context.tar.gz`;
      await succeeds(["build", "-q", "--target", "app", "-t", "fetched", url]);
      expect((await succeeds(["run", "--rm", "fetched"])).stdout).toBe("hello\nnone\n");
    } finally {
      await served.shutdown();
    }
  });

  it("stops when the client is interrupted, and leaves no container", async () => {
    const child = spawnAs(user, [docker, "build", "--target", "hangs", "context"], {
      cwd: dir,
      env: environment(),
      stdout: "null",
      stderr: "piped",
    });
    let shown = "";
    const reading = (async () => {
      for await (const chunk of child.stderr) shown += new TextDecoder().decode(chunk);
    })();
    await waitFor(() => /waiting$/m.test(shown), 60_000, () => `not there yet: ${shown}`);
    child.kill("SIGINT");
    expect((await child.status).success).toBe(false);
    await reading;
    await waitFor(
      async () => (await runAs(user, ["pgrep", "-x", "-f", "sleep 98761"])).code === 1,
      20_000,
      () => "sleep is still there",
    );
    const { body } = await call(engine.socket, "GET", "/containers/json?all=1");
    expect(body).toEqual([]);
  });

  it("shows and prunes the build cache", async () => {
    const { stdout } = await succeeds(["buildx", "du"]);
    expect(stdout).toMatch(/^Total:\s+\S+/m);
    await succeeds(["buildx", "prune", "-a", "-f"]);
    const after = await succeeds(["buildx", "du"]);
    expect(after.stdout).toMatch(/^Total:\s+0B/m);
  });

  describe("compose v2", () => {
    it("builds a service and brings it up", async () => {
      Deno.writeTextFileSync(
        `${dir}/compose.yml`,
        "services:\n  app:\n    build: {context: context, target: app, args: {WORD: composed}}\n",
      );
      Deno.chmodSync(`${dir}/compose.yml`, 0o644);
      const { stdout, stderr } = await succeeds(["compose", "-p", "built", "up", "--build"]);
      expect(stdout + stderr).toContain("composed");
      await succeeds(["compose", "-p", "built", "down", "--rmi", "local"]);
    });
  });
});
