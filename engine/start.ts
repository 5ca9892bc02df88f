import { conflict, EngineError, messageOf } from "../base/errors.ts";
import type { SandboxState } from "../net/netd/protocol.ts";
import type { PublishedPort } from "../net/network_host_ports.ts";
import { NETWORK_STAGE } from "../runtime/protocol.ts";
import type { ContainerSpec, RootfsSpec } from "../runtime/spec.ts";
import { nowRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { type ContainerNetwork, withoutRun } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";
import { acquireCgroup, cgroupPathFor } from "./container_cgroup.ts";
import { buildContainerSpec } from "./container_spec.ts";
import { acquireVolumes } from "./container_volumes.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { imageMount } from "./image_mounts.ts";
import { followShim } from "./exit.ts";
import { watchHealth } from "./health.ts";
import { withLayers } from "./image_layers.ts";
import type { LogSink } from "./log_drivers/driver.ts";
import { forwardLog, openLogSink } from "./log_forwarding.ts";
import { buildLogSpec } from "./log_options.ts";
import { checkLinks, linkEnvironment } from "./links.ts";
import { networkingFailed } from "./network_errors.ts";
import { updateFiles, updateLinkingFiles } from "./network_container_files.ts";
import {
  announcePlaces,
  givePlacesBack,
  leaveNetworks,
  needsNetworks,
  sandboxOf,
  takePlaces,
} from "./network_join.ts";
import { type ResolvedNamespaces, resolveNamespaces } from "./namespaces.ts";
import { releaseMounts, removeLocked } from "./remove.ts";
import { seccompFor } from "./seccomp_cache.ts";
import { endOrphan } from "./orphan.ts";
import { acquireSharedMemory } from "./shared_memory.ts";
import { ShimFailure } from "./shim_client.ts";
import type { ReadyShim } from "./shim_pool.ts";
import { explainStartFailure } from "./start_failure.ts";

/**
 * Starts a container that does not run.
 *
 * @throws {EngineError} not-modified when it runs, conflict when it is being removed, invalid for a command that cannot
 * be executed, system for other failures. The container's state then says so as well.
 */
export function startContainer(ctx: EngineContext, container: Container): Promise<void> {
  return container.mutex.run(async () => {
    const { status } = container.record.state;
    if (container.record.state.paused) {
      throw conflict("cannot start a paused container, try unpause instead");
    }
    if (status === "running") throw new EngineError("not-modified", "container already started");
    if (container.removed || status === "removing" || status === "dead") {
      throw conflict("container is marked for removal and cannot be started");
    }
    container.cancelRestart();
    container.restartDelay = 0;
    if (container.record.state.manuallyStopped || container.record.restartCount > 0) {
      ctx.containers.saveState(container, { manuallyStopped: false }, { restartCount: 0 });
    }
    await startLocked(ctx, container);
  });
}

/**
 * The start itself; the caller holds the mutex and has checked the state.
 *
 * What is on disk at each point, should the engine be killed there: nothing but an idle shim, which ends with our
 * connection → row "starting" with the shim's name and the places in networks: reconciling asks that shim whether the
 * container runs; it does not before the networks are made, since it is only then told to go → row "running".
 */
export async function startLocked(ctx: EngineContext, container: Container): Promise<void> {
  const before = container.record.state;
  let shim: ReadyShim | undefined;
  let taken: ContainerNetwork | undefined;
  let joining: Promise<readonly PublishedPort[] | undefined> | undefined;
  let announced = false;
  let logSink: LogSink | undefined;
  try {
    logSink = await openLogSink(container.record);
    const namespaces = resolveNamespaces(container.record.hostConfig, ctx.containers);
    checkLinks(ctx, container.record);
    taken = networking(() => takePlaces(ctx, container.record));
    const shmPath = acquireSharedMemory(ctx, container.record);
    acquireVolumes(ctx, container.record);
    const image = ctx.images.getForContainer(container.record.imageId);
    const { cgroup: _cgroup, ...shimNamespaces } = namespaces;
    const [rootfs, ready] = await both(
      withLayers(image, () => ctx.driver.acquire(container.id, ctx.images.layers(image))),
      ctx.pool.acquire(shimNamespaces),
    );
    shim = ready;
    const hostMounts = ctx.images.hostMounts(image, container.record.dir);
    const sandbox = sandboxOf(ctx, { ...container.record, network: taken }, ready.init);
    // The kernel's work on networks goes on beside everything that follows.
    joining = sandbox === undefined ? undefined : joinNetworks(ctx, container.record, sandbox);
    joining?.catch(() => {});
    const spec = containerSpec(ctx, container, { rootfs, hostMounts, namespaces, shmPath });
    const starts = container.record.starts + 1;
    const exitFile = `${container.record.dir}/exit-${starts}.json`;
    const cgroupPathSoon = cgroupPathFor(ctx, container.record);
    ctx.containers.saveState(container, { status: "starting", cgroupPath: cgroupPathSoon }, {
      shim: shim.ref,
      exitFile,
      starts,
      network: taken,
    });
    container.shim = shim.client;
    followShim(ctx, container, shim, startLocked);
    const cgroupPath = await acquireCgroup(ctx, container, shim.init.pid);
    // Where systemd has put it: found again by its process, should the engine end before this is written.
    ctx.containers.changeMemory(container, { cgroupPath: cgroupPath ?? "" }, {});
    const dir = shim.ref.dir;
    const attaching = [...container.pendingAttach];
    container.pendingAttach.clear();
    await Promise.all(attaching.map((pending) => pending.open(dir)));
    const { config } = container.record;
    const started = shim.client.request({
      op: "start",
      spec: cgroupPath === undefined ? spec : { ...spec, cgroupPath },
      log: buildLogSpec(container.record),
      openStdin: config.OpenStdin ?? false,
      stdinOnce: config.StdinOnce ?? false,
      exitFile,
      ...(joining === undefined ? {} : { hold: true }),
    });
    started.catch(() => {});
    updateFiles(ctx, container.record);
    const network = await waitForNetworks(ctx, container, { shim, started, joining });
    announcePlaces(ctx, "connect", { id: container.id, network });
    announced = true;
    const answer = await started;
    // It runs, whether or not the disk has room for saying so. Until it is said, reconciling asks the shim.
    ctx.containers.noteStateSoon(container, {
      status: "running",
      pid: answer.pid ?? 0,
      pidStartTime: answer.startTime ?? "",
      startedAt: answer.startedAt ?? nowRfc3339(),
      exitCode: 0,
      error: "",
      oomKilled: false,
      hasBeenStarted: true,
    }, { network });
    updateLinkingFiles(ctx, container.record);
    watchHealth(ctx, container);
    void forwardLog(ctx, container, logSink);
    containerEvent(ctx, container.record, "start");
  } catch (error) {
    logSink?.close();
    // What is asked for is made, or not, before it is taken down.
    await joining?.catch(() => {});
    throw await failStart(ctx, container, { before, shim, taken, announced }, error);
  } finally {
    ctx.pool.refillSoon();
  }
}

/** Docker says of an error of networks that it is one. */
function networking<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw networkingFailed(error);
  }
}

