/** The classic build API between HTTP and the solver: parameters, the stream's form, and when an error is a status. */
import { describe, expect, test } from "vitest";
import { createApp } from "../../api/app.ts";
import { CommandFailure } from "../../engine/build/command_failure.ts";
import type { BuildEvent, BuildVertex } from "../../engine/build/types.ts";
import { fakeEngine } from "../support/fake_engine.ts";
import { failure, type ScriptedBuilder, scriptedBuilder } from "../support/scripted_builder.ts";

const IMAGE = `sha256:${"f".repeat(64)}`;
const id = (digit: string) => `sha256:${digit.repeat(64)}`;
const bytes = (text: string) => new TextEncoder().encode(text);
const vertex = (number: number, instruction?: string): BuildVertex => ({
  id: number,
  name: instruction ?? "[internal] load build definition from Dockerfile",
  instruction,
  stage: undefined,
  inputs: [],
});
const start = (number: number): BuildEvent => ({ kind: "start", id: number, time: 0 });
const done = (number: number, result: string | undefined, cached = false, error?: string): BuildEvent => ({
  kind: "done",
  id: number,
  time: 0,
  cached,
  error,
  result,
});
const log = (number: number, text: string, stream: 1 | 2 = 1): BuildEvent => ({
  kind: "log",
  id: number,
  stream,
  data: bytes(text),
  time: 0,
});

async function build(
  builder: ScriptedBuilder,
  query = "",
  headers: Record<string, string> = {},
): Promise<{ status: number; lines: Record<string, unknown>[] }> {
  const { engine } = fakeEngine({ builder: () => Promise.resolve(builder) });
  const response = await createApp(engine).request(`http://localhost/v1.51/build?${query}`, {
    method: "POST",
    body: bytes("an archive"),
    headers,
  });
  const text = await response.text();
  return {
    status: response.status,
    lines: text.split("\n").filter((line) => line.trim() !== "").map((line) => JSON.parse(line)),
  };
}
const FILES = { Dockerfile: "FROM busybox\nRUN make\n" };
const streamed = (lines: readonly Record<string, unknown>[]) =>
  lines.map(({ stream, ...rest }) => stream ?? JSON.stringify(rest)).join("");

