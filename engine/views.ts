/** Containers as clients see them: `GET /containers/{id}/json` and the entries of `GET /containers/json`. */
import type { ContainerRecord, ContainerState } from "./container_record.ts";
import { ZERO_TIME } from "./container_record.ts";
import { humanDuration } from "./human_time.ts";
import { mountsOf } from "./container_volumes.ts";
import { networkSettingsView, networksSummary, portList } from "./network_views.ts";

/** What a view shows besides the record. */
export interface InspectExtra {
  /** Ids of the running execs. */
  readonly execIds?: readonly string[];
  /** `HostConfig.Links`, with the names that the containers have now. */
  readonly links?: readonly string[] | null;
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

/** Status in Docker's words, "paused" among them: what berth alone knows is shown as what it was before. */
export function statusOf(state: ContainerState): string {
  if (state.status === "running" && state.paused) return "paused";
  if (state.status !== "starting") return state.status;
  return state.hasBeenStarted ? "exited" : "created";
}

/** "Up 3 minutes", "Exited (0) 2 hours ago", "Created" … (moby: container.State.String). */
export function statusText(state: ContainerState, now: number = Date.now()): string {
  const since = (time: string) => humanDuration(now - Date.parse(time));
  switch (statusOf(state)) {
    case "running":
      return `Up ${since(state.startedAt)}${healthText(state)}`;
    case "paused":
      return `Up ${since(state.startedAt)} (Paused)`;
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

/** " (healthy)" behind the age in a list. */
function healthText({ health }: ContainerState): string {
  if (health === undefined) return "";
  return health.Status === "starting" ? " (health: starting)" : ` (${health.Status})`;
}

function stateView(state: ContainerState): Record<string, unknown> {
  const status = statusOf(state);
  return {
    Status: status,
    // As in Docker, a container that waits for its restart counts as running.
    Running: ["running", "paused", "restarting"].includes(status),
    Paused: status === "paused",
    Restarting: status === "restarting",
    OOMKilled: state.oomKilled,
    Dead: status === "dead",
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health === undefined ? {} : { Health: state.health }),
  };
}

/** The container's mounts as both views list them. Mounts of `--tmpfs` are not among them, as in Docker. */
export function mountsView(record: ContainerRecord): Record<string, unknown>[] {
  return mountsOf(record)
    .filter(({ from }) => from !== "Tmpfs")
    .map((point) => ({
      Type: point.type,
      ...(point.type === "volume" ? { Name: point.name } : {}),
      Source: point.source,
      Destination: point.target,
      ...(point.type === "volume" ? { Driver: "local" } : {}),
      Mode: point.mode,
      RW: !point.readOnly,
      Propagation: point.propagation,
    }));
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
    HostConfig: extra.links ? { ...record.hostConfig, Links: extra.links } : record.hostConfig,
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
    Ports: portList(record),
    ...sizes(extra),
    Labels: record.config.Labels ?? {},
    State: statusOf(record.state),
    Status: statusText(record.state, extra.now),
    HostConfig: {
      NetworkMode: record.hostConfig.NetworkMode || "bridge",
      ...(record.hostConfig.Annotations ? { Annotations: record.hostConfig.Annotations } : {}),
    },
    NetworkSettings: { Networks: networksSummary(record) },
    Mounts: mountsView(record),
  };
}