/**
 * Has the container's networks made and its ports published. Answers where they are; undefined when there are no networks on this
 * machine and the container does not ask for any.
 */
async function joinNetworks(
  ctx: EngineContext,
  record: ContainerRecord,
  sandbox: SandboxState,
): Promise<readonly PublishedPort[] | undefined> {
  try {
    return await ctx.networks.join(sandbox);
  } catch (error) {
    if (ctx.networks.problem !== undefined && !needsNetworks(record)) {
      ctx.log.warn("container starts without a network", { id: record.id, error: messageOf(error) });
      return undefined;
    }
    throw networkingFailed(error);
  }
}

/** Lets the start go on when the networks are there. Answers what the record is to say of them. */
async function waitForNetworks(
  ctx: EngineContext,
  container: Container,
  { shim, started, joining }: {
    shim: ReadyShim;
    started: Promise<unknown>;
    joining: Promise<readonly PublishedPort[] | undefined> | undefined;
  },
): Promise<ContainerNetwork> {
  const { network } = container.record;
  if (joining === undefined) return network;
  let published: readonly PublishedPort[] | undefined;
  try {
    published = await joining;
  } catch (error) {
    await shim.client.request({ op: "go", refusal: messageOf(error) }).catch(() => {});
    // A start that has failed by itself has taken its namespace along: then that is the reason.
    const failure: unknown = await started.catch((reason) => reason);
    throw failure instanceof ShimFailure && failure.failure.stage !== NETWORK_STAGE ? failure : error;
  }
  // What it answers to the start is looked at later.
  void shim.client.request({ op: "go" }).catch(() => {});
  if (published === undefined) {
    givePlacesBack(ctx, network.attachments);
    return withoutRun(network);
  }
  const { sandbox } = network;
  return sandbox === null ? network : { ...network, sandbox: { ...sandbox, published } };
}

