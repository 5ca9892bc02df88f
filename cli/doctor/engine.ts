/** What the engine has found on its machine: storage, cgroups, disk, networks. */
import { hints } from "../../base/hints.ts";
import { kernel } from "../../ffi/kernel.ts";
import type { ApiClient } from "../api_client.ts";
import { describeError } from "../errors.ts";
import { networkPaths } from "../network/paths.ts";
import { humanSize } from "../output/units.ts";
import { type Check, check } from "./check.ts";

interface Info {
  readonly ServerVersion?: string;
  readonly Driver?: string;
  readonly DriverStatus?: readonly (readonly [string, string])[];
  readonly DockerRootDir?: string;
  readonly CgroupDriver?: string;
  readonly CgroupVersion?: string;
  readonly MemoryLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly CPUSet?: boolean;
  readonly PidsLimit?: boolean;
}

/** Less free space than this is no place for images. */
const DISK_WANTED = 1_000_000_000;

/** Starts the engine when it is the user's own; one that cannot be had is a check that fails. */
export async function engineChecks(client: ApiClient, isHere: boolean): Promise<Check[]> {
  let info: Info;
  try {
    info = await client.json<Info>("GET", "/info");
  } catch (error) {
    return [check("engine", false, describeError(error))];
  }
  return [
    check("engine", true, `version ${info.ServerVersion ?? ""} at ${client.endpoint.url}`),
    storage(info),
    ...(isHere ? disk(info.DockerRootDir ?? "") : []),
    ...cgroups(info),
    ...await networks(client),
  ];
}

function storage({ Driver = "", DriverStatus = [] }: Info): Check {
  const backing = DriverStatus.find(([key]) => key === "Backing Filesystem")?.[1];
  const detail = backing === undefined ? Driver : `${Driver} on ${backing}`;
  return check("storage", Driver !== "vfs", detail, hints.vfsIsSlow);
}

function disk(dataRoot: string): Check[] {
  try {
    const { bavail, bsize } = kernel.statfs(dataRoot);
    const free = Number(bavail) * bsize;
    return [check("disk", free >= DISK_WANTED, `${humanSize(free)} free at ${dataRoot}`, hints.diskFull)];
  } catch {
    // Another user's, or another machine's: not to be seen from here.
    return [];
  }
}

function cgroups(info: Info): Check[] {
  const { CgroupDriver = "none", CgroupVersion = "1" } = info;
  if (CgroupDriver === "none") {
    const hint = CgroupVersion === "1" ? hints.cgroupVersion1 : hints.cgroupDelegation;
    return [
      check("cgroups", false, `version ${CgroupVersion}, nothing delegated: no limits, no pause`, hint),
    ];
  }
  const missing = [
    ...(info.MemoryLimit ? [] : ["memory"]),
    ...(info.CpuCfsQuota ? [] : ["cpu"]),
    ...(info.CPUSet ? [] : ["cpuset"]),
    ...(info.PidsLimit ? [] : ["pids"]),
  ];
  const detail = `version ${CgroupVersion} by ${CgroupDriver}` +
    (missing.length === 0 ? "" : `, not delegated: ${missing.join(", ")}`);
  return [check("cgroups", missing.length === 0, detail, hints.cgroupDelegation)];
}

async function networks(client: ApiClient): Promise<Check[]> {
  try {
    const { outbound, paths } = await networkPaths(client, { fresh: true });
    return [
      check("outside", outbound !== "none", outbound),
      ...paths.map(({ name, works, detail, hint }) => check(`network ${name}`, works, detail, hint)),
    ];
  } catch (error) {
    return [check("network", false, describeError(error).split("\n")[0] ?? "")];
  }
}
