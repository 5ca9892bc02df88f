import { messageOf } from "../base/errors.ts";
import type { ExitRecord } from "../runtime/protocol.ts";
import { millisBetween, nowRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { mountsOf, volumeNames } from "./container_volumes.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { announcePlaces, leaveNetworks } from "./network_join.ts";
import { endOrphan, removeShimDir } from "./orphan.ts";
import { releaseMounts, removeLocked } from "./remove.ts";
import { nextDelay, shouldRestart } from "./restart_policy.ts";
import type { ServingShim } from "./shim_pool.ts";

/** Starts a container; the caller holds its mutex. Handed in, because a start needs this file as well. */
export type StartLocked = (ctx: EngineContext, container: Container) => Promise<void>;

/** How a run ended, whoever knows it. */
export type Ending = Pick<ExitRecord, "exitCode" | "oomKilled" | "finishedAt"> & { readonly error?: string };

/** Exit code when nobody saw the process end: as after SIGKILL. */
const EXIT_LOST = 137;

/** Listens to the shim of a running container: its exit, its execs' exits, and its own death. */
export function followShim(
  ctx: EngineContext,
  container: Container,
  shim: ServingShim,
  start: StartLocked,
): void {
  const report = (work: Promise<void>) =>
    work.catch((error) => {
      ctx.log.error("cannot record the exit of a container", { id: container.id, error: messageOf(error) });
    });
  shim.client.listen({
    onExit: (record) => void report(takeExit(ctx, container, shim, record, start)),
    onOom: () => void report(takeOom(ctx, container, shim)),
    onExecExit: ({ execId, exitCode }) => ctx.execs.ended(execId, exitCode),
    onClose: () => void report(takeLoss(ctx, container, shim, start)),
  });
}

/** The container that this shim serves is still the one that runs: a late word of an earlier run changes nothing. */
function isCurrent(container: Container, shim: ServingShim): boolean {
  return !container.removed && container.record.shim?.dir === shim.ref.dir;
}

/** Something in it was killed for want of memory; it may go on. */
async function takeOom(ctx: EngineContext, container: Container, shim: ServingShim): Promise<void> {
  await container.mutex.run(() => {
    if (!isCurrent(container, shim)) return;
    void ctx.containers.noteState(container, { oomKilled: true });
    containerEvent(ctx, container.record, "oom");
  });
}

async function takeExit(
  ctx: EngineContext,
  container: Container,
  shim: ServingShim,
  record: ExitRecord,
  start: StartLocked,
): Promise<void> {
  await container.mutex.run(async () => {
    if (isCurrent(container, shim)) {
      await endRun(ctx, container, record, start, () => void ctx.pool.release(shim));
    } else void ctx.pool.release(shim);
  });
}

/** The connection broke. Either the shim wrote the exit down before it died, or its container has nobody any more and is ended. */
async function takeLoss(
  ctx: EngineContext,
  container: Container,
  shim: ServingShim,
  start: StartLocked,
): Promise<void> {
  await container.mutex.run(async () => {
    if (!isCurrent(container, shim)) return;
    const written = readExitFile(container.record.exitFile);
    if (written === undefined) endOrphan(ctx.kernel, shim.ref);
    const ending = written ?? lostEnding();
    await endRun(ctx, container, ending, start, () => removeShimDir(shim.ref.dir));
  });
}

export function lostEnding(): Ending {
  return {
    exitCode: EXIT_LOST,
    oomKilled: false,
    finishedAt: nowRfc3339(),
    error: "the container's shim has ended unexpectedly; the container was killed",
  };
}

/** What the shim wrote before it told anybody; undefined when there is nothing. */
export function readExitFile(path: string): ExitRecord | undefined {
  if (path === "") return undefined;
  try {
    return JSON.parse(Deno.readTextFileSync(path)) as ExitRecord;
  } catch {
    return undefined;
  }
}

/**
 * Writes down that a run has ended and does what follows from it: events, waiters, removal or restart by policy.
 * The caller holds the mutex. `letShimGo` is called once the exit is in the store.
 */
export async function endRun(
  ctx: EngineContext,
  container: Container,
  ending: Ending,
  start: StartLocked,
  letShimGo: () => Promise<void> | void,
): Promise<void> {
  const { exitFile, state } = container.record;
  container.health?.stop();
  container.health = undefined;
  const ended = {
    // unhealthy, as for clients that wait for a container to become healthy
    ...(state.health === undefined ? {} : { health: { ...state.health, Status: "unhealthy" as const } }),
    status: "exited" as const,
    pid: 0,
    pidStartTime: "",
    exitCode: ending.exitCode,
    error: ending.error ?? "",
    oomKilled: ending.oomKilled || state.oomKilled,
    paused: false,
    finishedAt: ending.finishedAt,
  };
  const restart = shouldRestart({ ...container.record, state: { ...state, ...ended } });
  const removal = !restart && container.record.hostConfig.AutoRemove === true && !container.held;
  const { record: ran } = container;
  const { network, gone } = leaveNetworks(ctx, ran);
  const noShim = { shim: null, exitFile: "", network };
  let unsaved: Promise<void> | undefined;
  if (removal) ctx.containers.changeMemory(container, ended, noShim);
  else {
    const status = restart ? "restarting" : "exited";
    unsaved = ctx.containers.noteState(container, { ...ended, status }, noShim);
  }
  container.shim = null;
  ctx.execs.endAll(container.id, ending.exitCode);
  const ranMs = millisBetween(state.startedAt, ending.finishedAt);
  // Most often it has been told when it happened.
  if (ending.oomKilled && !state.oomKilled) containerEvent(ctx, container.record, "oom");
  announcePlaces(ctx, "disconnect", ran);
  for (const name of volumeNames(mountsOf(container.record))) {
    ctx.events.publish("volume", "unmount", name, { container: container.id, driver: "local" });
  }
  // As in Docker, what it had has been given back when its end is told.
  containerEvent(ctx, container.record, "die", {
    execDuration: String(Math.max(0, Math.floor(ranMs / 1000))),
    exitCode: String(ending.exitCode),
  });
  // Whoever hears of the end may want the ports for something else at once.
  if ((ran.network.sandbox?.published.length ?? 0) > 0) await gone;
  container.notifyExit();
  if (removal) {
    try {
      await removeLocked(ctx, container);
    } finally {
      await letShimGo();
    }
    return;
  }
  const released = releaseMounts(ctx, container.record).catch((error) => {
    ctx.log.warn("cannot release a root file system", { id: container.id, error: messageOf(error) });
  });
  const finish = async () => {
    await letShimGo();
    removeFile(exitFile);
  };
  if (unsaved === undefined) {
    await Promise.all([finish(), released]);
  } else {
    // Until then the shim keeps it: another engine would ask there.
    ctx.log.error("cannot write down the exit of a container: is the disk full?", { id: container.id });
    void unsaved.then(finish).catch((error) => {
      ctx.log.warn("cannot dismiss a shim", { id: container.id, error: messageOf(error) });
    });
    await released;
  }
  if (restart) scheduleRestart(ctx, container, ranMs, start);
}

function removeFile(path: string): void {
  try {
    if (path !== "") Deno.removeSync(path);
  } catch {
    // The container's directory goes some day, and the file with it.
  }
}

/** Starts it again after the policy's delay, unless somebody stops, starts or removes it first. */
export function scheduleRestart(
  ctx: EngineContext,
  container: Container,
  ranMs: number,
  start: StartLocked,
): void {
  container.restartDelay = nextDelay(container.restartDelay, ranMs);
  container.restartTimer = setTimeout(() => {
    container.restartTimer = undefined;
    container.mutex.run(async () => {
      if (container.removed || container.record.state.status !== "restarting") return;
      ctx.containers.save(container, { restartCount: container.record.restartCount + 1 });
      await start(ctx, container);
    }).catch((error) => {
      ctx.log.error("cannot restart container", { id: container.id, error: messageOf(error) });
    });
  }, container.restartDelay);
}