describe("POST /build", () => {
  test("tells of steps as the classic builder does", async () => {
    const builder = scriptedBuilder((_, __, emit) => {
      emit({
        kind: "plan",
        vertices: [vertex(0), vertex(1, "FROM busybox"), vertex(2, "RUN make"), vertex(3, "ENV a=b")],
      });
      for (const event of [start(0), done(0, undefined), start(1), done(1, id("1"), true), start(2)]) {
        emit(event);
      }
      emit({ kind: "container", id: 2, container: "c".repeat(64) });
      for (const event of [log(2, "cc main.c\n"), log(2, "warning\n", 2), done(2, id("2"))]) emit(event);
      for (const event of [start(3), done(3, id("3"), true)]) emit(event);
      return Promise.resolve({});
    }, FILES);
    const { status, lines } = await build(builder, "t=app&t=app:1&t=app:latest");
    expect(status).toBe(200);
    expect(streamed(lines)).toBe([
      "Step 1/3 : FROM busybox\n",
      " ---> 111111111111\n",
      "Step 2/3 : RUN make\n",
      " ---> Running in cccccccccccc\n",
      "cc main.c\n",
      "\x1b[91mwarning\n\x1b[0m",
      " ---> Removed intermediate container cccccccccccc\n",
      " ---> 222222222222\n",
      "Step 3/3 : ENV a=b\n",
      " ---> Using cache\n",
      // the image itself
      " ---> ffffffffffff\n",
      JSON.stringify({ aux: { ID: IMAGE } }),
      "Successfully built ffffffffffff\n",
      "Successfully tagged app:latest\n",
      "Successfully tagged app:1\n",
    ].join(""));
    expect(builder.contexts.size).toBe(0);
  });

  test("gives steps that run at the same time the word in the Dockerfile's order", async () => {
    const builder = scriptedBuilder((_, __, emit) => {
      emit({ kind: "plan", vertices: [vertex(0, "RUN one"), vertex(1, "RUN two")] });
      for (const event of [start(0), start(1), log(1, "two\n"), log(0, "one\n"), done(1, id("2"))]) {
        emit(event);
      }
      emit(done(0, id("1")));
      return Promise.resolve({});
    }, FILES);
    const { lines } = await build(builder);
    expect(streamed(lines.slice(0, 6))).toBe(
      "Step 1/2 : RUN one\none\n ---> 111111111111\nStep 2/2 : RUN two\ntwo\n ---> ffffffffffff\n",
    );
  });

  test("tells of a base image's layers as a pull does, and nothing of what is exported", async () => {
    const layer = "0123456789ab";
    const status = (name: string, current = 0, total = 0): BuildEvent => ({
      kind: "status",
      id: 7,
      name,
      current,
      total,
      done: name.endsWith("complete"),
      time: 0,
    });
    const builder = scriptedBuilder((_, __, emit) => {
      emit({ kind: "vertex", vertex: vertex(7) });
      emit(status(`sha256:${layer} Pulling fs layer`));
      emit(status(`sha256:${layer} Downloading`, 5, 10));
      emit(status(`sha256:${layer} Extracting`, 10, 10));
      emit(status(`sha256:${layer} Pull complete`));
      emit(status("exporting layers"));
      return Promise.resolve({});
    }, FILES);
    const { lines } = await build(builder);
    expect(lines.slice(0, 4)).toMatchObject([
      { id: layer, status: "Pulling fs layer", progressDetail: {} },
      { id: layer, status: "Downloading", progressDetail: { current: 5, total: 10 } },
      { id: layer, status: "Extracting", progressDetail: { current: 10, total: 10 } },
      { id: layer, status: "Pull complete", progressDetail: {} },
    ]);
    expect(lines[4]).not.toHaveProperty("status");
  });

  test("makes an error a status before the first line, and a line after it", async () => {
    const early = await build(
      scriptedBuilder(() => Promise.reject(failure("dockerfile parse error on line 1")), FILES),
    );
    expect(early).toEqual({ status: 400, lines: [{ message: "dockerfile parse error on line 1" }] });
    const late = await build(scriptedBuilder((_, __, emit) => {
      emit({ kind: "plan", vertices: [vertex(0, "RUN one"), vertex(1, "RUN two")] });
      for (const event of [start(0), start(1), log(1, "no such file\n")]) emit(event);
      return Promise.reject(failure("it failed"));
    }, FILES));
    expect(late.status).toBe(200);
    expect(streamed(late.lines)).toBe(
      `Step 1/2 : RUN one\nStep 2/2 : RUN two\nno such file\n${
        JSON.stringify({ errorDetail: { message: "it failed" }, error: "it failed" })
      }`,
    );
  });

  test("tells of an image that cannot be had in the stream, after the step that wants it", async () => {
    const reason = "pull access denied for nope";
    const missing = (name: string) =>
      failure(`failed to resolve source metadata for docker.io/library/${name}: ${reason}`);
    const of = (Dockerfile: string, name: string) =>
      build(scriptedBuilder(() => Promise.reject(missing(name)), { Dockerfile }));
    const one = await of("FROM nope\nRUN x\n", "nope:latest");
    expect(one).toEqual({
      status: 200,
      lines: [{ stream: "Step 1/2 : FROM nope\n" }, { errorDetail: { message: reason }, error: reason }],
    });
    const two = await of("ARG V=1\nFROM busybox AS a\nfrom nope:2\n", "nope:2");
    expect(two.lines[0]).toEqual({ stream: "Step 3/3 : from nope:2\n" });
    const variable = await of("ARG V=1\nFROM nope:$V\n", "nope:1");
    expect(variable.lines[0]).toEqual({ stream: "Step 2/2 : FROM nope:$V\n" });
  });

  test("gives the exit code of a command, and names arguments that nothing declares", async () => {
    const failing = await build(
      scriptedBuilder((_, __, emit) => {
        emit({ kind: "plan", vertices: [vertex(0, "RUN make")] });
        emit(start(0));
        return Promise.reject(new CommandFailure(["/bin/sh", "-c", "make"], 2, { startLine: 2, endLine: 2 }));
      }, FILES),
    );
    const message = "The command '/bin/sh -c make' returned a non-zero code: 2";
    expect(failing.lines.at(-1)).toEqual({ errorDetail: { code: 2, message }, error: message });
    // what stands in a heredoc is the shell's
    const files = {
      Dockerfile: "ARG ONE=1 \\\n  TWO\nFROM busybox\n  arg THREE\nRUN <<EOF\nARG FOUR\nEOF\n",
    };
    const args = { ONE: "1", TWO: "2", THREE: "3", FOUR: "4", THRE: "", http_proxy: "x" };
    const { lines } = await build(
      scriptedBuilder(() => Promise.resolve({}), files),
      `buildargs=${encodeURIComponent(JSON.stringify(args))}`,
    );
    expect(lines[0]).toEqual({ stream: "[Warning] One or more build-args [FOUR THRE] were not consumed\n" });
  });

  test("says what COPY has not found as the classic builder does", async () => {
    const copy = (instruction: string) =>
      build(
        scriptedBuilder((_, __, emit) => {
          emit({ kind: "plan", vertices: [vertex(0, instruction)] });
          for (const event of [start(0), done(0, undefined, false, '"/a b": not found')]) emit(event);
          return Promise.reject(failure('"/a b": not found'));
        }, FILES),
      );
    expect((await copy("COPY a* b /")).lines.at(-1)).toMatchObject({
      error:
        "COPY failed: file not found in build context or excluded by .dockerignore: stat a b: file does not exist",
    });
    expect((await copy("copy --from=x a /")).lines.at(-1)).toMatchObject({
      error: "COPY failed: stat a b: file does not exist",
    });
  });

  test("says with q nothing but the id, unless it fails", async () => {
    const script = (fails: boolean) =>
      scriptedBuilder((_, __, emit) => {
        emit({ kind: "plan", vertices: [vertex(0, "RUN one")] });
        emit(start(0));
        return fails ? Promise.reject(failure("it failed")) : Promise.resolve({});
      }, FILES);
    expect((await build(script(false), "q=1&t=app")).lines).toEqual([{ stream: `${IMAGE}\n` }]);
    expect((await build(script(true), "q=1")).lines).toEqual([
      { stream: "Step 1/1 : RUN one\n" },
      { errorDetail: { message: "it failed" }, error: "it failed" },
    ]);
  });

  test("hands the parameters on", async () => {
    const builder = scriptedBuilder(() => Promise.resolve({}), {
      "sub/Dockerfile": "FROM scratch\nCOPY . /\n",
    });
    const query = new URLSearchParams({
      dockerfile: "sub/Dockerfile",
      buildargs: JSON.stringify({ A: "1", B: null, SOURCE_DATE_EPOCH: "17" }),
      labels: JSON.stringify({ l: "m" }),
      cachefrom: JSON.stringify(["old"]),
      ulimits: JSON.stringify([{ Name: "nofile", Soft: 10, Hard: 20 }]),
      memory: "1048576",
      memswap: "-1",
      cpusetcpus: "0",
      shmsize: "4096",
      networkmode: "none",
      extrahosts: "db:10.0.0.1",
      target: "dev",
      nocache: "1",
      pull: "true",
      platform: "linux/amd64",
    });
    const logins = { "https://index.docker.io/v1/": { username: "u", password: "p" } };
    expect((await build(builder, `${query}`, { "x-registry-config": btoa(JSON.stringify(logins)) })).status)
      .toBe(200);
    const [request] = builder.requests;
    expect(request).toMatchObject({
      dockerfile: { name: "sub/Dockerfile", text: "FROM scratch\nCOPY . /\n" },
      buildArgs: { A: "1", SOURCE_DATE_EPOCH: "17" },
      sourceDateEpoch: 17,
      labels: { l: "m" },
      cacheFrom: ["old"],
      ulimits: [{ Name: "nofile", Soft: 10, Hard: 20 }],
      resources: { Memory: 1048576, MemorySwap: -1, CpusetCpus: "0" },
      shmSize: 4096,
      networkMode: "none",
      extraHosts: ["db:10.0.0.1"],
      target: "dev",
      noCache: true,
      pull: true,
      platform: "linux/amd64",
      output: "image",
    });
    expect(await request?.client.registryAuth("docker.io")).toEqual({ username: "u", password: "p" });
    expect(await request?.client.registryAuth("quay.io")).toBeUndefined();
  });

  test.each([
    ["", {}, 500, "Cannot locate specified Dockerfile: Dockerfile"],
    ["dockerfile=x", FILES, 500, "Cannot locate specified Dockerfile: x"],
    ["", { Dockerfile: " \n" }, 400, "the Dockerfile (Dockerfile) cannot be empty"],
    ["t=A", FILES, 400, "invalid reference format: repository name (library/A) must be lowercase"],
    [
      "buildargs=1",
      FILES,
      400,
      "error reading build args: json: cannot unmarshal into Go value of type map[string]string",
    ],
    ["version=3", FILES, 400, 'invalid version "3"'],
    ["isolation=jail", FILES, 400, 'unsupported isolation: "jail"'],
    ["securityopt=x", FILES, 400, "security options are not supported on linux"],
  ])("refuses %s with its reason", async (query, files, status, message) => {
    const builder = scriptedBuilder(() => Promise.resolve({}), files);
    expect(await build(builder, query)).toEqual({ status, lines: [{ message }] });
    expect(builder.contexts.size).toBe(0);
  });

  test("ends when it is cancelled by its id", async () => {
    let begun = () => {};
    const started = new Promise<void>((resolve) => begun = resolve);
    const builder = scriptedBuilder((_, signal, emit) => {
      emit({ kind: "plan", vertices: [vertex(0, "RUN one")] });
      emit(start(0));
      begun();
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(failure("context canceled")))
      );
    }, FILES);
    const { engine } = fakeEngine({ builder: () => Promise.resolve(builder) });
    const app = createApp(engine);
    const building = app.request("http://localhost/build?buildid=b1", { method: "POST", body: bytes("x") });
    await started;
    expect((await app.request("http://localhost/build/cancel?id=b1", { method: "POST" })).status).toBe(200);
    expect(await (await building).text()).toContain("context canceled");
    expect((await app.request("http://localhost/build/cancel", { method: "POST" })).status).toBe(400);
  });
});

