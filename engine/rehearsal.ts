import type { GraphDriver } from "../fs/graph_driver.ts";
import type { Image } from "../image/types.ts";
import { LOCAL_POOLS } from "../net/ipam_pools.ts";
import { nowRfc3339 } from "./clock.ts";
import { ContainerTable } from "./container_table.ts";
import type { EngineContext, ImageSource } from "./context.ts";
import { EventLog } from "./events.ts";
import { ExecTable } from "./exec_table.ts";
import { goArch } from "./host_facts.ts";
import type { ShimClient, ShimEvents, ShimOrder } from "./shim_client.ts";
import type { ReadyShim, ShimPool } from "./shim_pool.ts";
import type { Logger } from "./log.ts";
import { paperPlane } from "./network_paper.ts";
import { networkSettings } from "./network_settings.ts";
import { NetworkStore } from "./network_store.ts";
import { NetworkTable } from "./network_table.ts";
import { Networks } from "./networks.ts";
import { ensurePredefined } from "./predefined_networks.ts";
import { Store } from "./store.ts";
import { VolumeTable } from "./volume_table.ts";

/** The image that the rehearsal's stage has, under every name. */
export const REHEARSAL_IMAGE = "rehearsal";

/** An image that is nowhere. */
function paperImage(machine: string): Image {
  return {
    id: `sha256:${"0".repeat(64)}`,
    config: {
      architecture: goArch(machine),
      os: "linux",
      config: { Cmd: ["true"], Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [] },
    },
    configJson: "{}",
    chainIds: [],
    size: 0,
    createdAt: "",
    repoTags: [],
    repoDigests: [],
    lastTagTime: undefined,
    parent: "",
    hostDirs: [],
  };
}

/** A shim that runs nothing: it says that the command runs, and at once that it has ended. */
function paperShim(dir: string): ReadyShim {
  let events: ShimEvents = {};
  const client = {
    dir,
    closed: false,
    listen: (wanted: ShimEvents) => events = wanted,
    request(order: ShimOrder) {
      if (order.op !== "start") return Promise.resolve({ seq: 1, ok: true });
      const now = nowRfc3339();
      const { id: containerId } = order.spec;
      const ended = { containerId, exitCode: 0, signal: null, oomKilled: false, startedAt: now, pid: 1 };
      setTimeout(() => events.onExit?.({ ...ended, finishedAt: nowRfc3339() }));
      return Promise.resolve({
        seq: 1,
        ok: true,
        pid: 1,
        startTime: "1",
        startedAt: now,
        bytes: JSON.stringify(order),
      });
    },
    close: () => {},
  };
  // The class has private fields, which no other object can have; nobody looks at them from outside.
  return {
    ref: { id: "", dir, pid: 0, startTime: "" },
    client: client as unknown as ShimClient,
    init: { pid: 1, startTime: "1" },
  };
}

/** The predefined networks, without a process that makes them. */
function paperNetworks(store: Store, log: Logger): Networks {
  const table = new NetworkTable(new NetworkStore(store.db), [], () => {});
  const settings = networkSettings({}, (problem) => new Error(problem));
  ensurePredefined(table, settings, LOCAL_POOLS, log);
  return new Networks({ open: paperPlane(), log, table, settings: () => settings, pools: LOCAL_POOLS });
}

const SILENT: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/**
 * A context in which containers can be created, started and removed without anything happening: a store in memory, an image,
 * a shim and a graph driver of paper, nobody who hears the events. The only files are in `dir`, which the caller removes.
 *
 * The first `run` after the engine's start would otherwise be the first to run all these functions, which V8 compiles
 * when they are called for the first time; that takes as long as the rest of the start.
 */
export function rehearsalContext(ctx: EngineContext, dir: string): EngineContext & Disposable {
  const store = new Store(":memory:");
  const image = paperImage(ctx.facts.machine);
  const images: ImageSource = {
    get: () => image,
    getForContainer: () => image,
    collectHidden: () => {},
    layers: () => [],
    hostMounts: () => [],
  };
  const driver: GraphDriver = {
    name: "overlay",
    reason: "",
    whiteouts: "overlay-userxattr",
    status: [],
    create: () => Promise.resolve(),
    acquire: () => Promise.resolve({ kind: "directory", path: dir }),
    release: () => Promise.resolve(),
    remove: (id) => Deno.remove(`${dir}/containers/${id}`, { recursive: true }),
    usage: () => Promise.resolve(0),
  };
  const networks = paperNetworks(store, SILENT);
  const pool = { acquire: () => Promise.resolve(paperShim(dir)), refillSoon: () => {} };
  return {
    ...ctx,
    dataRoot: dir,
    execRoot: dir,
    db: store.db,
    driver,
    cgroups: undefined,
    images,
    containers: new ContainerTable(store),
    networks,
    events: new EventLog(),
    execs: new ExecTable(() => {}),
    volumes: new VolumeTable(store.db, dir, ctx.kernel),
    pool: pool as unknown as ShimPool,
    log: SILENT,
    [Symbol.dispose]: () => {
      networks.close();
      store.close();
    },
  };
}
