/** `update`: other limits and another restart policy for a container, also while it runs (moby: container.UpdateContainer). */
import { conflict, EngineError, messageOf } from "../base/errors.ts";
import { SysError } from "../ffi/errno.ts";
import type { Container } from "./container.ts";
import { cgroupOf, limitsOf, refusedValue } from "./container_cgroup.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import type { HostConfig } from "./types.ts";
import { validateRestart } from "./validate.ts";
import { validateResources } from "./validate_resources.ts";

/** What `update` may change, besides the restart policy. Zero and "" leave things as they are. */
const KEYS = [
  "BlkioWeight",
  "CpuShares",
  "NanoCpus",
  "CpuPeriod",
  "CpuQuota",
  "CpusetCpus",
  "CpusetMems",
  "Memory",
  "MemorySwap",
  "MemoryReservation",
] as const satisfies readonly (keyof HostConfig)[];

/**
 * Changes limits and restart policy.
 *
 * @returns what could not be set.
 * @throws {EngineError} invalid for bad values, conflict when they contradict what is set or the container is being removed.
 */
export async function updateContainer(
  ctx: EngineContext,
  container: Container,
  request: HostConfig,
): Promise<{ Warnings: string[] }> {
  const { resources, warnings } = validateResources(request, ctx.facts, { update: true });
  const policy = request.RestartPolicy?.Name ? validateRestart(request) : undefined;
  await container.mutex.run(async () => {
    const { record } = container;
    const refuse = (why: string) => conflict(`Cannot update container ${record.id}: ${why}`);
    if (container.removed || record.state.status === "removing" || record.state.status === "dead") {
      throw refuse('container is marked for removal and cannot be "update"');
    }
    const own = record.hostConfig;
    checkConflicts(own, resources, refuse);
    if (own.AutoRemove && policy !== undefined && policy.Name !== "no") {
      throw refuse("Restart policy cannot be updated because AutoRemove is enabled for the container");
    }
    const changed = Object.fromEntries(KEYS.flatMap((key) => resources[key] ? [[key, resources[key]]] : []));
    const hostConfig: HostConfig = {
      ...own,
      ...changed,
      ...(resources.PidsLimit === null || resources.PidsLimit === undefined
        ? {}
        : { PidsLimit: resources.PidsLimit }),
      ...(policy === undefined ? {} : { RestartPolicy: policy }),
    };
    const cgroup = cgroupOf(record);
    if (record.state.status === "running" && cgroup !== undefined && ctx.cgroups !== undefined) {
      try {
        warnings.push(...await ctx.cgroups.update(record.id, cgroup, limitsOf(hostConfig)));
      } catch (error) {
        // What was set before the refusal is taken back.
        await ctx.cgroups.update(record.id, cgroup, limitsOf(own)).catch(() => {});
        if (error instanceof SysError) throw refuse(refusedValue(error).message);
        throw new EngineError("system", `Cannot update container ${record.id}: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
    ctx.containers.save(container, { hostConfig }, "durable");
    containerEvent(ctx, container.record, "update");
  });
  return { Warnings: warnings };
}

function checkConflicts(
  own: HostConfig,
  wanted: Partial<HostConfig>,
  refuse: (why: string) => EngineError,
): void {
  const has = (config: Partial<HostConfig>, key: "NanoCpus" | "CpuPeriod" | "CpuQuota") =>
    (config[key] ?? 0) > 0;
  const already = (what: string, set: string) =>
    refuse(`Conflicting options: ${what} cannot be updated as ${set} has already been set`);
  if (has(wanted, "NanoCpus") && has(own, "CpuPeriod")) throw already("Nano CPUs", "CPU Period");
  if (has(wanted, "NanoCpus") && has(own, "CpuQuota")) throw already("Nano CPUs", "CPU Quota");
  if (has(wanted, "CpuPeriod") && has(own, "NanoCpus")) throw already("CPU Period", "NanoCPUs");
  if (has(wanted, "CpuQuota") && has(own, "NanoCpus")) throw already("CPU Quota", "NanoCPUs");
  const { Memory: memory = 0, MemorySwap: swap = 0 } = wanted;
  if (memory !== 0 && swap === 0 && memory > (own.MemorySwap ?? 0)) {
    throw refuse(
      "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    );
  }
}
