/** Routes that speak to registries. */
import { EngineError, invalid } from "../base/errors.ts";
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

/** POST /images/create with `fromImage`. */
export function pullImage(
  c: AppContext,
  engine: Services["engine"],
  { fromImage, tag, platform }: PullQuery,
): Promise<Response> {
  const auth = registryAuth(c.req.header("x-registry-auth"));
  const named = fromImage.replace(/:$/, "");
  const separator = tag?.includes(":") ? "@" : ":";
  const reference = tag === undefined ? named : `${named}${separator}${tag}`;
  // without a tag the old protocol means all of them
  const allTags = tag === undefined && !/[:@][^/]*$/.test(named);
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
    const auth = registryAuth(c.req.header("x-registry-auth"));
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
    const auth = registryAuth(c.req.header("x-registry-auth"));
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
            registryAuth(c.req.header("x-registry-auth")),
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
