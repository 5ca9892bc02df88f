/** docker's config.json as far as it is about the command line: both programs read it in the same way. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBerth } from "../support/berth_cli.ts";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";
import { type Handler, scriptedEngine } from "../support/scripted_engine.ts";

const ID = "c".repeat(64);
const ANSWERS: Readonly<Record<string, unknown>> = {
  "/containers/json": [{
    Id: ID,
    Names: ["/web"],
    Image: "busybox",
    Command: "sh",
    Created: 1,
    State: "running",
    Status: "Up",
    Ports: [],
    Mounts: [],
    Labels: {},
    NetworkSettings: { Networks: {} },
  }],
  "/images/json": [{ Id: `sha256:${ID}`, RepoTags: ["busybox:latest"], Created: 1, Size: 5, Containers: 0 }],
  "/networks": [{ Id: ID, Name: "front", Driver: "bridge", Scope: "local" }],
  "/volumes": {
    Volumes: [{ Name: "data", Driver: "local", Mountpoint: "/m", Scope: "local" }],
    Warnings: null,
  },
};

const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  const answer = (status: number, body?: unknown) =>
    connection.answer(status, body, { "Content-Type": "application/json", "Api-Version": "1.51" });
  if (path === "/_ping") return await answer(200, "OK");
  if (path === "/containers/create") return await answer(201, { Id: ID, Warnings: [] });
  if (path.endsWith("/archive")) return await answer(200);
  if (path in ANSWERS) return await answer(200, ANSWERS[path]);
  await answer(404, { message: "page not found" });
};

let dir: string;
beforeAll(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-config-" });
  Deno.writeTextFileSync(
    `${dir}/config.json`,
    JSON.stringify({
      psFormat: "{{.Names}} of ps",
      imagesFormat: "table {{.Repository}}\t{{.Tag}}",
      networksFormat: "{{.Name}} of networks",
      volumesFormat: "{{.Name}} of volumes",
      detachKeys: "ctrl-x,x",
      HttpHeaders: { "X-Meta": "from the file" },
      proxies: { default: { httpProxy: "http://proxy:1", noProxy: "localhost", allProxy: "socks5://p" } },
    }),
  );
});
afterAll(() => Deno.removeSync(dir, { recursive: true }));

describeWith(DOCKER_28)("compared with docker 28", () => {
  test.each([
    [["ps"]],
    [["ps", "-q"]],
    [["ps", "--format", "{{.ID}}"]],
    [["ps", "--format", ""]],
    [["images"]],
    [["images", "-q"]],
    [["network", "ls"]],
    [["volume", "ls"]],
    [["volume", "ls", "--format", "table"]],
  ])("%j", async (argv) => {
    const { docker, berth } = await compare(["--config", dir, ...argv], engine);
    expect(berth).toEqual(docker);
  });

  test("containers get the proxies that they do not name themselves", async () => {
    const argv = ["create", "-e", "http_proxy=mine", "-e", "A=b", "busybox"];
    const { docker, berth } = await compare(["--config", dir, ...argv], engine);
    const environment = ({ requests }: typeof berth) => {
      const text = requests.find((request) =>
        request.includes("/containers/create")
      )?.replace(/^[^{]*/, "") ?? "";
      return (JSON.parse(text) as { Env: string[] }).Env.toSorted();
    };
    expect(environment(berth)).toEqual(environment(docker));
    expect(environment(berth)).toContain("HTTP_PROXY=http://proxy:1");
    expect(environment(berth)).toContain("http_proxy=mine");
  });
});

describeWith(DOCKER_28)("--use-api-socket, compared with docker 28", () => {
  test("gives a container the socket, and the credentials of whom is logged in", async () => {
    const other = `${dir}/logged-in`;
    Deno.mkdirSync(other);
    const auth = btoa("me:secret");
    Deno.writeTextFileSync(
      `${other}/config.json`,
      JSON.stringify({ auths: { "registry.example": { auth } } }),
    );
    const argv = ["--config", other, "create", "--use-api-socket", "busybox"];
    const { docker, berth } = await compare(argv, engine);
    const requests = ({ requests }: typeof berth) =>
      requests.map((request) => {
        const start = request.indexOf("{");
        const { Env, HostConfig } = request.startsWith("POST")
          ? JSON.parse(request.slice(start)) as { Env: string[]; HostConfig: { Mounts: unknown } }
          : { Env: [], HostConfig: { Mounts: [] } };
        // Of the archive, the file: the rest is a header with a time.
        const file = request.startsWith("PUT")
          ? JSON.parse(/\{[^]*\}/.exec(request)?.[0] ?? "null") as unknown
          : null;
        // Each program has an engine of its own.
        const mounts = JSON.stringify(HostConfig.Mounts).replace(/"\/[^"]*\/s"/, '"ENGINE"');
        return [request.split(" ", 2), Env, mounts, file];
      });
    expect(requests(berth)).toEqual(requests(docker));
    expect(JSON.stringify(requests(berth))).toContain("DOCKER_CONFIG=/run/secrets/docker");
    expect(berth.stdout).toBe(docker.stdout);
  });
});

const pruned: Handler = async (request, connection) => {
  if (request.method !== "POST") return await engine(request, connection);
  await connection.answer(200, { SpaceReclaimed: 0 }, { "Content-Type": "application/json" });
};
function withPruneFilters(...pruneFilters: string[]): string {
  const other = Deno.makeTempDirSync({ dir });
  Deno.writeTextFileSync(`${other}/config.json`, JSON.stringify({ pruneFilters }));
  return other;
}

