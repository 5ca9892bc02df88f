import { describe, expect, test } from "vitest";
import * as z from "zod/mini";
import { adaptCreate } from "../../api/create_versions.ts";
import { mountPoints } from "../../engine/mount_points.ts";
import { createBody, execStartBody, splitCreateBody } from "../../api/schemas/container.ts";
import { decode } from "../../api/schemas/go.ts";
import { filters, flag, integer, tail, terminalSize, timestamp } from "../../api/schemas/query.ts";
import { compareVersions, negotiate, splitVersion } from "../../api/version.ts";
import { type CreateRequest } from "../../engine/types.ts";

const create = (body: unknown) => splitCreateBody(decode(createBody, body, "CreateRequest"));

describe("createBody", () => {
  test("keeps known fields, drops unknown ones and nulls", () => {
    const { config, hostConfig } = create({
      Image: "x",
      Hostname: null,
      Env: ["A=b", null],
      Unknown: { deep: [1] },
      ExposedPorts: { "80/tcp": {}, "81/tcp": null },
      HostConfig: {
        Memory: 1e9,
        Binds: null,
        PortBindings: { "80/tcp": null, "81/tcp": [{ HostPort: "1" }] },
        X: 1,
      },
    });
    expect(config).toEqual({ Image: "x", Env: ["A=b", ""], ExposedPorts: { "80/tcp": {}, "81/tcp": {} } });
    expect(hostConfig).toEqual({
      Memory: 1e9,
      PortBindings: { "80/tcp": null, "81/tcp": [{ HostPort: "1" }] },
    });
  });

  test("takes a string for a list where Docker does", () => {
    const { config, hostConfig } = create({ Cmd: "ls", Entrypoint: "", HostConfig: { CapAdd: "NET_ADMIN" } });
    expect(config).toEqual({ Cmd: ["ls"], Entrypoint: [""] });
    expect(hostConfig).toEqual({ CapAdd: ["NET_ADMIN"] });
  });

  test("has no config when none of its fields is there", () => {
    expect(create({ HostConfig: {} }).config).toBeUndefined();
    expect(create({}).config).toBeUndefined();
  });

  test("keeps names that mean something to JavaScript", () => {
    const text = '{"Image":"x","Labels":{"__proto__":"a","constructor":"b","toString":"c"}}';
    const labels = create(JSON.parse(text)).config?.Labels;
    expect(labels?.["constructor"]).toBe("b");
    expect(Object.getPrototypeOf(labels)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)["a"]).toBeUndefined();
  });

  test.each<[string, unknown, string]>([
    [
      "number",
      { Image: 1 },
      "cannot unmarshal number into Go struct field CreateRequest.Image of type string",
    ],
    [
      "string",
      { HostConfig: { Memory: "1g" } },
      "cannot unmarshal string into Go struct field CreateRequest.HostConfig.Memory of type int64",
    ],
    [
      "fraction",
      { HostConfig: { Memory: 1.5 } },
      "cannot unmarshal number 1.5 into Go struct field CreateRequest.HostConfig.Memory of type int64",
    ],
    ["infinity", JSON.parse('{"HostConfig":{"Memory":1e999}}'), "of type int64"],
    ["beyond int64", { HostConfig: { Memory: 1e300 } }, "of type int64"],
    ["negative", { HostConfig: { BlkioWeight: -1 } }, "of type uint16"],
    ["array", [], "cannot unmarshal array into Go value of type container.CreateRequest"],
    ["text", "x", "cannot unmarshal string into Go value of type container.CreateRequest"],
    [
      "object",
      { Cmd: {} },
      "cannot unmarshal object into Go struct field CreateRequest.Cmd of type []string",
    ],
    ["element", { Env: ["a", 1] }, "CreateRequest.Env.1 of type string"],
    ["map", { Labels: [] }, "cannot unmarshal array into Go struct field CreateRequest.Labels"],
    ["map value", { Labels: { a: 1 } }, "CreateRequest.Labels.a of type string"],
    ["bool", { Tty: "true" }, "cannot unmarshal string into Go struct field CreateRequest.Tty of type bool"],
    ["mount", { HostConfig: { Mounts: [{ Target: 1 }] } }, "HostConfig.Mounts.0.Target of type string"],
  ])("refuses a wrong type as Go does: %s", (_, body, message) => {
    expect(() => create(body)).toThrow(message);
    expect(() => create(body)).toThrow(/^invalid JSON: json: /);
  });

  test("lets the largest int64 through", () => {
    expect(create({ HostConfig: { Memory: 9223372036854775807 } }).hostConfig.Memory).toBe(2 ** 63);
  });

  test("survives JSON that is nested deeply", () => {
    const deep = JSON.parse(`${"[".repeat(50_000)}${"]".repeat(50_000)}`);
    expect(() => create({ Env: deep })).toThrow(/invalid JSON/);
    expect(create({ Image: "x", Unknown: deep }).config).toEqual({ Image: "x" });
  });
});

