/** Docker's classic build API: contexts as tar archives, progress as lines of JSON; and what became of builds. */
import { BUILD_SESSION_VERSION } from "../base/build_session.ts";
import { invalid, messageOf } from "../base/errors.ts";
import { canonicalString, parseReference, withDefaultTag } from "../base/reference.ts";
import { CommandFailure } from "../engine/build/command_failure.ts";
import type { BuildRequest } from "../engine/build/types.ts";
import type { Engine } from "../engine/types.ts";
import { receiveContext } from "./build_context.ts";
import { bytesThatMayStay } from "./build_prune.ts";
import { ClassicStream, type Send } from "./build_stream.ts";
import { buildkit } from "./buildkit.ts";
import {
  type App,
  type AppContext,
  atLeast,
  rawBody,
  readQuery,
  type Services,
  signalOf,
} from "./context.ts";
import { messageStream } from "./messages.ts";
import { bare, json, StreamFailure } from "./reply.ts";
import {
  buildCancelQuery,
  type BuildOptions,
  buildOptions,
  buildPruneQuery,
  sourceDateEpoch,
} from "./schemas/build.ts";
import { registryConfig, type RegistryLogins } from "./schemas/registry.ts";

const SESSION_HEAD =
  `HTTP/1.1 101 UPGRADED\r\nBerth-Build: ${BUILD_SESSION_VERSION}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`;

export function buildRoutes(app: App, { engine, log }: Services): void {
  /** Builds under way that their clients gave a name. */
  const running = new Map<string, AbortController>();

  app.post("/build", async (c) => {
    const options = buildOptions(c);
    const logins = registryConfig(c.req.header("x-registry-config"));
    const controller = new AbortController();
    const signal = AbortSignal.any([signalOf(c), controller.signal]);
    const { buildId } = options;
    if (buildId !== undefined) running.set(buildId, controller);
    const body = rawBody(c);
    const aux = atLeast(c, "1.30");
    return await messageStream(async (send) => {
      try {
        if (options.version === "2") {
          const { sessions, buildVersionTwo } = await buildkit(engine);
          await buildVersionTwo(engine, sessions, options, body, logins, signal, send);
        } else {
          await classicBuild(engine, options, body, logins, aux, signal, send);
        }
      } catch (error) {
        if (!signal.aborted) log(`build failed: ${messageOf(error)}`);
        throw error;
      } finally {
        if (buildId !== undefined && running.get(buildId) === controller) running.delete(buildId);
      }
    }, signalOf(c));
  });

  app.post("/build/cancel", (c) => {
    const { id } = readQuery(c, buildCancelQuery);
    if (id === undefined) throw invalid("build ID not provided");
    running.get(id)?.abort();
    return bare(200);
  });

  // berth's own, for what the classic protocol has no words for
  app.post("/berth/build", (c) => {
    const { takeOver, upgrade = false } = c.env ?? {};
    if (takeOver === undefined || !upgrade) {
      throw invalid("a build session needs a connection that is upgraded");
    }
    return takeOver.call(c.env, SESSION_HEAD, async (stream) => {
      const { serveBuildSession } = await import("./build_session.ts");
      await serveBuildSession(engine, stream, log);
    });
  });

  app.post("/build/prune", async (c) => json(await prune(c, engine)));
}

/** One build by the classic protocol. What fails before the first line is the caller's to answer. */
async function classicBuild(
  engine: Engine,
  options: BuildOptions,
  body: ReadableStream<Uint8Array>,
  logins: RegistryLogins,
  aux: boolean,
  signal: AbortSignal,
  send: Send,
): Promise<void> {
  const builder = await engine.builder();
  // `q` keeps what is said to the end, for those who want to know why it failed
  const kept: Record<string, unknown>[] = [];
  const say: Send = options.quiet ? (message) => void kept.push(message) : send;
  using context = await receiveContext(builder, body, options, signal);
  const stream = new ClassicStream(say);
  try {
    const result = await builder.build(
      requestOf(options, context, logins),
      signal,
      (event) => stream.take(event),
    );
    try {
      const { imageId } = result;
      stream.end(imageId);
      const ignored = await unusedArguments(context.dockerfile.text, options.buildArgs);
      if (ignored.length > 0) {
        say({ stream: `[Warning] One or more build-args [${ignored.join(" ")}] were not consumed\n` });
      }
      if (imageId !== undefined) {
        if (aux) say({ aux: { ID: imageId } });
        say({ stream: `Successfully built ${imageId.replace(/^sha256:/, "").slice(0, 12)}\n` });
      }
      for (const tag of options.tags) say({ stream: `Successfully tagged ${tag}\n` });
      if (options.quiet) send({ stream: `${imageId ?? ""}\n` });
    } finally {
      result.release();
    }
  } catch (error) {
    stream.end();
    const unresolved = UNRESOLVED.exec(messageOf(error));
    if (unresolved !== null) say({ stream: await fromStep(context.dockerfile.text, unresolved[1] ?? "") });
    for (const message of kept) send(message);
    throw unresolved === null ? inClassicWords(error, stream.failed) : invalid(unresolved[2] ?? "", error);
  }
}

