/** What validation, specs and `info` need to know about this machine. Read once at the engine's start. */
import type { CgroupFacts } from "../cgroups/detect.ts";
import type { CgroupManager } from "../cgroups/manager.ts";
import { countNumbers, inBothLists } from "./number_list.ts";
import type { EngineOptions } from "./serve_options.ts";

export interface HostFacts {
  /** CPUs this process may run on. */
  readonly ncpu: number;
  /** Which they are, as the kernel writes a list: "0-3,8". */
  readonly cpus: string;
  /** Memory nodes that this process may have memory of, likewise. */
  readonly memoryNodes: string;
  /** Bytes of memory. */
  readonly memTotal: number;
  /** Controllers whose limits berth applies to containers. A limit of another becomes Docker's warning. */
  readonly cgroupControllers: readonly string[];
  /** Swap can be limited as well. */
  readonly swapLimit: boolean;
  /** Containers can be kept to their devices. */
  readonly deviceFilter: boolean;
  readonly cgroups: CgroupFacts;
  /** Release of the kernel, "6.1.0-18-amd64". */
  readonly kernel: string;
  /** Machine as uname(2) says it: "x86_64", "aarch64". */
  readonly machine: string;
  /** Started by an ordinary user. */
  readonly isRootless: boolean;
  /** Only the user's own id is mapped: containers have root and nobody else. */
  readonly singleId: boolean;
  /** Where this engine's API listens, for containers that talk to it; undefined: on TCP only. */
  readonly apiSocket?: string | undefined;
}

/** Architecture in Docker's (Go's) words. */
export function goArch(machine: string): string {
  return machine === "x86_64" ? "amd64" : machine === "aarch64" ? "arm64" : machine;
}

/** Major and minor number of a kernel release. */
export function kernelVersion(release: string): [number, number] {
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return [Number(major), Number(minor)];
}

const NO_CGROUPS: CgroupFacts = {
  version: "2",
  driver: "none",
  controllers: [],
  path: "",
  reason: "nobody has looked",
};

/** What came of taking up the cgroups. */
export interface CgroupOutcome {
  readonly facts: CgroupFacts;
  /** undefined: no limits. */
  readonly manager: Pick<CgroupManager, "controllers" | "swap" | "devices"> | undefined;
}

/** Reads the facts of this machine. */
export function readHostFacts(
  options: Pick<EngineOptions, "uid" | "idMap">,
  cgroups: CgroupOutcome = { facts: NO_CGROUPS, manager: undefined },
): HostFacts {
  const meminfo = Deno.readTextFileSync("/proc/meminfo");
  const status = Deno.readTextFileSync("/proc/self/status");
  const allowed = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "";
  // A virtual machine may have places for 128 and 4 that are there; a process may run on all places.
  const cpus = inBothLists(allowed, cpuList("online")) || `0-${navigator.hardwareConcurrency - 1}`;
  return {
    ncpu: countNumbers(cpus),
    cpus,
    memoryNodes: /^Mems_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? "0",
    memTotal: Number(/^MemTotal:\s*(\d+) kB/m.exec(meminfo)?.[1] ?? 0) * 1024,
    cgroupControllers: cgroups.manager?.controllers ?? [],
    swapLimit: cgroups.manager?.swap ?? false,
    deviceFilter: cgroups.manager?.devices ?? false,
    cgroups: cgroups.facts,
    kernel: Deno.osRelease(),
    machine: Deno.build.arch,
    isRootless: options.uid !== 0,
    singleId: options.idMap === "single",
  };
}

/** The machine's processors: those that are there, or the places for them. */
export function cpuList(which: "online" | "possible"): string {
  try {
    return Deno.readTextFileSync(`/sys/devices/system/cpu/${which}`).trim();
  } catch {
    return `0-${navigator.hardwareConcurrency - 1}`;
  }
}
