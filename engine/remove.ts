import { conflict, EngineError, messageOf } from "../base/errors.ts";
import type { Container } from "./container.ts";
import type { ContainerRecord } from "./container_record.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { releaseCgroup } from "./container_cgroup.ts";
import { drainLog } from "./log_forwarding.ts";
import { leaveNetworks } from "./network_join.ts";
import { releaseSharedMemory } from "./shared_memory.ts";
import { releaseVolumes, removeAnonymousVolumes } from "./container_volumes.ts";
import { killAndWait } from "./signals.ts";

/** How a container is to be removed. */
export interface Removal {
  /** Also when it runs. */
  readonly force: boolean;
  /** Its anonymous volumes go as well. */
  readonly volumes: boolean;
}

/**
 * Removes a container.
 *
 * @throws {EngineError} conflict when it runs and `force` is not given, or a removal is going on.
 */
export async function removeContainer(
  ctx: EngineContext,
  container: Container,
  { force, volumes }: Removal,
): Promise<void> {
  const refuse = () =>
    conflict(
      `cannot remove container "${container.record.name}": container is ` +
        (container.record.state.paused
          ? "paused and must be unpaused first"
          : `${container.record.state.status}: stop the container before removing or force remove`),
    );
  if (container.record.state.status === "removing" && !force) {
    throw conflict(`removal of container ${container.id} is already in progress`);
  }
  // A start that is under way is waited for; then the state is what it is.
  await container.mutex.run(() => {
    if (container.running && !force) throw refuse();
    container.cancelRestart();
  });
  if (container.removed) return;
  if (container.running) await killAndWait(ctx, container);
  await container.mutex.run(async () => {
    if (container.removed) return;
    if (container.record.state.status === "running") throw refuse();
    container.cancelRestart();
    await removeLocked(ctx, container, volumes);
  });
}

/** Gives up what the engine holds for a container that has ended: its cgroup, its shared memory, its root. May be repeated. */
export async function releaseMounts(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  releaseCgroup(ctx, record);
  releaseSharedMemory(ctx, record);
  releaseVolumes(ctx, record);
  await ctx.driver.release(record.id);
}

/**
 * The removal itself; the caller holds the mutex, and the container does not run. Every step may be repeated: a removal
 * that was cut short is finished at the next start of the engine.
 *
 * @param volumes whether its anonymous volumes go as well.
 */
export async function removeLocked(
  ctx: EngineContext,
  container: Container,
  volumes = container.record.hostConfig.AutoRemove === true,
): Promise<void> {
  const { record } = container;
  // One that removes itself is finished by reconciling anyway: its row need not say so.
  if (!record.hostConfig.AutoRemove) void ctx.containers.noteState(container, { status: "removing" });
  // Nothing is left there of one that has ended; one that was found without its directory may have been running.
  void leaveNetworks(ctx, record);
  await drainLog(container);
  try {
    await releaseMounts(ctx, record);
    // All drivers keep what they have below the container's directory, and take it away whole.
    await ctx.driver.remove(record.id);
  } catch (error) {
    const problem = `unable to remove filesystem for ${record.id}: ${messageOf(error)}`;
    void ctx.containers.noteState(container, { status: "dead", error: problem });
    container.notifyExit();
    throw new EngineError("system", problem, { cause: error });
  }
  ctx.containers.delete(container);
  ctx.execs.forget(record.id);
  if (volumes) await removeAnonymousVolumes(ctx, record);
  containerEvent(ctx, record, "destroy");
  container.notifyRemoved();
  try {
    ctx.images.collectHidden((id) => ctx.containers.usesImage(id));
  } catch (error) {
    ctx.log.warn("cannot remove an image that nobody uses any more", { error: messageOf(error) });
  }
}
