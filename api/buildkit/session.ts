/** Sessions of BuildKit's clients: connections over which the engine calls the client, for files, secrets, agents, credentials. */
import type { BuildClient, Builder } from "../../engine/build/types.ts";
import type { ClientStream } from "../../engine/types.ts";
import type { RegistryAuth } from "../../image/registry/settings.ts";
import { messageOf } from "../../base/errors.ts";
import { TreeReceiver } from "./diff_copy.ts";
import { duplexOf } from "./duplex.ts";
import { cancelBy, CODE, GrpcClient, GrpcError, type Metadata } from "./grpc.ts";
import { decode, encode } from "./protocol.ts";
import { forwardAgent } from "./ssh_agent.ts";

/** As `POST /session` says in its headers. */
export interface SessionHead {
  readonly id: string;
  readonly name: string;
  /** Near to which earlier session's files its own are: made by the client of the directory's name. "": it does not say. */
  readonly sharedKey: string;
  /** Full names of methods that the client serves: "/moby.filesync.v1.FileSync/DiffCopy". */
  readonly methods: readonly string[];
}

/** How long a build waits for the session that it names: the client opens both at the same time. */
const WAIT_MS = 10_000;

export class Sessions {
  readonly #open = new Map<string, Session>();
  readonly #waiting = new Set<() => void>();

  /** Serves a session until its connection ends. */
  async run(head: SessionHead, stream: ClientStream): Promise<void> {
    const session = new Session(head, new GrpcClient(duplexOf(stream)));
    this.#open.set(head.id, session);
    for (const wake of this.#waiting) wake();
    try {
      await session.closed;
    } finally {
      if (this.#open.get(head.id) === session) this.#open.delete(head.id);
    }
  }

  /** @throws {GrpcError} when there is no such session and none comes. */
  async get(id: string, signal: AbortSignal): Promise<Session> {
    const ending = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]);
    for (;;) {
      const session = this.#open.get(id);
      if (session !== undefined) return session;
      if (ending.aborted) {
        throw new GrpcError(CODE.notFound, `no active session for ${id}: context deadline exceeded`);
      }
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          ending.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        ending.addEventListener("abort", wake, { once: true });
      });
    }
  }
}

export interface FileSelection {
  /** Name of a directory of the client's: "context", "dockerfile". */
  readonly directory: string;
  readonly exclude?: readonly string[];
  /** Only these, and what they lead to. */
  readonly follow?: readonly string[];
}

export class Session {
  readonly id: string;
  readonly sharedKey: string;
  readonly #methods: ReadonlySet<string>;
  readonly #client: GrpcClient;
  readonly #agents = new Map<string, { readonly path: string; close(): void }>();
  readonly closed: Promise<void>;

  constructor({ id, sharedKey, methods }: SessionHead, client: GrpcClient) {
    this.id = id;
    this.sharedKey = sharedKey;
    this.#methods = new Set(methods.map((method) => method.toLowerCase()));
    this.#client = client;
    this.closed = client.closed;
  }