test("execStartBody takes an empty object", () => {
  expect(decode(execStartBody, {}, "ExecStartOptions")).toEqual({});
});

/** `schema` as one parameter of a query that has it or has it not. */
const parse = (schema: z.core.$ZodType, value: string | undefined): unknown =>
  (z.parse(z.object({ q: schema }), value === undefined ? {} : { q: value }) as { q: unknown }).q;

describe("struct()", () => {
  test("finds fields in any case of letters, the last of several spellings", () => {
    const body = { image: "a", HOSTCONFIG: { memory: 7, Dns: null } };
    expect(decode(createBody, body, "CreateRequest")).toMatchObject({
      Image: "a",
      HostConfig: { Memory: 7 },
    });
    expect(decode(createBody, { Image: "a", image: "b" }, "CreateRequest")).toMatchObject({ Image: "b" });
    expect(() => decode(createBody, { image: 5 }, "CreateRequest")).toThrow(
      "json: cannot unmarshal number into Go struct field CreateRequest.Image of type string",
    );
  });

  test("leaves the keys of maps alone", () => {
    expect(decode(createBody, { Labels: { image: "x", Image: "y" } }, "CreateRequest")).toMatchObject({
      Labels: { image: "x", Image: "y" },
    });
  });
});

describe("query parameters", () => {
  test("flag is Docker's BoolValue", () => {
    for (const value of [undefined, "", "0", "no", "false", "none", " False ", "NO"]) {
      expect(parse(flag, value)).toBe(false);
    }
    for (const value of ["1", "true", "yes", "x", "-1"]) expect(parse(flag, value)).toBe(true);
  });

  test("integer takes 32 bits and nothing else", () => {
    expect(parse(integer, undefined)).toBeUndefined();
    expect(parse(integer, "")).toBeUndefined();
    expect(parse(integer, "-1")).toBe(-1);
    for (const bad of ["x", "1.5", "1e3", "0x1", " 1", "--1"]) {
      expect(() => parse(integer, bad)).toThrow(/invalid syntax/);
    }
    for (const bad of ["2147483648", "99999999999999999999"]) {
      expect(() => parse(integer, bad)).toThrow(/out of range/);
    }
  });

  test("terminalSize must be there and fit a winsize", () => {
    expect(parse(terminalSize("height"), "24")).toBe(24);
    for (const bad of [undefined, "", "-1", "65536", "x"]) {
      expect(() => parse(terminalSize("width"), bad)).toThrow();
    }
  });

  test("tail is everything unless it is a number", () => {
    expect(parse(tail, "10")).toBe(10);
    expect(parse(tail, "0")).toBe(0);
    for (const all of [undefined, "", "all", "-1", "x"]) expect(parse(tail, all)).toBeUndefined();
  });

  test("timestamp reads seconds and nanoseconds exactly", () => {
    expect(parse(timestamp, "1700000000.123456789")).toBe(1700000000123456789n);
    expect(parse(timestamp, "1700000000.5")).toBe(1700000000500000000n);
    // A clock that is finer than a nanosecond, or a double written out.
    expect(parse(timestamp, "1700000000.1234567891")).toBe(1700000000123456789n);
    expect(parse(timestamp, "0")).toBe(0n);
    expect(parse(timestamp, "-1")).toBe(-1000000000n);
    expect(parse(timestamp, "")).toBeUndefined();
    // beyond what an int64 holds: for ever
    expect(parse(timestamp, "99999999999")).toBe(2n ** 63n - 1n);
    for (const bad of ["x", "1.", ".5", "1e9", "2024-01-01"]) {
      expect(() => parse(timestamp, bad)).toThrow(/timestamp/);
    }
  });

  test("filters reads both encodings", () => {
    const expected = new Map([["label", ["a=b", "c"]], ["status", ["running"]]]);
    expect(parse(filters, '{"label":["a=b","c"],"status":["running"]}')).toEqual(expected);
    expect(parse(filters, '{"label":{"a=b":true,"c":true},"status":{"running":true}}')).toEqual(expected);
    expect(parse(filters, undefined)).toEqual(new Map());
    expect(parse(filters, "{}")).toEqual(new Map());
    for (const bad of ["x", "[]", "1", '{"a":"b"}', '{"a":[1]}', '{"a":{"b":1}}', '"x"']) {
      expect(() => parse(filters, bad)).toThrow("invalid filter");
    }
  });
});