describe("POST /build/prune", () => {
  test("keeps what it is told to, and has nothing with labels", async () => {
    const asked: unknown[] = [];
    const builder = {
      ...scriptedBuilder(() => Promise.resolve({})),
      prune: (options: unknown) => {
        asked.push(options);
        return Promise.resolve({ ids: ["a"], space: 5 });
      },
    };
    const { engine } = fakeEngine({
      builder: () => Promise.resolve(builder),
      info: () => Promise.resolve({ DockerRootDir: "/tmp" }),
    });
    const app = createApp(engine);
    const prune = async (version: string, query: string) =>
      await (await app.request(`http://localhost/v${version}/build/prune?${query}`, { method: "POST" }))
        .json();
    const filter = (value: unknown) => `filters=${encodeURIComponent(JSON.stringify(value))}`;
    expect(await prune("1.51", `all=1&reserved-space=10&${filter({ until: ["1h"], "label!": ["x"] })}`))
      .toEqual({
        CachesDeleted: ["a"],
        SpaceReclaimed: 5,
      });
    await prune("1.47", "reserved-space=10&keep-storage=7");
    expect(asked).toEqual([
      { all: true, keepStorage: 10, filters: { until: ["1h"] } },
      { all: false, keepStorage: 7, filters: {} },
    ]);
    // there is as much free already
    expect(await prune("1.51", "min-free-space=1")).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 });
    expect(asked).toHaveLength(2);
    expect(await prune("1.51", filter({ label: ["x"] }))).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 });
    expect(await prune("1.51", "keep-storage=much")).toEqual({
      message:
        'keep-storage is in bytes and expects an integer, got much: strconv.Atoi: parsing "much": invalid syntax',
    });
  });
});
