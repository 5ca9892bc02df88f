/** The OpenAPI document: it is one, and it has what the router has. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "vitest";
import { createApp } from "../../api/app.ts";
import { openApiDocument, OPERATIONS } from "../../api/openapi/document.ts";
import { REFUSED } from "../../api/unavailable.ts";
import { API_VERSION } from "../../base/version.ts";
import { fakeEngine } from "../support/fake_engine.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Record<string, unknown>;
}
interface Described {
  readonly parameters?: readonly Parameter[];
  readonly responses: Record<string, unknown>;
}
interface Document {
  readonly info: { version: string };
  readonly servers: readonly { url: string }[];
  readonly paths: Record<string, Record<string, Described>>;
  readonly components: { schemas: Record<string, Record<string, unknown>> };
}

const app = () => createApp(fakeEngine({}).engine);
const get = async (path: string): Promise<Document> =>
  await (await app().request(`http://localhost${path}`)).json();
const byName = (document: Document, path: string, method: string) =>
  Object.fromEntries(
    (document.paths[path]?.[method]?.parameters ?? []).map((parameter) => [parameter.name, parameter]),
  );

describe("openApiDocument()", () => {
  test("has every operation that the router has, and no other", () => {
    const refused = new Set(REFUSED.map(([method, path]) => `${method} ${path}`));
    const routed = app().routes
      .filter(({ method, path }) => method !== "ALL" && !refused.has(`${method} ${path}`) && path !== "*")
      .map(({ method, path }) => `${method} ${path}`);
    // A route for GET answers HEAD as well, where that is let through.
    const named = OPERATIONS.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
      .filter((name) => name !== "HEAD /_ping");
    expect([...new Set(routed)].filter((one) => one !== "OPTIONS *" && one !== "OPTIONS /*").sort()).toEqual(
      named.sort(),
    );
  });

  test("is an OpenAPI 3.1 document, in every version", async () => {
    for (const version of ["1.24", "1.43", API_VERSION]) {
      const validator = new Validator();
      const result = await validator.validate(structuredClone(openApiDocument(version)));
      expect(result.errors ?? "").toEqual("");
      expect([result.valid, validator.version]).toEqual([true, "3.1"]);
    }
  });

  test("gives no two operations one id", () => {
    const ids = OPERATIONS.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("has parameters of the schemas that routes read by", async () => {
    const document = await get("/openapi.json");
    const logs = byName(document, "/containers/{name}/logs", "get");
    expect(logs["name"]).toMatchObject({ in: "path", required: true });
    expect(logs["follow"]?.schema).toEqual({ type: "boolean", default: false });
    expect(logs["tail"]?.schema).toMatchObject({ default: "all" });
    expect(byName(document, "/containers/{name}/resize", "post")["h"]).toMatchObject({
      required: true,
      schema: { type: "integer", minimum: 0, maximum: 65535 },
    });
  });

  test("leaves out what a version does not know, and names the prefix", async () => {
    const [old, present] = [await get("/v1.24/openapi.json"), await get("/openapi.json")];
    expect([old.info.version, old.servers[0]?.url]).toEqual(["1.24", "/v1.24"]);
    expect([present.info.version, present.servers[0]?.url]).toEqual([API_VERSION, "/"]);
    const stop = (document: Document) =>
      Object.keys(byName(document, "/containers/{name}/stop", "post")).sort();
    expect([stop(old), stop(present)]).toEqual([["name", "t"], ["name", "signal", "t"]]);
    expect(byName(present, "/containers/{name}/stop", "post")["signal"]).toMatchObject({ "x-since": "1.42" });
  });

  test("lets the fields of requests be null, as they are read", async () => {
    const { ContainerCreateRequest: body, HostConfig: host } =
      (await get("/openapi.json")).components.schemas;
    expect(body?.["properties"]).toMatchObject({
      Hostname: { type: ["string", "null"] },
      Entrypoint: { oneOf: [{ type: "array" }, { type: "string" }, { type: "null" }] },
      HostConfig: { anyOf: [{ $ref: "#/components/schemas/HostConfig" }, { type: "null" }] },
    });
    expect(host?.["properties"]).toMatchObject({ Memory: { type: ["integer", "null"], format: "int64" } });
    expect(JSON.stringify(body)).not.toContain("x-struct");
  });
});
