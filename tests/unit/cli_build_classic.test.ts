/** `berth build` against an engine that is not berth's: Docker's classic API. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tarEvents } from "../../base/tar/mod.ts";
import { runBerth } from "../support/berth_cli.ts";
import { scriptedEngine, type ScriptedRequest } from "../support/scripted_engine.ts";

let root: string;
beforeAll(() => {
  root = Deno.makeTempDirSync({ prefix: "berth-classic-" });
});
afterAll(() => Deno.removeSync(root, { recursive: true }));

const LINES = [
  { stream: "Step 1/1 : FROM busybox\n" },
  { aux: { ID: "sha256:abc" } },
  { stream: "Successfully built abc\n" },
];

function docker(lines: readonly unknown[]) {
  return scriptedEngine(async ({ target }, connection) => {
    if (target.startsWith("/v1.51/")) {
      const message = "client version 1.51 is too new. Maximum supported API version is 1.47";
      await connection.answer(400, { message });
    } else if (target.endsWith("/_ping")) await connection.answer(200, "OK", { "Api-Version": "1.47" });
    else await connection.answer(200, lines.map((line) => `${JSON.stringify(line)}\r\n`).join(""));
  });
}

async function filesOf({ body }: ScriptedRequest): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  let current = "";
  for await (const event of tarEvents(new Blob([Uint8Array.from(body)]).stream())) {
    if (event.kind === "entry") files[current = event.entry.name] = "";
    else if (event.kind === "data") files[current] += new TextDecoder().decode(event.chunk);
  }
  return files;
}

function directory(files: Readonly<Record<string, string>>): string {
  const path = Deno.makeTempDirSync({ dir: root });
  for (const [name, text] of Object.entries(files)) {
    Deno.mkdirSync(`${path}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(`${path}/${name}`, text);
  }
  return path;
}

describe("berth build with a real Docker", () => {
  test("sends parameters, credentials and the context, and shows what is answered", async () => {
    await using engine = docker(LINES);
    const path = directory({
      "deploy/Dockerfile": "FROM busybox",
      ".dockerignore": "deploy\n*.log",
      "a.log": "",
      "a": "1",
      "config/config.json": JSON.stringify({ auths: { "example.com": { auth: btoa("me:secret") } } }),
    });
    const flags = [
      "-t",
      "app",
      "--build-arg",
      "A=1",
      "--target",
      "x",
      "--label",
      "l=m",
      "--memory",
      "1g",
      "--no-cache",
    ];
    const file = ["-f", `${path}/deploy/Dockerfile`, "--iidfile", `${path}/iid`];
    const { code, stdout, stderr } = await runBerth(["-H", engine.host, "build", ...flags, ...file, path], {
      env: { DOCKER_CONFIG: `${path}/config` },
    });
    expect([code, stderr, stdout]).toEqual([0, "", "Step 1/1 : FROM busybox\nSuccessfully built abc\n"]);
    expect(Deno.readTextFileSync(`${path}/iid`)).toBe("sha256:abc");
    const request = engine.requests.find(({ target }) => target.startsWith("/v1.47/build"));
    const url = new URL(`http://x${request?.target}`);
    expect(url.pathname).toBe("/v1.47/build");
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      t: "app",
      buildargs: '{"A":"1"}',
      target: "x",
      labels: '{"l":"m"}',
      memory: String(1024 ** 3),
      nocache: "1",
      dockerfile: "deploy/Dockerfile",
      version: "1",
      rm: "1",
    });
    const config = atob(
      request?.headers.get("x-registry-config")?.replaceAll("-", "+").replaceAll("_", "/") ?? "",
    );
    expect(JSON.parse(config)).toMatchObject({ "example.com": { username: "me", password: "secret" } });
    // the engine has to read both, and leaves them out itself
    const sent = request === undefined ? {} : await filesOf(request);
    expect(Object.keys(sent).sort()).toEqual([
      ".dockerignore",
      "a",
      "config/",
      "config/config.json",
      "deploy/",
      "deploy/Dockerfile",
    ]);
  });

  test("sends a Dockerfile from elsewhere under a name of its own", async () => {
    await using engine = docker(LINES);
    const { code } = await runBerth(["-H", engine.host, "build", "-f", "-", directory({ a: "1" })], {
      stdin: "FROM scratch",
    });
    expect(code).toBe(0);
    const request = engine.requests.find(({ target }) => target.startsWith("/v1.47/build"));
    const name = new URL(`http://x${request?.target}`).searchParams.get("dockerfile") ?? "";
    expect(name).toMatch(/^\.dockerfile\.[0-9a-f]{20}$/);
    expect(request === undefined ? {} : await filesOf(request)).toEqual({ a: "1", [name]: "FROM scratch" });
  });

  test("ends with the engine's error, and refuses what the classic API has no words for", async () => {
    await using engine = docker([LINES[0], { errorDetail: { message: "it failed" }, error: "it failed" }]);
    const path = directory({ Dockerfile: "FROM busybox" });
    const failed = await runBerth(["-H", engine.host, "build", path]);
    expect([failed.code, failed.stderr]).toEqual([1, "ERROR: failed to build: it failed\n"]);
    const refused = await runBerth([
      "-H",
      engine.host,
      "build",
      "--ssh",
      "default=/dev/null",
      "-o",
      "out",
      path,
    ]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      "ERROR: failed to build: the engine is not berth's, and its classic build API has no --ssh, --output\n",
    ]);
  });
});
