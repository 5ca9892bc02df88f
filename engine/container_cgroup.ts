/** A container's cgroup: made at its start, found again by the next engine, removed after its end. */
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { Cgroup } from "../cgroups/cgroup.ts";
import { CGROUP_ROOT } from "../cgroups/detect.ts";
import { type CgroupLimits, DEFAULT_CPU_PERIOD, type DeviceLimit } from "../cgroups/limits.ts";
import { SysError } from "../ffi/errno.ts";
import type { Container } from "./container.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import { deviceNumbers } from "./device_numbers.ts";
import { deviceRulesOf } from "./device_rules.ts";
import { stopMannerOf } from "./stop_manner.ts";
import type { HostConfig } from "./types.ts";

/** Annotations that begin so name a file of the cgroup, and say what to write there (the OCI's "unified"). */
const RAW_KEY = "berth.cgroup.";

/**
 * The limits that a HostConfig asks for.
 *
 * @throws {EngineError} invalid: a device that is none.
 */
export function limitsOf(hostConfig: HostConfig): CgroupLimits {
  const number = (key: string) => {
    const value = hostConfig[key];
    return typeof value === "number" ? value : 0;
  };
  const nano = number("NanoCpus");
  const throttle = (key: string) => deviceLimits(hostConfig[key], "Rate");
  const unified = rawFiles(hostConfig).map((file) => [file, hostConfig.Annotations?.[RAW_KEY + file] ?? ""]);
  return {
    memory: number("Memory"),
    memorySwap: number("MemorySwap"),
    memoryReservation: number("MemoryReservation"),
    cpuShares: number("CpuShares"),
    cpuQuota: nano > 0 ? Math.round(nano * DEFAULT_CPU_PERIOD / 1e9) : number("CpuQuota"),
    cpuPeriod: nano > 0 ? DEFAULT_CPU_PERIOD : number("CpuPeriod"),
    cpusetCpus: hostConfig.CpusetCpus ?? "",
    cpusetMems: hostConfig.CpusetMems ?? "",
    ...(typeof hostConfig.PidsLimit === "number" ? { pids: hostConfig.PidsLimit } : {}),
    blkioWeight: number("BlkioWeight"),
    blkioWeightDevice: deviceLimits(hostConfig["BlkioWeightDevice"], "Weight"),
    readBps: throttle("BlkioDeviceReadBps"),
    writeBps: throttle("BlkioDeviceWriteBps"),
    readIops: throttle("BlkioDeviceReadIOps"),
    writeIops: throttle("BlkioDeviceWriteIOps"),
    unified: Object.fromEntries(unified),
  };
}

/** Files of the cgroup that annotations name. */
export function rawFiles({ Annotations: annotations }: Pick<HostConfig, "Annotations">): string[] {
  return Object.keys(annotations ?? {}).filter((key) => key.startsWith(RAW_KEY))
    .map((key) => key.slice(RAW_KEY.length));
}

/** Docker names devices by their nodes, the kernel by numbers. */
function deviceLimits(list: unknown, key: "Rate" | "Weight"): DeviceLimit[] {
  if (!Array.isArray(list)) return [];
  return (list as { Path: string; Rate?: number; Weight?: number }[]).map((limit) => {
    let info: Deno.FileInfo;
    try {
      info = Deno.statSync(limit.Path);
    } catch (error) {
      throw invalid(`${limit.Path}: ${messageOf(error)}`);
    }
    if (!info.isBlockDevice) throw invalid(`${limit.Path}: not a block device`);
    const { major, minor } = deviceNumbers(info.rdev ?? 0);
    return { device: `${major}:${minor}`, value: limit[key] ?? 0 };
  });
}

/**
 * Where the container's cgroup will be, as far as that is known before it is made: to be written down first.
 *
 * @throws {EngineError} invalid: a bad parent.
 */
export function cgroupPathFor(ctx: Pick<EngineContext, "cgroups">, record: ContainerRecord): string {
  return ctx.cgroups?.pathFor({ id: record.id, parent: parentOf(record) }) ?? "";
}

const parentOf = (record: ContainerRecord): string => String(record.hostConfig["CgroupParent"] ?? "");

/**
 * Makes the cgroup for a start.
 *
 * @param pid the process that will be the container.
 * @returns undefined when nothing is delegated, or when a container without limits has to do without.
 * @throws {EngineError} a limit that the kernel refuses; with limits, also a systemd that does not answer.
 */
export async function acquireCgroup(
  ctx: Pick<EngineContext, "cgroups" | "log">,
  container: Container,
  pid: number,
): Promise<string | undefined> {
  if (ctx.cgroups === undefined) return undefined;
  const { record } = container;
  const limits = limitsOf(record.hostConfig);
  const devices = ctx.cgroups.devices ? deviceRulesOf(record.hostConfig) : undefined;
  try {
    await container.cgroupRemoval;
    const { cgroup, warnings } = await ctx.cgroups.create({
      id: record.id,
      limits,
      parent: parentOf(record),
      pid,
      stop: stopMannerOf(record),
      ...(devices === undefined ? {} : { devices }),
    });
    for (const warning of warnings) ctx.log.warn(warning, { id: record.id });
    return cgroup.path;
  } catch (error) {
    if (error instanceof SysError && !error.is("EACCES", "EPERM", "EROFS")) throw refusedValue(error);
    if (error instanceof EngineError && error.kind === "invalid") throw error;
    if (isLimited(limits)) {
      throw new EngineError("system", `cannot limit the container: ${messageOf(error)}`, { cause: error });
    }
    ctx.log.warn("container starts without a cgroup", { id: record.id, error: messageOf(error) });
    return undefined;
  }
}

/** A limit that the kernel does not take, in runc's words. */
export function refusedValue(error: SysError): EngineError {
  return new EngineError("invalid", `failed to write: ${error.message}`, { cause: error });
}

function isLimited({ pids: _pids, ...limits }: CgroupLimits): boolean {
  return Object.values(limits).some((value) =>
    typeof value === "number"
      ? value > 0
      : typeof value === "object"
      ? Object.keys(value).length > 0
      : value !== ""
  );
}

/** The cgroup of a container that runs; undefined when it has none. */
export function cgroupOf(record: ContainerRecord): Cgroup | undefined {
  const { cgroupPath } = record.state;
  return cgroupPath === undefined || cgroupPath === "" ? undefined : new Cgroup(cgroupPath);
}

/** Where the process of a container is by now: for an engine that was not told. */
export function findCgroup(id: string, pid: number): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/cgroup`);
  } catch {
    return "";
  }
  const [, path = ""] = /^0::(\/.*)$/m.exec(text) ?? [];
  const own = new RegExp(`^.*/(berth-)?${id}(\\.scope)?(?=/|$)`).exec(path)?.[0];
  return own === undefined ? "" : CGROUP_ROOT + own;
}

/**
 * Removes the cgroup of a container that has ended, and ends what is left in it. May be repeated. Does not wait for systemd: the
 * next start of the container does.
 */
export function releaseCgroup(
  ctx: Pick<EngineContext, "cgroups" | "containers" | "log">,
  record: ContainerRecord,
): void {
  const cgroup = cgroupOf(record);
  if (cgroup === undefined) return;
  const removal = ctx.cgroups === undefined ? cgroup.remove() : ctx.cgroups.remove(record.id, cgroup);
  const reported = removal.catch((error) => {
    ctx.log.warn("cannot remove a cgroup", { id: record.id, error: messageOf(error) });
  });
  const container = ctx.containers.get(record.id);
  if (container !== undefined) container.cgroupRemoval = reported;
}
