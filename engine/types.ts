import type { BuildOperations } from "./build/types.ts";
import type { Platform } from "../image/platform.ts";
import type { EndpointSettings } from "../net/network_types.ts";
import type { FileOperations } from "./file_types.ts";
import type { NetworkOperations } from "./network_types.ts";
import type { ImageTransfers } from "./transfer_types.ts";
import type { VolumeOperations } from "./volumes.ts";

/**
 * Docker's own shapes (PascalCase, as on the wire): the engine keeps a container's configuration in exactly this form,
 * so nothing is lost between create and inspect. The API's schemas produce these types.
 */
export interface HealthConfig {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly Retries?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
}

export type EmptyObjects = Readonly<Record<string, Record<string, never>>>;

export interface ContainerConfig {
  readonly Hostname?: string;
  readonly Domainname?: string;
  readonly User?: string;
  readonly AttachStdin?: boolean;
  readonly AttachStdout?: boolean;
  readonly AttachStderr?: boolean;
  readonly ExposedPorts?: EmptyObjects | null;
  readonly Tty?: boolean;
  readonly OpenStdin?: boolean;
  readonly StdinOnce?: boolean;
  readonly Env?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Healthcheck?: HealthConfig | null;
  readonly Image?: string;
  readonly Volumes?: EmptyObjects | null;
  readonly WorkingDir?: string;
  readonly Entrypoint?: readonly string[] | null;
  readonly NetworkDisabled?: boolean;
  readonly MacAddress?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly StopSignal?: string;
  readonly StopTimeout?: number | null;
  readonly Shell?: readonly string[] | null;
  readonly OnBuild?: readonly string[] | null;
}

export interface MountPointSpec {
  readonly Type: string;
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
  readonly Consistency?: string;
  readonly BindOptions?: {
    readonly Propagation?: string;
    readonly NonRecursive?: boolean;
    readonly CreateMountpoint?: boolean;
    readonly ReadOnlyNonRecursive?: boolean;
    readonly ReadOnlyForceRecursive?: boolean;
  } | null;
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Subpath?: string;
    readonly DriverConfig?: {
      readonly Name?: string;
      readonly Options?: Readonly<Record<string, string>> | null;
    } | null;
  } | null;
  readonly ImageOptions?: { readonly Subpath?: string } | null;
  readonly TmpfsOptions?: {
    readonly SizeBytes?: number;
    readonly Mode?: number;
    readonly Options?: readonly (readonly string[])[];
  } | null;
}

/** All of Docker's HostConfig is kept; the fields that berth acts upon are spelled out. */
export interface HostConfig {
  readonly Binds?: readonly string[] | null;
  readonly ContainerIDFile?: string;
  readonly LogConfig?:
    | { readonly Type?: string; readonly Config?: Readonly<Record<string, string>> | null }
    | null;
  readonly NetworkMode?: string;
  readonly PortBindings?:
    | Readonly<Record<string, readonly { HostIp?: string; HostPort?: string }[] | null>>
    | null;
  readonly RestartPolicy?: { readonly Name?: string; readonly MaximumRetryCount?: number } | null;
  readonly AutoRemove?: boolean;
  readonly VolumeDriver?: string;
  readonly VolumesFrom?: readonly string[] | null;
  readonly Mounts?: readonly MountPointSpec[] | null;
  readonly ConsoleSize?: readonly [number, number] | readonly number[] | null;
  readonly Annotations?: Readonly<Record<string, string>> | null;
  readonly CapAdd?: readonly string[] | null;
  readonly CapDrop?: readonly string[] | null;
  readonly CgroupnsMode?: string;
  readonly Dns?: readonly string[] | null;
  readonly DnsOptions?: readonly string[] | null;
  readonly DnsSearch?: readonly string[] | null;
  readonly ExtraHosts?: readonly string[] | null;
  readonly GroupAdd?: readonly string[] | null;
  readonly IpcMode?: string;
  readonly OomScoreAdj?: number;
  readonly PidMode?: string;
  readonly Privileged?: boolean;
  readonly PublishAllPorts?: boolean;
  readonly ReadonlyRootfs?: boolean;
  readonly SecurityOpt?: readonly string[] | null;
  readonly StorageOpt?: Readonly<Record<string, string>> | null;
  readonly Tmpfs?: Readonly<Record<string, string>> | null;
  readonly UTSMode?: string;
  readonly UsernsMode?: string;
  readonly ShmSize?: number;
  readonly Sysctls?: Readonly<Record<string, string>> | null;
  readonly Runtime?: string;
  readonly Memory?: number;
  readonly MemoryReservation?: number;
  readonly MemorySwap?: number;
  readonly MemorySwappiness?: number | null;
  readonly NanoCpus?: number;
  readonly CpuShares?: number;
  readonly CpuPeriod?: number;
  readonly CpuQuota?: number;
  readonly CpusetCpus?: string;
  readonly CpusetMems?: string;
  readonly PidsLimit?: number | null;
  readonly OomKillDisable?: boolean | null;
  readonly BlkioWeight?: number;
  readonly Init?: boolean | null;
  readonly Ulimits?:
    | readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[]
    | null;
  readonly Devices?:
    | readonly {
      readonly PathOnHost: string;
      readonly PathInContainer?: string;
      readonly CgroupPermissions?: string;
    }[]
    | null;
  readonly MaskedPaths?: readonly string[] | null;
  readonly ReadonlyPaths?: readonly string[] | null;
  readonly [key: string]: unknown;
}

