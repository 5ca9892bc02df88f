import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createApp } from "../../api/app.ts";
import { createApp as exported, serveApi } from "../../api/mod.ts";
import { type Server } from "../../api/server.ts";
import { conflict, EngineError, invalid, notFound } from "../../base/errors.ts";
import { type AttachOptions, type Engine, type EngineEvent } from "../../engine/types.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { type Call, fakeEngine } from "../support/fake_engine.ts";
import { eventually, RawClient, request } from "../support/raw_http.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const JSON_TYPE = { "Content-Type": "application/json" };
const PAGE_NOT_FOUND = { message: "page not found" };

/** Sends one request to an app whose engine gives `answers`. */
async function ask(
  answers: Partial<Engine>,
  method: string,
  path: string,
  body?: string,
  headers: Record<string, string> = body === undefined ? {} : JSON_TYPE,
): Promise<{ status: number; body: string; json: () => unknown; headers: Headers; calls: Call[] }> {
  const { engine, calls } = fakeEngine(answers);
  const response = await createApp(engine).request(`http://localhost${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text,
    json: () => JSON.parse(text),
    headers: response.headers,
    calls,
  };
}

describe("every response", () => {
  test("has Docker's headers, errors included", async () => {
    for (const path of ["/_ping", "/nothing", "/v1.99/_ping", "/info", "/containers/x/json"]) {
      const { headers } = await ask({}, "GET", path);
      expect(headers.get("api-version")).toBe("1.51");
      expect(headers.get("docker-experimental")).toBe("false");
      expect(headers.get("ostype")).toBe("linux");
      expect(headers.get("server")).toMatch(/^Berth\/[0-9.]+ \(linux\)$/);
    }
  });

  test("to an unknown page, or with another method, is Docker's 404", async () => {
    for (
      const [method, path] of [
        ["GET", "/nothing"],
        ["GET", "/"],
        ["PUT", "/info"],
        ["GET", "/containers/create"],
        [
          "HEAD",
          "/info",
        ],
        ["GET", "/vx/info"],
        ["POST", "/containers/x"],
      ] as const
    ) {
      const { status, body } = await ask({}, method, path);
      expect([status, body === "" ? PAGE_NOT_FOUND : JSON.parse(body)]).toEqual([404, PAGE_NOT_FOUND]);
    }
  });

  test("to a version out of range is 400 with Docker's words", async () => {
    const tooNew = await ask({}, "GET", "/v1.99/info");
    expect([tooNew.status, tooNew.json()]).toEqual([400, {
      message: "client version 1.99 is too new. Maximum supported API version is 1.51",
    }]);
    expect((await ask({}, "GET", "/v1.21/info")).status).toBe(400);
  });

  test.each<[unknown, number, string]>([
    [notFound("No such container: x"), 404, "No such container: x"],
    [conflict("in use"), 409, "in use"],
    [new EngineError("forbidden", "no"), 403, "no"],
    [new EngineError("unauthorized", "who"), 401, "who"],
    [new EngineError("unavailable", "later"), 503, "later"],
    [new EngineError("system", "port taken", { hint: "Take another." }), 500, "port taken\n\nTake another."],
    [new EngineError("system", "broken", { cause: new Error("secret") }), 500, "broken"],
    [new SysError("mkdir", ERRNO.ENOSPC, "/x"), 500, "mkdir /x: no space left on device"],
    [new Error("plain"), 500, "plain"],
  ])("to a failure %# has the status of its kind and its message alone", async (error, status, message) => {
    const failed = await ask({ inspect: () => Promise.reject(error) }, "GET", "/containers/x/json");
    expect([failed.status, failed.json()]).toEqual([status, { message }]);
  });

  test("that changes nothing is 304 without a body", async () => {
    const error = new EngineError("not-modified", "running already");
    const { status, body } = await ask({ start: () => Promise.reject(error) }, "POST", "/containers/x/start");
    expect([status, body]).toEqual([304, ""]);
  });
});

describe("system", () => {
  test("_ping answers GET and HEAD", async () => {
    for (const method of ["GET", "HEAD"]) {
      const { status, body, headers } = await ask({}, method, "/v1.24/_ping");
      expect([status, body]).toEqual([200, method === "GET" ? "OK" : ""]);
      expect(headers.get("builder-version")).toBe("1");
      expect(headers.get("swarm")).toBe("inactive");
      expect(headers.get("cache-control")).toBe("no-cache, no-store, must-revalidate");
      expect(headers.get("pragma")).toBe("no-cache");
      expect(headers.get("content-type")).toBe("text/plain; charset=utf-8");
    }
  });

  test("version and info come from the engine", async () => {
    const answers: Partial<Engine> = {
      version: () => Promise.resolve({ Version: "1" }),
      info: () => Promise.resolve({ ID: "x" }),
    };
    expect((await ask(answers, "GET", "/v1.43/version")).json()).toEqual({ Version: "1" });
    expect((await ask(answers, "GET", "/info")).json()).toEqual({ ID: "x" });
  });

  test("a path with two slashes leads to the clean one", async () => {
    const { status, headers } = await ask({}, "GET", "//v1.43//containers/json?all=1");
    expect(status).toBe(301);
    expect(headers.get("location")).toBe("/v1.43/containers/json?all=1");
  });

  test("what is not served says so", async () => {
    for (
      const [method, path, refused, words] of [
        ["POST", "/containers/x/checkpoints", 501, "This experimental feature is disabled by default."],
        ["POST", "/plugins/pull", 501, "this engine runs no plugins"],
        ["POST", "/plugins/x/enable", 404, 'plugin \\"x\\" not found'],
        ["POST", "/swarm/init", 501, "this engine has no swarm mode"],
        ["POST", "/swarm/leave", 503, "This node is not part of a swarm"],
        ["PUT", "/volumes/x", 503, "volume update only valid for cluster volumes"],
      ] as const
    ) {
      const { status, body } = await ask({}, method, path);
      expect(status, path).toBe(refused);
      expect(body).toContain(words);
    }
    for (const path of ["/swarm", "/nodes", "/services/x", "/tasks", "/secrets", "/configs/a/b"]) {
      const { status, body } = await ask({}, "GET", path);
      expect(status).toBe(503);
      expect(body).toContain("This node is not a swarm manager.");
    }
    const volume = await ask({}, "POST", "/volumes/create", '{"ClusterVolumeSpec":{"Group":"g"}}');
    expect(volume.status).toBe(503);
    const answer = await ask({}, "GET", "/plugins/x/json");
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({ message: 'plugin "x" not found' });
    expect((await ask({}, "OPTIONS", "/anything")).status).toBe(200);
  });

  test("events are lines with the fields of old and new clients, nanoseconds exact", async () => {
    const event = (Type: string): EngineEvent => ({
      Type,
      Action: "start",
      Actor: { ID: "abc", Attributes: { image: "busybox", name: "n" } },
      scope: "local",
      time: 1700000000,
      timeNano: 1700000000123456789n,
    });
    const { body, calls, headers } = await ask(
      {
        async *events() {
          yield await Promise.resolve(event("container"));
          yield event("image");
          yield event("network");
        },
      },
      "GET",
      `/events?since=1&until=2.5&filters=${encodeURIComponent('{"type":["container"]}')}`,
    );
    expect(headers.get("content-type")).toBe("application/json");
    const [container, image, network] = body.trim().split("\n");
    expect(container).toBe(
      '{"status":"start","id":"abc","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"image":"busybox","name":"n"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}',
    );
    expect(image).toMatch(/^\{"status":"start","id":"abc","Type":"image"/);
    expect(network).toMatch(/^\{"Type":"network"/);
    expect(calls[0]?.args[0]).toEqual({
      since: 1_000_000_000n,
      until: 2_500_000_000n,
      filters: new Map([["type", ["container"]]]),
    });
    const created = { ...event("image"), Action: "create" };
    const kinds = async (version: string) => {
      const events = async function* () {
        yield await Promise.resolve(created);
        yield event("image");
      };
      const { body } = await ask({ events }, "GET", `/v${version}/events`);
      return body.trim().split("\n").map((line) => JSON.parse(line).Action);
    };
    expect(await kinds("1.45")).toEqual(["start"]);
    expect(await kinds("1.46")).toEqual(["create", "start"]);
    const wrong = await ask({}, "GET", "/events?since=3&until=2");
    expect([wrong.status, wrong.json()]).toEqual([400, {
      message: "`since` time (3) cannot be after `until` time (2)",
    }]);
  });
});

describe("containers", () => {
  const created = { create: () => Promise.resolve({ Id: "abc", Warnings: [] }) };

  test("create passes body, name and platform on", async () => {
    const body = '{"Image":"x","Cmd":"ls","HostConfig":{"AutoRemove":true}}';
    const { status, calls, json } = await ask(
      created,
      "POST",
      "/v1.50/containers/create?name=n&platform=linux/arm64",
      body,
    );
    expect([status, json()]).toEqual([201, { Id: "abc", Warnings: [] }]);
    expect(calls[0]?.args[0]).toEqual({
      name: "n",
      platform: "linux/arm64",
      config: { Image: "x", Cmd: ["ls"] },
      hostConfig: { AutoRemove: true, NetworkMode: "bridge" },
      networkingConfig: undefined,
    });
  });

  test.each<[string, string | undefined, Record<string, string>, string]>([
    ["empty", "", JSON_TYPE, "invalid JSON: got EOF while reading request body"],
    ["missing", undefined, {}, "invalid JSON: got EOF while reading request body"],
    ["blank", "  \n", JSON_TYPE, "invalid JSON: got EOF while reading request body"],
    ["broken", "{", JSON_TYPE, "invalid JSON: "],
    ["followed by more", '{"Image":"x"} x', JSON_TYPE, "invalid JSON: "],
    ["null", "null", JSON_TYPE, "config cannot be empty in order to create a container"],
    [
      "without config",
      '{"HostConfig":{}}',
      JSON_TYPE,
      "config cannot be empty in order to create a container",
    ],
    [
      "a wrong type",
      '{"Image":1}',
      JSON_TYPE,
      "cannot unmarshal number into Go struct field CreateRequest.Image",
    ],
    [
      "text",
      "{}",
      { "Content-Type": "text/plain" },
      "unsupported Content-Type header (text/plain): must be 'application/json'",
    ],
    ["of 5 MiB", `{"Image":"${"x".repeat(5 << 20)}"}`, JSON_TYPE, "request body is larger than"],
    ["a bad console size", '{"Image":"x","HostConfig":{"ConsoleSize":[1]}}', JSON_TYPE, "ConsoleSize"],
  ])("create refuses a body that is %s", async (_, body, headers, message) => {
    const { status, body: text, calls } = await ask(created, "POST", "/containers/create", body, headers);
    expect(status).toBe(400);
    expect(JSON.parse(text).message).toContain(message);
    expect(calls).toEqual([]);
  });

  test("create takes a Content-Type with a charset", async () => {
    const headers = { "Content-Type": "Application/JSON; charset=utf-8" };
    expect((await ask(created, "POST", "/containers/create", '{"Image":"x"}', headers)).status).toBe(201);
  });

  test("json passes its parameters on, old ones as filters", async () => {
    const { calls } = await ask(
      { list: () => Promise.resolve([]) },
      "GET",
      `/containers/json?all=1&limit=-1&size=true&before=b&filters=${
        encodeURIComponent('{"label":{"a":true}}')
      }`,
    );
    expect(calls[0]?.args[0]).toEqual({
      all: true,
      limit: undefined,
      size: true,
      filters: new Map([["label", ["a"]], ["before", ["b"]]]),
    });
    expect((await ask({}, "GET", "/containers/json?filters=x")).json()).toEqual({
      message: "invalid filter",
    });
    expect((await ask({}, "GET", "/containers/json?limit=x")).status).toBe(400);
  });

  test("signal of stop and restart counts from 1.42 on", async () => {
    const answers: Partial<Engine> = { stop: () => Promise.resolve(), restart: () => Promise.resolve() };
    const stop = await ask(answers, "POST", "/v1.42/containers/x/stop?t=-1&signal=INT");
    expect([stop.status, stop.calls[0]?.args]).toEqual([204, ["x", { timeout: -1, signal: "INT" }]]);
    const restart = await ask(answers, "POST", "/v1.41/containers/x/restart?signal=INT");
    expect([restart.status, restart.calls[0]?.args]).toEqual([204, ["x", {
      timeout: undefined,
      signal: undefined,
    }]]);
    expect((await ask(answers, "POST", "/containers/x/stop?t=soon")).status).toBe(400);
  });

  test("the small ones pass their parameters on", async () => {
    const done = () => Promise.resolve();
    const answers: Partial<Engine> = {
      start: done,
      kill: done,
      rename: done,
      remove: done,
      resize: done,
      top: () => Promise.resolve({ Titles: [], Processes: [] }),
      inspect: () => Promise.resolve({}),
    };
    const cases: [string, string, number, unknown[]][] = [
      ["POST", "/containers/x/start", 204, ["x"]],
      ["POST", "/containers/%2Fname/start", 204, ["/name"]],
      ["POST", "/containers/x/kill?signal=HUP", 204, ["x", "HUP"]],
      ["POST", "/containers/x/kill", 204, ["x", undefined]],
      ["POST", "/containers/x/rename?name=y", 204, ["x", "y"]],
      ["POST", "/containers/x/resize?h=24&w=80", 200, ["x", { rows: 24, cols: 80 }]],
      ["DELETE", "/containers/x?force=1&v=1", 204, ["x", { force: true, volumes: true, link: false }]],
      ["GET", "/containers/x/top?ps_args=-ef", 200, ["x", "-ef"]],
      ["GET", "/containers/x/json?size=1", 200, ["x", true]],
    ];
    for (const [method, path, status, args] of cases) {
      const answer = await ask(answers, method, path);
      expect([path, answer.status, answer.calls[0]?.args]).toEqual([path, status, args]);
    }
    expect((await ask(answers, "POST", "/containers/x/resize?h=24")).status).toBe(400);
  });

  test("stats and update leave out what a version did not have", async () => {
    const answers: Partial<Engine> = {
      statsOnce: () => Promise.resolve({}),
      update: () => Promise.resolve({ Warnings: [] }),
    };
    const oneShot = async (version: string) =>
      (await ask(answers, "GET", `/v${version}/containers/x/stats?stream=0&one-shot=1`)).calls[0]?.args[1];
    expect([await oneShot("1.40"), await oneShot("1.41")]).toEqual([false, true]);
    const updated = async (version: string) =>
      (await ask(answers, "POST", `/v${version}/containers/x/update`, '{"PidsLimit":5,"Memory":7}')).calls[0]
        ?.args[1];
    expect([await updated("1.39"), await updated("1.40")]).toEqual([{ Memory: 7 }, {
      PidsLimit: 5,
      Memory: 7,
    }]);
  });

  test("start refuses a body", async () => {
    const { status, body } = await ask({}, "POST", "/containers/x/start", '{"Binds":[]}');
    expect(status).toBe(400);
    expect(body).toContain("starting container with non-empty request body was deprecated");
  });

  test("logs have the content type of the version, and an error among them is a line", async () => {
    const answers = (tty: boolean): Partial<Engine> => ({
      logs: () =>
        Promise.resolve({
          tty,
          chunks: (async function* () {
            yield await Promise.resolve(bytes("line\n"));
            throw new Error("gone");
          })(),
        }),
    });
    const type = async (version: string, tty: boolean) =>
      (await ask(answers(tty), "GET", `/v${version}/containers/x/logs?stdout=1`)).headers.get("content-type");
    expect(await type("1.42", false)).toBe("application/vnd.docker.multiplexed-stream");
    expect(await type("1.41", false)).toBe("application/vnd.docker.raw-stream");
    expect(await type("1.42", true)).toBe("application/vnd.docker.raw-stream");
    expect((await ask(answers(true), "GET", "/containers/x/logs?stdout=1")).body).toBe(
      "line\nError grabbing logs: gone\n",
    );
    expect((await ask(answers(false), "GET", "/containers/x/logs?stderr=1")).body).toBe(
      "line\n\x03\0\0\0\0\0\0\x1aError grabbing logs: gone\n",
    );
    const { calls } = await ask(
      answers(true),
      "GET",
      "/containers/x/logs?stderr=1&tail=5&since=7&until=0&timestamps=1",
    );
    expect(calls[0]?.args[1]).toEqual({
      stdout: false,
      stderr: true,
      follow: false,
      since: 7_000_000_000n,
      until: undefined,
      timestamps: true,
      details: false,
      tail: 5,
    });
    const none = await ask({}, "GET", "/containers/x/logs");
    expect([none.status, none.json()]).toEqual([400, {
      message: "Bad parameters: you must choose at least one stream",
    }]);
  });

  test("wait takes Docker's conditions only", async () => {
    const answers: Partial<Engine> = {
      wait: () => Promise.resolve({ result: Promise.resolve({ StatusCode: 3 }) }),
    };
    for (const condition of ["not-running", "next-exit", "removed"]) {
      const { calls, json } = await ask(answers, "POST", `/containers/x/wait?condition=${condition}`);
      expect([calls[0]?.args[1], json()]).toEqual([condition, { StatusCode: 3 }]);
    }
    expect((await ask(answers, "POST", "/containers/x/wait")).calls[0]?.args[1]).toBe("not-running");
    const wrong = await ask(answers, "POST", "/containers/x/wait?condition=x");
    expect([wrong.status, wrong.json()]).toEqual([400, { message: 'invalid condition: "x"' }]);
  });
});

describe("exec", () => {
  test("create needs a command", async () => {
    const answers: Partial<Engine> = { execCreate: () => Promise.resolve({ Id: "e" }) };
    const body = '{"Cmd":["ls"],"Tty":true,"ConsoleSize":[1,2]}';
    const made = await ask(answers, "POST", "/containers/x/exec", body);
    expect([made.status, made.json()]).toEqual([201, { Id: "e" }]);
    expect(made.calls[0]?.args).toEqual(["x", { Cmd: ["ls"], Tty: true, ConsoleSize: [1, 2] }]);
    const old = await ask(answers, "POST", "/v1.41/containers/x/exec", body);
    expect(old.calls[0]?.args[1]).toEqual({ Cmd: ["ls"], Tty: true });
    expect((await ask(answers, "POST", "/containers/x/exec", "{}")).json()).toEqual({
      message: "No exec command specified",
    });
  });

  test("a detached start needs no connection", async () => {
    const { status, calls } = await ask(
      { execStart: () => Promise.resolve() },
      "POST",
      "/exec/e/start",
      '{"Detach":true,"Tty":false}',
    );
    expect([status, calls[0]?.args.slice(0, 2)]).toEqual([200, ["e", {
      detach: true,
      tty: false,
      consoleSize: undefined,
    }]]);
  });
});

describe("images", () => {
  test("names contain slashes, colons and digests", async () => {
    const seen: string[] = [];
    const note = (ref: string) => {
      seen.push(ref);
      return Promise.resolve([]);
    };
    const answers: Partial<Engine> = {
      imageInspect: (ref) => note(ref).then(() => ({})),
      imageHistory: note,
      imageRemove: note,
      imageTag: (ref) => note(ref).then(() => {}),
    };
    const names = ["busybox", "a/b:c", "localhost:5000/a/b@sha256:abc", "json/json", "x/tag", "history"];
    for (const name of names) {
      for (const text of [name, encodeURIComponent(name)]) {
        seen.length = 0;
        expect((await ask(answers, "GET", `/v1.43/images/${text}/json`)).status).toBe(200);
        expect((await ask(answers, "GET", `/images/${text}/history`)).status).toBe(200);
        expect((await ask(answers, "DELETE", `/images/${text}`)).status).toBe(200);
        expect((await ask(answers, "POST", `/images/${text}/tag?repo=r`)).status).toBe(201);
        expect(seen).toEqual([name, name, name, name]);
      }
    }
  });

  test("lists and inspects as each version of the API did", async () => {
    const listed = { Id: "i", RepoTags: [], RepoDigests: [], Size: 7, VirtualSize: 7, Containers: 2 };
    const answers: Partial<Engine> = {
      imageList: () => Promise.resolve([listed, { ...listed, RepoTags: ["a:1"] }]),
      imageInspect: () =>
        Promise.resolve({
          Id: "i",
          VirtualSize: 7,
          Config: { Hostname: "", Tty: true, Cmd: null, User: "" },
        }),
    };
    const list = async (version: string) => (await ask(answers, "GET", `/v${version}/images/json`)).json();
    const { VirtualSize: _, ...today } = listed;
    expect(await list("1.51")).toEqual([today, { ...today, RepoTags: ["a:1"] }]);
    expect(await list("1.50")).toEqual([
      { ...today, Containers: -1 },
      { ...today, RepoTags: ["a:1"], Containers: -1 },
    ]);
    expect(await list("1.43")).toMatchObject([{ VirtualSize: 7, RepoTags: [] }, { VirtualSize: 7 }]);
    expect(await list("1.42")).toMatchObject([
      { RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] },
      { RepoTags: ["a:1"], RepoDigests: [] },
    ]);
    const inspect = async (version: string) =>
      (await ask(answers, "GET", `/v${version}/images/i/json`)).json();
    const legacy = { Hostname: "", Tty: true, Cmd: null, User: "" };
    expect(await inspect("1.51")).toEqual({ Id: "i", Config: { Tty: true, Cmd: null, User: "" } });
    expect(await inspect("1.49")).toEqual({ Id: "i", Config: legacy });
    expect(await inspect("1.44")).toEqual({
      Id: "i",
      Container: "",
      ContainerConfig: legacy,
      Config: legacy,
    });
    expect(await inspect("1.43")).toEqual({
      Id: "i",
      Container: "",
      ContainerConfig: legacy,
      VirtualSize: 7,
      Config: legacy,
    });
  });

  test("a platform is read where the version has it", async () => {
    const answers: Partial<Engine> = {
      imageInspect: () => Promise.resolve({}),
      imageHistory: () => Promise.resolve([]),
      imageRemove: () => Promise.resolve([]),
    };
    const arm = { os: "linux", architecture: "arm64", variant: "v8" };
    const query = encodeURIComponent(JSON.stringify(arm));
    for (
      const [method, path, since, before] of [
        ["GET", `/images/i/json?platform=${query}`, "1.49", "1.48"],
        ["GET", `/images/i/history?platform=${query}`, "1.48", "1.47"],
        ["DELETE", `/images/i?platforms=${query}`, "1.50", "1.49"],
      ] as const
    ) {
      const given = async (version: string) => {
        const argument = (await ask(answers, method, `/v${version}${path}`)).calls[0]?.args[1];
        return method === "DELETE" ? (argument as { platform: unknown }).platform : argument;
      };
      expect(await given(since)).toEqual(arm);
      expect(await given(before)).toBeUndefined();
      const several = await ask(answers, method, `${path}&${path.split("?")[1]}`);
      expect([several.status, several.json()]).toEqual([400, {
        message: method === "DELETE"
          ? "multiple platforms are not supported"
          : "multiple platform parameters not supported",
      }]);
    }
    expect((await ask(answers, "GET", `/images/i/json?manifests=1&platform=${query}`)).json()).toEqual({
      message: "conflicting options: manifests and platform options cannot both be set",
    });
  });

  test("tag takes the tag of its own where the name has one too", async () => {
    const answers: Partial<Engine> = { imageTag: () => Promise.resolve() };
    expect((await ask(answers, "POST", "/images/x/tag?repo=host:5000/a:1&tag=2")).calls[0]?.args).toEqual([
      "x",
      "host:5000/a:2",
    ]);
    const refused = async (query: string) => (await ask(answers, "POST", `/images/x/tag?${query}`)).json();
    expect(await refused("repo=a&tag=b/c")).toEqual({ message: "invalid tag format" });
    expect(await refused(`repo=a@sha256:${"0".repeat(64)}`)).toEqual({
      message: "cannot import digest reference",
    });
  });

  test("pull, import and commit take the tag of its own, too", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    const pulled = async (query: string) => {
      const { calls } = await ask({ imagePull: () => Promise.resolve() }, "POST", `/images/create?${query}`);
      return calls[0]?.args[0];
    };
    const busybox = "docker.io/library/busybox";
    expect(await pulled("fromImage=busybox:1.36&tag=1.37")).toMatchObject({ reference: `${busybox}:1.37` });
    expect(await pulled(`fromImage=busybox:1.36&tag=${digest}`)).toMatchObject({
      reference: `${busybox}@${digest}`,
    });
    expect(await pulled("fromImage=busybox:1.36")).toMatchObject({
      reference: "busybox:1.36",
      allTags: false,
    });
    expect(await pulled("fromImage=busybox:")).toMatchObject({ reference: "busybox", allTags: true });
    const wrong = await ask({}, "POST", "/images/create?fromImage=busybox&tag=a/b");
    expect([wrong.status, wrong.json()]).toEqual([400, { message: "invalid tag format" }]);
    const commit = { commit: () => Promise.resolve({ Id: "sha256:1" }) };
    const committed = (await ask(commit, "POST", "/commit?container=x&repo=host:5000/a:1&tag=2")).calls[0];
    expect(committed?.args[1]).toMatchObject({ reference: "host:5000/a:2" });
    const digested = await ask(commit, "POST", `/commit?container=x&repo=a@${digest}`);
    expect([digested.status, digested.json()]).toEqual([400, { message: "cannot import digest reference" }]);
  });

  test("pull and its like take damaged credentials for none", async () => {
    const answers: Partial<Engine> = {
      imagePull: () => Promise.resolve(),
      imageSearch: () => Promise.resolve([]),
    };
    for (const header of ["%%%", btoa("no json"), btoa('{"username":1}')]) {
      const headers = { "X-Registry-Auth": header };
      const pull = await ask(answers, "POST", "/images/create?fromImage=a&tag=b", undefined, headers);
      expect([pull.status, pull.calls[0]?.args[0]]).toEqual([
        200,
        expect.objectContaining({ auth: undefined }),
      ]);
      expect((await ask(answers, "GET", "/images/search?term=a", undefined, headers)).status).toBe(200);
    }
  });

  test("tag joins repository and tag", async () => {
    const answers: Partial<Engine> = { imageTag: () => Promise.resolve() };
    expect((await ask(answers, "POST", "/images/x/tag?repo=a/b&tag=c")).calls[0]?.args).toEqual([
      "x",
      "docker.io/a/b:c",
    ]);
    expect((await ask(answers, "POST", "/images/x/tag?repo=a/b")).calls[0]?.args).toEqual(["x", "a/b"]);
    expect((await ask(answers, "POST", "/images/x/tag")).json()).toEqual({
      message: "invalid reference format",
    });
  });

  test("load tells of progress, and of an error after it", async () => {
    const load = (failure: Error | undefined): Partial<Engine> => ({
      imageLoad: async (input, _, send) => {
        const text = await new Response(input).text();
        send({ stream: `Loaded image: ${text}\n` });
        if (failure) throw failure;
      },
    });
    const type = { "Content-Type": "application/x-tar" };
    const good = await ask(load(undefined), "POST", "/images/load?quiet=1", "archive", type);
    expect(good.body).toBe('{"stream":"Loaded image: archive\\n"}\r\n');
    const bad = await ask(load(new Error("truncated")), "POST", "/images/load", "archive", type);
    expect(bad.status).toBe(200);
    expect(bad.body.split("\r\n")[1]).toBe('{"errorDetail":{"message":"truncated"},"error":"truncated"}');
  });

  test("create imports an archive", async () => {
    const { json, calls } = await ask(
      { imageImport: () => Promise.resolve({ id: "sha256:1" }) },
      "POST",
      "/images/create?fromSrc=-&repo=a&tag=b&message=m&changes=CMD+ls&changes=ENV+A%3Db",
      "tar",
      { "Content-Type": "text/plain" },
    );
    expect(json()).toEqual({ status: "sha256:1" });
    expect(calls[0]?.args[1]).toEqual({
      reference: "docker.io/library/a:b",
      changes: ["CMD ls", "ENV A=b"],
      message: "m",
      platform: undefined,
      source: undefined,
    });
    const wrong = await ask({}, "POST", "/images/create?fromSrc=ftp://x/y");
    expect([wrong.status, wrong.body]).toEqual([
      400,
      expect.stringContaining("invalid source URL: ftp://x/y"),
    ]);
  });

  test("create tells how far the import of an address is", async () => {
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      (request) =>
        request.url.endsWith("/x.tar")
          ? new Response(new Uint8Array(600_000))
          : new Response("no", { status: 404 }),
    );
    const url = `http://127.0.0.1:${server.addr.port}/`;
    const answers: Partial<Engine> = {
      imageImport: async (input) => ({ id: `sha256:${(await new Response(input).bytes()).length}` }),
    };
    const make = (query: string) => ask(answers, "POST", `/images/create?${query}`);
    const lines = (await make(`fromSrc=${encodeURIComponent(`${url}x.tar`)}`)).body.trim().split("\r\n")
      .map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({ status: `Downloading from ${url}x.tar` });
    expect(lines.at(-2)).toEqual({
      status: "Importing",
      progressDetail: { current: 600_000, total: 600_000 },
      progress: expect.stringMatching(/^\[=+>\] +600kB\/600kB$/),
    });
    expect(lines.at(-1)).toEqual({ status: "sha256:600000" });
    expect((await make(`fromSrc=${encodeURIComponent(`${url}y.tar`)}`)).status).toBe(404);
    expect((await make(`fromSrc=${encodeURIComponent(`${url}x.tar`)}&repo=BAD`)).status).toBe(400);
  });

  test("json turns the old name filter into a new one", async () => {
    const answers: Partial<Engine> = { imageList: () => Promise.resolve([]) };
    const old = await ask(answers, "GET", "/v1.40/images/json?filter=a*&all=1");
    expect(old.calls[0]?.args[0]).toEqual({
      all: true,
      filters: new Map([["reference", ["a*"]]]),
      sharedSize: false,
      digests: false,
    });
    const today = await ask(answers, "GET", "/images/json?filter=a*");
    expect(today.calls[0]?.args[0]).toMatchObject({ filters: new Map() });
  });
});

