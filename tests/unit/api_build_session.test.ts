/** `berth build` and the engine's end of its own connection, over a real socket, with a builder that a test writes down. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApp } from "../../api/app.ts";
import { serveHttp, type Server } from "../../api/server.ts";
import { TAR_END, tarEvents, tarHeader, tarPadding } from "../../base/tar/mod.ts";
import type { BuildEvent, BuildVertex } from "../../engine/build/types.ts";
import { type CliResult, runBerth, startBerth } from "../support/berth_cli.ts";
import { fakeEngine } from "../support/fake_engine.ts";
import { failure, type ScriptedBuilder, scriptedBuilder } from "../support/scripted_builder.ts";

const IMAGE = `sha256:${"f".repeat(64)}`;
const encoder = new TextEncoder();
const removed: string[] = [];
let root: string;
beforeAll(() => {
  root = Deno.makeTempDirSync({ prefix: "berth-build-" });
});
afterAll(() => Deno.removeSync(root, { recursive: true }));

function directory(files: Readonly<Record<string, string>>): string {
  const path = Deno.makeTempDirSync({ dir: root });
  for (const [name, text] of Object.entries(files)) {
    Deno.mkdirSync(`${path}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(`${path}/${name}`, text);
  }
  return path;
}

async function serve(builder: ScriptedBuilder): Promise<{ host: string; server: Server }> {
  const { engine } = fakeEngine({
    builder: () => Promise.resolve(builder),
    imageSave: (names, _platform, as) => Promise.resolve(chunks([`archive of ${names} as ${as}`])),
    imageList: () => Promise.resolve([{ Id: "sha256:other" }]),
    imageInspect: () => Promise.resolve({ RepoTags: [] }),
    imageRemove: (id) => {
      removed.push(id);
      return Promise.resolve([]);
    },
  });
  const path = `${Deno.makeTempDirSync({ dir: root })}/s`;
  const app = createApp(engine);
  const server = await serveHttp((request, exchange) => app.fetch(request, exchange), [{
    kind: "unix",
    path,
  }], {
    log: () => {},
  });
  return { host: `unix://${path}`, server };
}

async function* chunks(texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(encoder.encode(text));
}

async function build(
  builder: ScriptedBuilder,
  args: readonly string[],
  options: { stdin?: string; env?: Record<string, string> } = {},
): Promise<CliResult> {
  const { host, server } = await serve(builder);
  try {
    return await runBerth(["-H", host, "build", ...args], options);
  } finally {
    await server.close({ graceMs: 0 });
  }
}

const vertex = (number: number, name: string): BuildVertex => ({
  id: number,
  name,
  instruction: name.replace(/^\[[^\]]*\] /, ""),
  stage: undefined,
  inputs: number === 0 ? [] : [number - 1],
});
const start = (number: number, time = 1000): BuildEvent => ({ kind: "start", id: number, time });
const done = (number: number, time: number, cached = false, error?: string): BuildEvent => ({
  kind: "done",
  id: number,
  time,
  cached,
  error,
  result: undefined,
});
const log = (number: number, text: string, time: number): BuildEvent => ({
  kind: "log",
  id: number,
  stream: 1,
  data: encoder.encode(text),
  time,
});

/** What is said of the context, and the rest. */
function split(stderr: string): [string, string] {
  const end = /^(#1 .*\n)+/.exec(stderr)?.[0].length ?? 0;
  return [stderr.slice(0, end), stderr.slice(end).replace(/^\n/, "")];
}

async function namesIn(archive: Uint8Array | undefined): Promise<string[]> {
  const names: string[] = [];
  for await (const event of tarEvents(new Blob([Uint8Array.from(archive ?? [])]).stream())) {
    if (event.kind === "entry") names.push(event.entry.name.replace(/\/$/, ""));
  }
  return names;
}

describe("berth build", () => {
  test("sends what .dockerignore leaves, and shows steps line by line", async () => {
    const builder = scriptedBuilder((_, __, emit) => {
      emit({ kind: "plan", vertices: [vertex(0, "[1/2] FROM busybox"), vertex(1, "[2/2] RUN make")] });
      for (const event of [start(0), done(0, 1100, true), start(1, 1200), log(1, "cc ma", 1300)]) emit(event);
      for (const event of [log(1, "in.c\nlink\n", 1700), done(1, 2400)]) emit(event);
      return Promise.resolve({});
    });
    const path = directory({
      "Dockerfile": "FROM busybox\nRUN make\n",
      ".dockerignore": "**/*.o\n!keep/x.o\nout\n",
      "main.c": "int main;",
      "main.o": "",
      "keep/x.o": "",
      "out/x": "",
      "sub/y.o": "",
    });
    const files = ["--iidfile", `${path}/iid`, "--metadata-file", "/dev/stdout"];
    const { code, stdout, stderr } = await build(builder, ["-t", "app", ...files, path]);
    expect([code, JSON.parse(stdout)]).toEqual([0, {
      "containerimage.config.digest": IMAGE,
      "containerimage.digest": IMAGE,
      "image.name": "docker.io/library/app:latest",
    }]);
    const [sending, rest] = split(stderr);
    expect(sending).toMatch(
      /^#1 \[internal\] load build context\n#1 transferring context: \d+\.\d+kB \d+\.\ds done\n#1 DONE \d+\.\ds\n$/,
    );
    expect(rest).toBe(
      "#2 [1/2] FROM busybox\n#2 CACHED\n\n#3 [2/2] RUN make\n#3 0.500 cc main.c\n#3 0.500 link\n#3 DONE 1.2s\n",
    );
    expect(Deno.readTextFileSync(`${path}/iid`)).toBe(IMAGE);
    expect(await namesIn(builder.archives[0])).toEqual([
      ".dockerignore",
      "Dockerfile",
      "keep",
      "keep/x.o",
      "main.c",
      "sub",
    ]);
    expect(builder.requests[0]).toMatchObject({
      dockerfile: { name: "Dockerfile", text: "FROM busybox\nRUN make\n" },
      tags: ["app:latest"],
      context: { kind: "directory", path: "/contexts/0" },
    });
    expect(builder.contexts.size).toBe(0);
  });

  test("shows where in the Dockerfile it failed, and what the step said", async () => {
    const message = 'process "/bin/sh -c make" did not complete successfully: exit code: 2';
    const builder = scriptedBuilder((_, __, emit) => {
      emit({ kind: "plan", vertices: [vertex(0, "[1/1] RUN make")] });
      for (const event of [start(0), log(0, "no rule\n", 1500), done(0, 1600, false, message)]) emit(event);
      return Promise.reject(Object.assign(failure(message), { range: { startLine: 2, endLine: 2 } }));
    });
    const path = directory({ Dockerfile: "FROM busybox\nRUN make\n" });
    const { code, stderr } = await build(builder, [path]);
    expect(code).toBe(1);
    expect(split(stderr)[1]).toBe([
      "#2 [1/1] RUN make",
      "#2 0.500 no rule",
      `#2 ERROR: ${message}`,
      "------",
      " > [1/1] RUN make:",
      "0.500 no rule",
      "------",
      "Dockerfile:2",
      "--------------------",
      "   1 |     FROM busybox",
      "   2 | >>> RUN make",
      "   3 |     ",
      "--------------------",
      `ERROR: failed to build: failed to solve: ${message}`,
      "",
    ].join("\n"));
  });

  test("gives secrets and credentials when they are asked for, and no others", async () => {
    const seen: unknown[] = [];
    const builder = scriptedBuilder(async ({ client }, signal) => {
      for (const id of ["file", "env", "none"]) {
        const secret = await client.secret(id, signal);
        seen.push(secret === undefined ? undefined : new TextDecoder().decode(secret));
      }
      seen.push(await client.registryAuth("example.com"), await client.registryAuth("docker.io"));
      return {};
    });
    const path = directory({
      "Dockerfile": "FROM scratch",
      "token": "from a file",
      "docker/config.json": JSON.stringify({ auths: { "example.com": { auth: btoa("me:secret") } } }),
    });
    const secrets = ["--secret", `id=file,src=${path}/token`, "--secret", "id=env,env=TOKEN"];
    const env = { TOKEN: "from the environment", DOCKER_CONFIG: `${path}/docker` };
    expect((await build(builder, [...secrets, path], { env })).code).toBe(0);
    expect(seen).toEqual([
      "from a file",
      "from the environment",
      undefined,
      { username: "me", password: "secret" },
      undefined,
    ]);
    const missing = await build(builder, ["--secret", "id=x,src=/nowhere", path]);
    expect(missing).toMatchObject({
      code: 1,
      stderr: "ERROR: failed to build: failed to stat /nowhere: stat /nowhere: no such file or directory\n",
    });
  });

  test("leads from a socket of the engine's to the user's agent", async () => {
    const path = directory({ Dockerfile: "FROM scratch" });
    using agent = Deno.listen({ transport: "unix", path: `${path}/agent` });
    const answering = (async () => {
      using conn = await agent.accept();
      const space = new Uint8Array(100);
      const count = await conn.read(space) ?? 0;
      await conn.write(encoder.encode(`${new TextDecoder().decode(space.subarray(0, count))} is answered`));
    })();
    let answer = "", mode = 0, socket: string | undefined;
    const builder = scriptedBuilder(async ({ client }, signal) => {
      socket = await client.sshSocket("default", signal);
      mode = (Deno.statSync(socket ?? "").mode ?? 0) & 0o777;
      using conn = await Deno.connect({ transport: "unix", path: socket ?? "" });
      await conn.write(encoder.encode("a question"));
      for await (const chunk of conn.readable) answer += new TextDecoder().decode(chunk);
      expect(await client.sshSocket("other", signal)).toBeUndefined();
      return {};
    });
    const { code, stderr } = await build(builder, ["--ssh", "default", path], {
      env: { SSH_AUTH_SOCK: `${path}/agent` },
    });
    await answering;
    expect([code, split(stderr)[1]]).toEqual([0, ""]);
    expect([answer, mode]).toEqual(["a question is answered", 0o600]);
    expect(() => Deno.statSync(socket ?? "")).toThrow(Deno.errors.NotFound);
  });

  test("writes files, or an archive of the image", async () => {
    const files = scriptedBuilder(({ output }) => {
      expect(output).toBe("files");
      const data = encoder.encode("hello");
      return Promise.resolve({
        imageId: undefined,
        files: async function* () {
          yield await Promise.resolve(tarHeader({ name: "bin", type: "directory" }));
          yield tarHeader({ name: "bin/app", size: data.length, mode: 0o755 });
          for (const piece of [data, tarPadding(data.length), TAR_END]) yield piece;
        },
      });
    });
    const path = directory({ Dockerfile: "FROM scratch" });
    expect((await build(files, ["-o", `${path}/out`, path])).code).toBe(0);
    expect(Deno.readTextFileSync(`${path}/out/bin/app`)).toBe("hello");
    const tar = await build(files, ["-o", `type=tar,dest=${path}/out.tar`, path]);
    expect([tar.code, await namesIn(Deno.readFileSync(`${path}/out.tar`))]).toEqual([0, ["bin", "bin/app"]]);
    const image = scriptedBuilder(() => Promise.resolve({}));
    const docker = await build(image, ["-t", "app", "-o", "type=docker,dest=-", path]);
    expect([docker.code, docker.stdout]).toEqual([0, `archive of ${IMAGE} as app:latest`]);
    expect([image.requests[0]?.tags, removed]).toEqual([[], [IMAGE]]);
    const nowhere = await build(files, ["-o", "type=tar,dest=/nowhere/out.tar", path]);
    expect([nowhere.code, nowhere.stderr]).toEqual([
      1,
      expect.stringMatching(/^ERROR: failed to build: .*(no such file|\/nowhere)/i),
    ]);
  });

  test("takes a Dockerfile or an archive from standard input, and contexts by name", async () => {
    const builder = scriptedBuilder(() => Promise.resolve({}), { "Dockerfile": "FROM in-archive" });
    expect((await build(builder, ["-"], { stdin: "FROM scratch\n" })).code).toBe(0);
    expect(builder.requests[0]).toMatchObject({ dockerfile: { text: "FROM scratch\n" }, context: undefined });
    const archive = new TextDecoder().decode(tarHeader({ name: "Dockerfile", size: 0 })) + "\0".repeat(1024);
    expect((await build(builder, ["-"], { stdin: archive })).code).toBe(0);
    expect(builder.requests[1]).toMatchObject({ dockerfile: { text: "FROM in-archive" } });
    const path = directory({
      "x/Dockerfile": "FROM here",
      "other/file": "",
      "x/Dockerfile.dockerignore": "y",
    });
    const named = [
      "--build-context",
      `other=${path}/other`,
      "--build-context",
      "base=docker-image://busybox:1",
    ];
    const fromStdin = await build(builder, ["-f", "-", ...named, path], { stdin: "FROM stdin" });
    expect(fromStdin.code).toBe(0);
    expect(builder.requests[2]).toMatchObject({
      dockerfile: { text: "FROM stdin" },
      namedContexts: { other: { kind: "directory" }, base: { kind: "image", reference: "busybox:1" } },
    });
    expect(await namesIn(builder.archives.at(-1))).toEqual(["file"]);
    expect(builder.contexts.size).toBe(0);
  });

  test("stops sending a context that is refused", async () => {
    let taken = 0;
    const builder: ScriptedBuilder = {
      ...scriptedBuilder(() => Promise.resolve({})),
      async unpackContext(_directory, archive) {
        for await (const chunk of archive) {
          taken += chunk.length;
          throw failure("the context is too large");
        }
      },
    };
    const path = directory({ Dockerfile: "FROM scratch" });
    // sparse: as much as nobody would wait for
    using big = Deno.createSync(`${path}/big`);
    big.truncateSync(50_000_000_000);
    const { code, stderr } = await build(builder, [path]);
    expect([code, split(stderr)[1]]).toEqual([
      1,
      "ERROR: failed to build: failed to solve: the context is too large\n",
    ]);
    expect(taken).toBeLessThan(1024 * 1024);
  });

  test("ends the build when it is interrupted", async () => {
    let begun = () => {}, ended = () => {};
    const started = new Promise<void>((resolve) => begun = resolve);
    const aborted = new Promise<void>((resolve) => ended = resolve);
    const builder = scriptedBuilder((_, signal) => {
      begun();
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          ended();
          reject(failure("context canceled"));
        })
      );
    });
    const { host, server } = await serve(builder);
    const child = startBerth(["-H", host, "build", directory({ Dockerfile: "FROM scratch" })]);
    await started;
    child.kill("SIGINT");
    const { code, stderr } = await child.output();
    await aborted;
    expect([code, split(new TextDecoder().decode(stderr))[1]]).toEqual([
      130,
      "ERROR: failed to build: failed to solve: Canceled: context canceled\n",
    ]);
    await server.close({ graceMs: 0 });
    expect(builder.contexts.size).toBe(0);
  });

  test.each([
    [["/nowhere"], 'unable to prepare context: path "/nowhere" not found'],
    [["-f", "/nowhere", "."], "failed to read dockerfile: open /nowhere: no such file or directory"],
    [["-f", "-", "-"], "invalid argument: can't use stdin for both build context and dockerfile"],
    [["--platform", "a,b", "."], "Multi-platform build is not supported: build for one platform at a time"],
    [["--sbom", "true", "."], "berth makes no attestations"],
    [["-o", "type=tape", "."], 'failed to find exporter for output type "tape"'],
    [
      ["-t", "A", "."],
      'invalid tag "A": invalid reference format: repository name (library/A) must be lowercase',
    ],
  ])("refuses %j with its reason", async (args, message) => {
    const { code, stderr } = await runBerth(["-H", "unix:///nowhere", "build", ...args]);
    expect(code).toBe(1);
    expect(stderr).toContain(`ERROR: failed to build: ${message}`);
  });
});
