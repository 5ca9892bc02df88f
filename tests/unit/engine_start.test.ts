/** A start and its networks side by side, on a shim and a network process of paper. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { EngineError } from "../../base/errors.ts";
import type { Container } from "../../engine/container.ts";
import type { EngineContext } from "../../engine/context.ts";
import { createContainer } from "../../engine/create.ts";
import { paperPlane } from "../../engine/network_paper.ts";
import { Networks } from "../../engine/networks.ts";
import { REHEARSAL_IMAGE, rehearsalContext } from "../../engine/rehearsal.ts";
import { type ShimClient, ShimFailure, type ShimOrder } from "../../engine/shim_client.ts";
import type { ShimPool } from "../../engine/shim_pool.ts";
import { startContainer } from "../../engine/start.ts";
import type { CreateRequest, HostConfig } from "../../engine/types.ts";
import { FACTS } from "../support/records.ts";

let dir: string;
beforeEach(() => {
  dir = Deno.makeTempDirSync({ prefix: "berth-start-" });
});
afterEach(() => Deno.removeSync(dir, { recursive: true }));

const OUTSIDE = {
  facts: FACTS,
  defaults: {
    shmSize: 0,
    ulimits: [],
    init: false,
    logDriver: "json-file",
    logOpts: {},
    nofile: { soft: "1024", hard: "4096" },
  },
} as unknown as EngineContext;

interface Script {
  /** What is asked of shim and network process, in order. */
  readonly asked: string[];
  /** The shim's answer to start, when it is told to go. */
  failure?: ShimFailure;
  /** The shim does not wait: it has failed before. */
  early?: boolean;
  /** The network process's answer to sandbox.add. */
  refusal?: EngineError;
}

/** A context whose shim waits for `go` as a real one does. */
function stage(script: Script): EngineContext & Disposable {
  const outer = rehearsalContext(OUTSIDE, dir);
  const { table, pools, settings } = outer.networks;
  const open = paperPlane((order) => {
    script.asked.push(order.op);
    if (order.op === "sandbox.add" && script.refusal) throw script.refusal;
  });
  const networks = new Networks({ open, log: outer.log, table, pools, settings: () => settings });
  let settle: (word: { refusal?: string }) => void = () => {};
  const client = {
    dir,
    closed: false,
    listen: () => {},
    close: () => {},
    async request(order: ShimOrder) {
      script.asked.push(order.op === "go" && order.refusal !== undefined ? `no: ${order.refusal}` : order.op);
      if (order.op === "go") settle(order);
      if (order.op !== "start") return { seq: 1, ok: true };
      const word = new Promise<{ refusal?: string }>((resolve) => settle = resolve);
      const { refusal } = order.hold && !script.early ? await word : {};
      if (refusal !== undefined) throw new ShimFailure({ message: refusal, errno: 0, stage: "network" });
      if (script.failure) throw script.failure;
      return { seq: 1, ok: true, pid: 7, startTime: "1", startedAt: "" };
    },
  } as unknown as ShimClient;
  const shim = { ref: { id: "", dir, pid: 0, startTime: "" }, client, init: { pid: 7, startTime: "1" } };
  const pool = {
    acquire: () => Promise.resolve(shim),
    refillSoon: () => {},
    release: () => Promise.resolve(),
  };
  return { ...outer, networks, pool: pool as unknown as ShimPool };
}

async function created(
  ctx: EngineContext,
  hostConfig: HostConfig = {},
  more: Partial<CreateRequest> = {},
): Promise<Container> {
  const config = { Image: REHEARSAL_IMAGE };
  const request = {
    name: "box",
    platform: undefined,
    config,
    hostConfig,
    networkingConfig: undefined,
    ...more,
  };
  const { Id } = await createContainer(ctx, request);
  return ctx.containers.find(Id);
}

it("createContainer() gives the default options of the log driver to who names it, too", async () => {
  using outer = stage({ asked: [] });
  const logOpts = { "max-size": "1m", "max-file": "3", "cache-max-file": "4" };
  const ctx = { ...outer, defaults: { ...outer.defaults, logOpts } };
  const own = { Type: "json-file", Config: { "max-file": "2" } };
  expect((await created(ctx, { LogConfig: own })).record.hostConfig.LogConfig).toEqual({
    Type: "json-file",
    Config: { "max-size": "1m", "max-file": "2", "cache-max-file": "4" },
  });
  const other = { Type: "syslog", Config: { "syslog-address": "udp://127.0.0.1:1" } };
  expect((await created(ctx, { LogConfig: other }, { name: "other" })).record.hostConfig.LogConfig).toEqual({
    Type: "syslog",
    Config: { "cache-max-file": "4", "syslog-address": "udp://127.0.0.1:1" },
  });
});

