import { invalid } from "../base/errors.ts";
import { type App, atLeast, pathName, readJson, readQuery, type Services } from "./context.ts";
import { withTag } from "./image_names.ts";
import { json, stream } from "./reply.ts";
import { platformSince } from "./schemas/platform.ts";
import { createBody, splitCreateBody } from "./schemas/container.ts";
import { commitQuery } from "./schemas/queries.ts";

/** `commit` and `save`: images that come out of the engine's hands. */
export function commitRoutes(app: App, { engine }: Services): void {
  app.post("/commit", async (c) => {
    const { container, repo, tag, comment, author, pause } = readQuery(c, commitQuery);
    const body = await readJson(c, createBody, "CreateRequest", true);
    if (container === undefined) throw invalid("No container name or ID supplied");
    const request = {
      reference: repo === undefined ? undefined : withTag(repo, tag),
      comment,
      author,
      changes: c.req.queries("changes") ?? [],
      config: splitCreateBody(body).config,
      pause,
    };
    return json(await engine.commit(container, request), 201);
  });

  app.get("/images/get", async (c) => {
    const names = c.req.queries("names") ?? [];
    // old clients put several names into one value
    const wanted = atLeast(c, "1.25") ? names : names.flatMap((name) => name.split(","));
    return stream(await engine.imageSave(wanted, platformSince(c, "1.48")), "application/x-tar");
  });

  app.get(
    "/images/:name/get",
    async (c) => stream(await engine.imageSave([pathName(c)], platformSince(c, "1.48")), "application/x-tar"),
  );
}
