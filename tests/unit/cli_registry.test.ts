import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { type ScriptedEngine, scriptedEngine, type ScriptedRequest } from "../support/scripted_engine.ts";

let home: string;
let engine: ScriptedEngine;
let answers: Record<string, { status: number; body: unknown }>;

beforeEach(() => {
  home = Deno.makeTempDirSync({ prefix: "berth-home-" });
  answers = {};
  engine = scriptedEngine(async (request, connection) => {
    const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
    if (path === "/_ping") return await connection.answer(200, "OK", { "Api-Version": "1.51" });
    const { status, body } = answers[`${request.method} ${path}`] ??
      { status: 404, body: { message: "none" } };
    await connection.answer(status, body);
  });
});
afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  Deno.removeSync(home, { recursive: true });
});

const berth = (args: string[], stdin?: string) =>
  runBerth(["-H", engine.host, ...args], {
    env: { HOME: home, DOCKER_CONFIG: "", PATH: `${home}/bin:${Deno.env.get("PATH")}` },
    ...(stdin === undefined ? {} : { stdin }),
  });
const configFile = () => `${home}/.docker/config.json`;
const config = () => JSON.parse(Deno.readTextFileSync(configFile()));
const writeConfig = (value: unknown) => {
  Deno.mkdirSync(`${home}/.docker`, { recursive: true });
  Deno.writeTextFileSync(configFile(), JSON.stringify(value));
};
const last = (): ScriptedRequest => engine.requests.at(-1) as ScriptedRequest;
const sentAuth = () =>
  JSON.parse(
    new TextDecoder().decode(
      Uint8Array.fromBase64(last().headers.get("x-registry-auth") ?? "", { alphabet: "base64url" }),
    ),
  );
const loginAnswer = (more: object = {}) => {
  answers["POST /auth"] = { status: 200, body: { Status: "Login Succeeded", IdentityToken: "", ...more } };
};
const pullAnswer = () => {
  answers["POST /images/create"] = { status: 200, body: { status: "Digest: sha256:x" } };
};

/** A credential helper that keeps what it is given in a file. */
function installHelper(name: string): string {
  const store = `${home}/${name}.json`;
  Deno.mkdirSync(`${home}/bin`, { recursive: true });
  const path = `${home}/bin/docker-credential-${name}`;
  Deno.writeTextFileSync(
    path,
    `#!/bin/sh
case $1 in
store) cat > ${store} ;;
get) server=$(cat); grep -qs "\\"$server\\"" ${store} && cat ${store} || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f ${store} ;;
esac
`,
  );
  Deno.chmodSync(path, 0o755);
  return store;
}

describe("login", () => {
  it("checks the credentials with the engine and remembers them, readable by the user only", async () => {
    loginAnswer();
    writeConfig({ psFormat: "x", auths: { "other:1": { auth: "b3RoZXI6eA==" } } });
    const run = await berth(
      ["login", "-u", "me", "--password-stdin", "https://reg.example:5000/v2/"],
      "a:b\n",
    );
    expect(run).toMatchObject({ code: 0, stdout: "Login Succeeded\n" });
    expect(run.stderr).toContain(`stored unencrypted in '${configFile()}'`);
    expect(JSON.parse(new TextDecoder().decode(last().body))).toEqual({
      username: "me",
      password: "a:b",
      serveraddress: "reg.example:5000",
    });
    expect(config()).toEqual({
      psFormat: "x",
      auths: { "other:1": { auth: "b3RoZXI6eA==" }, "reg.example:5000": { auth: btoa("me:a:b") } },
    });
    expect((Deno.statSync(configFile()).mode ?? 0) & 0o777).toBe(0o600);
    expect([...Deno.readDirSync(`${home}/.docker`)]).toHaveLength(1);
  });

  it("remembers an identity token in place of the password, under Docker Hub's name by default", async () => {
    loginAnswer({ IdentityToken: "tok" });
    await berth(["login", "-u", "me", "-p", "pw"]);
    expect(config().auths).toEqual({
      "https://index.docker.io/v1/": { auth: btoa("me:"), identitytoken: "tok" },
    });
    pullAnswer();
    await berth(["pull", "busybox"]);
    expect(sentAuth()).toEqual({
      username: "me",
      serveraddress: "https://index.docker.io/v1/",
      identitytoken: "tok",
    });
  });

  it("hands them to the helper that is set up, and takes them from it", async () => {
    loginAnswer();
    const store = installHelper("mine");
    writeConfig({ credHelpers: { "reg.example": "mine" } });
    const run = await berth(["login", "-u", "me", "-p", "pw", "reg.example"]);
    expect(run.stderr).not.toContain("unencrypted");
    expect(JSON.parse(Deno.readTextFileSync(store))).toEqual({
      ServerURL: "reg.example",
      Username: "me",
      Secret: "pw",
    });
    expect(Deno.readTextFileSync(configFile())).not.toContain(btoa("me:pw"));
    pullAnswer();
    await berth(["pull", "reg.example/a/b"]);
    expect(sentAuth()).toEqual({ username: "me", password: "pw", serveraddress: "reg.example" });
    await berth(["pull", "elsewhere.example/a/b"]);
    expect(sentAuth()).toEqual({});
    const again = await berth(["login", "reg.example"]);
    expect(again.stdout).toBe(
      "Authenticating with existing credentials... [Username: me]\n\nLogin Succeeded\n",
    );
    await berth(["logout", "reg.example"]);
    expect(() => Deno.statSync(store)).toThrow(Deno.errors.NotFound);
  });

  it("goes on without credentials that cannot be had, and says why", async () => {
    pullAnswer();
    const broken: [object, string][] = [
      [{ credsStore: "not-installed" }, 'exec: "docker-credential-not-installed": executable file not found'],
      [{ auths: { "reg.example": { auth: "%%%" } } }, "is no base64; log in again"],
    ];
    for (const [value, reason] of broken) {
      writeConfig(value);
      const run = await berth(["pull", "reg.example/a/b"]);
      expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining(reason) });
      expect(run.stderr).toMatch(/^WARNING: going on without credentials for reg\.example: /);
      expect(sentAuth()).toEqual({});
    }
  });

  it("keeps nothing when the registry refuses, and says what is wrong with the flags", async () => {
    answers["POST /auth"] = { status: 401, body: { message: "nope" } };
    expect(await berth(["login", "-u", "me", "-p", "pw", "x.example"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Error response from daemon: nope\n"),
    });
    expect(() => Deno.statSync(configFile())).toThrow(Deno.errors.NotFound);
    expect((await berth(["login", "--password-stdin", "x.example"], "pw")).stderr).toContain(
      "requires --username",
    );
    expect((await berth(["login", "-u", "me", "-p", "x", "--password-stdin", "x.example"], "pw")).stderr)
      .toContain(
        "cannot specify both --password and --password-stdin",
      );
    expect((await berth(["login", "x.example"])).stderr).toContain("interactive login from a non TTY device");
    Deno.mkdirSync(`${home}/.docker`, { recursive: true });
    Deno.writeTextFileSync(configFile(), "{");
    expect((await berth(["logout"])).stderr).toContain("WARNING: could not erase credentials");
  });
});

