/** What a build is asked for, what it tells, and what it makes. Shared by the API, BuildKit's gRPC and the solver. */
import type { RegistryAuth } from "../../image/registry/settings.ts";
import type { ImageConfig } from "../../image/types.ts";
import type { LintWarning } from "../../image/build/types.ts";

/** Files to build from: a directory below the engine's own, made and removed by whoever asks for the build. Untrusted inside. */
export interface DirectoryContext {
  readonly kind: "directory";
  /** Absolute path. `.dockerignore` has been applied. */
  readonly path: string;
  /** Names what the files are: equal for equal files. undefined: they are to be read to know. */
  readonly content?: string | undefined;
}

/** A file of a client's directory, before any of it has been sent. */
export interface ContextFile {
  /** From the context's root, without `.`, `..` and empty parts. */
  readonly path: string;
  /** The client's name for the state that the file is in: whatever changes about it, this does. "": it is to be sent in any case. */
  readonly state: string;
}

/** A context that may be there from an earlier build. Disposed of when the build has ended. */
export interface ContextUpdate extends Disposable {
  readonly path: string;
  /** Which files are to be sent: indices of the list. */
  readonly wanted: readonly number[];
  /**
   * Takes what is wanted, as an archive (of nothing, maybe), which is read to its end; what has gone meanwhile may be left out of it.
   *
   * @returns what {@link DirectoryContext.content} is.
   * @throws {EngineError} invalid: it is no archive, or holds what is not wanted.
   */
  receive(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string>;
}

export type NamedContext = DirectoryContext | { readonly kind: "image"; readonly reference: string };

/** What the client can be asked for while the build runs. */
export interface BuildClient {
  /** undefined: has no such secret. */
  secret(id: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** A unix socket of this engine's that leads to the client's agent; undefined: none is forwarded. Released with the build. */
  sshSocket(id: string, signal: AbortSignal): Promise<string | undefined>;
  /** Credentials for a registry's host ("docker.io" of Docker Hub). */
  registryAuth(host: string): Promise<RegistryAuth | undefined>;
}

export interface BuildRequest {
  readonly dockerfile: { readonly name: string; readonly text: string };
  /** undefined: there are no files (`docker build -` with a Dockerfile alone). */
  readonly context: DirectoryContext | undefined;
  readonly namedContexts: Readonly<Record<string, NamedContext>>;
  /** Stage's name or number; undefined: the last. */
  readonly target: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Names for the result, checked. */
  readonly tags: readonly string[];
  /** Empty: this machine's. */
  readonly platform: string | undefined;
  readonly noCache: boolean;
  /** Stages that do not use the cache (`--no-cache-filter`). */
  readonly noCacheStages: readonly string[];
  /** Images whose layers count as cached. */
  readonly cacheFrom: readonly string[];
  /** Ask the registry for newer base images. */
  readonly pull: boolean;
  readonly squash: boolean;
  /** "default", "none", "host", a network's name, "container:…" */
  readonly networkMode: string;
  readonly extraHosts: readonly string[];
  readonly shmSize: number | undefined;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  /** Of HostConfig: CpuShares, CpuPeriod, CpuQuota, CpusetCpus, CpusetMems, Memory, MemorySwap, CgroupParent. */
  readonly resources: Readonly<Record<string, number | string>>;
  /** RUN's and COPY's own files are dated with it, and the image's times: seconds since 1970. */
  readonly sourceDateEpoch: number | undefined;
  /** What becomes of the result: an image in the store, or its files. */
  readonly output: "image" | "files" | "none";
  readonly client: BuildClient;
}

/** One step as progress shows it. */
export interface BuildVertex {
  /** Counts from 0, in the order of the Dockerfile. */
  readonly id: number;
  /** "[internal] load build definition from Dockerfile", "[build 2/5] RUN make" */
  readonly name: string;
  /** The Dockerfile's instruction alone, as classic progress shows it ("RUN make"); undefined: internal. */
  readonly instruction: string | undefined;
  readonly stage: string | undefined;
  /** It changes the configuration alone: classic progress shows it, BuildKit's does not. */
  readonly configOnly?: true;
  /** Ids of vertices that it waits for. */
  readonly inputs: readonly number[];
}

/** Times are milliseconds since 1970. */
export type BuildEvent =
  /** All vertices of the target, told before the first starts. */
  | { readonly kind: "plan"; readonly vertices: readonly BuildVertex[] }
  | { readonly kind: "vertex"; readonly vertex: BuildVertex }
  | { readonly kind: "start"; readonly id: number; readonly time: number }
  | {
    readonly kind: "done";
    readonly id: number;
    readonly time: number;
    readonly cached: boolean;
    readonly error: string | undefined;
    /** What the step made, `sha256:…` (for classic progress' ` ---> 0123456789ab`). */
    readonly result: string | undefined;
  }
  | {
    readonly kind: "log";
    readonly id: number;
    readonly stream: 1 | 2;
    readonly data: Uint8Array;
    readonly time: number;
  }
  /** Bytes under way: a pull's layers, an export. */
  | {
    readonly kind: "status";
    readonly id: number;
    readonly name: string;
    readonly current: number;
    readonly total: number;
    readonly time: number;
    readonly done: boolean;
  }
  | { readonly kind: "warning"; readonly id: number; readonly warning: LintWarning }
  /** The container of a RUN, as classic progress shows it (` ---> Running in 0123456789ab`). */
  | { readonly kind: "container"; readonly id: number; readonly container: string };

export interface BuildResult {
  /** `sha256:…`; undefined when `output` is not "image". */
  readonly imageId: string | undefined;
  readonly config: ImageConfig;
  /** Chain ids of its layers, bottom first. */
  readonly chainIds: readonly string[];
  /** The files of the result as a tar archive, names sorted; only for `output: "files"`. */
  readonly files: (() => AsyncIterable<Uint8Array>) | undefined;
  /** Lets go of what keeps the layers from the collector. */
  release(): void;
}

/** One record of the build cache, as `GET /system/df` and BuildKit's DiskUsage tell it. */
export interface CacheRecord {
  readonly id: string;
  readonly parents: readonly string[];
  /** "regular", "source.local", "exec.cachemount", "internal", "frontend" */
  readonly type: string;
  readonly description: string;
  readonly inUse: boolean;
  /** An image has its layer too. */
  readonly shared: boolean;
  readonly size: number;
  readonly createdAt: string;
  readonly lastUsedAt: string | undefined;
  readonly usageCount: number;
}

export interface PruneOptions {
  readonly all: boolean;
  /** Bytes that may stay. */
  readonly keepStorage: number;
  /** Docker's filters: until, id, parents, type, description, inuse, shared, private, unused-for. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
}

/** Builds images. One for each engine. */
export interface Builder {
  /**
   * @param emit takes events in order; must not throw.
   * @throws {EngineError} with Docker's words; the Dockerfile's line in the message where there is one. Aborted by `signal`, it leaves nothing.
   */
  build(request: BuildRequest, signal: AbortSignal, emit: (event: BuildEvent) => void): Promise<BuildResult>;
  /** Tells what Docker's build checks have to say of a Dockerfile, as events of the kind "warning", and builds nothing. */
  check(request: BuildRequest, signal: AbortSignal, emit: (event: BuildEvent) => void): Promise<void>;
  cacheRecords(): readonly CacheRecord[];
  prune(options: PruneOptions, signal: AbortSignal): Promise<{ ids: readonly string[]; space: number }>;
  /** A new empty directory below the engine's own for a context; removed by `dispose`, or at the engine's next start. */
  newContextDirectory(): { readonly path: string; dispose(): void };
  /**
   * Unpacks an archive of a client's, compressed or not, into such a directory, in a thread; owners, modes and times as far as builds need them.
   *
   * @throws {EngineError} invalid: it is no archive, or beyond what is taken.
   */
  unpackContext(directory: string, archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /**
   * Begins to take a directory of a client's of which an earlier build may have left most.
   *
   * @param origin where the client has it, for whoever looks at the cache as well: `host:/path`.
   * @param files everything in it, directories before what is in them.
   * @throws {EngineError} invalid
   */
  openContext(origin: string, files: readonly ContextFile[]): ContextUpdate;
  /**
   * Puts what an address leads to into such a directory: a git repository, an archive, or a Dockerfile (which is called "Dockerfile" then).
   *
   * @throws {EngineError} invalid
   */
  fetchContext(directory: string, url: string, signal: AbortSignal): Promise<void>;
  /**
   * Text of a file of a context, links followed inside of it; undefined: there is none.
   *
   * @throws {EngineError} invalid: no regular file, or too large for what is read whole.
   */
  readContextFile(directory: string, path: string): Promise<string | undefined>;
  /** Path for a unix socket that a {@link BuildClient} makes: short enough for one, in a directory that only the engine may enter. */
  newSocketPath(): string;
  /** Removes a file of a context, if it is there. Clients send a Dockerfile and `.dockerignore` that are themselves ignored. */
  removeContextFile(directory: string, path: string): Promise<void>;
}

/** The part of the engine that builds images. */
export interface BuildOperations {
  /** Loaded by the first call: an engine that never builds does not pay for it. */
  builder(): Promise<Builder>;
}
