import type { ContainerNetwork } from "./container_network.ts";
import type { HealthState } from "./health_state.ts";
import type { MountPoint } from "./mount_points.ts";
import type { ContainerConfig, HostConfig } from "./types.ts";

/** Status as Docker spells it; "starting" is berth's own and shown to clients as "created" or "exited" (what it was before). */
export type ContainerStatus =
  | "created"
  | "starting"
  | "running"
  | "restarting"
  | "exited"
  | "dead"
  | "removing";

export interface ContainerState {
  readonly status: ContainerStatus;
  /** Pid of the container's PID 1 on the host; 0 when it is not running. */
  readonly pid: number;
  /** Field 22 of /proc/PID/stat of that process, "" when it is not running: with the pid it names one process for ever. */
  readonly pidStartTime: string;
  /** Docker's exit code: code, 128 + signal, or 126/127/128 after a failed start. */
  readonly exitCode: number;
  /** Why the last start failed or why the exit code is unknown; "" normally. */
  readonly error: string;
  /** RFC 3339 with nanoseconds, UTC; `ZERO_TIME` when it never happened. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly oomKilled: boolean;
  /** Of a container with a health check, from its start on; a new engine begins anew. */
  readonly health?: HealthState;
  /** Its processes are frozen; the status is "running" then. */
  readonly paused?: boolean;
  /** Directory of its cgroup; "" or absent: it has none. */
  readonly cgroupPath?: string;
  /** The user has stopped or killed it since the last start: restart policies hold still. */
  readonly manuallyStopped: boolean;
  /** At least one start has succeeded: before that a container that is not running is "created", not "exited". */
  readonly hasBeenStarted: boolean;
}

/** The shim that holds a container. `dir` is `<exec-root>/shims/<id>`. */
export interface ShimRef {
  readonly id: string;
  readonly dir: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

/** What the store keeps of a container: one JSON document, replaced whole at each change. Never mutated in place. */
export interface ContainerRecord {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Without the leading "/". */
  readonly name: string;
  /** RFC 3339 with nanoseconds, UTC. */
  readonly createdAt: string;
  /** `sha256:…` of the image's configuration. */
  readonly imageId: string;
  /** The image as the user named it. */
  readonly imageRef: string;
  /** Final command: `path` is the entry point's first word, `args` what follows it (Docker's Path and Args). */
  readonly path: string;
  readonly args: readonly string[];
  /** The request's configuration merged with the image's. */
  readonly config: ContainerConfig;
  /** Normalised as inspect shows it. */
  readonly hostConfig: HostConfig;
  readonly network: ContainerNetwork;
  /** Parents first, volumes by name. Undefined in records of the first versions, which had no volumes. */
  readonly mounts?: readonly MountPoint[];
  /** Name of the graph driver that holds the writable layer. */
  readonly driver: string;
  readonly platform: string;
  readonly state: ContainerState;
  /** `<data-root>/containers/<id>`: log, generated files and exit records. */
  readonly dir: string;
  readonly logPath: string;
  /** Host paths of the generated files; "" when the container takes the host's. */
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
  /** Where the shim writes how this run ended; changes with every start. "" before the first. */
  readonly exitFile: string;
  readonly shim: ShimRef | null;
  /** Automatic restarts since the last manual start. */
  readonly restartCount: number;
  /** Number of starts so far: makes `exitFile` unique. */
  readonly starts: number;
  readonly warnings: readonly string[];
}

/** Go's zero time, which Docker shows for "never". */
export const ZERO_TIME = "0001-01-01T00:00:00Z";

/** State of a container that was just created. */
export const CREATED_STATE: ContainerState = {
  status: "created",
  pid: 0,
  pidStartTime: "",
  exitCode: 0,
  error: "",
  startedAt: ZERO_TIME,
  finishedAt: ZERO_TIME,
  oomKilled: false,
  manuallyStopped: false,
  hasBeenStarted: false,
};

/** True when a process of the container exists or is about to. */
export function isRunning(record: ContainerRecord): boolean {
  return record.state.status === "running";
}