describe("over a socket", () => {
  let dir: string;
  let socket: string;
  let server: Server;
  let answers: Partial<Engine>;
  let calls: Call[];

  beforeEach(async () => {
    dir = await Deno.makeTempDir();
    socket = `${dir}/api.sock`;
    answers = {};
    const fake = fakeEngine(
      new Proxy({}, { get: (_, method) => answers[method as keyof Engine] }) as Partial<Engine>,
    );
    calls = fake.calls;
    server = await serveApi(fake.engine, [{ kind: "unix", path: socket }], { log: () => {} });
  });
  afterEach(async () => {
    await server.close({ graceMs: 100 });
    await Deno.remove(dir, { recursive: true });
  });

  /** An engine's end of an attached stream: echoes, then tells of the half-close. */
  const echo = (tty: boolean): Engine["attach"] => async (_id, _options, ready) => {
    const stream = await ready({ tty });
    for await (const data of stream.input) await stream.write(data);
    await stream.write(bytes("bye"));
    stream.close();
  };
  const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

  test.each<[string, boolean, string, string]>([
    ["1.50", false, upgrade, "101 multiplexed"],
    ["1.42", false, upgrade, "101 multiplexed"],
    ["1.41", false, upgrade, "101 raw"],
    ["1.50", true, upgrade, "101 raw"],
    ["1.50", false, "", "200 raw"],
  ])("attach at %s, terminal %s, %j begins as Docker's: %s", async (version, tty, headers, expected) => {
    answers = { attach: echo(tty) };
    const client = await RawClient.connect(socket);
    await client.send(
      `POST /v${version}/containers/x/attach?stdin=1&stream=1 HTTP/1.1\r\nHost: x\r\n${headers}\r\n`,
    );
    const head = await client.until("\r\n\r\n");
    const type = `application/vnd.docker.${expected.split(" ")[1]}-stream`;
    expect(head).toBe(
      expected.startsWith("101")
        ? `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`
        : `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n\r\n`,
    );
    await client.send("ping");
    expect(new TextDecoder().decode(await client.exactly(4))).toBe("ping");
    await (client.conn as Deno.UnixConn).closeWrite();
    expect(await client.toEnd()).toBe("bye");
    expect(calls[0]?.args.slice(0, 2)).toEqual(["x", {
      stdin: true,
      stdout: false,
      stderr: false,
      logs: false,
      stream: true,
      detachKeys: undefined,
    }]);
    client.close();
  });

  test("attach/ws has all streams until 1.41, and those that are asked for from 1.42 on", async () => {
    const asked: AttachOptions[] = [];
    answers = {
      attach: (_id, options) => {
        asked.push(options);
        return Promise.reject(notFound("No such container: x"));
      },
    };
    const headers = {
      "Connection": "Upgrade",
      "Upgrade": "websocket",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version": "13",
    };
    for (const version of ["1.41", "1.42"]) {
      await request(socket, "GET", `/v${version}/containers/x/attach/ws?stream=1&stdout=1`, { headers });
    }
    expect(asked).toMatchObject([
      { stdin: true, stdout: true, stderr: true, stream: true },
      { stdin: false, stdout: true, stderr: false, stream: true },
    ]);
  });

  test("attach to nothing is an ordinary 404", async () => {
    answers = { attach: () => Promise.reject(notFound("No such container: x")) };
    const response = await request(socket, "POST", "/containers/x/attach", { headers: { Upgrade: "tcp" } });
    expect([response.status, JSON.parse(response.body)]).toEqual([404, { message: "No such container: x" }]);
  });

  test("exec start reads its body, then the stream; a late error is on the output", async () => {
    answers = {
      execStart: async (_id, _options, ready) => {
        const stream = await ready({ tty: false });
        for await (const data of stream.input) {
          await stream.write(data);
          break;
        }
        throw new Error("late");
      },
    };
    const body = '{"Detach":false,"Tty":false}';
    const client = await RawClient.connect(socket);
    await client.send(
      `POST /exec/e/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${upgrade}\r\n${body}input`,
    );
    expect((await client.head()).status).toBe(101);
    expect(await client.toEnd()).toBe("input\x01\0\0\0\0\0\0\x06late\r\n");
    client.close();
  });

  test("wait sends its head before it blocks, and hears the client go", async () => {
    let signal: AbortSignal | undefined;
    let finish = (_: { StatusCode: number }) => {};
    answers = {
      wait: (_id, _condition, given) => {
        signal = given;
        return Promise.resolve({ result: new Promise((resolve) => finish = resolve) });
      },
    };
    const first = await RawClient.connect(socket);
    const wait = "POST /v1.50/containers/x/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n";
    await first.send(wait);
    expect((await first.head()).status).toBe(200);
    finish({ StatusCode: 7 });
    expect(await first.chunk()).toBe('{"StatusCode":7}\n');
    expect(await first.chunk()).toBe("");
    await first.send(wait);
    await first.head();
    expect(signal?.aborted).toBe(false);
    first.close();
    await eventually(() => signal?.aborted === true, "abort");
  });

  test("events and followed logs end when the client goes", async () => {
    const signals: AbortSignal[] = [];
    const endless = async function* (signal: AbortSignal) {
      signals.push(signal);
      yield bytes("one");
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    };
    answers = { logs: (_id, _options, signal) => Promise.resolve({ tty: true, chunks: endless(signal) }) };
    const client = await RawClient.connect(socket);
    await client.send("GET /containers/x/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.head();
    expect(await client.chunk()).toBe("one");
    client.close();
    await eventually(() => signals[0]?.aborted === true, "abort");
  });

  test("load streams its archive and ends when the client goes in the middle", async () => {
    let failure: unknown;
    let arrived = "";
    answers = {
      imageLoad: async (input) => {
        try {
          await input.pipeTo(
            new WritableStream({ write: (chunk) => void (arrived += new TextDecoder().decode(chunk)) }),
          );
        } catch (error) {
          failure = error;
          throw error;
        }
      },
    };
    const client = await RawClient.connect(socket);
    await client.send(
      "POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    );
    await eventually(() => arrived === "hello", "first chunk");
    client.close();
    await eventually(() => failure !== undefined, "failure");
    expect(String(failure)).toContain("unexpected EOF");
  });

  // containers/image stops sending as soon as it sees a head, and fails
  test("load answers when it has something to say, and with a line when that is a failure", async () => {
    let read = "";
    answers = {
      imageLoad: async (input) => {
        for await (const chunk of input) read += new TextDecoder().decode(chunk);
        throw invalid("invalid archive");
      },
    };
    const client = await RawClient.connect(socket);
    await client.send(
      "POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    );
    await eventually(() => read === "hello", "first chunk");
    let answered = false;
    const head = client.head().finally(() => answered = true);
    // an answer to another client has gone all the way meanwhile
    expect((await request(socket, "GET", "/_ping")).status).toBe(200);
    expect(answered).toBe(false);
    await client.send("0\r\n\r\n");
    expect([(await head).status, await client.chunk()]).toEqual([
      200,
      expect.stringContaining('"message":"invalid archive"'),
    ]);
    client.close();
  });

  test("start refuses a chunked body and takes an empty one", async () => {
    answers = { start: () => Promise.resolve() };
    const chunked = await RawClient.connect(socket);
    await chunked.send(
      "POST /containers/x/start HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    );
    expect((await chunked.response()).status).toBe(400);
    chunked.close();
    expect((await request(socket, "POST", "/containers/x/start", { body: "" })).status).toBe(204);
  });
});

test("mod.ts exports what main needs", () => {
  expect(exported).toBe(createApp);
});
