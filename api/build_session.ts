/** The engine's end of `berth build`'s own connection; base/build_session.ts has the protocol. */
import {
  BuildSessionError,
  decodeMessage,
  encodeFrame,
  FRAME,
  type Frame,
  MOST_LISTED_FILES,
  OUTPUT_STREAM,
  readFrames,
  type ServerMessage,
  type SessionEvent,
  type SessionRequest,
  type SessionSource,
} from "../base/build_session.ts";
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import type {
  Builder,
  BuildEvent,
  BuildRequest,
  BuildResult,
  ContextFile,
  DirectoryContext,
  NamedContext,
} from "../engine/build/types.ts";
import type { ClientStream, Engine } from "../engine/types.ts";
import { AgentRelay } from "./build_agents.ts";
import { BuildOutbox } from "./build_outbox.ts";
import { fetchRemote, findDockerfile } from "./build_context.ts";
import { answerOf, filesOf, sessionRequestOf } from "./schemas/build_session.ts";
import { buildTags, sourceDateEpoch } from "./schemas/build.ts";
import { authConfig, authOf } from "./schemas/registry.ts";
import { decode } from "./schemas/go.ts";

/** Bytes of the output in one frame. */
const OUTPUT_PIECE = 256 * 1024;

/** Serves one session to its end; whatever goes wrong is told to the client. Never rejects. */
export async function serveBuildSession(
  engine: Engine,
  stream: ClientStream,
  log: (message: string, error?: unknown) => void,
): Promise<void> {
  const outbox = new BuildOutbox((bytes) => stream.write(bytes));
  const frames = readFrames(stream.input);
  try {
    const session = new BuildSession(engine, outbox, frames);
    await session.run();
  } catch (error) {
    const message = errorMessage(error);
    if (!(error instanceof DOMException)) log(`build failed: ${message.message}`);
    outbox.send(message);
  } finally {
    await outbox.flushed();
    await stream.closeWrite();
    stream.close();
  }
}

function errorMessage(error: unknown): Extract<ServerMessage, { kind: "error" }> {
  const range = rangeOf(error);
  const hint = hintOf(error);
  const message = hint === undefined ? messageOf(error) : `${messageOf(error)}\n\n${hint}`;
  return { kind: "error", message, ...(range === undefined ? {} : { range }) };
}

/** What to type now: of the error, or of what it was made of on its way up. */
function hintOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof EngineError && at.hint !== undefined) return at.hint;
  }
  return undefined;
}

/** Where in the Dockerfile it went wrong, of errors that know. */
function rangeOf(error: unknown): { startLine: number; endLine: number } | undefined {
  const range = typeof error === "object" && error !== null && "range" in error ? error.range : undefined;
  if (typeof range !== "object" || range === null || !("startLine" in range) || !("endLine" in range)) {
    return undefined;
  }
  const { startLine, endLine } = range;
  return typeof startLine === "number" && typeof endLine === "number" ? { startLine, endLine } : undefined;
}

class BuildSession {
  readonly #engine: Engine;
  readonly #outbox: BuildOutbox;
  readonly #frames: AsyncGenerator<Frame, void, undefined>;
  readonly #answers = new Map<number, (data: Uint8Array | undefined) => void>();
  readonly #over = new AbortController();
  readonly #agents: AgentRelay;
  #asked = 0;

  constructor(engine: Engine, outbox: BuildOutbox, frames: AsyncGenerator<Frame, void, undefined>) {
    this.#engine = engine;
    this.#outbox = outbox;
    this.#frames = frames;
    this.#agents = new AgentRelay(outbox);
  }

  async run(): Promise<void> {
    const first = await this.#frames.next();
    if (first.done === true || first.value.kind !== FRAME.message) {
      throw invalid("the build session has no request");
    }
    const request = sessionRequestOf(decodeMessage(first.value));
    const builder = await this.#engine.builder();
    using contexts = new DisposableStack();
    using _agents = this.#agents;
    const received = await this.#receive(builder, request, contexts);
    // from here on the client only answers; this ends with the connection
    void this.#listen();
    try {
      await this.#build(builder, request, received, contexts);
    } finally {
      this.#over.abort();
    }
  }

