import { messageOf } from "../../base/errors.ts";
import type { BuildClient, BuildRequest } from "../../engine/build/types.ts";
import type { Engine } from "../../engine/types.ts";
import { type BuildOptions, sourceDateEpoch } from "../schemas/build.ts";
import type { RegistryLogins } from "../schemas/registry.ts";
import { Contexts, type FileSource } from "./contexts.ts";
import { CODE, GrpcError } from "./grpc.ts";
import { Progress } from "./progress.ts";
import type { Session, Sessions } from "./session.ts";

type Send = (message: Record<string, unknown>) => void;

/** How a client says that its files come over its session. */
const SESSION_CONTEXT = "client-session";

const NONE: BuildClient = {
  secret: () => Promise.resolve(undefined),
  sshSocket: () => Promise.resolve(undefined),
  registryAuth: () => Promise.resolve(undefined),
};

/**
 * `POST /build?version=2`: BuildKit by the classic route, as docker 18.09 to 22 speak it with DOCKER_BUILDKIT=1, and dockerode. The
 * context is the body, or comes over the session; progress is BuildKit's own, wrapped in lines of JSON.
 *
 * @throws {EngineError|GrpcError}
 */
export async function buildVersionTwo(
  engine: Engine,
  sessions: Sessions,
  options: BuildOptions,
  body: AsyncIterable<Uint8Array>,
  logins: RegistryLogins,
  signal: AbortSignal,
  send: Send,
): Promise<void> {
  const builder = await engine.builder();
  const session = options.session === undefined ? undefined : await sessions.get(options.session, signal);
  let text = "";
  const filename = options.dockerfile ?? "Dockerfile";
  const progress = new Progress(options.buildId ?? crypto.randomUUID(), { name: filename, text: () => text });
  const telling = (async () => {
    for await (const message of progress.messages(signal)) {
      send({ id: "moby.buildkit.trace", aux: message.toBase64() });
    }
  })();
  const contexts = new Contexts(builder, filesOf(session, body), progress, signal);
  try {
    const local = options.remote === SESSION_CONTEXT;
    const { dockerfile, context } = await contexts.load({
      filename,
      context: local
        ? { kind: "local", directory: "context" }
        : options.remote === undefined
        ? { kind: "upload", path: "/" }
        : { kind: "remote", url: options.remote },
      dockerfileDirectory: local ? "dockerfile" : undefined,
    });
    ({ text } = dockerfile);
    const result = await builder.build(
      requestOf(options, { dockerfile, context }, clientOf(session?.asClient(builder) ?? NONE, logins)),
      signal,
      (event) => progress.take(event),
    );
    result.release();
    progress.end();
    await telling;
    if (result.imageId !== undefined) send({ id: "moby.image.id", aux: { ID: result.imageId } });
  } catch (error) {
    progress.end();
    await telling;
    throw error instanceof GrpcError ? new Error(messageOf(error), { cause: error }) : error;
  } finally {
    contexts.dispose();
    session?.releaseAgents();
  }
}

/** Without a session, and beside one that has no files, the body is the context. */
function filesOf(session: Session | undefined, body: AsyncIterable<Uint8Array>): FileSource {
  return {
    sharedKey: session?.sharedKey ?? "",
    files(selection, signal, progress) {
      if (session === undefined) throw new GrpcError(CODE.failedPrecondition, "no local sources enabled");
      return session.files(selection, signal, progress);
    },
    async *upload() {
      yield* body;
    },
  };
}

/** What the session does not have the request may: credentials in `X-Registry-Config`. */
function clientOf(client: BuildClient, logins: RegistryLogins): BuildClient {
  return {
    secret: (id, signal) => client.secret(id, signal),
    sshSocket: (id, signal) => client.sshSocket(id, signal),
    registryAuth: async (host) => logins(host) ?? await client.registryAuth(host),
  };
}

function requestOf(
  options: BuildOptions,
  files: Pick<BuildRequest, "dockerfile" | "context">,
  client: BuildClient,
): BuildRequest {
  return {
    ...options,
    ...files,
    namedContexts: {},
    noCacheStages: [],
    sourceDateEpoch: sourceDateEpoch(options.buildArgs),
    output: "image",
    client,
  };
}