function containerSpec(
  ctx: EngineContext,
  container: Container,
  parts: {
    rootfs: RootfsSpec;
    hostMounts: ContainerSpec["mounts"];
    namespaces: ResolvedNamespaces;
    shmPath: string | undefined;
  },
): ContainerSpec {
  const { record } = container;
  return buildContainerSpec({
    record,
    rootfs: parts.rootfs,
    hostMounts: parts.hostMounts,
    imageMount: (point) => imageMount(ctx, record, point, parts.rootfs),
    files: { hostname: record.hostnamePath, hosts: record.hostsPath, resolvConf: record.resolvConfPath },
    namespaces: parts.namespaces,
    facts: ctx.facts,
    shmPath: parts.shmPath,
    seccompFor: (profile, caps) => seccompFor(ctx.facts, profile, caps),
    defaultNofile: ctx.defaults.nofile,
    ...(ctx.defaults.security ? { security: ctx.defaults.security } : {}),
    defaultInit: ctx.defaults.init,
    linkedEnv: linkEnvironment(ctx, record),
  });
}

/** Both results, or the first failure after the other has settled: an idle shim that nobody takes is closed. */
async function both<T>(rootfs: Promise<T>, shim: Promise<ReadyShim>): Promise<[T, ReadyShim]> {
  const [a, b] = await Promise.allSettled([rootfs, shim]);
  if (a.status === "fulfilled" && b.status === "fulfilled") return [a.value, b.value];
  if (b.status === "fulfilled") b.value.client.close();
  throw a.status === "rejected" ? a.reason : (b as PromiseRejectedResult).reason;
}

/** Undoes a start as far as it went and writes down why; answers the error for the client. */
async function failStart(
  ctx: EngineContext,
  container: Container,
  { before, shim, taken, announced }: {
    before: Container["record"]["state"];
    shim: ReadyShim | undefined;
    taken: ContainerNetwork | undefined;
    /** Clients have been told that it is in its networks. */
    announced: boolean;
  },
  cause: unknown,
): Promise<EngineError> {
  const { error, exitCode } = explainStartFailure(cause, "start");
  container.shim = null;
  if (shim !== undefined) {
    const lost = shim.client.closed;
    if (lost) endOrphan(ctx.kernel, shim.ref);
    else await ctx.pool.release(shim);
  }
  for (const pending of [...container.pendingAttach]) pending.cancel();
  container.pendingAttach.clear();
  try {
    await releaseMounts(ctx, container.record);
  } catch (problem) {
    ctx.log.warn("cannot release a root file system", { id: container.id, error: messageOf(problem) });
  }
  // A start that came to its networks has them in its record; one that did not has only taken places.
  const { network, gone } = leaveNetworks(ctx, {
    ...container.record,
    network: taken ?? container.record.network,
  });
  await gone;
  if (announced) announcePlaces(ctx, "disconnect", container.record);
  const status = before.hasBeenStarted ? "exited" : "created";
  void ctx.containers.noteState(container, {
    ...before,
    status,
    pid: 0,
    pidStartTime: "",
    exitCode,
    error: error.message,
  }, { shim: null, network });
  ctx.log.error("cannot start container", { id: container.id, error: error.message });
  if (container.record.hostConfig.AutoRemove) {
    await removeLocked(ctx, container).catch((problem) => {
      ctx.log.error("cannot remove container", { id: container.id, error: messageOf(problem) });
    });
  }
  return error;
}
