import { EngineError, invalid, messageOf } from "../base/errors.ts";
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
import { adaptInspect, adaptListed } from "./image_versions.ts";
import { jsonMessage } from "../engine/image_transfer.ts";
import { withTag } from "./image_names.ts";
import { pullImage } from "./image_transfer.ts";
import { messageStream } from "./messages.ts";
import { bare, json } from "./reply.ts";
import { platformOfRemoval, platformSince } from "./schemas/platform.ts";
import {
  imageCreateQuery,
  imageInspectQuery,
  imageListQuery,
  imageLoadQuery,
  imageRemoveQuery,
  tagQuery,
} from "./schemas/queries.ts";

export function imageRoutes(app: App, { engine }: Services): void {
  app.get("/images/json", async (c) => {
    const { all, filters, filter, digests, "shared-size": sharedSize } = readQuery(c, imageListQuery);
    const wanted = new Map(filters);
    // `filter` is the name pattern of old clients.
    if (filter !== undefined && !atLeast(c, "1.41")) {
      wanted.set("reference", [...wanted.get("reference") ?? [], filter]);
    }
    const list = await engine.imageList({
      all,
      filters: wanted,
      sharedSize: sharedSize && atLeast(c, "1.42"),
      digests,
    });
    return json(list.map((image) => adaptListed(c.var.apiVersion, image)));
  });

  app.post("/images/load", (c) => {
    const input = rawBody(c);
    const { quiet } = readQuery(c, imageLoadQuery);
    const options = { quiet, platform: platformSince(c, "1.48") };
    return messageStream((send, signal) => engine.imageLoad(input, signal, send, options), signalOf(c), true);
  });

  app.post("/images/create", async (c) => {
    const { fromImage, fromSrc, repo, tag, message, platform } = readQuery(c, imageCreateQuery);
    if (fromImage !== undefined) return await pullImage(c, engine, { fromImage, tag, platform });
    const source = fromSrc === undefined || fromSrc === "-" ? undefined : importUrl(fromSrc);
    const reference = repo === undefined ? undefined : withTag(repo, tag);
    const options = {
      reference,
      changes: c.req.queries("changes") ?? [],
      message,
      platform: atLeast(c, "1.32") ? platform : undefined,
      source: source?.href,
    };
    const body = source === undefined ? undefined : await download(source, signalOf(c));
    return await messageStream(async (send, signal) => {
      let input: ReadableStream<Uint8Array>;
      if (body === undefined) input = rawBody(c);
      else {
        send({ status: `Downloading from ${source?.href}` });
        input = body.stream.pipeThrough(counted(body.total, send));
      }
      const { id } = await engine.imageImport(input, options, signal);
      send({ status: id });
    }, signalOf(c));
  });

  app.get("/images/:name/json", async (c) => {
    const platform = platformSince(c, "1.49");
    if (platform !== undefined && readQuery(c, imageInspectQuery).manifests) {
      throw invalid("conflicting options: manifests and platform options cannot both be set");
    }
    const image = await engine.imageInspect(imageName(c), platform);
    return json(adaptInspect(c.var.apiVersion, image, c.req.header("user-agent")));
  });
  app.get(
    "/images/:name/history",
    async (c) => json(await engine.imageHistory(imageName(c), platformSince(c, "1.48"))),
  );

  app.post("/images/:name/tag", async (c) => {
    const { repo, tag } = readQuery(c, tagQuery);
    if (repo === undefined) throw invalid("invalid reference format");
    await engine.imageTag(imageName(c), withTag(repo, tag));
    return bare(201);
  });

  app.delete("/images/:name", async (c) => {
    const { force, noprune } = readQuery(c, imageRemoveQuery);
    return json(
      await engine.imageRemove(imageName(c), { force, noPrune: noprune, platform: platformOfRemoval(c) }),
    );
  });
}

function imageName(c: AppContext): string {
  const name = pathName(c);
  if (name.trim() === "") throw invalid("image name cannot be blank");
  return name;
}

/** As in Docker, a host without a scheme is asked by HTTP. */
function importUrl(text: string): URL {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    throw invalid(`invalid source URL: ${text}`);
  }
  return url;
}

/** @returns what comes, and how many bytes it will be (0: the server does not say). */
async function download(
  url: URL,
  signal: AbortSignal,
): Promise<{ stream: ReadableStream<Uint8Array>; total: number }> {
  let response: Response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    throw new EngineError("system", `Get "${url.href}": ${messageOf(error)}`, { cause: error });
  }
  if (response.ok && response.body !== null) {
    return { stream: response.body, total: Number(response.headers.get("content-length")) || 0 };
  }
  await response.body?.cancel();
  throw new EngineError(
    response.status === 404 ? "not-found" : "system",
    `failed to GET ${url.href}: ${response.status} ${response.statusText}`.trim(),
  );
}

/** Bytes between two lines of progress. */
const PROGRESS_STEP = 512 * 1024;

/** Passes bytes on and tells how many there were, in the last line all of them. */
function counted(
  total: number,
  send: (message: Record<string, unknown>) => void,
): TransformStream<Uint8Array, Uint8Array> {
  let current = 0;
  let told = 0;
  const tell = () => {
    told = current;
    send(jsonMessage({ status: "Importing", progress: { current, total } }));
  };
  return new TransformStream({
    transform(chunk, controller) {
      current += chunk.length;
      if (current - told >= PROGRESS_STEP) tell();
      controller.enqueue(chunk);
    },
    flush() {
      if (current > told) tell();
    },
  });
}
