import { EngineError, messageOf } from "../base/errors.ts";
import { goErrno } from "../base/go_errno.ts";
import { hints } from "../base/hints.ts";
import { VERSION } from "../base/version.ts";
import { kernel } from "../ffi/kernel.ts";
import { probeGraphDriver } from "../fs/probe.ts";
import { removeTree } from "../fs/remove_tree.ts";
import { TreeThreads } from "../fs/tree_threads.ts";
import { ImageStore } from "../image/image_store.ts";
import { effectivePools } from "../net/ipam_pools.ts";
import { NetdClient } from "../net/netd/client.ts";
import { endpointsOf } from "./container_network.ts";
import { takeUpCgroups } from "./cgroup_options.ts";
import { ContainerTable } from "./container_table.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { type EngineSettings, mergeSettings } from "./daemon_config.ts";
import { lockDataRoot } from "./data_root_lock.ts";
import { BerthEngine, type EngineDescription } from "./engine.ts";
import { EventLog } from "./events.ts";
import { ExecTable } from "./exec_table.ts";
import { readHostFacts } from "./host_facts.ts";
import { listenWarnings } from "./listen_warnings.ts";
import { LiveSettings } from "./live_settings.ts";
import { createLogger, type Logger } from "./log.ts";
import { notePublished } from "./network_join.ts";
import { NetworkStore } from "./network_store.ts";
import { NetworkTable } from "./network_table.ts";
import { Networks } from "./networks.ts";
import { ensurePredefined } from "./predefined_networks.ts";
import { rehearsalContext } from "./rehearsal.ts";
import { useProxies } from "./registry_config.ts";
import { reconcile, startWanted } from "./reconcile.ts";
import type { EngineOptions } from "./serve_options.ts";
import { makeShimDir, ShimPool, shimSpawner } from "./shim_pool.ts";
import { takeServiceNotice } from "./service_notice.ts";
import { Store } from "./store.ts";
import type { TlsSettings } from "./tls_settings.ts";
import type { Engine } from "./types.ts";
import { VolumeTable } from "./volume_table.ts";

/** A running API server, as the engine sees it: rooms below do not import the API. */
export interface ApiServer {
  /** Where clients connect, the first one is printed: `unix:///…`. */
  readonly addresses: readonly string[];
  close(): Promise<void>;
  /** Plays the requests of a `run` on an engine on paper. */
  rehearse(engine: Engine): Promise<void>;
}

/** Where the API listens. */
export interface ListenPlan {
  readonly hosts: readonly string[];
  /** Unix sockets to listen on when nobody else does. */
  readonly spare: readonly string[];
  readonly tls: TlsSettings;
}

export type ServeApi = (engine: Engine, plan: ListenPlan, log: Logger) => Promise<ApiServer>;

/** Who has started the engine in order to run something is served first. */
const REHEARSAL_DELAY_MS = 20;
/** The first time functions are compiled, the next ones teach V8 what they are called with. */
const REHEARSALS = 3;

/** `<exec-root>/shims/<16 digits>/attach.sock` must fit into sun_path (107 bytes). */
const LONGEST_EXEC_ROOT = 107 - "/shims/0123456789abcdef/attach.sock".length;

/**
 * The engine's whole life: takes the data root, brings the store in line with what runs, serves, and ends at SIGTERM or
 * SIGINT. Containers outlive it. Runs inside the user and mount namespace that `berth serve` has made.
 *
 * @param serve starts the API; called when everything is ready for requests.
 * @throws {EngineError} another engine has the data root, bad configuration, no graph driver, address in use.
 */
