import { EngineError, messageOf } from "../../base/errors.ts";
import { familiarString, parseReference, withDefaultTag } from "../../base/reference.ts";
import type { Builder, BuildResult, NamedContext } from "../../engine/build/types.ts";
import type { Engine } from "../../engine/types.ts";
import { Contexts, counted } from "./contexts.ts";
import { frontendOptions } from "./frontend_options.ts";
import { aborted, cancelBy, CODE, GrpcError } from "./grpc.ts";
import { Progress } from "./progress.ts";
import { encode, type Incoming } from "./protocol.ts";
import type { Session, Sessions } from "./session.ts";
import { sendTree } from "./tree_sender.ts";

type SolveRequest = Incoming["SolveRequest"];
type Attributes = Readonly<Record<string, string>>;

/** What a build of a client's has come to, as far as it is told. */
export interface Solved {
  /** The image's configuration. */
  readonly config: Uint8Array;
  readonly response: Readonly<Record<string, string>>;
}

/** One `Solve` of Control, and what belongs to it under the same ref: progress, and the calls of a client-side frontend. */
export class BuildJob {
  readonly progress: Progress;
  readonly #engine: Engine;
  readonly #sessions: Sessions;
  #dockerfile = { name: "Dockerfile", text: "" };
  readonly request: Promise<SolveRequest>;
  #begin: (request: SolveRequest) => void = () => {};
  readonly returned: Promise<void>;
  #settle: { resolve: () => void; reject: (error: unknown) => void } = { resolve() {}, reject() {} };
  /** The last build that a client-side frontend has had made. */
  solved: Solved | undefined;

