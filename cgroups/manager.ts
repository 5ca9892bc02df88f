/** What the engine asks of a cgroup driver. */
import { Cgroup } from "./cgroup.ts";
import { CgroupfsManager } from "./cgroupfs.ts";
import type { CgroupFacts } from "./detect.ts";
import type { DeviceRule } from "./devices.ts";
import type { CgroupLimits } from "./limits.ts";
import { SystemdManager } from "./systemd.ts";

/** What a cgroup is made for. */
export interface CgroupRequest {
  /** The container's id. */
  readonly id: string;
  readonly limits: CgroupLimits;
  /** `--cgroup-parent`: a slice's name for systemd, a path for cgroupfs; "" = the default. */
  readonly parent: string;
  /** The process that will be the container; with cgroupfs it joins by itself. */
  readonly pid: number;
  /** How it wants to end, for a systemd that stops all units: when its user logs out, or the machine goes down. */
  readonly stop: StopManner;
  /** The only devices that it may use, for a manager that can tell them apart; absent: all, as its user may. */
  readonly devices?: readonly DeviceRule[];
}

export interface StopManner {
  /** Number of the signal that asks its processes to end. */
  readonly signal: number;
  /** How long it has from there to SIGKILL; negative: as long as it takes. */
  readonly seconds: number;
}

/** A new cgroup, and the limits that could not be set, as whole sentences. */
export interface CreatedCgroup {
  readonly cgroup: Cgroup;
  readonly warnings: readonly string[];
}

export interface CgroupManager {
  readonly driver: "systemd" | "cgroupfs";
  /** Controllers that containers can be given limits of. */
  readonly controllers: readonly string[];
  /** Whether memory.swap.max is there. */
  readonly swap: boolean;
  /** Whether it keeps containers to their devices. */
  readonly devices: boolean;
  /**
   * Where {@link create} will make it, when that is known beforehand: the caller writes it down first, so that it is found again
   * after a crash. undefined: it goes by itself when its processes are gone.
   */
  pathFor(request: Pick<CgroupRequest, "id" | "parent">): string | undefined;
  /**
   * Makes a container's cgroup with its limits. With systemd the process is in it afterwards.
   *
   * @throws {Error} it cannot be made, or the kernel refuses a value.
   */
  create(request: CgroupRequest): Promise<CreatedCgroup>;
  /** Sets the limits of a living container. */
  update(id: string, cgroup: Cgroup, limits: CgroupLimits): Promise<readonly string[]>;
  /** Ends what is left in it and removes it. @throws {Error} */
  remove(id: string, cgroup: Cgroup): Promise<void>;
  close(): void;
}

export interface ManagerOptions {
  readonly facts: CgroupFacts;
  /** The user outside of the user namespace. */
  readonly uid: number;
  readonly runtimeDir: string | undefined;
}

/**
 * Takes up what was detected: connects to systemd, or prepares the delegated directory. This process may have been moved to
 * another cgroup afterwards.
 *
 * @returns undefined when nothing is delegated.
 * @throws {Error} it is delegated and does not work.
 */
export async function openCgroups(options: ManagerOptions): Promise<CgroupManager | undefined> {
  switch (options.facts.driver) {
    case "none":
      return undefined;
    case "cgroupfs":
      return CgroupfsManager.open(options.facts);
    case "systemd":
      return await SystemdManager.open(options);
  }
}