export async function runEngine(options: EngineOptions, serve: ServeApi): Promise<void> {
  const settings = mergeSettings(options);
  const live = new LiveSettings(settings);
  const log = createLogger(() => live.current.logLevel, undefined, settings.logFormat);
  const notice = takeServiceNotice(() => log);
  // Signals that come while the engine starts are heeded once it has started.
  let hungUp = false;
  let onHangup = () => {
    hungUp = true;
  };
  const stop = Promise.race([
    stopSignal(() => onHangup()),
    ...(options.ephemeral === undefined ? [] : [inputEnd()]),
  ]);
  prepareDirectories(settings);
  using _lock = lockDataRoot(kernel, settings.dataRoot);
  useProxies(settings.proxies);
  for (const warning of [...options.warnings, ...settings.warnings]) log.warn(warning);
  // It tries in a thread, which boots while this one opens the store.
  const probing = probeGraphDriver({ root: settings.dataRoot, forced: settings.storageDriver, kernel });
  probing.catch(() => {});
  const cgroups = takeUpCgroups(settings.cgroupDriver, options.uid, (line) => log.warn(line));
  using store = new Store(`${settings.dataRoot}/berth.db`, options.ephemeral !== undefined);
  const { driver } = await probing;
  log.info("graph driver", { name: driver.name, reason: driver.reason });
  const images = ImageStore.open({
    db: store.db,
    root: settings.dataRoot,
    driver,
    singleId: options.idMap === "single",
    log: (line) => log.info(line),
  });
  await images.sweep();
  const containers = new ContainerTable(store);
  const inUse = (id: string) => containers.usesImage(id);
  images.collectHidden(inUse);
  await images.ensureHostImage(inUse).catch((error) => {
    log.warn("cannot make the image berth/host", { error: messageOf(error) });
  });
  const events = new EventLog();
  const shimsDir = `${settings.execRoot}/shims`;
  const pool = new ShimPool({
    size: settings.shimPool,
    spawn: shimSpawner(shimsDir),
    newDir: () => makeShimDir(shimsDir),
    log: (line) => log.warn(line),
  });
  const id = engineId(settings.dataRoot);
  const networks = await openNetworks({ settings, live, store, containers, engineId: id, log });
  const hosts = settings.hosts.length > 0 ? settings.hosts : [`unix://${options.socket}`];
  const apiSocket = hosts.find((host) => host.startsWith("unix://"))?.slice("unix://".length);
  const ctx: EngineContext = {
    dataRoot: settings.dataRoot,
    execRoot: settings.execRoot,
    kernel,
    db: store.db,
    driver,
    cgroups: (await cgroups).manager,
    images,
    containers,
    events,
    execs: new ExecTable((exec) => {
      containerEvent({ events }, exec.container, "exec_die", {
        execID: exec.id,
        exitCode: String(exec.exitCode ?? 0),
      });
    }),
    pool,
    networks,
    volumes: new VolumeTable(store.db, settings.dataRoot, kernel),
    trees: new TreeThreads(),
    facts: { ...readHostFacts(options, await cgroups), apiSocket },
    get defaults() {
      return live.current.defaults;
    },
    log,
  };
  // Its boot takes a while; what it shall make is known after reconciling.
  const reconciled = reconcile(ctx);
  networks.start(reconciled);
  const wanted = await reconciled;
  const description: EngineDescription = {
    id,
    get labels() {
      return live.current.labels;
    },
    registry: live.registry,
    get buildGc() {
      return live.current.buildGc;
    },
    get debug() {
      return live.current.logLevel === "debug";
    },
    warnings: [...options.warnings, ...listenWarnings(hosts, settings.tls)],
  };
  for (const warning of listenWarnings(hosts, settings.tls)) log.warn(warning.replaceAll(/\s+/g, " "));
  const engine = new BerthEngine(ctx, images, description);
  const byDefault = settings.hosts.length === 0 && options.probedSocket !== undefined;
  const spare = byDefault ? [options.probedSocket] : [];
  const server = await serve(engine, { hosts, spare, tls: settings.tls }, log);
  const rehearsal = new AbortController();
  let rehearsed: Promise<void> | undefined;
  try {
    writePidfile(settings.pidfile);
    pool.refill();
    for (const address of server.addresses) log.info("API listens", { address });
    print(`export DOCKER_HOST=${server.addresses[0] ?? ""}\n`);
    notice.ready(`API listens on ${server.addresses.join(" ")}`);
    void startWanted(ctx, wanted);
    const play = (stage: EngineContext) => server.rehearse(new BerthEngine(stage, images, description));
    rehearsed = rehearse(ctx, play, rehearsal.signal);
    onHangup = () => {
      notice.reloading();
      reload(ctx, live, options, id);
      notice.ready("Configuration reloaded");
    };
    if (hungUp) onHangup();
    await stop;
    notice.stopping();
    await engine.endBuilds();
    if (options.ephemeral === undefined) log.info("stopping: containers go on");
    else await removeContainers(engine, log);
  } finally {
    rehearsal.abort();
    await server.close();
    pool.close();
    await networks.close();
    ctx.cgroups?.close();
    images.close();
    for (const container of ctx.containers.all()) container.cancelRestart();
    removePidfile(settings.pidfile);
    // It makes files, which an engine that leaves nothing would leave.
    await rehearsed;
  }
}

/** The networks as the store has them, before anything of them is made. */
async function openNetworks(
  { settings, live, store, containers, engineId, log }: {
    settings: EngineSettings;
    live: LiveSettings;
    store: Store;
    containers: ContainerTable;
    engineId: string;
    log: Logger;
  },
): Promise<Networks> {
  const records = containers.all().map(({ record }) => record);
  const endpoints = records.flatMap(({ network }) => endpointsOf(network));
  const table = new NetworkTable(new NetworkStore(store.db), endpoints, (problem) => log.warn(problem));
  const pools = await effectivePools(settings.network.pools, engineId);
  ensurePredefined(table, settings.network, pools, log);
  return new Networks({
    open: async (onRestart) =>
      await NetdClient.open({
        dir: `${settings.execRoot}/netd`,
        version: VERSION,
        onRestart,
        log: (line) => log.warn(line),
      }),
    log,
    table,
    settings: () => live.current.network,
    pools,
    onPublished: (published) => {
      for (const [id, ports] of Object.entries(published)) notePublished(containers, id, ports);
    },
  });
}