export interface CreateRequest {
  readonly name: string | undefined;
  readonly platform: string | undefined;
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly networkingConfig:
    | { readonly EndpointsConfig?: Readonly<Record<string, EndpointSettings | null>> | null }
    | undefined;
  /** Read-only binds that do not say are so at the top only: what is mounted below them stays as it is. */
  readonly readOnlyAtTop?: boolean;
}

export interface ExecCreateRequest {
  readonly AttachStdin?: boolean;
  readonly AttachStdout?: boolean;
  readonly AttachStderr?: boolean;
  readonly ConsoleSize?: readonly number[] | null;
  readonly DetachKeys?: string;
  readonly Tty?: boolean;
  readonly Env?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Privileged?: boolean;
  readonly User?: string;
  readonly WorkingDir?: string;
}

/** One entry of GET /events, in today's form; the API adds the old fields for old clients. */
export interface EngineEvent {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly scope: "local";
  readonly time: number;
  readonly timeNano: bigint;
}

/** key → accepted values, decoded from either of Docker's two encodings by the API. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * A client's raw connection, after the API has taken it over. `input` ends when the client half-closes.
 * `write` applies back pressure. `closeWrite` half-closes towards the client.
 */
export interface ClientStream {
  readonly input: AsyncIterable<Uint8Array>;
  write(data: Uint8Array): Promise<void>;
  closeWrite(): Promise<void>;
  close(): void;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Replay the log first. */
  readonly logs: boolean;
  /** Follow the live stream. */
  readonly stream: boolean;
  /** "ctrl-p,ctrl-q" form; undefined = the default. Only with a terminal. */
  readonly detachKeys: string | undefined;
}

export interface LogsOptions {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly follow: boolean;
  /** Nanoseconds since the epoch. */
  readonly since: bigint | undefined;
  readonly until: bigint | undefined;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** undefined = all. */
  readonly tail: number | undefined;
}

/** Docker's statistics of a container. */
export type StatsView = Readonly<Record<string, unknown>>;

export type WaitCondition = "not-running" | "next-exit" | "removed";
export interface WaitResult {
  readonly StatusCode: number;
  readonly Error?: { readonly Message: string };
}

