import { isDoneWithin } from "../base/deadline.ts";
import { messageOf } from "../base/errors.ts";
import type { ShimState } from "../runtime/protocol.ts";
import { Cgroup } from "../cgroups/cgroup.ts";
import { releaseLeftover, sweepBuilds } from "./build/sweep.ts";
import { nowRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { findCgroup } from "./container_cgroup.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { sweepContainer } from "./create.ts";
import type { ContainerRecord } from "./container_record.ts";
import { endRun, followShim, lostEnding, readExitFile, scheduleRestart } from "./exit.ts";
import { endOrphan, readShimState, removeShimDir } from "./orphan.ts";
import { leaveNetworks, sandboxOf } from "./network_join.ts";
import { isAlive } from "../base/process_identity.ts";
import { releaseMounts, removeLocked } from "./remove.ts";
import { shouldRestart, shouldStartWithEngine } from "./restart_policy.ts";
import { ShimClient, ShimFailure } from "./shim_client.ts";
import { watchHealth } from "./health.ts";
import { forwardLog } from "./log_forwarding.ts";
import { startContainer, startLocked } from "./start.ts";

/** A shim answers at once unless it is in the middle of a start. */
const STATUS_DEADLINE_MS = 15_000;
/** How long an exit may be on its way. */
const EXIT_DEADLINE_MS = 2_000;
/** Between two questions to a shim that is in the middle of a start. */
const POLL_MS = 5;

/**
 * Brings the store in line with what is there, before the engine serves anybody: containers that ran on are taken over,
 * exits that happened meanwhile are recorded, starts and removals that were cut short are finished or undone, and what
 * belongs to nobody is removed. Answers the containers that their restart policy wants started.
 */
export async function reconcile(ctx: EngineContext): Promise<Container[]> {
  for (const container of ctx.containers.all()) {
    try {
      await container.mutex.run(() => reconcileOne(ctx, container));
    } catch (error) {
      ctx.log.error("cannot reconcile container", { id: container.id, error: messageOf(error) });
    }
  }
  await Promise.all(ctx.containers.all().map(awaitEndingExit));
  // What the last engine had not sent yet, and what those that run on print.
  for (const container of ctx.containers.all()) void forwardLog(ctx, container);
  await sweepShims(ctx);
  await sweepDirectories(ctx);
  sweepBuilds(ctx);
  return ctx.containers.all().filter(({ record }) =>
    record.state.status === "exited" && shouldStartWithEngine(record)
  );
}

/** Starts what {@link reconcile} answered, one after the other, in the background of an engine that serves already. */
export async function startWanted(ctx: EngineContext, wanted: readonly Container[]): Promise<void> {
  for (const container of wanted) {
    try {
      await startContainer(ctx, container);
    } catch (error) {
      ctx.log.error("cannot start container", { id: container.id, error: messageOf(error) });
    }
  }
}

async function reconcileOne(ctx: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  if (!directoryExists(record.dir) && record.state.status !== "removing") {
    // Only a power failure between the removal and its row's deletion (not synced) leaves this.
    ctx.log.warn("container has lost its directory: removed", { id: record.id });
    return await removeLocked(ctx, container);
  }
  switch (record.state.status) {
    case "starting":
    case "running":
      return await adopt(ctx, container);
    case "removing":
      return await removeLocked(ctx, container);
    case "restarting":
      await releaseMounts(ctx, record);
      if (shouldRestart(record)) return scheduleRestart(ctx, container, 0, startLocked);
      return ctx.containers.saveState(container, { status: "exited" });
    case "exited":
      await releaseMounts(ctx, record);
      if (record.hostConfig.AutoRemove) await removeLocked(ctx, container);
      return;
    default:
      return await releaseMounts(ctx, record);
  }
}

/** A process that has ended while its shim still drains its output: the exit comes in a moment, and nobody is to see it run. */
async function awaitEndingExit(container: Container): Promise<void> {
  const { status, pid, pidStartTime } = container.record.state;
  if (status !== "running" || isAlive({ pid, startTime: pidStartTime })) return;
  const giveUp = new AbortController();
  await isDoneWithin(container.nextExit(giveUp.signal), EXIT_DEADLINE_MS);
  giveUp.abort();
}

function directoryExists(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** The kernel knows. What is frozen and was not paused by anybody is thawed: the last engine has died while it made a commit. */
async function stillPaused(
  ctx: EngineContext,
  record: ContainerRecord,
  cgroupPath: string,
): Promise<boolean> {
  if (cgroupPath === "") return false;
  const cgroup = new Cgroup(cgroupPath);
  if (record.state.paused) return cgroup.frozen;
  try {
    await cgroup.freeze(false);
  } catch (error) {
    ctx.log.debug("cannot thaw a container", { id: record.id, error: messageOf(error) });
  }
  return false;
}

/** A container that ran, or was being started, when the last engine ended. */
async function adopt(ctx: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  const { shim: ref } = record;
  const exit = readExitFile(record.exitFile);
  if (exit !== undefined && exit.containerId === record.id) {
    if (record.state.status === "starting") {
      // It ran and ended before the last engine could write that it runs.
      const { startedAt } = exit;
      ctx.containers.saveState(container, { startedAt, hasBeenStarted: true, oomKilled: false });
    }
    return await endRun(ctx, container, exit, startLocked, async () => {
      if (ref !== null) await dismissShim(ctx, ref.dir);
    });
  }
  const held = ref === null ? undefined : await askShim(ref.dir);
  if (ref !== null && held !== undefined && held.state.containerId === record.id) {
    const { client, state } = held;
    const cgroupPath = record.state.cgroupPath || findCgroup(record.id, state.pid ?? 0);
    const wasStarting = record.state.status === "starting";
    ctx.containers.saveState(container, {
      status: "running",
      cgroupPath,
      paused: await stillPaused(ctx, record, cgroupPath),
      pid: state.pid ?? 0,
      pidStartTime: state.startTime ?? "",
      startedAt: state.startedAt ?? nowRfc3339(),
      hasBeenStarted: true,
      ...(wasStarting ? { exitCode: 0, error: "", oomKilled: false } : {}),
    });
    container.shim = client;
    const sandbox = sandboxOf(ctx, container.record, {
      pid: container.record.state.pid,
      startTime: container.record.state.pidStartTime,
    });
    if (sandbox !== undefined) ctx.networks.adopt(sandbox);
    followShim(ctx, container, { ref, client }, startLocked);
    watchHealth(ctx, container);
    if (wasStarting) containerEvent(ctx, container.record, "start");
    ctx.log.info("container runs on", { id: record.id, pid: state.pid ?? 0 });
    return;
  }
  held?.client.close();
  if (ref !== null) endOrphan(ctx.kernel, ref);
  if (record.state.status === "running") {
    return await endRun(ctx, container, lostEnding(), startLocked, () => {});
  }
  await releaseMounts(ctx, record);
  const { network } = leaveNetworks(ctx, record);
  ctx.containers.saveState(container, {
    status: record.state.hasBeenStarted ? "exited" : "created",
    pid: 0,
    pidStartTime: "",
  }, { shim: null, exitFile: "", network });
  if (record.hostConfig.AutoRemove) await removeLocked(ctx, container);
}

/**
 * Connects to a shim that has a container. One that has none is dismissed on the way; undefined then, and when nobody
 * answers. A shim in the middle of a start, whose order the last engine gave, has a container or not a moment later.
 */
async function askShim(dir: string): Promise<{ client: ShimClient; state: ShimState } | undefined> {
  let client: ShimClient;
  try {
    client = await ShimClient.connect(dir);
  } catch {
    return undefined;
  }
  const timer = setTimeout(() => client.close(), STATUS_DEADLINE_MS);
  try {
    while (true) {
      const { state } = await client.request({ op: "status" });
      if (state !== undefined && state.containerId !== null) return { client, state };
      if (await dismissed(client)) break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } catch {
    // It hangs or died: the caller ends it.
  } finally {
    clearTimeout(timer);
  }
  client.close();
  return undefined;
}

/** True when the shim goes; false when it refuses, because it has a container or is starting one. */
async function dismissed(client: ShimClient): Promise<boolean> {
  try {
    await client.request({ op: "shutdown" });
    return true;
  } catch (error) {
    if (error instanceof ShimFailure) return false;
    throw error;
  }
}

/** Ends a shim, and its container if that still runs. */
async function dismissShim(ctx: EngineContext, dir: string): Promise<void> {
  const held = await askShim(dir);
  if (held !== undefined) {
    const gone = await dismissed(held.client).catch(() => false);
    held.client.close();
    if (gone) return;
  }
  const state = held?.state ?? readShimState(dir);
  if (state === undefined) return removeShimDir(dir);
  endOrphan(ctx.kernel, { id: "", dir, pid: state.shimPid, startTime: state.shimStartTime });
}

/** Shims that no container names: idle ones of the last engine, and those whose container's exit is recorded already. */
async function sweepShims(ctx: EngineContext): Promise<void> {
  const named = new Set(ctx.containers.all().map(({ record }) => record.shim?.dir));
  for (const name of namesIn(`${ctx.execRoot}/shims`)) {
    const dir = `${ctx.execRoot}/shims/${name}`;
    if (!named.has(dir)) await dismissShim(ctx, dir);
  }
}

/** Directories of containers that do not exist: creations that were cut short, and what builds had. */
async function sweepDirectories(ctx: EngineContext): Promise<void> {
  for (const name of namesIn(`${ctx.dataRoot}/containers`)) {
    if (ctx.containers.get(name) === undefined && /^[0-9a-f]{64}$/.test(name)) {
      await releaseLeftover(ctx, `${ctx.dataRoot}/containers/${name}`);
      await sweepContainer(ctx, name);
    }
  }
}

function namesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map((entry) => entry.name);
  } catch {
    return [];
  }
}