  constructor(ref: string, engine: Engine, sessions: Sessions) {
    this.#engine = engine;
    this.#sessions = sessions;
    const dockerfile = this.#dockerfile;
    this.progress = new Progress(ref, {
      get name() {
        return dockerfile.name;
      },
      text: () => dockerfile.text,
    });
    this.request = new Promise((resolve) => this.#begin = resolve);
    this.returned = new Promise((resolve, reject) => this.#settle = { resolve: () => resolve(), reject });
    // nobody may be waiting yet
    this.returned.catch(() => {});
  }

  begin(request: SolveRequest): void {
    this.#begin(request);
  }

  /** The client-side frontend has ended. */
  finish(error?: GrpcError): void {
    if (error === undefined) this.#settle.resolve();
    else this.#settle.reject(error);
  }

  /** Builds with the frontend `dockerfile.v0`, and exports the result. */
  async solve(
    attributes: Attributes,
    cacheImports: Parameters<typeof frontendOptions>[1],
    signal: AbortSignal,
  ): Promise<Solved> {
    // a client that has gone sends none any more
    const request = await Promise.race([this.request, aborted(signal)]);
    const options = frontendOptions(withInlineCache(attributes, request), cacheImports);
    const exporter = exporterOf(request);
    const session = await this.#sessions.get(request.Session, signal);
    const builder = await this.#engine.builder();
    const contexts = new Contexts(builder, session, this.progress, signal);
    try {
      const { dockerfile, context } = await contexts.load(options);
      Object.assign(this.#dockerfile, dockerfile);
      const namedContexts: Record<string, NamedContext> = {};
      for (const [name, source] of Object.entries(options.namedContexts)) {
        namedContexts[name] = await contexts.named(name, source);
      }
      const result = await builder.build(
        {
          ...options,
          dockerfile,
          context,
          namedContexts,
          tags: exporter.tags,
          squash: false,
          resources: options.cgroupParent === undefined ? {} : { CgroupParent: options.cgroupParent },
          output: exporter.kind === "image" ? "image" : exporter.kind === "none" ? "none" : "files",
          client: session.asClient(builder),
        },
        signal,
        (event) => this.progress.take(event),
      );
      try {
        return await this.#export(result, exporter, session, builder, signal);
      } finally {
        result.release();
      }
    } catch (error) {
      throw asGrpcError(error, this.#dockerfile);
    } finally {
      contexts.dispose();
      session.releaseAgents();
    }
  }

  async #export(
    { imageId, config, files }: BuildResult,
    exporter: Exporter,
    session: Session,
    builder: Builder,
    signal: AbortSignal,
  ): Promise<Solved> {
    if (files !== undefined && exporter.kind === "tar") {
      await this.progress.step("exporting to client tarball", "sending tarball", async (bytes) => {
        await session.sendFile(exporter.index, counted(files(), bytes), signal);
      });
    } else if (files !== undefined && exporter.kind === "local") {
      await this.progress.step("exporting to client directory", "copying files", async (bytes) => {
        const spool = builder.newContextDirectory();
        const call = session.sendTreeCall(exporter.index);
        using _cancel = cancelBy(signal, call);
        try {
          await sendTree(call, counted(files(), bytes), `${spool.path}/export.tar`);
        } finally {
          call.cancel();
          spool.dispose();
        }
      });
    }
    return {
      config: new TextEncoder().encode(JSON.stringify(config)),
      response: imageId === undefined ? {} : {
        "containerimage.digest": imageId,
        "containerimage.config.digest": imageId,
        ...(exporter.tags.length === 0 ? {} : { "image.name": exporter.names }),
      },
    };
  }
}

/** `--cache-to type=inline` is what Docker's build argument asks for. @throws {GrpcError} for other ways to export a cache. */
function withInlineCache(attributes: Attributes, { Cache }: SolveRequest): Attributes {
  const exports = Cache?.Exports ?? [];
  const other = exports.find(({ Type }) => Type !== "inline");
  if (other !== undefined) {
    throw new GrpcError(
      CODE.unimplemented,
      `berth exports no build cache of type "${other.Type}": use  --cache-to type=inline, and --cache-from with the image`,
    );
  }
  return exports.length === 0 ? attributes : { ...attributes, "build-arg:BUILDKIT_INLINE_CACHE": "1" };
}

interface Exporter {
  readonly kind: "image" | "local" | "tar" | "none";
  /** By which the client knows it. */
  readonly index: number;
  readonly tags: readonly string[];
  /** The names as the client gave them. */
  readonly names: string;
}

/** @throws {GrpcError} for what berth does not export this way. */
function exporterOf({ Exporters, ExporterDeprecated, ExporterAttrsDeprecated }: SolveRequest): Exporter {
  const all = Exporters.length > 0
    ? Exporters
    : ExporterDeprecated === ""
    ? []
    : [{ Type: ExporterDeprecated, Attrs: ExporterAttrsDeprecated }];
  const [first] = all;
  if (first === undefined) return { kind: "none", index: 0, tags: [], names: "" };
  if (all.length > 1) {
    throw new GrpcError(CODE.unimplemented, "berth exports the result of a build to one place only");
  }
  const { Type, Attrs } = first;
  const names = Attrs["name"] ?? "";
  const tags = names === ""
    ? []
    : names.split(",").map((name) => familiarString(withDefaultTag(parseReference(name))));
  switch (Type) {
    case "moby":
    case "image":
      if (Attrs["push"] === "true" && Type === "image") {
        throw new GrpcError(
          CODE.unimplemented,
          "berth does not push from a build: build, then  docker push NAME",
        );
      }
      return { kind: "image", index: 0, tags, names };
    case "local":
    case "tar":
      return { kind: Type, index: 0, tags: [], names: "" };
    case "cacheonly":
      return { kind: "none", index: 0, tags: [], names: "" };
    default:
      throw new GrpcError(
        CODE.unimplemented,
        `berth's BuildKit API has no exporter "${Type}". Use  berth build --output type=${Type},dest=FILE`,
      );
  }
}

/** A failed build as BuildKit's clients show it: with the lines of the Dockerfile that failed, where they are known. */
function asGrpcError(
  error: unknown,
  { name, text }: { readonly name: string; readonly text: string },
): GrpcError {
  if (error instanceof GrpcError) return error;
  const message = messageOf(error);
  const code = error instanceof EngineError && error.kind === "not-implemented"
    ? CODE.unimplemented
    : CODE.unknown;
  const range = rangeOf(error);
  if (range === undefined) return new GrpcError(code, message, undefined, { cause: error });
  // Go's encoding/json of errdefs.Source, under the name that BuildKit has registered for it
  const source = JSON.stringify({
    info: { filename: name, data: base64(linesAround(text, range)), language: "Dockerfile" },
    ranges: [{ start: { line: range.startLine }, end: { line: range.endLine } }],
  });
  const details = encode("RpcStatus", {
    code,
    message,
    details: [{
      type_url: "github.com/moby/buildkit/errdefs.Source+json",
      value: new TextEncoder().encode(source),
    }],
  });
  return new GrpcError(code, message, details, { cause: error });
}

/** Lines that clients show before and after those that failed (buildkit: errdefs.Source.Print shows four in all). */
const SHOWN_AROUND = 4;

/** The lines of an error with those around it, where they stood: the others are empty, since a status travels in a header. */
function linesAround(text: string, { startLine, endLine }: { startLine: number; endLine: number }): string {
  return text.split("\n", endLine + SHOWN_AROUND)
    .map((line, index) => index + 1 < startLine - SHOWN_AROUND ? "" : line)
    .join("\n");
}

function rangeOf(error: unknown): { startLine: number; endLine: number } | undefined {
  const range = typeof error === "object" && error !== null && "range" in error ? error.range : undefined;
  if (typeof range !== "object" || range === null) return undefined;
  const { startLine, endLine } = range as { startLine?: unknown; endLine?: unknown };
  return typeof startLine === "number" && typeof endLine === "number" ? { startLine, endLine } : undefined;
}

function base64(text: string): string {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}