/** The domain, as the API sees it. `id` parameters take an id, a unique prefix, or a name (with or without "/"). All throw EngineError. */
export interface Engine
  extends BuildOperations, FileOperations, ImageTransfers, NetworkOperations, VolumeOperations {
  // containers
  create(request: CreateRequest): Promise<{ Id: string; Warnings: string[] }>;
  start(id: string): Promise<void>;
  /** Resolves when the stream is over. `onReady` is called once the target is found, before the first byte is moved (the API then sends 101/200). */
  attach(
    id: string,
    options: AttachOptions,
    onReady: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void>;
  /** Answers as soon as the container is known and the wait is armed; the inner promise settles with the outcome. */
  wait(id: string, condition: WaitCondition, signal: AbortSignal): Promise<{ result: Promise<WaitResult> }>;
  /** Chunks are ready for the wire: raw for a terminal, framed otherwise. */
  logs(
    id: string,
    options: LogsOptions,
    signal: AbortSignal,
  ): Promise<{ tty: boolean; chunks: AsyncIterable<Uint8Array> }>;
  inspect(id: string, size: boolean): Promise<Record<string, unknown>>;
  list(
    options: { all: boolean; limit: number | undefined; size: boolean; filters: Filters },
  ): Promise<Record<string, unknown>[]>;
  /** `timeout` seconds; undefined = the container's own; -1 = for ever. Throws not-modified when it is not running. */
  stop(id: string, options: { timeout: number | undefined; signal: string | undefined }): Promise<void>;
  kill(id: string, signal: string | undefined): Promise<void>;
  restart(id: string, options: { timeout: number | undefined; signal: string | undefined }): Promise<void>;
  remove(id: string, options: { force: boolean; volumes: boolean; link: boolean }): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  resize(id: string, size: { rows: number; cols: number }): Promise<void>;
  top(id: string, psArgs: string | undefined): Promise<{ Titles: string[]; Processes: string[][] }>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  /** Limits and restart policy; what is zero or missing stays. */
  update(id: string, request: HostConfig): Promise<{ Warnings: string[] }>;
  /** One view each second, until the container is removed. */
  stats(id: string, signal: AbortSignal): Promise<AsyncIterable<StatsView>>;
  /** One view; unless `oneShot`, with that of a second before beside it. */
  statsOnce(id: string, oneShot: boolean, signal: AbortSignal): Promise<StatsView>;
  // exec
  execCreate(id: string, request: ExecCreateRequest): Promise<{ Id: string }>;
  /** Like attach; with `detach` it resolves once started and `onReady` is not called. */
  execStart(
    execId: string,
    options: { detach: boolean; tty: boolean | undefined; consoleSize: readonly number[] | undefined },
    onReady: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void>;
  execInspect(execId: string): Promise<Record<string, unknown>>;
  execResize(execId: string, size: { rows: number; cols: number }): Promise<void>;
  // images
  imageLoad(
    input: ReadableStream<Uint8Array>,
    signal: AbortSignal,
    onMessage: (m: Record<string, unknown>) => void,
    options?: { readonly quiet?: boolean; readonly platform?: Platform | undefined },
  ): Promise<void>;
  imageImport(
    input: ReadableStream<Uint8Array>,
    options: {
      reference: string | undefined;
      changes: string[];
      message: string | undefined;
      platform: string | undefined;
      /** Where the archive comes from, for the history; "-" by default. */
      source?: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<{ id: string }>;
  imageList(
    options: { all: boolean; filters: Filters; sharedSize: boolean; digests: boolean },
  ): Promise<Record<string, unknown>[]>;
  /** Of this and the next: `platform` is refused when the image is for another. */
  imageInspect(ref: string, platform?: Platform): Promise<Record<string, unknown>>;
  imageHistory(ref: string, platform?: Platform): Promise<Record<string, unknown>[]>;
  imageTag(ref: string, target: string): Promise<void>;
  imageRemove(
    ref: string,
    options: { force: boolean; noPrune: boolean; platform?: Platform | undefined },
  ): Promise<Record<string, string>[]>;
  // system
  info(): Promise<Record<string, unknown>>;
  version(): Promise<Record<string, unknown>>;
  /** Past events from `since` on, then live ones until `until` or `signal`. Times in nanoseconds. */
  events(
    options: { since: bigint | undefined; until: bigint | undefined; filters: Filters },
    signal: AbortSignal,
  ): AsyncIterable<EngineEvent>;
}