describe("pull and push", () => {
  it("ask for what the user named", async () => {
    pullAnswer();
    const run = await berth(["pull", "busybox"]);
    expect(run).toMatchObject({
      code: 0,
      stdout: "Using default tag: latest\nDigest: sha256:x\ndocker.io/library/busybox:latest\n",
    });
    const query = () => Object.fromEntries(new URLSearchParams(last().target.split("?")[1]));
    expect(query()).toEqual({ fromImage: "docker.io/library/busybox", tag: "latest" });
    expect((await berth(["pull", "-q", "--platform", "linux/arm64", "host:5000/a/b:c"])).stdout).toBe(
      "host:5000/a/b:c\n",
    );
    expect(query()).toEqual({ fromImage: "host:5000/a/b", tag: "c", platform: "linux/arm64" });
    const digest = `sha256:${"a".repeat(64)}`;
    await berth(["pull", `x/y:t@${digest}`]);
    expect(query()).toEqual({ fromImage: "docker.io/x/y", tag: digest });
    await berth(["pull", "-a", "x/y"]);
    expect(query()).toEqual({ fromImage: "docker.io/x/y" });
    expect((await berth(["pull", "-a", "x/y:t"])).stderr).toContain("tag can't be used with --all-tags/-a");
    answers["POST /images/docker.io/x/y/push"] = { status: 200, body: { status: "done" } };
    expect((await berth(["push", "x/y"])).stdout).toBe("Using default tag: latest\ndone\n");
    expect(last().target).toMatch(/\/images\/docker\.io\/x\/y\/push\?tag=latest$/);
  });

  it("end with the engine's error", async () => {
    answers["POST /images/create"] = {
      status: 200,
      body: { errorDetail: { message: "disk full" }, error: "disk full" },
    };
    expect(await berth(["pull", "x"])).toMatchObject({ code: 1, stderr: "disk full\n" });
  });
});

describe("search", () => {
  it("prints a table, cut to size, and passes filters on", async () => {
    const long = "d".repeat(60);
    answers["GET /images/search"] = {
      status: 200,
      body: [{ name: "busybox", description: long, star_count: 3, is_official: true }],
    };
    const run = await berth(["search", "--limit", "5", "-f", "stars=3", "busy"]);
    expect(run.stdout).toMatch(/^NAME +DESCRIPTION +STARS +OFFICIAL\nbusybox +d{44}… +3 +\[OK\]\n$/);
    const query = new URLSearchParams(last().target.split("?")[1]);
    expect(query.get("term")).toBe("busy");
    expect(query.get("limit")).toBe("5");
    expect(query.get("filters")).toContain("stars");
    expect((await berth(["search", "--format", "{{.Name}} {{.StarCount}}", "busy"])).stdout).toBe(
      "busybox 3\n",
    );
  });
});
