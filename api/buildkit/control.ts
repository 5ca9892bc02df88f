import { invalid } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import type { CacheRecord } from "../../engine/build/types.ts";
import type { Engine } from "../../engine/types.ts";
import { bytesThatMayStay } from "../build_prune.ts";
import { BuildJob } from "./build_job.ts";
import { aborted, CODE, GrpcError, type Method, onlyMessage, type ServerCall, WAY_OUT } from "./grpc.ts";
import { decode, encode, timestamp } from "./protocol.ts";
import type { Sessions } from "./session.ts";

/** The frontend that berth has: its own reading of Dockerfiles. */
const FRONTEND = "dockerfile.v0";

/**
 * What clients may rely on (moby/buildkit: frontend/gateway/pb/caps.go). Of building by LLB there is nothing, so no
 * capability of solver/pb but those that clients want to see before they send a Dockerfile.
 */
const GATEWAY_CAPABILITIES = [
  "solve.base",
  "return",
  "returnmap",
  "proto.refarray",
  "frontend.inputs",
  "importcaches",
  "gateway.solve.metadata",
];
const LLB_CAPABILITIES = [
  "source.local",
  "source.local.unique",
  "source.local.sessionid",
  "source.local.includepatterns",
  "source.local.followpaths",
  "source.local.excludepatterns",
  "source.local.sharedkeyhint",
  "file.base",
];

/** How long the records of a build are kept for a Status that comes after its end. */
const LINGER_MS = 5_000;

/** The services of BuildKit that berth's engine has. One for each engine. */
export class ControlServer {
  readonly #engine: Engine;
  readonly #sessions: Sessions;
  readonly #jobs = new Map<string, { readonly job: BuildJob; users: number }>();
  readonly methods: ReadonlyMap<string, Method>;

