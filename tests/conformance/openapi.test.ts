/** What a live engine answers is what its own OpenAPI document says: no field of another type, none missing, none unknown. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

type Json = Record<string, unknown>;

interface Document {
  readonly paths: Record<string, Record<string, { responses: Record<string, Json> }>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

const ID = "https://berth.test/openapi.json";

/** Where an object's fields are listed, no others are let pass. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]): [string, unknown] => [key, closed(value)]);
  const isClosed = "properties" in schema && !("additionalProperties" in schema);
  return Object.fromEntries(isClosed ? [...entries, ["additionalProperties", false]] : entries);
}

describeWith(BUSYBOX).each(usersToTest())("openapi.json of an engine of $name", (user) => {
  let engine: Engine;
  let document: Document;
  let ajv: Ajv2020;

  /** The schema of an operation's answer, with that status. */
  function answerOf(path: string, method: string, status: number): ValidateFunction {
    const pointer = ["paths", path, method.toLowerCase(), "responses", `${status}`];
    const response = document.paths[path]?.[method.toLowerCase()]?.responses[status];
    if (response === undefined) throw new Error(`the document has no ${status} of ${method} ${path}`);
    const at = "$ref" in response ? ["components", "responses", "Error"] : pointer;
    const escaped = [...at, "content", "application/json", "schema"]
      .map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
    return ajv.compile({ $ref: `${ID}#/${escaped}` });
  }

  async function check(
    method: string,
    template: string,
    path = template,
    body?: unknown,
    status = 200,
  ): Promise<unknown> {
    const answer = await call(engine.socket, method, `/v1.51${path}`, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(status);
    const validate = answerOf(template.replace(/\?.*/, ""), method, status);
    const bodies = typeof answer.body === "string" && answer.body.includes("\n")
      ? answer.body.trim().split("\n").map((line) => JSON.parse(line) as unknown)
      : [answer.body];
    for (const one of bodies) {
      expect(validate(one) ? [] : validate.errors, `${method} ${path}: ${JSON.stringify(one)}`).toEqual([]);
    }
    return answer.body;
  }

  beforeAll(async () => {
    engine = await busyboxEngine({ user });
    document = (await call(engine.socket, "GET", "/v1.51/openapi.json")).body as Document;
    ajv = new Ajv2020({ strict: false, allErrors: true, logger: false, validateFormats: false });
    ajv.addSchema(closed(document) as Json, ID);
    const runs = [
      ["network", "create", "--label", "a=b", "--subnet", "10.89.7.0/24", "front"],
      ["volume", "create", "--label", "a=b", "data"],
      [
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "-p",
        "127.0.0.1::80",
        "-v",
        "data:/data",
        "-v",
        "/tmp:/host:ro",
      ]
        .concat(["--mount", "type=tmpfs,target=/scratch", "--health-cmd", "true", "--health-interval", "1s"])
        .concat([
          "--ulimit",
          "nofile=99:99",
          "--device",
          "/dev/null",
          "--label",
          "x=y",
          "--memory",
          "99m",
          "--init",
        ])
        .concat([
          "--annotation",
          "k=v",
          "--restart",
          "on-failure:2",
          "--cap-drop",
          "all",
          "busybox",
          "sleep",
          "1000",
        ]),
      [
        "run",
        "-d",
        "--name",
        "terminal",
        "-t",
        "-w",
        "/new/place",
        "busybox",
        "sh",
        "-c",
        "touch /changed; sleep 1000",
      ],
      ["run", "--name", "ended", "--network", "none", "busybox", "false"],
      ["create", "--name", "fresh", "--network", "host", "busybox"],
      ["commit", "-c", 'CMD ["date"]', "ended", "child:1"],
    ];
    for (const run of runs) await engine.berth(run);
  });
  afterAll(async () => await engine?.[Symbol.asyncDispose]());

  it("is what the engine answers to reads", async () => {
    const reads: [template: string, path?: string][] = [
      ["/version"],
      ["/info"],
      ["/containers/json", "/containers/json?all=1&size=1"],
      ...["web", "terminal", "ended", "fresh"].map((
        name,
      ): [string, string] => ["/containers/{name}/json", `/containers/${name}/json?size=1`]),
      ["/containers/{name}/top", "/containers/web/top"],
      ["/containers/{name}/changes", "/containers/terminal/changes"],
      ["/containers/{name}/stats", "/containers/web/stats?stream=0"],
      ["/containers/{name}/stats", "/containers/ended/stats?stream=0"],
      ["/images/json", "/images/json?all=1&shared-size=1"],
      ["/images/{name}/json", "/images/child:1/json"],
      ["/images/{name}/json", "/images/busybox/json"],
      ["/images/{name}/history", "/images/child:1/history"],
      ["/networks"],
      ["/networks/{name}", "/networks/front"],
      ["/networks/{name}", "/networks/none"],
      ["/volumes"],
      ["/volumes/{name}", "/volumes/data"],
      ["/system/df"],
      ["/events", `/events?since=1&until=${Math.floor(Date.now() / 1000) + 1}`],
      ["/berth/network"],
      ["/plugins"],
      ["/openapi.json"],
    ];
    for (const [template, path] of reads) await check("GET", template, path);
  });

  it("is what the engine answers to writes", async () => {
    const { Id: exec } = await check("POST", "/containers/{name}/exec", "/containers/web/exec", {
      Cmd: ["true", "x"],
      User: "0",
    }, 201) as { Id: string };
    await check("GET", "/exec/{name}/json", `/exec/${exec}/json`);
    await call(engine.socket, "POST", `/exec/${exec}/start`, { Detach: true });
    await check("POST", "/containers/create", "/containers/create?name=next", { Image: "busybox" }, 201);
    await check("POST", "/containers/{name}/update", "/containers/web/update", { CpuShares: 100 });
    await check("POST", "/containers/{name}/wait", "/containers/ended/wait");
    await check("POST", "/networks/create", "/networks/create", { Name: "back" }, 201);
    await check("POST", "/volumes/create", "/volumes/create", {}, 201);
    await check("DELETE", "/images/{name}", "/images/child:1");
    for (const kind of ["containers", "images", "networks", "volumes", "build"]) {
      await check("POST", `/${kind}/prune`);
    }
  });

  it("is what the engine answers to mistakes", async () => {
    await check("GET", "/containers/{name}/json", "/containers/nobody/json", undefined, 404);
    await check("POST", "/containers/create", "/containers/create?name=web", { Image: "busybox" }, 409);
    await check("POST", "/containers/create", "/containers/create", { Image: 5 }, 400);
  });
});
