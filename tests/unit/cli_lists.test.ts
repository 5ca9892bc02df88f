/** Lists and objects in every form that docker prints them in: raw, JSON, templates; `system df -v` among them. */
import { describe, expect, test } from "vitest";
import { compare, DOCKER_28 } from "../support/cli_comparison.ts";
import { describeWith } from "../support/needs.ts";
import type { Handler } from "../support/scripted_engine.ts";
import { orderedConfig, orderedHostConfig } from "../../engine/field_order.ts";

const OLD = 1715000000;
const CONTAINER = {
  Id: "a".repeat(64),
  Names: ["/web"],
  Image: "registry.example/team/app:1.0",
  ImageID: `sha256:${"b".repeat(64)}`,
  Command: "sh -c 'echo hi; echo err >&2; sleep 9'",
  Created: OLD,
  Ports: [{ IP: "127.0.0.1", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }],
  SizeRw: 12345,
  Labels: { a: "b&c" },
  State: "running",
  Status: "Up 3 minutes",
  HostConfig: { NetworkMode: "bridge" },
  NetworkSettings: { Networks: { bridge: {} } },
  Mounts: [{ Type: "volume", Name: "data", Driver: "local", Source: "/x", Destination: "/data" }],
};
const IMAGE = {
  Id: `sha256:${"b".repeat(64)}`,
  RepoTags: ["registry.example/team/app:1.0"],
  RepoDigests: [`registry.example/team/app@sha256:${"c".repeat(64)}`],
  Created: OLD,
  Size: 5_185_000,
  SharedSize: 1_072_000,
  Containers: 1,
};
const VOLUME = {
  Name: "data",
  Driver: "local",
  Scope: "local",
  Mountpoint: "/x",
  Labels: null,
  Options: null,
  UsageData: { RefCount: 1, Size: 2048 },
};
const CACHE = [
  {
    ID: "z".repeat(25),
    Type: "regular",
    Size: 10,
    CreatedAt: "2024-05-06T12:53:20Z",
    UsageCount: 2,
    LastUsedAt: null,
  },
  {
    ID: "y".repeat(25),
    Type: "source.local",
    Description: "local source for <context>",
    InUse: true,
    Shared: true,
    Size: 123_456,
    CreatedAt: "2024-05-06T12:53:20.5Z",
    LastUsedAt: "2024-05-06T12:53:21Z",
    UsageCount: 1,
  },
];
const DETAILS = {
  Id: CONTAINER.Id,
  Name: "/web",
  RestartCount: 0,
  Config: { Cmd: ["sh", "-c", "a && b > c"], Labels: { a: "b&c" } },
};

const engine: Handler = async (request, connection) => {
  const path = request.target.replace(/^\/v1\.\d+/, "").replace(/\?.*/, "");
  const answers: Record<string, unknown> = {
    "/_ping": "OK",
    "/containers/json": [CONTAINER],
    "/containers/web/json": DETAILS,
    "/images/json": [IMAGE],
    "/volumes": { Volumes: [VOLUME], Warnings: null },
    "/volumes/create": VOLUME,
    "/system/df": {
      LayersSize: 9_000_000,
      Images: [IMAGE],
      Containers: [CONTAINER],
      Volumes: [VOLUME],
      BuildCache: CACHE,
    },
  };
  const body = answers[path];
  await connection.answer(body === undefined ? 404 : 200, body ?? { message: `no ${path}` }, {
    "Content-Type": "application/json",
    "Api-Version": "1.51",
  });
};

const SAME: string[][] = [
  ["ps", "--format", "raw"],
  ["ps", "-s", "--format", "raw"],
  ["ps", "-q", "--format", "raw"],
  ["ps", "--format", "{{json .}}"],
  ["ps", "--format", "{{json .Labels}}"],
  ["images", "--format", "raw"],
  ["images", "--digests", "--format", "raw"],
  ["images", "-q", "--format", "raw"],
  ["volume", "ls", "--format", "raw"],
  ["volume", "ls", "--cluster"],
  ["volume", "create", "--name", "data"],
  ["volume", "create", "--name", "data", "data"],
  ["inspect", "--type", "container", "-f", "{{json .Config.Labels}}", "web"],
  ["inspect", "--type", "container", "-f", "{{json .Config.Cmd}}", "web"],
  ["inspect", "--type", "container", "-f", "json", "web"],
  // Objects are shown by templates as they are typed; lists know tabs and newlines of shells' quotes.
  ["inspect", "--type", "container", "-f", '{{join .Config.Cmd "\\n"}}', "web"],
  ["inspect", "--type", "container", "-f", "{{.Name}}\\t{{.Id}}\\n", "web"],
  ["inspect", "--type", "container", "-f", '{{printf "%s\\t%T %s %d\\n" .Name .RestartCount 1 2}}', "web"],
  ["inspect", "--type", "container", "-f", '{{js "a<b>\'c\' & \\"d\\" = e"}} {{printf "%t" 1}}', "web"],
  ["ps", "--format", "{{.Names}}\\t{{.ID}}\\n"],
  ["ps", "--format", "  {{.Names}} "],
  ["ps", "--format", "table{{.Names}}\\t{{.ID}}"],
  ["ps", "--format", "table  {{.Names}}"],
  ["ps", "--format", '{{printf "%s\\n" .Names}}'],
  ["system", "df", "-v"],
  ["system", "df", "-v", "--format", "json"],
  ["system", "df", "-v", "--format", "{{json .}}"],
  ["system", "df", "-v", "--format", "raw"],
  ["system", "df", "-v", "--format", "{{range .Images}}{{.Repository}} {{.UniqueSize}} {{end}}"],
  ["system", "df", "-v", "--format", "{{range .BuildCache}}{{.ID}} {{.Parent}} {{.LastUsedAt}}|{{end}}"],
  ["system", "df", "-v", "--format", "{{.Nope}}"],
  ["system", "df", "--format", "raw"],
];

describeWith(DOCKER_28)("lists in other forms", () => {
  test.each(SAME.map((argv) => ({ argv, name: argv.join(" ") })))("as docker: $name", async ({ argv }) => {
    const { docker, berth } = await compare(argv, engine);
    expect(berth).toEqual(docker);
  });
});

describe("orderedConfig(), orderedHostConfig()", () => {
  test("put fields in the order of Docker's structures, and unknown ones last", () => {
    expect(Object.keys(orderedConfig({ X: 1, Labels: {}, Env: [], Hostname: "" }))).toEqual([
      "Hostname",
      "Env",
      "Labels",
      "X",
    ]);
    expect(Object.keys(orderedHostConfig({ Init: true, Y: 0, Memory: 1, Binds: null }))).toEqual([
      "Binds",
      "Memory",
      "Init",
      "Y",
    ]);
  });
});