  constructor(engine: Engine, sessions: Sessions) {
    this.#engine = engine;
    this.#sessions = sessions;
    const control = (name: string, method: Method) => [`/moby.buildkit.v1.Control/${name}`, method] as const;
    const bridge = (name: string, method: Method) =>
      [`/moby.buildkit.v1.frontend.LLBBridge/${name}`, method] as const;
    this.methods = new Map<string, Method>([
      control("Info", () => Promise.resolve(encode("InfoResponse", { buildkitVersion: version() }))),
      control("ListWorkers", async () => encode("ListWorkersResponse", { record: [await this.#worker()] })),
      control("DiskUsage", (call) => this.#diskUsage(call)),
      control("Prune", (call) => this.#prune(call)),
      control("Solve", (call) => this.#solve(call)),
      control("Status", (call) => this.#status(call)),
      control("ListenBuildHistory", (call) => this.#history(call)),
      control("UpdateBuildHistory", () => Promise.resolve(encode("Empty", {}))),
      bridge("Ping", (call) => this.#ping(call)),
      bridge("Solve", (call) => this.#bridgeSolve(call)),
      bridge("Inputs", () => Promise.resolve(encode("Empty", {}))),
      bridge("Return", (call) => this.#return(call)),
      // clients report their own traces; nobody wants them here
      [
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        async (call) => {
          await onlyMessage(call);
          return encode("Empty", {});
        },
      ],
    ]);
  }

  // --- builds

  async #solve(call: ServerCall): Promise<Uint8Array> {
    const request = decode("SolveRequest", await onlyMessage(call));
    if (request.Ref === "") throw new GrpcError(CODE.invalidArgument, "a build needs a ref");
    using held = this.#hold(request.Ref);
    const { job } = held;
    job.begin(request);
    try {
      let { solved } = job;
      if (request.Frontend === FRONTEND) {
        solved = await job.solve(request.FrontendAttrs, request.Cache?.Imports ?? [], call.signal);
      } else if (request.Frontend !== "" || (request.Definition?.def.length ?? 0) > 0) {
        throw noLlb(request.Frontend);
      } else {
        // the client's own frontend builds by calls of LLBBridge, and returns
        await Promise.race([job.returned, aborted(call.signal)]);
        solved = job.solved;
      }
      return encode("SolveResponse", { ExporterResponse: solved?.response ?? {} });
    } finally {
      job.progress.end();
    }
  }

  async #status(call: ServerCall): Promise<void> {
    const { Ref } = decode("StatusRequest", await onlyMessage(call));
    using held = this.#hold(Ref);
    for await (const message of held.job.progress.messages(call.signal)) await call.send(message);
  }

  async #ping(call: ServerCall): Promise<Uint8Array> {
    const capability = (ID: string) => ({ ID, Enabled: true });
    await onlyMessage(call);
    return encode("PongResponse", {
      FrontendAPICaps: GATEWAY_CAPABILITIES.map(capability),
      LLBCaps: LLB_CAPABILITIES.map(capability),
      Workers: [await this.#worker()],
    });
  }

  async #bridgeSolve(call: ServerCall): Promise<Uint8Array> {
    using held = this.#hold(buildId(call));
    const request = decode("GatewaySolveRequest", await onlyMessage(call));
    if (request.Frontend !== FRONTEND) throw noLlb(request.Frontend);
    const solved = await held.job.solve(request.FrontendOpt, request.CacheImports, call.signal);
    held.job.solved = solved;
    return encode("GatewaySolveResponse", {
      result: { ref: { id: "1" }, metadata: { "containerimage.config": solved.config } },
    });
  }

  async #return(call: ServerCall): Promise<Uint8Array> {
    using held = this.#hold(buildId(call));
    const { error } = decode("ReturnRequest", await onlyMessage(call));
    // with its details: the lines of the Dockerfile that failed
    held.job.finish(
      error === null
        ? undefined
        : new GrpcError(error.code, error.message, encode("RpcStatus", { ...error })),
    );
    return encode("Empty", {});
  }

  /** The job of a ref, made by the first that names it and forgotten some time after the last. */
  #hold(ref: string): Disposable & { readonly job: BuildJob } {
    let entry = this.#jobs.get(ref);
    if (entry === undefined) {
      entry = { job: new BuildJob(ref, this.#engine, this.#sessions), users: 0 };
      this.#jobs.set(ref, entry);
    }
    const held = entry;
    held.users++;
    return {
      job: held.job,
      [Symbol.dispose]: () => {
        if (--held.users > 0) return;
        const timer = setTimeout(() => {
          if (held.users === 0 && this.#jobs.get(ref) === held) this.#jobs.delete(ref);
        }, LINGER_MS);
        Deno.unrefTimer(timer);
      },
    };
  }

  // --- what there is

  async #worker(): Promise<Record<string, unknown>> {
    const info = await this.#engine.info();
    const architecture = info["Architecture"] === "aarch64" ? "arm64" : "amd64";
    return {
      ID: String(info["ID"] ?? "berth"),
      Labels: { "org.mobyproject.buildkit.worker.executor": "berth" },
      platforms: [{ OS: "linux", Architecture: architecture }],
      BuildkitVersion: version(),
    };
  }

  async #diskUsage(call: ServerCall): Promise<Uint8Array> {
    const { filter } = decode("UsageRequest", await onlyMessage(call));
    const builder = await this.#engine.builder();
    const filters = filtersOf(filter);
    const ids = filters["id"];
    const types = filters["type"];
    const record = builder.cacheRecords().filter(({ id, type }) =>
      (ids === undefined || ids.includes(id)) && (types === undefined || types.includes(type))
    );
    return encode("UsageResponse", { record: record.map(usageRecord) });
  }

  async #prune(call: ServerCall): Promise<void> {
    const request = decode("PruneRequest", await onlyMessage(call));
    const { all, filter, keepDuration } = request;
    const builder = await this.#engine.builder();
    const keepStorage = await bytesThatMayStay(this.#engine, builder, request);
    if (keepStorage === undefined) return;
    const before = new Map(builder.cacheRecords().map((record) => [record.id, record]));
    const filters = filtersOf(filter);
    const { ids } = await builder.prune({
      all,
      keepStorage,
      // nanoseconds
      filters: keepDuration > 0 ? { ...filters, "unused-for": [`${keepDuration / 1e9}s`] } : filters,
    }, call.signal);
    for (const id of ids) {
      const record = before.get(id);
      if (record !== undefined) await call.send(encode("UsageRecord", usageRecord(record)));
    }
  }

  /** As an engine without history: nothing has been built, and nothing will be told. */
  async #history(call: ServerCall): Promise<void> {
    const { EarlyExit, ActiveOnly } = decode("HistoryRequest", await onlyMessage(call));
    if (!EarlyExit && !ActiveOnly) await aborted(call.signal).catch(() => {});
  }
}

function buildId({ metadata }: ServerCall): string {
  const [id = ""] = metadata["buildkit-controlapi-buildid"] ?? [];
  if (id === "") throw new GrpcError(CODE.invalidArgument, "no buildid found in context");
  return id;
}

function noLlb(frontend: string): GrpcError {
  const what = frontend === "" ? "a build that is given as LLB" : `the frontend ${JSON.stringify(frontend)}`;
  return new GrpcError(CODE.unimplemented, `berth builds Dockerfiles, not ${what}. ${WAY_OUT}`);
}

function version(): Record<string, unknown> {
  return { package: "berth", version: `v${VERSION}`, revision: "" };
}

/** BuildKit's filters: "id==x", "type==regular", … joined by commas. @throws {EngineError} invalid */
function filtersOf(filters: readonly string[]): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const term of filters.flatMap((filter) => filter.split(",")).filter((each) => each !== "")) {
    const match = /^([a-z-]+)(?:={1,2}(.*))?$/s.exec(term);
    if (match === null) throw invalid(`invalid filter ${JSON.stringify(term)}`);
    const [, name = "", value = "true"] = match;
    (out[name] ??= []).push(value);
  }
  return out;
}

function usageRecord(record: CacheRecord): Record<string, unknown> {
  return {
    ID: record.id,
    InUse: record.inUse,
    Size: record.size,
    CreatedAt: timestamp(Date.parse(record.createdAt)),
    ...(record.lastUsedAt === undefined ? {} : { LastUsedAt: timestamp(Date.parse(record.lastUsedAt)) }),
    UsageCount: record.usageCount,
    Description: record.description,
    RecordType: record.type,
    Shared: record.shared,
    Parents: [...record.parents],
  };
}
