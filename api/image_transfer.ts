/** Routes that speak to registries. */
import { EngineError, invalid } from "../base/errors.ts";
import type { RegistryAuth } from "../image/registry/settings.ts";
import {
  type App,
  type AppContext,
  atLeast,
  pathName,
  readJson,
  readQuery,
  type Services,
  signalOf,
} from "./context.ts";
import { pullReference } from "./image_names.ts";
import { messageStream } from "./messages.ts";
import { json } from "./reply.ts";
import { pushQuery, searchQuery } from "./schemas/queries.ts";
import { platformSince } from "./schemas/platform.ts";
import { authConfig, authOf, registryAuth } from "./schemas/registry.ts";

/** Docker's number of search results. */
const SEARCH_LIMIT = 25;

export interface PullQuery {
  readonly fromImage: string;
  readonly tag: string | undefined;
  readonly platform: string | undefined;
}

/**
 * docker's command line answers a 401 with a question for a password, and waits for it even where nobody can type: it is
 * told 403 for what a registry refuses, in the same words. Others get the 401.
 */
async function withoutQuestions<T>(c: AppContext, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const asks = c.req.header("user-agent")?.startsWith("Docker-Client/") === true;
    if (!asks || !(error instanceof EngineError) || error.kind !== "unauthorized") throw error;
    throw new EngineError("forbidden", error.message, { cause: error });
  }
}

/** The credentials that come with a request. What is damaged counts as none, as in Docker: most of what is asked for needs none. */
function credentials(c: AppContext): RegistryAuth | undefined {
  try {
    return registryAuth(c.req.header("x-registry-auth"));
  } catch {
    return undefined;
  }
}

/** POST /images/create with `fromImage`. */
export function pullImage(
  c: AppContext,
  engine: Services["engine"],
  { fromImage, tag, platform }: PullQuery,
): Promise<Response> {
  const auth = credentials(c);
  const reference = pullReference(fromImage, tag);
  // without a tag the old protocol means all of them
  const allTags = tag === undefined && !/[:@][^/]*$/.test(reference);
  const options = { reference, allTags, platform: atLeast(c, "1.32") ? platform : undefined, auth };
  return withoutQuestions(
    c,
    messageStream((send, signal) => engine.imagePull(options, signal, send), signalOf(c)),
  );
}

export function imageTransferRoutes(app: App, { engine }: Services): void {
  app.post("/images/:name/push", async (c) => {
    const { tag } = readQuery(c, pushQuery);
    const platform = platformSince(c, "1.46");
    const auth = credentials(c);
    const name = pathName(c);
    return await withoutQuestions(
      c,
      messageStream(
        (send, signal) => engine.imagePush(name, { tag, platform, auth }, signal, send),
        signalOf(c),
      ),
    );
  });

  app.get("/images/search", async (c) => {
    const { term, limit, filters } = readQuery(c, searchQuery);
    if (term === undefined) throw invalid("search term is required");
    const auth = credentials(c);
    const wanted = { term, limit: limit || SEARCH_LIMIT, filters, auth };
    return json(await withoutQuestions(c, engine.imageSearch(wanted, signalOf(c))));
  });

  app.get(
    "/distribution/:name/json",
    async (c) =>
      json(
        await withoutQuestions(
          c,
          engine.distributionInspect(
            pathName(c),
            credentials(c),
            signalOf(c),
          ),
        ),
      ),
  );

  app.post("/auth", async (c) => {
    const body = await readJson(c, authConfig, "registry.AuthConfig", true);
    const { username = "", password = "", identityToken } = authOf(body) ?? {};
    return json(
      await engine.registryLogin(
        { username, password, identityToken, serverAddress: body.serveraddress ?? "" },
        signalOf(c),
      ),
    );
  });
}
