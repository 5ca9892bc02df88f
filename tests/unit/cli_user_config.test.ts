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
