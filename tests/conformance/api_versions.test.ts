/** The same requests in each of the versions that clients are fixed to: which fields come, go, or mean something else. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine, call } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { currentUser } from "../support/users.ts";

const VERSIONS = ["1.24", "1.32", "1.40", "1.41", "1.44", "1.48", "1.51"] as const;
const number = (version: string) => Number(version.split(".")[1]);

/** What holds from a version on. */
type Changes = readonly (readonly [since: string, expected: unknown])[];

/** The last of `changes` that a version has reached. */
function at(version: string, changes: Changes): unknown {
  return changes.findLast(([since]) => number(since) <= number(version))?.[1];
}

type Json = Record<string, unknown>;
/** `a.b.0` of an answer. */
function pick(body: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (value as Json | undefined)?.[key], body);
}

interface Row {
  readonly request: readonly [method: string, path: string, body?: unknown];
  /** Of the answer; "" for all of it, "status" for its status, `header:` for a header. */
  readonly read: string;
  readonly changes: Changes;
}

const missing = undefined;
const created = "{created}";

/** `{created}` in a path is a container that was created with the same version, with everything that versions disagree about. */
const ROWS: Row[] = [
  { request: ["GET", "/_ping"], read: "", changes: [["1.24", "OK"]] },
  { request: ["GET", "/_ping"], read: "header:api-version", changes: [["1.24", "1.51"]] },
  {
    request: ["GET", "/info"],
    read: "SecurityOptions.0",
    changes: [["1.24", "seccomp"], ["1.25", "name=seccomp,profile=builtin"]],
  },
  { request: ["GET", "/info"], read: "KernelMemory", changes: [["1.24", false], ["1.42", missing]] },
  {
    request: ["GET", "/info"],
    read: "FirewallBackend.Driver",
    changes: [["1.24", missing], ["1.49", "nftables"]],
  },
  { request: ["GET", "/info"], read: "BridgeNfIptables", changes: [["1.24", false], ["1.50", missing]] },
  {
    request: ["GET", "/info"],
    read: "RegistryConfig.AllowNondistributableArtifactsCIDRs",
    changes: [["1.24", null], ["1.47", missing]],
  },
  { request: ["GET", "/system/df"], read: "BuilderSize", changes: [["1.24", 0], ["1.42", missing]] },
  {
    request: ["GET", "/system/df?type=image"],
    read: "Volumes",
    changes: [["1.24", expect.anything()], ["1.42", null]],
  },
  {
    request: ["GET", "/system/df"],
    read: "Images.0.VirtualSize",
    changes: [["1.24", expect.any(Number)], ["1.44", missing]],
  },
  {
    request: ["GET", "/images/json"],
    read: "0.VirtualSize",
    changes: [["1.24", expect.any(Number)], ["1.44", missing]],
  },
  {
    request: ["GET", "/images/json"],
    read: "0.Containers",
    changes: [["1.24", -1], ["1.51", expect.any(Number)]],
  },
  {
    request: ["GET", "/images/busybox/json"],
    read: "VirtualSize",
    changes: [["1.24", expect.any(Number)], ["1.44", missing]],
  },
  {
    request: ["GET", "/images/busybox/json"],
    read: "ContainerConfig.Cmd.0",
    changes: [["1.24", "/bin/sh"], ["1.45", missing]],
  },
  { request: ["GET", "/images/busybox/json"], read: "Container", changes: [["1.24", ""], ["1.45", missing]] },
  {
    request: ["GET", "/images/busybox/json"],
    read: "Config.Hostname",
    changes: [["1.24", ""], ["1.50", missing]],
  },
  { request: ["GET", "/networks/bridge"], read: "EnableIPv4", changes: [["1.24", true]] },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "HostConfig.AutoRemove",
    changes: [["1.24", false], ["1.25", true]],
  },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "HostConfig.IpcMode",
    changes: [["1.24", "shareable"], ["1.40", "private"]],
  },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "HostConfig.ConsoleSize",
    changes: [["1.24", [0, 0]], ["1.42", [30, 100]]],
  },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "HostConfig.Annotations",
    changes: [["1.24", missing], ["1.43", { a: "b" }]],
  },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "Config.Healthcheck.StartInterval",
    changes: [["1.24", missing], ["1.44", 2_000_000]],
  },
  {
    request: ["GET", `/containers/${created}/json`],
    read: "HostConfig.Mounts.0.BindOptions.ReadOnlyNonRecursive",
    changes: [["1.24", true], ["1.44", missing]],
  },
  {
    request: ["GET", `/containers/json?all=1&filters={"id":["${created}"]}`],
    read: "0.HostConfig.Annotations",
    changes: [["1.24", missing], ["1.46", { a: "b" }]],
  },
  {
    request: ["GET", "/containers/running/logs?stdout=1"],
    read: "header:content-type",
    changes: [
      ["1.24", "application/vnd.docker.raw-stream"],
      ["1.42", "application/vnd.docker.multiplexed-stream"],
    ],
  },
  {
    request: ["POST", "/containers/create", {
      Image: "busybox",
      HostConfig: { Sysctls: { "net.ipv4.conf.eth0.forwarding": "1" } },
    }],
    read: "status",
    changes: [["1.24", 201], ["1.48", 400]],
  },
  {
    request: ["POST", "/containers/create", {
      Image: "busybox",
      NetworkingConfig: { EndpointsConfig: { one: {}, two: {} } },
      HostConfig: { NetworkMode: "one" },
    }],
    read: "status",
    changes: [["1.24", 400], ["1.44", 201]],
  },
  {
    request: ["POST", "/containers/create", { Image: "busybox", MacAddress: "02:42:ac:11:00:99" }],
    read: "Warnings.0",
    changes: [
      ["1.24", missing],
      [
        "1.44",
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.",
      ],
    ],
  },
  {
    request: ["POST", "/containers/create", {
      Image: "busybox",
      HostConfig: {
        Mounts: [{ Type: "volume", Source: "sub", Target: "/a", VolumeOptions: { Subpath: "x" } }],
      },
    }],
    read: "status",
    changes: [["1.24", 400], ["1.45", 201]],
  },
  {
    request: ["POST", "/containers/create", {
      Image: "busybox",
      HostConfig: { Mounts: [{ Type: "tmpfs", Target: "/a", VolumeOptions: { NoCopy: true } }] },
    }],
    read: "status",
    changes: [["1.24", 201], ["1.42", 400]],
  },
  // Refusals and shapes that never change.
  {
    request: ["GET", "/containers/nobody/json"],
    read: "message",
    changes: [["1.24", "No such container: nobody"]],
  },
  { request: ["POST", "/containers/running/start"], read: "status", changes: [["1.24", 304]] },
  { request: ["POST", "/containers/running/start", { Memory: 1 }], read: "status", changes: [["1.24", 400]] },
  { request: ["POST", "/networks/create", { Name: "bridge" }], read: "status", changes: [["1.24", 403]] },
  { request: ["GET", "/plugins"], read: "", changes: [["1.24", []]] },
  { request: ["GET", "/swarm"], read: "status", changes: [["1.24", 503]] },
  { request: ["GET", "/nothing"], read: "message", changes: [["1.24", "page not found"]] },
];

