import * as z from "zod/mini";
import { EngineError, invalid } from "../base/errors.ts";
import {
  type App,
  type AppContext,
  atLeast,
  pathName,
  rawBody,
  readQuery,
  type Services,
  signalOf,
} from "./context.ts";
import { pullImage } from "./image_transfer.ts";
import { messageStream } from "./messages.ts";
import { bare, json } from "./reply.ts";
import { filters, flag, word } from "./schemas/query.ts";

const listQuery = z.object({ all: flag, filters, filter: word, "shared-size": flag, digests: flag });
const createQuery = z.object({
  fromImage: word,
  fromSrc: word,
  repo: word,
  tag: word,
  message: word,
  platform: word,
});
const removeQuery = z.object({ force: flag, noprune: flag });
const tagQuery = z.object({ repo: word, tag: word });

export function imageRoutes(app: App, { engine }: Services): void {
  app.get("/images/json", async (c) => {
    const { all, filters, filter, digests, "shared-size": sharedSize } = readQuery(c, listQuery);
    const wanted = new Map(filters);
    // `filter` is the name pattern of old clients.
    if (filter !== undefined && !atLeast(c, "1.41")) {
      wanted.set("reference", [...wanted.get("reference") ?? [], filter]);
    }
    return json(await engine.imageList({ all, filters: wanted, sharedSize, digests }));
  });

  app.post("/images/load", (c) => {
    const input = rawBody(c);
    return messageStream((send, signal) => engine.imageLoad(input, signal, send), signalOf(c), true);
  });

  app.post("/images/create", async (c) => {
    const { fromImage, fromSrc, repo, tag, message, platform } = readQuery(c, createQuery);
    if (fromImage !== undefined) return await pullImage(c, engine, { fromImage, tag, platform });
    if (fromSrc !== undefined && fromSrc !== "-") {
      throw new EngineError(
        "not-implemented",
        "importing from a URL is not available yet in this version of berth; download it and import from standard input",
      );
    }
    const options = {
      reference: repo === undefined ? undefined : joinReference(repo, tag),
      changes: c.req.queries("changes") ?? [],
      message,
      platform: atLeast(c, "1.32") ? platform : undefined,
    };
    const { id } = await engine.imageImport(rawBody(c), options, signalOf(c));
    return json({ status: id });
  });

  app.get("/images/:name/json", async (c) => json(await engine.imageInspect(imageName(c))));
  app.get("/images/:name/history", async (c) => json(await engine.imageHistory(imageName(c))));

  app.post("/images/:name/tag", async (c) => {
    const { repo, tag } = readQuery(c, tagQuery);
    if (repo === undefined) throw invalid("invalid reference format");
    await engine.imageTag(imageName(c), joinReference(repo, tag));
    return bare(201);
  });

  app.delete("/images/:name", async (c) => {
    const { force, noprune } = readQuery(c, removeQuery);
    return json(await engine.imageRemove(imageName(c), { force, noPrune: noprune }));
  });
}

function imageName(c: AppContext): string {
  const name = pathName(c);
  if (name.trim() === "") throw invalid("image name cannot be blank");
  return name;
}

const joinReference = (repo: string, tag: string | undefined): string =>
  tag === undefined ? repo : `${repo}:${tag}`;