  #serves(method: string): boolean {
    return this.#methods.has(method.toLowerCase());
  }

  /**
   * Begins to receive a directory of the client's. Ends when the answer is disposed of.
   *
   * @throws {GrpcError}
   */
  files(
    selection: FileSelection,
    signal: AbortSignal,
    progress: (bytes: number) => void,
  ): Disposable & { readonly receiver: Pick<TreeReceiver, "list" | "archive"> } {
    const method = "/moby.filesync.v1.FileSync/DiffCopy";
    if (!this.#serves(method)) throw new GrpcError(CODE.failedPrecondition, "no local sources enabled");
    const metadata = encodedMetadata({
      "dir-name": [selection.directory],
      ...(selection.exclude === undefined ? {} : { "exclude-patterns": selection.exclude }),
      ...(selection.follow === undefined ? {} : { followpaths: selection.follow }),
    });
    const call = this.#client.call(method, metadata);
    const canceling = cancelBy(signal, call);
    return {
      receiver: new TreeReceiver(call, progress),
      [Symbol.dispose]: () => {
        canceling[Symbol.dispose]();
        call.cancel();
      },
    };
  }

  /** What a client that builds from its standard input has sent to a path of its own: an archive, or a Dockerfile. */
  async *upload(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const call = this.#client.call("/moby.upload.v1.Upload/Pull", { urlpath: [path] });
    using _cancel = cancelBy(signal, call);
    try {
      call.end();
      for await (const message of call.messages) yield decode("Bytes", message).data;
    } finally {
      call.cancel();
    }
  }

  /** Sends one file to the client: an exporter's archive. */
  async sendFile(exporter: number, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const method = "/moby.filesync.v1.FileSend/DiffCopy";
    if (!this.#serves(method)) {
      throw new GrpcError(CODE.failedPrecondition, `method ${method} not supported by the client`);
    }
    const call = this.#client.call(method, { "buildkit-attachable-exporter-id": [String(exporter)] });
    using _cancel = cancelBy(signal, call);
    try {
      for await (const data of chunks) await call.send(encode("Bytes", { data }));
      call.end();
      for await (const _ of call.messages);
    } finally {
      call.cancel();
    }
  }

  /** The call that {@link sendTree} of tree_sender.ts speaks fsutil's protocol on. */
  sendTreeCall(exporter: number) {
    const method = "/moby.filesync.v1.FileSend/DiffCopy";
    if (!this.#serves(method)) {
      throw new GrpcError(CODE.failedPrecondition, `method ${method} not supported by the client`);
    }
    return this.#client.call(method, { "buildkit-attachable-exporter-id": [String(exporter)] });
  }

  async #secret(id: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const method = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
    if (!this.#serves(method)) return undefined;
    try {
      const answer = await this.#client.unary(method, encode("GetSecretRequest", { ID: id }), signal);
      return decode("GetSecretResponse", answer).data;
    } catch (error) {
      if (error instanceof GrpcError && error.code === CODE.notFound) return undefined;
      throw error;
    }
  }

  async #sshSocket(
    id: string,
    signal: AbortSignal,
    builder: Pick<Builder, "newSocketPath">,
  ): Promise<string | undefined> {
    const known = this.#agents.get(id);
    if (known !== undefined) return known.path;
    if (!this.#serves("/moby.sshforward.v1.SSH/ForwardAgent")) return undefined;
    try {
      await this.#client.unary(
        "/moby.sshforward.v1.SSH/CheckAgent",
        encode("CheckAgentRequest", { ID: id }),
        signal,
      );
    } catch (error) {
      // a client without that agent says so with code "unknown"
      if (error instanceof GrpcError && error.code !== CODE.unavailable && !signal.aborted) return undefined;
      throw error;
    }
    const agent = forwardAgent(
      builder.newSocketPath(),
      () => this.#client.call("/moby.sshforward.v1.SSH/ForwardAgent", { "buildkit.ssh.id": [id] }),
    );
    this.#agents.set(id, agent);
    void this.closed.then(() => agent.close());
    return agent.path;
  }

  async #registryAuth(host: string): Promise<RegistryAuth | undefined> {
    const method = "/moby.filesync.v1.Auth/Credentials";
    if (!this.#serves(method)) return undefined;
    // Clients know Docker Hub by its registry's own name.
    const Host = host === "docker.io" ? "registry-1.docker.io" : host;
    try {
      const answer = await this.#client.unary(
        method,
        encode("CredentialsRequest", { Host }),
        AbortSignal.timeout(WAIT_MS),
      );
      const { Username, Secret } = decode("CredentialsResponse", answer);
      if (Secret === "") return undefined;
      return Username === "" ? { identityToken: Secret } : { username: Username, password: Secret };
    } catch (error) {
      if (error instanceof GrpcError && error.code === CODE.unavailable) {
        throw new GrpcError(
          error.code,
          `cannot ask the client for credentials of ${host}: ${messageOf(error)}`,
        );
      }
      return undefined;
    }
  }

  /** What a build may ask the client for. */
  asClient(builder: Pick<Builder, "newSocketPath">): BuildClient {
    return {
      secret: (id, signal) => this.#secret(id, signal),
      sshSocket: (id, signal) => this.#sshSocket(id, signal, builder),
      registryAuth: (host) => this.#registryAuth(host),
    };
  }

  /** Ends what was made for builds of this session. */
  releaseAgents(): void {
    for (const agent of this.#agents.values()) agent.close();
    this.#agents.clear();
  }
}

/** Metadata has ASCII only: as BuildKit does, a list with anything else is query-escaped and marked. */
function encodedMetadata(metadata: Metadata): Metadata {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([name, values]) => {
      // deno-lint-ignore no-control-regex
      if (values.every((value) => /^[\x00-\x7f]*$/.test(value))) return [[name, values]];
      const escaped = values.map((value) => encodeURIComponent(value).replaceAll("%20", "+"));
      return [[name, escaped], [`${name}-encoded`, ["1"]]];
    }),
  );
}
