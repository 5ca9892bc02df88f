/** Containers as clients see them: `GET /containers/{id}/json` and the entries of `GET /containers/json`. */
import type { ContainerRecord, ContainerState } from "./container_record.ts";
import { ZERO_TIME } from "./container_record.ts";
import { humanDuration } from "./human_time.ts";
import { mountPoints } from "./mount_points.ts";

/** What a view shows besides the record. */
export interface InspectExtra {
  /** Ids of the running execs. */
  readonly execIds?: readonly string[];
  /** Paths of the graph driver ("UpperDir", …). */
  readonly graphData?: Readonly<Record<string, string>> | null;
  /** Bytes in the writable layer, and those of the image with it: only when sizes were asked for. */
  readonly sizeRw?: number;
  readonly sizeRootFs?: number;
}

export interface ListExtra extends Pick<InspectExtra, "sizeRw" | "sizeRootFs"> {
  /** The image's name now: the record's when it still leads to the image, else the image's id. */
  readonly image?: string;
  /** Milliseconds since the epoch, for the ages in the status. */
  readonly now?: number;
}

/** Status in Docker's words: what berth alone knows is shown as what it was before. */
export function statusOf(state: ContainerState): string {
  if (state.status !== "starting") return state.status;
  return state.hasBeenStarted ? "exited" : "created";
}

/** "Up 3 minutes", "Exited (0) 2 hours ago", "Created" … (moby: container.State.String). */
export function statusText(state: ContainerState, now: number = Date.now()): string {
  const since = (time: string) => humanDuration(now - Date.parse(time));
  switch (statusOf(state)) {
    case "running":
      return `Up ${since(state.startedAt)}`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    default:
      if (state.startedAt === ZERO_TIME) return "Created";
      return state.finishedAt === ZERO_TIME
        ? ""
        : `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  }
}

function stateView(state: ContainerState): Record<string, unknown> {
  const status = statusOf(state);
  return {
    Status: status,
    // As in Docker, a container that waits for its restart counts as running.
    Running: status === "running" || status === "restarting",
    Paused: false,
    Restarting: status === "restarting",
    OOMKilled: state.oomKilled,
    Dead: status === "dead",
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
  };
}

/** The container's mounts as both views list them. Mounts of `--tmpfs` are not among them, as in Docker. */
export function mountsView(record: ContainerRecord): Record<string, unknown>[] {
  return mountPoints(record.hostConfig)
    .filter(({ from, type }) => from !== "Tmpfs" && type !== "anonymous")
    .map((point) => ({
      Type: point.type,
      Source: point.source,
      Destination: point.target,
      Mode: point.mode,
      RW: !point.readOnly,
      Propagation: point.propagation,
    }));
}

/** Name of the network a container is in; undefined when it shares another container's. */
function networkName(record: ContainerRecord): string | undefined {
  const mode = record.hostConfig.NetworkMode || "default";
  if (mode.startsWith("container:")) return undefined;
  return mode === "default" ? "bridge" : mode;
}

/** An endpoint without addresses: networks proper come later. */
function endpointView(record: ContainerRecord, name: string): Record<string, unknown> {
  const asked = record.networkingConfig?.EndpointsConfig?.[name];
  const { Aliases: aliases = null } = (asked ?? {}) as { Aliases?: unknown };
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: aliases,
    MacAddress: "",
    DriverOpts: null,
    GwPriority: 0,
    NetworkID: "",
    EndpointID: "",
    Gateway: "",
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}

function networksView(record: ContainerRecord): Record<string, unknown> {
  const name = networkName(record);
  return name === undefined ? {} : { [name]: endpointView(record, name) };
}

function networkSettingsView(record: ContainerRecord): Record<string, unknown> {
  const ports = record.state.status === "running" ? Object.keys(record.config.ExposedPorts ?? {}) : [];
  return {
    Bridge: "",
    SandboxID: "",
    SandboxKey: "",
    Ports: Object.fromEntries(ports.map((port) => [port, null])),
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: "",
    Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    MacAddress: "",
    Networks: networksView(record),
  };
}

function sizes(extra: Pick<InspectExtra, "sizeRw" | "sizeRootFs">): Record<string, number> {
  return {
    ...(extra.sizeRw === undefined ? {} : { SizeRw: extra.sizeRw }),
    ...(extra.sizeRootFs === undefined ? {} : { SizeRootFs: extra.sizeRootFs }),
  };
}

function configView(record: ContainerRecord): Record<string, unknown> {
  const { ExposedPorts: exposed, ...config } = record.config;
  return exposed && Object.keys(exposed).length > 0 ? { ...config, ExposedPorts: exposed } : config;
}

/** Docker's ContainerJSON. */
export function inspectView(record: ContainerRecord, extra: InspectExtra = {}): Record<string, unknown> {
  const execIds = extra.execIds ?? [];
  return {
    Id: record.id,
    Created: record.createdAt,
    Path: record.path,
    Args: record.args,
    State: stateView(record.state),
    Image: record.imageId,
    ResolvConfPath: record.resolvConfPath,
    HostnamePath: record.hostnamePath,
    HostsPath: record.hostsPath,
    LogPath: record.logPath,
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: record.driver,
    Platform: record.platform,
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: execIds.length > 0 ? execIds : null,
    HostConfig: record.hostConfig,
    GraphDriver: { Data: extra.graphData ?? null, Name: record.driver },
    ...sizes(extra),
    Mounts: mountsView(record),
    Config: configView(record),
    NetworkSettings: networkSettingsView(record),
  };
}

/** The command as `docker ps` shows it: arguments with a space in quotes. */
function commandText(record: ContainerRecord): string {
  return [record.path, ...record.args.map((arg) => arg.includes(" ") ? `'${arg}'` : arg)].join(" ");
}

/** One entry of Docker's container list. */
export function listView(record: ContainerRecord, extra: ListExtra = {}): Record<string, unknown> {
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: extra.image ?? record.imageRef,
    ImageID: record.imageId,
    Command: commandText(record),
    Created: Math.floor(Date.parse(record.createdAt) / 1000),
    Ports: portsView(record),
    ...sizes(extra),
    Labels: record.config.Labels ?? {},
    State: statusOf(record.state),
    Status: statusText(record.state, extra.now),
    HostConfig: {
      NetworkMode: record.hostConfig.NetworkMode || "bridge",
      ...(record.hostConfig.Annotations ? { Annotations: record.hostConfig.Annotations } : {}),
    },
    NetworkSettings: { Networks: networksView(record) },
    Mounts: mountsView(record),
  };
}

/** Exposed ports of a running container; none is published yet. */
function portsView(record: ContainerRecord): Record<string, unknown>[] {
  if (record.state.status !== "running") return [];
  return Object.keys(record.config.ExposedPorts ?? {}).flatMap((port) => {
    const [number = "", type = "tcp"] = port.split("/");
    return /^\d+$/.test(number) ? [{ PrivatePort: Number(number), Type: type }] : [];
  });
}