/** Runs once through what a `run` does, on paper; the pool's first shim boots meanwhile. Never rejects. */
async function rehearse(
  ctx: EngineContext,
  play: (stage: EngineContext) => Promise<void>,
  end: AbortSignal,
): Promise<void> {
  const dir = `${ctx.execRoot}/rehearsal`;
  try {
    await new Promise<void>((resolve) => Deno.unrefTimer(setTimeout(resolve, REHEARSAL_DELAY_MS)));
    if (end.aborted) return;
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    using stage = rehearsalContext(ctx, dir);
    for (let i = 0; i < REHEARSALS && !end.aborted; i++) await play(stage);
  } catch (error) {
    ctx.log.debug("rehearsal failed", { error: messageOf(error) });
  }
  await removeTree(dir).catch(() => {});
}

/** Takes over what daemon.json says now. A file that is wrong changes nothing. */
function reload(ctx: EngineContext, live: LiveSettings, options: EngineOptions, id: string): void {
  const { log, events, pool } = ctx;
  log.info("got signal to reload configuration", { file: options.configFile });
  try {
    const later = live.reload(options);
    if (later.length > 0) log.warn(`only a restart of the engine changes: ${later.join(", ")}`);
    for (const warning of live.current.warnings) log.warn(warning);
  } catch (error) {
    log.error(messageOf(error));
    return;
  }
  pool.resize(live.current.shimPool);
  const attributes = live.reloadAttributes();
  log.info("reloaded configuration", attributes);
  events.publish("daemon", "reload", id, { ...attributes, name: Deno.hostname() });
}

function stopSignal(onHangup: () => void): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => resolve());
    // A terminal that is closed is no reason to stop.
    Deno.addSignalListener("SIGHUP", onHangup);
  });
}

/** Standard input has ended: whoever has started this engine has gone. */
async function inputEnd(): Promise<void> {
  const buffer = new Uint8Array(512);
  try {
    while (await Deno.stdin.read(buffer) !== null);
  } catch {
    // No input at all is an end as well.
  }
}

/** What an engine leaves to the next one goes, because there is no next one. */
async function removeContainers(engine: Engine, log: Logger): Promise<void> {
  const containers = await engine.list({ all: true, size: false, limit: undefined, filters: new Map() });
  await Promise.all(
    containers.map(({ Id }) =>
      engine.remove(String(Id), { force: true, volumes: true, link: false }).catch((error) =>
        log.warn("cannot remove a container", { id: String(Id), error: messageOf(error) })
      )
    ),
  );
}

function prepareDirectories(settings: EngineSettings): void {
  if (new TextEncoder().encode(settings.execRoot).length > LONGEST_EXEC_ROOT) {
    throw new EngineError(
      "invalid",
      `exec-root is too long for the sockets below it (${LONGEST_EXEC_ROOT} bytes at most): ${settings.execRoot}`,
      { hint: "Choose a shorter --exec-root." },
    );
  }
  for (
    const [path, mode] of [[settings.dataRoot, 0o711], [`${settings.dataRoot}/containers`, 0o711], [
      `${settings.execRoot}/shims`,
      0o700,
    ]] as const
  ) {
    try {
      Deno.mkdirSync(path, { recursive: true, mode });
    } catch (error) {
      throw new EngineError("system", `cannot create ${path}: ${goErrno(error)}`, {
        cause: error,
        ...(path.startsWith(settings.dataRoot) ? { hint: hints.dataRootUnusable } : {}),
      });
    }
  }
}

/** Made once for each data root. */
function engineId(dataRoot: string): string {
  const path = `${dataRoot}/engine-id`;
  try {
    const known = Deno.readTextFileSync(path).trim();
    if (known !== "") return known;
  } catch {
    // The first start.
  }
  const id = crypto.randomUUID();
  Deno.writeTextFileSync(`${path}.tmp`, `${id}\n`);
  Deno.renameSync(`${path}.tmp`, path);
  return id;
}

function writePidfile(path: string | undefined): void {
  if (path === undefined || path === "") return;
  Deno.writeTextFileSync(`${path}.tmp`, `${Deno.pid}\n`, { mode: 0o644 });
  Deno.renameSync(`${path}.tmp`, path);
}

function removePidfile(path: string | undefined): void {
  try {
    if (path !== undefined && path !== "" && Deno.readTextFileSync(path).trim() === String(Deno.pid)) {
      Deno.removeSync(path);
    }
  } catch {
    // Gone already, or somebody else's.
  }
}

function print(text: string): void {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(text));
  } catch {
    // Nobody reads it.
  }
}
