/** Each field of a create request: taken and shown by inspect, warned about, or refused, as tests/support/create_fields.ts says. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call } from "../support/conformance.ts";
import { FIELDS, fieldsOfSchema } from "../support/create_fields.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { currentUser } from "../support/users.ts";

type Json = Record<string, unknown>;

const MOUNTS = "HostConfig.Mounts";
const ENDPOINTS = "NetworkingConfig.EndpointsConfig";

/** A create request with nothing but the field (and what the field needs). */
function requestWith(path: string, value: unknown): Json {
  const request: Json = { Image: "busybox" };
  if (path.startsWith(MOUNTS)) return { ...request, HostConfig: { Mounts: value } };
  if (path.startsWith(ENDPOINTS)) {
    return {
      ...request,
      HostConfig: { NetworkMode: "net" },
      NetworkingConfig: { EndpointsConfig: { net: value } },
    };
  }
  const keys = path.split(".");
  return keys.length === 1
    ? { ...request, [path]: value }
    : { ...request, [keys[0] ?? ""]: { [keys[1] ?? ""]: value } };
}

/** The field as inspect shows it. */
function shownAt(path: string, view: Json): unknown {
  if (path.startsWith(ENDPOINTS)) return ((view["NetworkSettings"] as Json)["Networks"] as Json)["net"];
  const keys = (path.startsWith(MOUNTS) ? MOUNTS : path).split(".");
  const start = keys[0] === "HostConfig" ? view : view["Config"];
  return keys.reduce<unknown>((value, key) => (value as Json | undefined)?.[key], start);
}

it("the table has every field of the schema, and no others", () => {
  expect(Object.keys(FIELDS).sort()).toEqual(fieldsOfSchema().sort());
});

describeWith(BUSYBOX)("a create request's", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await busyboxEngine({ user: currentUser() });
    await call(engine.socket, "POST", "/networks/create", {
      Name: "net",
      IPAM: { Config: [{ Subnet: "10.99.0.0/24" }] },
    });
    const other = { Image: "busybox", Volumes: { "/shared": {} } };
    expect((await call(engine.socket, "POST", "/containers/create?name=other", other)).status).toBe(201);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it.each(Object.entries(FIELDS))("%s", async (path, { state, value, shown = value, says = /^$/ }) => {
    const { status, body } = await call(
      engine.socket,
      "POST",
      "/containers/create?name=name",
      requestWith(path, value),
    );
    const { Id, Warnings = [], message = "" } = body as {
      Id?: string;
      Warnings?: string[];
      message?: string;
    };
    try {
      if (state === "refused" || (state === "limit" && status !== 201)) {
        expect([status, message]).toEqual([400, expect.stringMatching(says)]);
        return;
      }
      expect([status, message]).toEqual([201, ""]);
      if (state === "warned") expect(Warnings).toEqual([expect.stringMatching(says)]);
      else if (state === "limit" && Warnings.length > 0) expect(Warnings[0]).toMatch(says);
      else {
        // A link may add a note of its own.
        expect(Warnings).toEqual([]);
        if (state === "ignored") return;
        const view = (await call(engine.socket, "GET", `/containers/${Id}/json`)).body as Json;
        expect(
          path.startsWith(ENDPOINTS) || path.startsWith(MOUNTS) ? [shownAt(path, view)] : shownAt(path, view),
        )
          .toEqual(
            path.startsWith(ENDPOINTS)
              ? [expect.objectContaining(shown as Json)]
              : path.startsWith(MOUNTS)
              ? [shown]
              : shown,
          );
      }
    } finally {
      if (Id !== undefined) await call(engine.socket, "DELETE", `/containers/${Id}?v=1&force=1`);
    }
  });
});