const CREATE = {
  Image: "busybox",
  Cmd: ["true"],
  Healthcheck: { Test: ["CMD", "true"], StartInterval: 2_000_000 },
  HostConfig: {
    AutoRemove: true,
    ConsoleSize: [30, 100],
    Annotations: { a: "b" },
    Mounts: [{ Type: "bind", Source: "/tmp", Target: "/mnt", ReadOnly: true, BindOptions: {} }],
  },
};

// Versions are the API's business alone: one user is enough.
describeWith(BUSYBOX)("API versions", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await busyboxEngine({ user: currentUser() });
    for (const Name of ["one", "two"]) await call(engine.socket, "POST", "/networks/create", { Name });
    const running = { Image: "busybox", Cmd: ["sleep", "1000"] };
    await call(engine.socket, "POST", "/containers/create?name=running", running);
    await call(engine.socket, "POST", "/containers/running/start");
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it.each(VERSIONS)("v%s has the fields of its time", async (version) => {
    const { body } = await call(engine.socket, "POST", `/v${version}/containers/create`, CREATE);
    const id = String(pick(body, "Id"));
    expect(id, JSON.stringify(body)).toMatch(/^[0-9a-f]{64}$/);
    const got: Record<string, unknown> = {};
    const wanted: Record<string, unknown> = {};
    for (const [index, { request: [method, path, sent], read, changes }] of ROWS.entries()) {
      const answer = await call(engine.socket, method, `/v${version}${path.replace(created, id)}`, sent);
      const key = `${index} ${method} ${path}: ${read}`;
      got[key] = read === ""
        ? answer.body
        : read === "status"
        ? answer.status
        : read.startsWith("header:")
        ? answer.headers.get(read.slice("header:".length))
        : pick(answer.body, read);
      wanted[key] = at(version, changes);
    }
    expect(got).toEqual(wanted);
  });

  it("refuses what is older and newer, in words that clients learn the version from", async () => {
    expect(await call(engine.socket, "GET", "/v1.52/info")).toMatchObject({
      status: 400,
      body: { message: "client version 1.52 is too new. Maximum supported API version is 1.51" },
    });
    expect(await call(engine.socket, "GET", "/v1.12/info")).toMatchObject({
      status: 400,
      body: {
        message:
          "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
      },
    });
  });

  it("waits without a condition and without early headers before 1.30, with both after", async () => {
    for (const version of VERSIONS) {
      const { body } = await call(engine.socket, "POST", `/v${version}/containers/create`, {
        Image: "busybox",
        Cmd: ["sh", "-c", "exit 6"],
      });
      const id = String(pick(body, "Id"));
      await call(engine.socket, "POST", `/v${version}/containers/${id}/start`);
      const answer = await call(engine.socket, "POST", `/v${version}/containers/${id}/wait?condition=bad`);
      expect([version, answer.status]).toEqual([version, number(version) < 30 ? 200 : 400]);
      const wait = await call(engine.socket, "POST", `/v${version}/containers/${id}/wait`);
      expect(wait.body).toEqual({ StatusCode: 6 });
    }
  });
});