describeWith(DOCKER_28)("pruneFilters, compared with docker 28", () => {
  test.each([
    [["container", "prune", "-f"]],
    [["container", "prune", "-f", "--filter", "label=scratch", "--filter", "label=a=b"]],
    [["image", "prune", "-f", "-a"]],
    [["network", "prune", "-f"]],
    [["volume", "prune", "-f", "-a"]],
    [["system", "prune", "-f"]],
    [["system", "prune"]],
    [["system", "prune", "--filter", "label=z10", "--filter", "label=z9", "-a"]],
    [["container", "prune"]],
  ])("%j", async (argv) => {
    const { docker, berth } = await compare(
      ["--config", withPruneFilters("until=24h", "no pair"), ...argv],
      pruned,
    );
    // Go writes maps in the order of their keys.
    const sorted = (requests: readonly string[]) =>
      requests.map((request) =>
        request.replace(/(?<=filters=)\{.*?\}\}/, (json) => ordered(JSON.parse(json)))
      );
    expect({ ...berth, requests: sorted(berth.requests) }).toEqual({
      ...docker,
      requests: sorted(docker.requests),
    });
    if (argv.includes("-f")) expect(berth.requests.join()).toContain("24h");
  });

  const ordered = (value: object): string =>
    JSON.stringify(
      value,
      (_key, item: unknown) =>
        typeof item === "object" && item !== null
          ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => a < b ? -1 : 1))
          : item,
    );
});

// docker 28 passes over labels of the file (29 does not): what is to be kept would be lost.
test("pruneFilters keep by labels, and what is asked for beats them", async () => {
  const config = withPruneFilters("label!=keep", "label=mine");
  await using scripted = scriptedEngine(pruned);
  const filters = async (...args: string[]) => {
    await runBerth(["--config", config, "-H", scripted.host, "container", "prune", "-f", ...args]);
    const target = scripted.requests.at(-1)?.target ?? "";
    return JSON.parse(new URL(target, "http://x").searchParams.get("filters") ?? "null") as unknown;
  };
  expect(await filters()).toEqual({ "label!": { keep: true }, "label": { mine: true } });
  expect(await filters("--filter", "label=keep")).toEqual({ label: { keep: true, mine: true } });
});

test("a file that is damaged is told of, and everything goes on without it", async () => {
  const other = `${dir}/damaged`;
  Deno.mkdirSync(other);
  Deno.writeTextFileSync(`${other}/config.json`, "{bad");
  await using scripted = scriptedEngine(engine);
  const { code, stdout, stderr } = await runBerth(["--config", other, "-H", scripted.host, "ps", "-q"]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${ID.slice(0, 12)}\n` });
  expect(stderr).toMatch(/^WARNING: Error parsing config file \(\S+\/damaged\/config\.json\): .+\n$/);
});

test("DOCKER_CUSTOM_HEADERS stands for the headers of the file, and is refused as by docker", async () => {
  const seen: (string | undefined)[] = [];
  await using scripted = scriptedEngine(async (request, connection) => {
    seen.push(request.headers.get("x-meta"), request.headers.get("x-two"));
    await engine(request, connection);
  });
  const argv = ["--config", dir, "-H", scripted.host, "ps", "-q"];
  const withHeaders = (value: string) => runBerth(argv, { env: { DOCKER_CUSTOM_HEADERS: value } });
  expect((await withHeaders(`x-meta=a=b,"X-Two=1,2"`)).code).toBe(0);
  expect(new Set(seen)).toEqual(new Set(["a=b", "1,2"]));
  const { code, stderr } = await withHeaders("nothing");
  expect(code).toBe(1);
  expect(stderr).toBe(
    "Failed to initialize: failed to set custom headers from DOCKER_CUSTOM_HEADERS environment variable: " +
      `missing "=" in key=value pair: 'nothing'\n`,
  );
});

test("DOCKER_AUTH_CONFIG comes before what is stored", async () => {
  const seen: (string | undefined)[] = [];
  await using scripted = scriptedEngine(async (request, connection) => {
    const auth = request.headers.get("x-registry-auth");
    if (auth !== undefined) {
      seen.push(new TextDecoder().decode(Uint8Array.fromBase64(auth, { alphabet: "base64url" })));
    }
    await engine(request, connection);
  });
  const pull = (value: string) =>
    runBerth(["--config", `${dir}/logged-in`, "-H", scripted.host, "pull", "-q", "registry.example/a"], {
      env: { DOCKER_AUTH_CONFIG: value },
    });
  await pull(JSON.stringify({ auths: { "registry.example": { auth: btoa("ci:token") } } }));
  await pull(JSON.stringify({ auths: { "other.example": { auth: btoa("ci:token") } } }));
  const { stderr } = await pull("{}}");
  expect(seen.map((text) => (JSON.parse(text ?? "") as { username: string }).username)).toEqual([
    "ci",
    "me",
    "me",
  ]);
  expect(stderr).toMatch(/^Failed to create credential store from DOCKER_AUTH_CONFIG: /);
});

test("headers of the file go with every request", async () => {
  const seen: (string | undefined)[] = [];
  await using scripted = scriptedEngine(async (request, connection) => {
    seen.push(request.headers.get("x-meta"));
    await engine(request, connection);
  });
  expect((await runBerth(["--config", dir, "-H", scripted.host, "ps"])).stdout).toBe("web of ps\n");
  expect(seen.length).toBeGreaterThan(0);
  expect(new Set(seen)).toEqual(new Set(["from the file"]));
});
