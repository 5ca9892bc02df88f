/** What of the cgroup hierarchy this process could manage. Only looks; changes nothing. */
import { words } from "./control_file.ts";

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

export const CGROUP_ROOT = "/sys/fs/cgroup";

/** The cgroup of this process's engine, when it has moved itself out of the way (cgroupfs.ts). */
const ENGINE_LEAF = "/berth.engine";

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

/** Directory of this process's own cgroup on version 2; undefined when that cannot be seen. */
export function ownCgroup(probe: Pick<CgroupProbe, "read"> = hostProbe): string | undefined {
  const own = /^0::(\/.*)$/m.exec(probe.read("/proc/self/cgroup") ?? "")?.[1];
  return own === undefined ? undefined : own === "/" ? CGROUP_ROOT : `${CGROUP_ROOT}${own}`;
}

/**
 * Looks what is delegated: by systemd when it runs (the user's, or the machine's for root), else the cgroup that this process was
 * started in, when it may write there.
 *
 * @param uid the user outside of the user namespace.
 * @param runtimeDir XDG_RUNTIME_DIR, where the user's systemd has its socket.
 * @param wanted the driver that the user wants; the other one is not tried.
 */
export function detectCgroups(
  uid: number,
  runtimeDir: string | undefined,
  probe: CgroupProbe = hostProbe,
  wanted?: "systemd" | "cgroupfs",
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
  if (wanted !== "cgroupfs") {
    const path = systemdRoot(uid, runtimeDir, probe);
    const controllers = path === undefined ? undefined : probe.read(`${path}/cgroup.controllers`);
    if (path !== undefined && controllers !== undefined) {
      const whose = uid === 0 ? "systemd" : "the user's systemd";
      return {
        version: "2",
        driver: "systemd",
        controllers: words(controllers),
        path,
        reason: `delegated by ${whose}`,
      };
    }
    if (wanted === "systemd") return none("2", "systemd does not run for this user");
  }
  const own = ownCgroup(probe);
  if (own === undefined) return none("2", "the cgroup of this process is not visible");
  const path = own.endsWith(ENGINE_LEAF) ? own.slice(0, -ENGINE_LEAF.length) : own;
  if (!probe.writable(`${path}/cgroup.procs`) || !probe.writable(`${path}/cgroup.subtree_control`)) {
    return none("2", `the cgroup ${path.slice(CGROUP_ROOT.length) || "/"} is not delegated to this user`);
  }
  return {
    version: "2",
    driver: "cgroupfs",
    controllers: words(probe.read(`${path}/cgroup.controllers`)),
    path,
    reason: `the cgroup ${path.slice(CGROUP_ROOT.length) || "/"} is writable`,
  };
}

/** The cgroup below which systemd puts this user's units; undefined when none runs that would. */
function systemdRoot(uid: number, runtimeDir: string | undefined, probe: CgroupProbe): string | undefined {
  if (uid === 0) return probe.exists("/run/systemd/private") ? CGROUP_ROOT : undefined;
  if (runtimeDir === undefined) return undefined;
  const there = probe.exists(`${runtimeDir}/systemd/private`) || probe.exists(`${runtimeDir}/bus`);
  return there ? `${CGROUP_ROOT}/user.slice/user-${uid}.slice/user@${uid}.service` : undefined;
}

/** Whether the mount at /sys/fs/cgroup is cgroup2: of several, the last one covers the others. In mountinfo the type follows the lone dash. */
function isUnified(mountinfo: string): boolean {
  const fields = mountinfo.split("\n").map((line) => line.split(" ")).findLast((fields) =>
    fields[4] === CGROUP_ROOT
  );
  return fields?.[fields.indexOf("-") + 1] === "cgroup2";
}