describe("versions", () => {
  test("splitVersion() takes the prefix off", () => {
    expect(splitVersion("/v1.43/info")).toEqual(["1.43", "/info"]);
    expect(splitVersion("/info")).toEqual([undefined, "/info"]);
    expect(splitVersion("/version")).toEqual([undefined, "/version"]);
    expect(splitVersion("/vx/info")).toEqual([undefined, "/vx/info"]);
  });

  test("compareVersions() compares numbers, not text", () => {
    expect(compareVersions("1.9", "1.24")).toBeLessThan(0);
    expect(compareVersions("1.43", "1.43")).toBe(0);
    expect(compareVersions("2", "1.99")).toBeGreaterThan(0);
    expect(compareVersions("1.43.1", "1.43")).toBeGreaterThan(0);
  });

  test("negotiate() speaks 1.24 to 1.51 and says so in Docker's words", () => {
    expect(negotiate(undefined)).toBe("1.51");
    expect(negotiate("1.24")).toBe("1.24");
    expect(() => negotiate("1.99")).toThrow(
      "client version 1.99 is too new. Maximum supported API version is 1.51",
    );
    expect(["1.22", "1.23"].map(negotiate)).toEqual(["1.24", "1.24"]);
    expect(() => negotiate("1.21")).toThrow(
      "client version 1.21 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
    );
  });
});