it("createContainer() makes a bind read-only at its top alone for clients that know nothing else", async () => {
  using ctx = stage({ asked: [] });
  const Mounts = [
    {
      Type: "bind",
      Source: "/",
      Target: "/b",
      ReadOnly: true,
      BindOptions: { ReadOnlyForceRecursive: true },
    },
  ];
  const container = await created(ctx, { Binds: ["/:/a:ro", "/:/c"], Mounts }, { readOnlyAtTop: true });
  expect(container.record.mounts?.map(({ target, recursive }) => [target, recursive])).toEqual([
    ["/a", "off"],
    ["/c", "default"],
    ["/b", "force"],
  ]);
});

const events = (ctx: EngineContext) => ctx.events.history().map(({ Type, Action }) => `${Type} ${Action}`);

it("startContainer() lets the program run when its networks are there", async () => {
  const script: Script = { asked: [] };
  using ctx = stage(script);
  const container = await created(ctx, { PortBindings: { "80/tcp": [{ HostPort: "8080" }] } });
  await startContainer(ctx, container);
  expect(script.asked.filter((one) => one !== "sync" && one !== "hello").sort()).toEqual([
    "go",
    "sandbox.add",
    "start",
  ]);
  expect(script.asked.at(-1)).toBe("go");
  expect(container.record.state.status).toBe("running");
  expect(container.record.network.sandbox?.published[0]).toMatchObject({ port: 80, hostPort: 8080 });
  expect(events(ctx)).toEqual(["container create", "network connect", "container start"]);
  expect(Deno.readTextFileSync(container.record.hostsPath)).toMatch(/^172\.\d+\.0\.2\t[0-9a-f]{12}$/m);
});

it("a refusal of the network process undoes the start, and gives address and place back", async () => {
  const script: Script = { asked: [], refusal: new EngineError("system", "Bind for 0.0.0.0:80 failed") };
  using ctx = stage(script);
  const container = await created(ctx, { PortBindings: { "80/tcp": [{ HostPort: "80" }] } });
  await expect(startContainer(ctx, container)).rejects.toMatchObject({
    kind: "system",
    message: "failed to set up container networking: Bind for 0.0.0.0:80 failed",
  });
  expect(script.asked.at(-1)).toBe("no: failed to set up container networking: Bind for 0.0.0.0:80 failed");
  expect(container.record.state).toMatchObject({ status: "created", exitCode: 128, pid: 0 });
  expect(container.record.network.attachments["bridge"]?.endpoint).toBeNull();
  expect(ctx.networks.table.endpointsOf(ctx.networks.table.byName("bridge")?.id ?? "")).toEqual([]);
  expect(events(ctx)).toEqual(["container create"]);
});

it.each([true, false])(
  "the reason is the command's when that has failed (before its networks: %s)",
  async (early) => {
    const failure = new ShimFailure({
      message: 'exec: "x": executable file not found in $PATH',
      errno: 2,
      stage: "exec",
    });
    const refusal = new EngineError("system", "open /proc/7/ns/net: no such file");
    const script: Script = { asked: [], failure, early, ...(early ? { refusal } : {}) };
    using ctx = stage(script);
    const container = await created(ctx);
    await expect(startContainer(ctx, container)).rejects.toThrow("executable file not found in $PATH");
    expect(container.record.state.exitCode).toBe(127);
    expect(ctx.networks.has(container.id)).toBe(false);
    const told = events(ctx).filter((event) => event.startsWith("network"));
    expect(told).toEqual(early ? [] : ["network connect", "network disconnect"]);
  },
);

it("without a network process a container starts with what there is, unless it asks for more", async () => {
  const script: Script = { asked: [] };
  using ctx = stage(script);
  const { table, pools, settings } = ctx.networks;
  const problem = new EngineError("unavailable", "no network process: no TUN");
  const networks = new Networks({
    open: () => Promise.reject(problem),
    log: ctx.log,
    table,
    pools,
    settings: () => settings,
  });
  const without = { ...ctx, networks };
  const plain = await created(without);
  await startContainer(without, plain);
  expect(plain.record.state.status).toBe("running");
  expect(plain.record.network).toMatchObject({ sandbox: null, attachments: { bridge: { endpoint: null } } });
  ctx.containers.rename(plain, "other");
  const wanting = await created(without, { PublishAllPorts: true, PortBindings: { "80/tcp": [] } });
  await expect(startContainer(without, wanting)).rejects.toThrow("no TUN");
});

it("a database of before networks gives its containers the network of their mode", async () => {
  using ctx = stage({ asked: [] });
  const container = await created(ctx);
  ctx.containers.save(container, { network: { attachments: {}, links: [], sandbox: null } });
  await startContainer(ctx, container);
  expect(Object.keys(container.record.network.attachments)).toEqual(["bridge"]);
});
