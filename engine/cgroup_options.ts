/** Which cgroups the engine uses: `--cgroup-driver`, dockerd's `--exec-opt native.cgroupdriver=…`, or what is there. */
import { invalid, messageOf } from "../base/errors.ts";
import { detectCgroups, hostProbe } from "../cgroups/detect.ts";
import { type CgroupManager, openCgroups } from "../cgroups/manager.ts";
import type { CgroupOutcome } from "./host_facts.ts";

/** "none": containers get no cgroup even where they could. */
export type WantedDriver = "systemd" | "cgroupfs" | "none";

const DRIVERS: readonly string[] = ["systemd", "cgroupfs", "none"];
const EXEC_OPTION = "native.cgroupdriver";

/**
 * @param driver `--cgroup-driver`.
 * @param execOptions "key=value", as in dockerd.
 * @throws {EngineError} invalid.
 */
export function wantedDriver(
  driver: string | undefined,
  execOptions: readonly string[],
): WantedDriver | undefined {
  let wanted = driver;
  for (const option of execOptions) {
    const [key = "", value = ""] = option.split("=", 2);
    if (key.trim().toLowerCase() !== EXEC_OPTION) throw invalid(`invalid exec-opt: ${option}`);
    wanted ??= value.trim();
  }
  if (wanted === undefined || wanted === "") return undefined;
  if (!DRIVERS.includes(wanted)) {
    throw invalid(`invalid cgroup driver: ${wanted} (expected one of: ${DRIVERS.join(", ")})`);
  }
  return wanted as WantedDriver;
}

/**
 * Takes up what there is; this process may be in another cgroup afterwards. What does not work is reported and goes without: the
 * containers matter more than their limits.
 */
export async function takeUpCgroups(
  wanted: WantedDriver | undefined,
  uid: number,
  log: (line: string) => void,
): Promise<CgroupOutcome & { readonly manager: CgroupManager | undefined }> {
  const runtimeDir = Deno.env.get("XDG_RUNTIME_DIR");
  const facts = detectCgroups(uid, runtimeDir, hostProbe, wanted === "none" ? undefined : wanted);
  const without = (reason: string) => ({
    facts: { ...facts, driver: "none" as const, controllers: [], path: "", reason },
    manager: undefined,
  });
  if (wanted === "none") return without("the engine was told to use none");
  try {
    const manager = await openCgroups({ facts, uid, runtimeDir });
    if (manager === undefined) return { facts, manager };
    return { facts: { ...facts, controllers: manager.controllers }, manager };
  } catch (error) {
    log(`no cgroups: ${messageOf(error)}`);
    return without(messageOf(error));
  }
}
