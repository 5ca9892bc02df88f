import { conflict } from "../base/errors.ts";
import type { NamespaceMode } from "../runtime/spec.ts";
import type { Container } from "./container.ts";
import type { ContainerTable } from "./container_table.ts";
import type { HostConfig } from "./types.ts";

export interface ResolvedNamespaces {
  readonly pid: NamespaceMode;
  readonly net: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly uts: NamespaceMode;
  readonly cgroup: NamespaceMode;
}

const PRIVATE: NamespaceMode = { kind: "private" };
const HOST: NamespaceMode = { kind: "host" };

/** The container that a mode like "container:x" names; undefined for other modes. */
export function joinedContainer(mode: string | undefined): string | undefined {
  return mode?.startsWith("container:") ? mode.slice("container:".length) : undefined;
}

/**
 * What each namespace of a container is to be, from its HostConfig.
 *
 * @throws {EngineError} not-found or conflict: the container to join does not exist or does not run.
 */
export function resolveNamespaces(
  hostConfig: HostConfig,
  containers: Pick<ContainerTable, "find">,
): ResolvedNamespaces {
  const resolve = (kind: string, file: string, mode: string | undefined): NamespaceMode => {
    if (mode === "host") return HOST;
    const other = joinedContainer(mode);
    if (other === undefined) return PRIVATE;
    const container = containers.find(other);
    return { kind: "path", path: `/proc/${runningPid(container, kind)}/ns/${file}` };
  };
  const net = resolve("network", "net", hostConfig.NetworkMode);
  const other = joinedContainer(hostConfig.NetworkMode);
  return {
    pid: resolve("PID", "pid", hostConfig.PidMode),
    net,
    ipc: resolve("IPC", "ipc", hostConfig.IpcMode),
    // Sharing a network means sharing the host name, as in Docker.
    uts: other !== undefined ? resolve("UTS", "uts", hostConfig.NetworkMode) : resolve(
      "UTS",
      "uts",
      hostConfig.UTSMode,
    ),
    cgroup: hostConfig.CgroupnsMode === "host" ? HOST : PRIVATE,
  };
}

function runningPid(container: Container, kind: string): number {
  const { status, pid } = container.record.state;
  if (status !== "running" || pid === 0) {
    throw conflict(`cannot join ${kind} namespace of a non running container: ${container.id}`);
  }
  return pid;
}
