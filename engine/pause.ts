/** `pause` and `unpause`: all processes of a container stop at one moment, by the cgroup freezer, and go on. */
import { conflict, EngineError, messageOf } from "../base/errors.ts";
import { hints } from "../base/hints.ts";
import type { Cgroup } from "../cgroups/cgroup.ts";
import type { Container } from "./container.ts";
import { cgroupOf } from "./container_cgroup.ts";
import { containerEvent, type EngineContext } from "./context.ts";

/** @throws {EngineError} conflict when it does not run or is paused already; not-implemented without a cgroup. */
export async function pauseContainer(ctx: EngineContext, container: Container): Promise<void> {
  await container.mutex.run(async () => {
    const { state, name } = container.record;
    if (state.status === "restarting") {
      throw conflict(`Container ${container.id} is restarting, wait until the container is running`);
    }
    if (state.status !== "running") throw conflict(`Container ${container.id} is not running`);
    if (state.paused) throw conflict(`Container ${container.id} is already paused`);
    try {
      await freezer(ctx, container).freeze(true);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError("system", `cannot pause container ${name}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    void ctx.containers.noteState(container, { paused: true });
    containerEvent(ctx, container.record, "pause");
  });
}

/** @throws {EngineError} conflict when it is not paused. */
export async function unpauseContainer(ctx: EngineContext, container: Container): Promise<void> {
  await container.mutex.run(async () => {
    if (!container.record.state.paused) throw conflict(`Container ${container.id} is not paused`);
    await thaw(ctx, container);
  });
}

/** Lets a paused container go on, be it to end; nothing happens to one that is not paused. Never throws for one that has ended. */
export async function thaw(ctx: EngineContext, container: Container): Promise<void> {
  if (!container.record.state.paused) return;
  try {
    await cgroupOf(container.record)?.freeze(false);
  } catch (error) {
    if (cgroupOf(container.record)?.exists) {
      throw new EngineError("system", `cannot unpause container: ${messageOf(error)}`, { cause: error });
    }
  }
  void ctx.containers.noteState(container, { paused: false });
  containerEvent(ctx, container.record, "unpause");
}

/**
 * Runs `work` while nothing in the container moves. One that does not run, is paused anyway, or has no cgroup is left as it is.
 */
export async function whilePaused<T>(container: Container, work: () => Promise<T>): Promise<T> {
  const cgroup = cgroupOf(container.record);
  if (cgroup === undefined || container.record.state.status !== "running" || container.record.state.paused) {
    return await work();
  }
  return await container.mutex.run(async () => {
    await cgroup.freeze(true);
    try {
      return await work();
    } finally {
      if (cgroup.exists) await cgroup.freeze(false);
    }
  });
}

function freezer(ctx: EngineContext, container: Container): Cgroup {
  const cgroup = cgroupOf(container.record);
  if (cgroup !== undefined) return cgroup;
  const { cgroups } = ctx.facts;
  throw new EngineError(
    "not-implemented",
    `cannot pause container ${container.id}: it has no cgroup` +
      (cgroups.driver === "none" ? `, because ${cgroups.reason}` : ""),
    { hint: cgroups.version === "1" ? hints.cgroupVersion1 : hints.cgroupDelegation },
  );
}