/** An image that cannot be had: its canonical name, and why. */
const UNRESOLVED = /^failed to resolve source metadata for (\S+): (.*)$/s;

/**
 * The step that an image is missing for. The classic builder fetches images as it comes to them, so its clients expect the error in the stream;
 * docker-py, for one, has another exception for what comes before.
 */
async function fromStep(dockerfile: string, missing: string): Promise<string> {
  const { parseDockerfile } = await import("../image/build/parse.ts");
  const { globalArgs, stages } = parseDockerfile(dockerfile);
  const instructions = [
    ...globalArgs,
    ...stages.flatMap(({ from, instructions }) => [from, ...instructions]),
  ];
  const named = ({ keyword, words }: (typeof instructions)[number]) =>
    keyword === "FROM" && sameName(words[0], missing);
  const first = instructions.findIndex(({ keyword }) => keyword === "FROM");
  const place = Math.max(instructions.findIndex(named), first);
  return `Step ${place + 1}/${instructions.length} : ${instructions[place]?.original}\n`;
}

function sameName(written: string | undefined, canonical: string): boolean {
  try {
    return canonicalString(withDefaultTag(parseReference(written ?? ""))) === canonical;
  } catch {
    // made of a variable
    return false;
  }
}

/** What went wrong as the classic builder says it, where it has words of its own. @param instruction the one that failed */
function inClassicWords(error: unknown, instruction: string | undefined): unknown {
  if (error instanceof CommandFailure) return new StreamFailure(error.classicMessage, error.exitCode);
  const missing = /^"\/(.*)": not found$/.exec(messageOf(error))?.[1];
  const word = /^(?:copy|add)(?=\s)/i.exec(instruction ?? "")?.[0].toUpperCase();
  if (missing === undefined || word === undefined) return error;
  const where = /\s--from=/.test(instruction ?? "")
    ? ""
    : "file not found in build context or excluded by .dockerignore: ";
  return invalid(`${word} failed: ${where}stat ${missing}: file does not exist`, error);
}

/** Arguments that need no ARG (moby: builder/dockerfile/buildargs.go), and those that are for the builder itself. */
const PREDEFINED = /^(?:(?:http|https|ftp|no|all)_proxy|SOURCE_DATE_EPOCH|BUILDKIT_\w+)$/i;

/** Names that no ARG of the Dockerfile declares: mistyped, most likely. */
async function unusedArguments(text: string, given: BuildOptions["buildArgs"]): Promise<string[]> {
  const names = Object.keys(given).filter((name) => !PREDEFINED.test(name));
  if (names.length === 0) return [];
  const { parseDockerfile } = await import("../image/build/parse.ts");
  const { argumentsOf } = await import("../image/build/global_args.ts");
  const { globalArgs, stages } = parseDockerfile(text);
  const declared = new Set(
    [...globalArgs, ...stages.flatMap(({ instructions }) => instructions)]
      .filter(({ keyword }) => keyword === "ARG")
      .flatMap(argumentsOf)
      .map(({ name }) => name),
  );
  return names.filter((name) => !declared.has(name)).sort();
}

function requestOf(
  options: BuildOptions,
  { dockerfile, context }: Pick<BuildRequest, "dockerfile" | "context">,
  logins: RegistryLogins,
): BuildRequest {
  return {
    dockerfile,
    context,
    namedContexts: {},
    target: options.target,
    buildArgs: options.buildArgs,
    labels: options.labels,
    tags: options.tags,
    platform: options.platform,
    noCache: options.noCache,
    noCacheStages: [],
    cacheFrom: options.cacheFrom,
    pull: options.pull,
    squash: options.squash,
    networkMode: options.networkMode,
    extraHosts: options.extraHosts,
    shmSize: options.shmSize,
    ulimits: options.ulimits,
    resources: options.resources,
    sourceDateEpoch: sourceDateEpoch(options.buildArgs),
    output: "image",
    client: {
      secret: () => Promise.resolve(undefined),
      sshSocket: () => Promise.resolve(undefined),
      registryAuth: (host) => Promise.resolve(logins(host)),
    },
  };
}

async function prune(c: AppContext, engine: Engine): Promise<Record<string, unknown>> {
  const query = readQuery(c, buildPruneQuery);
  // nothing in the cache has labels; docker system prune asks for them all the same
  const filters = new Map([...query.filters].filter(([key]) => key !== "label!"));
  if (filters.has("label")) return { CachesDeleted: null, SpaceReclaimed: 0 };
  const modern = atLeast(c, "1.48");
  const builder = await engine.builder();
  const keepStorage = await bytesThatMayStay(engine, builder, {
    reservedSpace: Math.max(query["keep-storage"], modern ? query["reserved-space"] : 0),
    maxUsedSpace: modern ? query["max-used-space"] : 0,
    minFreeSpace: modern ? query["min-free-space"] : 0,
  });
  if (keepStorage === undefined) return { CachesDeleted: null, SpaceReclaimed: 0 };
  const { ids, space } = await builder.prune(
    { all: query.all, keepStorage, filters: Object.fromEntries(filters) },
    signalOf(c),
  );
  return { CachesDeleted: ids.length === 0 ? null : ids, SpaceReclaimed: space };
}
