/** What of the cgroup hierarchy this process could manage. Only looks; changes nothing. */

/** How berth would make a container's cgroup: nothing delegated, by writing files, or by asking the user's systemd. */
export type CgroupDriver = "none" | "cgroupfs" | "systemd";

export interface CgroupFacts {
  /** "2" only when /sys/fs/cgroup itself is cgroup2: in a hybrid set-up the controllers are on version 1. */
  readonly version: "1" | "2";
  readonly driver: CgroupDriver;
  /** Controllers that are delegated and writable: ["cpu", "memory", "pids", …]. Always empty on version 1. */
  readonly controllers: readonly string[];
  /** Directory below which cgroups could be made; "" without delegation. */
  readonly path: string;
  /** Why it is so, for `info`: one sentence without a full stop. */
  readonly reason: string;
}

/** What the detection reads, so that tests can give it another machine. */
export interface CgroupProbe {
  /** Text of a file, or undefined when it cannot be read. */
  read(path: string): string | undefined;
  /** Whether the file may be written by this process. */
  writable(path: string): boolean;
  exists(path: string): boolean;
}

const CGROUP_ROOT = "/sys/fs/cgroup";

export const hostProbe: CgroupProbe = {
  read(path) {
    try {
      return Deno.readTextFileSync(path);
    } catch {
      return undefined;
    }
  },
  writable(path) {
    try {
      Deno.openSync(path, { write: true }).close();
      return true;
    } catch {
      return false;
    }
  },
  exists(path) {
    try {
      Deno.lstatSync(path);
      return true;
    } catch {
      return false;
    }
  },
};

/**
 * Looks which controllers are delegated: those of the user's systemd when it runs (`user@UID.service`), else those
 * of the cgroup that this process was started in, when it may write there.
 *
 * @param uid the user outside of the user namespace.
 * @param runtimeDir XDG_RUNTIME_DIR, where the user's bus has its socket.
 */
export function detectCgroups(
  uid: number,
  runtimeDir: string | undefined,
  probe: CgroupProbe = hostProbe,
): CgroupFacts {
  const none = (version: "1" | "2", reason: string): CgroupFacts => ({
    version,
    driver: "none",
    controllers: [],
    path: "",
    reason,
  });
  if (!isUnified(probe.read("/proc/self/mountinfo") ?? "")) {
    return none("1", "this machine uses cgroup version 1, which cannot be delegated to an ordinary user");
  }
  if (uid !== 0) {
    const service = `${CGROUP_ROOT}/user.slice/user-${uid}.slice/user@${uid}.service`;
    const controllers = words(probe.read(`${service}/cgroup.controllers`));
    const bus = runtimeDir !== undefined && probe.exists(`${runtimeDir}/systemd/private`);
    if (bus && controllers.length > 0) {
      return {
        version: "2",
        driver: "systemd",
        controllers,
        path: service,
        reason: "delegated by the user's systemd",
      };
    }
  }
  const own = /^0::(\/.*)$/m.exec(probe.read("/proc/self/cgroup") ?? "")?.[1];
  if (own === undefined) return none("2", "the cgroup of this process is not visible");
  const path = own === "/" ? CGROUP_ROOT : `${CGROUP_ROOT}${own}`;
  const controllers = words(probe.read(`${path}/cgroup.controllers`));
  if (!probe.writable(`${path}/cgroup.procs`) || !probe.writable(`${path}/cgroup.subtree_control`)) {
    return none("2", `the cgroup ${own} is not delegated to this user`);
  }
  if (controllers.length === 0) return none("2", `no controller is enabled for the cgroup ${own}`);
  return { version: "2", driver: "cgroupfs", controllers, path, reason: `the cgroup ${own} is writable` };
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

/** Whether the mount at /sys/fs/cgroup is cgroup2. In mountinfo the type follows the lone dash. */
function isUnified(mountinfo: string): boolean {
  for (const line of mountinfo.split("\n")) {
    const fields = line.split(" ");
    if (fields[4] === CGROUP_ROOT) return fields[fields.indexOf("-") + 1] === "cgroup2";
  }
  return false;
}
