/** Limits of a container: checked, and turned into Docker's warnings where berth cannot apply them (moby: verifyPlatformContainerResources). */
import { EngineError, invalid } from "../base/errors.ts";
import { rawFiles } from "./container_cgroup.ts";
import type { HostFacts } from "./host_facts.ts";
import { isNumberList, listHolds } from "./number_list.ts";
import type { HostConfig } from "./types.ts";

/** Docker's smallest memory limit: an executable must fit. */
const MIN_MEMORY = 6 * 1024 * 1024;

/** Block I/O limits by device, with what the warning calls them. */
const BLKIO_DEVICE_LIMITS = [
  ["BlkioWeightDevice", "Block I/O weight_device", "Weight-device"],
  ["BlkioDeviceReadBps", "BPS Block I/O read limit", "Block I/O BPS read limit"],
  ["BlkioDeviceWriteBps", "BPS Block I/O write limit", "Block I/O BPS write limit"],
  ["BlkioDeviceReadIOps", "IOPS Block read limit", "Block I/O IOPS read limit"],
  ["BlkioDeviceWriteIOps", "IOPS Block write limit", "Block I/O IOPS write limit"],
] as const;

/**
 * Checks the limits. Those that no delegated controller can apply are dropped with a warning, as Docker does;
 * `NanoCpus` (docker run --cpus) is an error then, as in Docker.
 *
 * @param options.update for a container that has limits already: what is not said stays.
 * @returns the fields of HostConfig to put in place of the request's.
 * @throws EngineError invalid.
 */