describe("adaptCreate()", () => {
  const request = (
    hostConfig: CreateRequest["hostConfig"],
    more: Partial<CreateRequest> = {},
  ): CreateRequest => ({
    name: undefined,
    platform: "linux/amd64",
    config: { Image: "x" },
    hostConfig,
    networkingConfig: undefined,
    ...more,
  });

  const adapt = (version: string, given: CreateRequest) => adaptCreate(version, given).request;

  test("moves the container's hardware address to its endpoint, as handleMACAddressBC of moby", () => {
    const config = { Image: "x", MacAddress: "02:42:ac:11:00:02" };
    const endpoint = { MacAddress: "02:42:ac:11:00:02" };
    const old = adapt("1.43", request({ NetworkMode: "n" }, { config }));
    expect(old.networkingConfig?.EndpointsConfig).toEqual({ n: endpoint });
    const now = adaptCreate("1.44", request({ NetworkMode: "n" }, { config }));
    expect(now.request.networkingConfig?.EndpointsConfig).toEqual({ n: endpoint });
    expect(now.request.config).toEqual({ Image: "x" });
    expect(now.warnings).toEqual([
      "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.",
    ]);
    const other = { networkingConfig: { EndpointsConfig: { n: { MacAddress: "02:00:00:00:00:01" } } } };
    expect(() => adapt("1.44", request({ NetworkMode: "n" }, { config, ...other }))).toThrow("must match");
    expect(adapt("1.43", request({ NetworkMode: "n" }, other)).networkingConfig?.EndpointsConfig).toEqual({
      n: { MacAddress: "" },
    });
    expect(() => adapt("1.43", request({ NetworkMode: "none" }, { config }))).toThrow(
      "conflicting options: mac-address and the network mode",
    );
  });

  test("moves sysctls of eth0 to its endpoint until 1.47", () => {
    const Sysctls = { "net.ipv4.conf.eth0.log_martians": "1", "net.core.somaxconn": "9" };
    const { request: moved, warnings } = adaptCreate("1.47", request({ NetworkMode: "n", Sysctls }));
    expect(moved.hostConfig.Sysctls).toEqual({ "net.core.somaxconn": "9" });
    expect(moved.networkingConfig?.EndpointsConfig).toEqual({
      n: {
        DriverOpts: { "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1" },
      },
    });
    const option = "com.docker.network.endpoint.sysctls";
    expect(warnings).toEqual([
      `Migrated sysctl "net.ipv4.conf.eth0.log_martians" to DriverOpts{"${option}":"net.ipv4.conf.IFNAME.log_martians=1"}.`,
    ]);
    // Of two settings for the same the endpoint's own is the later one, which counts.
    const own = { [option]: "net.ipv4.conf.IFNAME.log_martians=0" };
    const endpoints = (name: string) => ({
      networkingConfig: { EndpointsConfig: { [name]: { DriverOpts: own } } },
    });
    const moveTo = (version: string, name: string) =>
      adapt(version, request({ NetworkMode: "n", Sysctls }, endpoints(name))).networkingConfig
        ?.EndpointsConfig;
    const both = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.log_martians=0";
    expect(moveTo("1.47", "n")).toEqual({ n: { DriverOpts: { [option]: both } } });
    // The only endpoint is the main one until 1.43, by whatever name it goes (an id, say).
    expect(moveTo("1.43", "0123")).toEqual({ "0123": { DriverOpts: { [option]: both }, MacAddress: "" } });
    expect(() => moveTo("1.44", "0123")).toThrow(
      "HostConfig.NetworkMode must match the identity of a network",
    );
    const eth1 = { "net.ipv4.conf.eth1.log_martians": "1" };
    expect(() => adapt("1.47", request({ Sysctls: eth1 }))).toThrow("to set per-interface sysctls");
    expect(() => adapt("1.48", request({ Sysctls }))).toThrow("must be supplied using driver option");
    expect(adapt("1.51", request({ NetworkMode: "host", Sysctls })).hostConfig.Sysctls).toEqual(Sysctls);
  });

  test("names the default network", () => {
    expect(adapt("1.51", request({})).hostConfig.NetworkMode).toBe("bridge");
    const adapted = adapt(
      "1.51",
      request({ NetworkMode: "default" }, {
        networkingConfig: { EndpointsConfig: { default: { Aliases: ["a"] } } },
      }),
    );
    expect(adapted.hostConfig.NetworkMode).toBe("bridge");
    expect(adapted.networkingConfig).toEqual({ EndpointsConfig: { bridge: { Aliases: ["a"] } } });
    expect(adapt("1.51", request({ NetworkMode: "none" })).hostConfig.NetworkMode).toBe("none");
  });

  test("ignores what a version did not have", () => {
    const host = {
      AutoRemove: true,
      Annotations: { a: "b" },
      ConsoleSize: [1, 2],
      PidsLimit: -1,
      Mounts: [{ Type: "bind", Target: "/x", BindOptions: { CreateMountpoint: true } }],
    };
    const old = adapt("1.24", request(host));
    expect(old.platform).toBeUndefined();
    expect(old.hostConfig).toEqual({
      NetworkMode: "bridge",
      IpcMode: "shareable",
      Mounts: [{ Type: "bind", Target: "/x", BindOptions: {} }],
    });
    const { PidsLimit: _, ...kept } = host;
    expect(adapt("1.51", request(host)).hostConfig).toEqual({ ...kept, NetworkMode: "bridge" });
  });

  test("leaves what is mounted below a read-only bind writable until 1.43", () => {
    const mount = (ReadOnly: boolean) => ({
      Type: "bind",
      Source: "/",
      Target: "/x",
      ReadOnly,
      BindOptions: {},
    });
    const Mounts = [mount(true), { ...mount(false), Target: "/y" }];
    const old = adapt("1.43", request({ Binds: ["/:/z:ro"], Mounts }));
    expect(old.readOnlyAtTop).toBe(true);
    // One that may be written has nothing to say about what is below: the engine refuses that.
    expect(mountPoints(old.hostConfig).map(({ target, recursive }) => [target, recursive])).toEqual([
      ["/z", "default"],
      ["/x", "off"],
      ["/y", "default"],
    ]);
    expect(adapt("1.44", request({ Mounts })).readOnlyAtTop).toBeUndefined();
  });

  test("has no priorities of gateways until 1.47", () => {
    const networks = { networkingConfig: { EndpointsConfig: { n: { GwPriority: 3, Aliases: ["a"] } } } };
    const endpoint = (version: string) =>
      adapt(version, request({ NetworkMode: "n" }, networks)).networkingConfig?.EndpointsConfig?.["n"];
    expect(endpoint("1.47")).toEqual({ Aliases: ["a"] });
    expect(endpoint("1.48")).toEqual({ Aliases: ["a"], GwPriority: 3 });
  });

  test("warns of a volume driver that a mount does not heed from 1.48 on", () => {
    const host = { VolumeDriver: "local", Mounts: [{ Type: "volume", Target: "/x" }] };
    expect(adaptCreate("1.48", request(host)).warnings[0]).toMatch(
      /^WARNING: the container-wide volume-driver/,
    );
    expect(adaptCreate("1.47", request(host)).warnings).toEqual([]);
    const named = [{ Type: "volume", Target: "/x", VolumeOptions: { DriverConfig: { Name: "local" } } }];
    expect(adaptCreate("1.48", request({ ...host, Mounts: named })).warnings).toEqual([]);
  });

  test("refuses options of another kind of mount from 1.42 on", () => {
    const host = { Mounts: [{ Type: "tmpfs", Target: "/x", VolumeOptions: {} }] };
    expect(() => adaptCreate("1.42", request(host))).toThrow(
      'VolumeOptions must not be specified on mount type "tmpfs"',
    );
    expect(adapt("1.41", request(host)).hostConfig.Mounts).toEqual([{ Type: "tmpfs", Target: "/x" }]);
  });
});