  /** All that the client has to send before the build can begin, in the order of the streams. */
  async #receive(
    builder: Builder,
    request: SessionRequest,
    contexts: DisposableStack,
  ): Promise<ReadonlyMap<number, DirectoryContext>> {
    const received = new Map<number, DirectoryContext>();
    const sources = [request.context, ...Object.values(request.namedContexts)]
      .filter((source) => source?.kind === "upload" || source?.kind === "directory")
      .sort((a, b) => a.stream - b.stream);
    for (const source of sources) {
      const { stream } = source;
      if (received.has(stream)) continue;
      if (source.kind === "directory") {
        received.set(stream, await this.#receiveDirectory(builder, source, contexts));
        continue;
      }
      const directory = builder.newContextDirectory();
      contexts.defer(() => directory.dispose());
      await builder.unpackContext(directory.path, this.#upload(stream), this.#over.signal);
      received.set(stream, { kind: "directory", path: directory.path });
    }
    return received;
  }

  /** Asks for what an earlier build has not left. */
  async #receiveDirectory(
    builder: Builder,
    { stream, origin }: Extract<SessionSource, { kind: "directory" }>,
    contexts: DisposableStack,
  ): Promise<DirectoryContext> {
    const update = contexts.use(builder.openContext(origin, await this.#listed(stream)));
    this.#outbox.send({ kind: "want", stream, files: update.wanted });
    const content = await update.receive(this.#upload(stream), this.#over.signal);
    return { kind: "directory", path: update.path, content };
  }

  async #listed(stream: number): Promise<ContextFile[]> {
    const listed: ContextFile[] = [];
    for (;;) {
      const { value: frame, done } = await this.#frames.next();
      if (done === true || frame === undefined) throw new BuildSessionError("the client has gone");
      if (frame.kind === FRAME.end && frame.stream === stream) {
        throw invalid(new TextDecoder().decode(frame.payload));
      }
      if (frame.kind !== FRAME.message) {
        throw new BuildSessionError("lists and archives of contexts are out of order");
      }
      const { stream: of, files, last } = filesOf(decodeMessage(frame));
      if (of !== stream) throw new BuildSessionError("lists of contexts are out of order");
      if (listed.length + files.length > MOST_LISTED_FILES) {
        throw invalid(`the list of the build context has more than ${MOST_LISTED_FILES} files`);
      }
      for (const [path, state] of files) listed.push({ path, state });
      if (last) return listed;
    }
  }

  async *#upload(stream: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const { value: frame, done } = await this.#frames.next();
      if (done === true || frame === undefined) throw new BuildSessionError("the client has gone");
      if (frame.stream !== stream) throw new BuildSessionError("archives of contexts are out of order");
      if (frame.kind === FRAME.end) {
        // what went wrong at the other end: half a context is none
        if (frame.payload.length > 0) throw invalid(new TextDecoder().decode(frame.payload));
        return;
      }
      yield frame.payload;
    }
  }

  /** Takes what the client says until it has gone, which calls the build off. */
  async #listen(): Promise<void> {
    try {
      for await (const frame of this.#frames) {
        if (frame.kind === FRAME.message) {
          const { ask, data } = answerOf(decodeMessage(frame));
          this.#answers.get(ask)?.(data === undefined ? undefined : Uint8Array.fromBase64(data));
          this.#answers.delete(ask);
        } else this.#agents.take(frame);
      }
    } catch {
      // it does not keep to the protocol, or the connection broke: the same as gone
    }
    this.#over.abort();
    for (const answer of this.#answers.values()) answer(undefined);
    this.#answers.clear();
  }

  #ask(what: "secret" | "ssh" | "auth", name: string): Promise<Uint8Array | undefined> {
    if (this.#over.signal.aborted) return Promise.resolve(undefined);
    const ask = ++this.#asked;
    return new Promise((resolve) => {
      this.#answers.set(ask, resolve);
      this.#outbox.send({ kind: "ask", ask, what, name });
    });
  }

  async #build(
    builder: Builder,
    request: SessionRequest,
    received: ReadonlyMap<number, DirectoryContext>,
    contexts: DisposableStack,
  ): Promise<void> {
    const { signal } = this.#over;
    const sourceOf = (source: SessionSource) => this.#sourceOf(builder, source, received, contexts);
    const context = request.context === undefined ? undefined : await sourceOf(request.context);
    if (context?.kind === "image") throw invalid("an image is no build context");
    const namedContexts: Record<string, NamedContext> = {};
    for (const [name, source] of Object.entries(request.namedContexts)) {
      namedContexts[name] = await sourceOf(source);
    }
    const dockerfile = request.dockerfile ??
      (context === undefined
        ? undefined
        : await findDockerfile(builder, context.path, request.dockerfilePath));
    if (dockerfile === undefined) {
      throw invalid("the build session's request has neither Dockerfile nor context");
    }
    if (request.dockerfile === undefined) this.#outbox.send({ kind: "dockerfile", ...dockerfile });
    if (request.check) {
      const parts = { dockerfile, context, namedContexts, output: "none", tags: [] } as const;
      await builder.check(this.#requestOf(builder, request, parts), signal, (event) => {
        if (event.kind === "warning") this.#outbox.send({ kind: "event", event });
      });
      return this.#outbox.send({ kind: "result" });
    }
    const archive = request.output === "oci" || request.output === "docker";
    const before = archive ? await imageIds(this.#engine) : undefined;
    const result = await builder.build(
      this.#requestOf(builder, request, {
        dockerfile,
        context,
        namedContexts,
        output: archive ? "image" : request.output,
        // names are the archive's alone
        tags: archive ? [] : buildTags(request.tags),
      }),
      signal,
      (event) => this.#outbox.send({ kind: "event", event: onWire(event) }),
    );
    const { imageId } = result;
    try {
      await this.#output(request, result);
    } finally {
      result.release();
      if (imageId !== undefined && before?.has(imageId) === false) await removeUnused(this.#engine, imageId);
    }
    this.#outbox.send({ kind: "result", ...(imageId === undefined ? {} : { imageId }) });
  }

  async #sourceOf(
    builder: Builder,
    source: SessionSource,
    received: ReadonlyMap<number, DirectoryContext>,
    contexts: DisposableStack,
  ): Promise<NamedContext> {
    if (source.kind === "image") return source;
    if (source.kind === "remote") {
      const fetched = await fetchRemote(builder, source.url, this.#over.signal);
      contexts.defer(() => fetched.dispose());
      return { kind: "directory", path: fetched.path };
    }
    const directory = received.get(source.stream);
    if (directory === undefined) throw new RangeError(`nothing has come on stream ${source.stream}`);
    return directory;
  }

  #requestOf(
    builder: Builder,
    request: SessionRequest,
    parts: Pick<BuildRequest, "dockerfile" | "context" | "namedContexts" | "output" | "tags">,
  ): BuildRequest {
    return {
      ...parts,
      target: request.target,
      buildArgs: request.buildArgs,
      labels: request.labels,
      platform: request.platform,
      noCache: request.noCache,
      noCacheStages: request.noCacheStages,
      cacheFrom: request.cacheFrom,
      pull: request.pull,
      squash: request.squash,
      networkMode: request.networkMode,
      extraHosts: request.extraHosts,
      shmSize: request.shmSize,
      ulimits: request.ulimits,
      resources: request.resources,
      sourceDateEpoch: sourceDateEpoch(request.buildArgs),
      client: {
        secret: (id) => this.#ask("secret", id),
        sshSocket: async (id) =>
          await this.#ask("ssh", id) === undefined
            ? undefined
            : this.#agents.listen(id, builder.newSocketPath()),
        registryAuth: async (host) => {
          const answer = await this.#ask("auth", host);
          if (answer === undefined) return undefined;
          return authOf(
            decode(authConfig, JSON.parse(new TextDecoder().decode(answer)), "registry.AuthConfig"),
          );
        },
      },
    };
  }

  /** Sends what the build is for: files, or an archive of the image. */
  async #output(request: SessionRequest, { files, imageId }: BuildResult): Promise<void> {
    const chunks = request.output === "files"
      ? files?.()
      : request.output === "oci" || request.output === "docker"
      ? await this.#engine.imageSave([imageId ?? ""], undefined, buildTags(request.tags))
      : undefined;
    if (chunks === undefined) return;
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += OUTPUT_PIECE) {
        await this.#outbox.bytes(
          encodeFrame(FRAME.data, OUTPUT_STREAM, chunk.subarray(at, at + OUTPUT_PIECE)),
        );
        this.#over.signal.throwIfAborted();
      }
    }
    await this.#outbox.bytes(encodeFrame(FRAME.end, OUTPUT_STREAM, new Uint8Array()));
  }
}

async function imageIds(engine: Engine): Promise<ReadonlySet<string>> {
  const images = await engine.imageList({ all: true, filters: new Map(), sharedSize: false, digests: false });
  return new Set(images.map(({ Id }) => String(Id)));
}

/** An image that was made to be given away; unless somebody has named or used it since. */
async function removeUnused(engine: Engine, id: string): Promise<void> {
  try {
    const { RepoTags: tags } = await engine.imageInspect(id);
    if (Array.isArray(tags) && tags.length > 0) return;
    await engine.imageRemove(id, { force: false, noPrune: false });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
  }
}

function onWire(event: BuildEvent): SessionEvent {
  return event.kind === "log" ? { ...event, data: event.data.toBase64() } : event;
}