export function validateResources(
  requested: HostConfig,
  facts: HostFacts,
  options: { readonly update?: boolean } = {},
): { resources: Partial<HostConfig>; warnings: string[] } {
  const warnings: string[] = [];
  const has = (controller: string) => facts.cgroupControllers.includes(controller);
  const number = (key: keyof HostConfig) => {
    const value = requested[key];
    return typeof value === "number" ? value : 0;
  };
  const out: Record<string, unknown> = {};

  let memory = number("Memory");
  let swap = number("MemorySwap");
  let reservation = number("MemoryReservation");
  let swappiness = requested.MemorySwappiness ?? null;
  // -1 is how old clients say "unset" (moby: fixMemorySwappiness).
  if (swappiness === -1) swappiness = null;
  if (memory !== 0 && memory < MIN_MEMORY) throw invalid("Minimum memory limit allowed is 6MB");
  if (memory > 0 && swap > 0 && swap < memory) {
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memory === 0 && swap > 0 && !options.update) {
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (swap < -1) throw invalid(`Invalid value: ${swap}, memory swap must be -1, 0 or more`);
  if (swappiness !== null && (swappiness < 0 || swappiness > 100)) {
    throw invalid(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (reservation !== 0 && reservation < MIN_MEMORY) {
    throw invalid("Minimum memory reservation allowed is 6MB");
  }
  if (memory > 0 && reservation > memory) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if (memory > 0 && !has("memory")) {
    warnings.push(
      "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    );
    memory = 0;
    swap = -1;
  }
  if (memory > 0 && swap === 0 && !options.update) swap = memory * 2;
  if (memory > 0 && swap !== -1 && !facts.swapLimit) {
    warnings.push(
      "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
    );
    swap = -1;
  }
  if (swappiness !== null) {
    // cgroup version 2, the only one berth can use, has no swappiness.
    warnings.push(
      "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
    );
    swappiness = null;
  }
  if (reservation > 0 && !has("memory")) {
    warnings.push(
      "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
    );
    reservation = 0;
  }
  Object.assign(out, {
    Memory: memory,
    MemorySwap: swap,
    MemoryReservation: reservation,
    MemorySwappiness: swappiness,
  });
  if (requested.OomKillDisable) {
    warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
  }
  out["OomKillDisable"] = null;

  let pids = requested.PidsLimit ?? null;
  if (pids !== null && !has("pids")) {
    if (pids > 0) {
      warnings.push(
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
      );
    }
    pids = null;
  }
  out["PidsLimit"] = pids;

  Object.assign(out, validateCpu(requested, facts, warnings));

  let weight = number("BlkioWeight");
  if (weight !== 0 && (weight < 10 || weight > 1000)) {
    throw invalid("Range of blkio weight is from 10 to 1000");
  }
  if (weight > 0 && !has("io")) {
    warnings.push(
      "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    );
    weight = 0;
  }
  out["BlkioWeight"] = weight;
  for (const [key, what, discarded] of BLKIO_DEVICE_LIMITS) {
    const list = requested[key];
    if (!Array.isArray(list) || list.length === 0) {
      out[key] = [];
    } else if (!has("io")) {
      warnings.push(
        `Your kernel does not support ${what} or the cgroup is not mounted. ${discarded} discarded.`,
      );
      out[key] = [];
    }
  }
  if (number("IOMaximumBandwidth") !== 0 || number("IOMaximumIOps") !== 0) {
    throw invalid("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps");
  }
  for (const file of rawFiles(requested)) {
    const [controller = ""] = file.split(".");
    // The files of the core (cgroup.max.depth) and of pressure are everybody's.
    if (controller === "cgroup" || file.endsWith(".pressure") || has(controller)) continue;
    warnings.push(
      `Your kernel does not support the cgroup controller ${controller} or it is not delegated. ${file} discarded.`,
    );
  }
  const rules = requested["DeviceCgroupRules"];
  if (facts.deviceFilter) return { resources: out, warnings };
  if (Array.isArray(rules) && rules.length > 0) {
    // A filter of devices (eBPF) needs rights over the whole machine: root's systemd has them. Without one a container has the rights of its
    // user, and no more.
    warnings.push(
      "Your kernel does not support device cgroup rules in a user namespace. Device cgroup rules discarded.",
    );
  }
  for (const { PathOnHost: path, CgroupPermissions: permissions } of requested.Devices ?? []) {
    if (permissions && !/(?=.*r)(?=.*w)(?=.*m)/.test(permissions)) {
      warnings.push(
        `Your kernel does not support device permissions in a user namespace. ${path} may be used as its file mode says.`,
      );
    }
  }
  return { resources: out, warnings };
}

function validateCpu(requested: HostConfig, facts: HostFacts, warnings: string[]): Partial<HostConfig> {
  const has = (controller: string) => facts.cgroupControllers.includes(controller);
  const nano = requested.NanoCpus ?? 0;
  let period = requested.CpuPeriod ?? 0;
  let quota = requested.CpuQuota ?? 0;
  let shares = requested.CpuShares ?? 0;
  if (nano > 0 && period > 0) {
    throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  if (nano > 0 && quota > 0) throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  if (nano < 0 || nano > facts.ncpu * 1e9) {
    throw invalid(
      `range of CPUs is from 0.01 to ${facts.ncpu}.00, as there are only ${facts.ncpu} CPUs available`,
    );
  }
  if (nano > 0 && !has("cpu")) {
    throw new EngineError(
      "invalid",
      "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
      { hint: "leave out --cpus, or use --cpu-quota, which is only a warning here" },
    );
  }
  if (shares < 0) throw invalid(`invalid CPU shares (${shares}): value must be a positive integer`);
  if (shares > 0 && !has("cpu")) {
    warnings.push("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.");
    shares = 0;
  }
  if (period !== 0 && (period < 1000 || period > 1_000_000)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (quota > 0 && quota < 1000) throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if ((period !== 0 || quota !== 0) && !has("cpu")) {
    warnings.push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
    period = 0;
    quota = 0;
  }
  if (requested["CpuRealtimePeriod"] || requested["CpuRealtimeRuntime"]) {
    // cgroup version 2 gives no group a share of real time.
    throw invalid("Your kernel does not support CPU real-time scheduler");
  }
  let { CpusetCpus: cpus = "", CpusetMems: mems = "" } = requested;
  checkList(cpus, "cpus");
  checkList(mems, "mems");
  if ((cpus !== "" || mems !== "") && !has("cpuset")) {
    warnings.push("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
    cpus = "";
    mems = "";
  }
  checkAvailable(cpus, "CPUs", facts.cpus);
  checkAvailable(mems, "memory nodes", facts.memoryNodes);
  return {
    NanoCpus: nano,
    CpuPeriod: period,
    CpuQuota: quota,
    CpuShares: shares,
    CpusetCpus: cpus,
    CpusetMems: mems,
  };
}

/** A list as the kernel reads it: "0-2,7". @throws {EngineError} invalid. */
function checkList(list: string, what: string): void {
  if (list !== "" && !isNumberList(list)) throw invalid(`Invalid value ${list} for cpuset ${what}`);
}

/** @throws {EngineError} invalid, in Docker's words. */
function checkAvailable(list: string, what: string, available: string): void {
  if (!listHolds(available, list)) {
    throw invalid(`Requested ${what} are not available - requested ${list}, available: ${available}`);
  }
}
