import { invalid, messageOf } from "../base/errors.ts";
import { type WaitCondition, type WaitResult } from "../engine/types.ts";
import {
  type App,
  type AppContext,
  atLeast,
  frame,
  hijack,
  pathName,
  readJson,
  readQuery,
  type Services,
  signalOf,
} from "./context.ts";
import { inspectFor, listedFor } from "./container_versions.ts";
import { adaptCreate } from "./create_versions.ts";
import { checkConsoleSize } from "./exec.ts";
import { bare, json, stream } from "./reply.ts";
import { createBody, splitCreateBody } from "./schemas/container.ts";
import { webSocketTakeover } from "./websocket.ts";
import {
  attachQuery,
  containerCreateQuery,
  containerInspectQuery,
  containerListQuery,
  containerRemoveQuery,
  killQuery,
  logsQuery,
  renameQuery,
  sizeQuery,
  startQuery,
  stopQuery,
  topQuery,
  waitQuery,
} from "./schemas/queries.ts";

/** A non-empty JSON object in the body of start has at least this many characters in Docker's eyes. */
const START_BODY_LIMIT = 7;

export function containerRoutes(app: App, { engine, log }: Services): void {
  app.post("/containers/create", async (c) => {
    const { name, platform } = readQuery(c, containerCreateQuery);
    const body = await readJson(c, createBody, "CreateRequest", false);
    checkConsoleSize(body.HostConfig?.ConsoleSize);
    const { config, hostConfig, networkingConfig } = splitCreateBody(body);
    if (config === undefined) throw invalid("config cannot be empty in order to create a container");
    const given = { name, platform, config, hostConfig, networkingConfig };
    const { request, warnings } = adaptCreate(c.var.apiVersion, given);
    const created = await engine.create(request);
    return json({ ...created, Warnings: [...warnings, ...created.Warnings] }, 201);
  });

  app.get("/containers/json", async (c) => {
    const { all, limit, size, filters, since, before } = readQuery(c, containerListQuery);
    const wanted = new Map(filters);
    // Parameters of their own in old clients, filters since.
    for (const [key, value] of [["since", since], ["before", before]] as const) {
      if (value !== undefined) wanted.set(key, [...wanted.get(key) ?? [], value]);
    }
    const most = limit !== undefined && limit > 0 ? limit : undefined;
    // Those parameters show what does not run as well; the filters do not.
    const everything = all || since !== undefined || before !== undefined;
    const list = await engine.list({ all: everything, limit: most, size, filters: wanted });
    return json(list.map((view) => listedFor(c.var.apiVersion, view)));
  });

  app.get(
    "/containers/:name/json",
    async (c) => {
      const view = await engine.inspect(pathName(c), readQuery(c, containerInspectQuery).size);
      return json(inspectFor(c.var.apiVersion, view));
    },
  );

  app.get("/containers/:name/top", async (c) => {
    const { ps_args } = readQuery(c, topQuery);
    return json(await engine.top(pathName(c), ps_args));
  });

  app.get("/containers/:name/logs", async (c) => {
    const options = readQuery(c, logsQuery);
    if (!options.stdout && !options.stderr) {
      throw invalid("Bad parameters: you must choose at least one stream");
    }
    // 0 is how some clients say "no limit".
    const until = options.until === 0n ? undefined : options.until;
    const { tty, chunks } = await engine.logs(pathName(c), { ...options, until }, signalOf(c));
    const type = !tty && atLeast(c, "1.42") ? "multiplexed-stream" : "raw-stream";
    return stream(logChunks(chunks, tty, signalOf(c)), `application/vnd.docker.${type}`);
  });

  app.post("/containers/:name/start", async (c) => {
    const length = c.env?.bodyLength ?? (c.req.raw.body === null ? 0 : undefined);
    if (length === undefined || length > START_BODY_LIMIT) {
      throw invalid(
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
      );
    }
    if (readQuery(c, startQuery).checkpoint !== undefined) {
      throw invalid("checkpoint is only supported in experimental mode");
    }
    await engine.start(pathName(c));
    return bare(204);
  });

  app.post("/containers/:name/stop", async (c) => {
    await engine.stop(pathName(c), stopOptions(c));
    return bare(204);
  });

  app.post("/containers/:name/restart", async (c) => {
    await engine.restart(pathName(c), stopOptions(c));
    return bare(204);
  });

  app.post("/containers/:name/kill", async (c) => {
    await engine.kill(pathName(c), readQuery(c, killQuery).signal);
    return bare(204);
  });

  app.post("/containers/:name/rename", async (c) => {
    await engine.rename(pathName(c), readQuery(c, renameQuery).name ?? "");
    return bare(204);
  });

  app.post("/containers/:name/resize", async (c) => {
    const { h, w } = readQuery(c, sizeQuery);
    await engine.resize(pathName(c), { rows: h, cols: w });
    return bare(200);
  });

  app.post("/containers/:name/wait", async (c) => {
    // Before 1.30 there were no conditions, and nothing was sent before the end.
    const modern = atLeast(c, "1.30");
    const condition = modern ? waitCondition(readQuery(c, waitQuery).condition) : "not-running";
    const { result } = await engine.wait(pathName(c), condition, signalOf(c));
    if (!modern) return json(await result);
    return stream(waitResult(result, signalOf(c)), "application/json");
  });

  app.post("/containers/:name/attach", (c) => {
    const id = pathName(c);
    const options = readQuery(c, attachQuery);
    return hijack(c, (ready) => engine.attach(id, options, ready), (error) => {
      log(`attach to ${id} failed`, error);
      return Promise.resolve();
    });
  });

  app.get("/containers/:name/attach/ws", async (c) => {
    const id = pathName(c);
    const query = readQuery(c, attachQuery);
    // Before 1.42 nobody was asked which streams it should be.
    const options = atLeast(c, "1.42") ? query : { ...query, stdin: true, stdout: true, stderr: true };
    const as = await webSocketTakeover(c);
    if (as instanceof Response) return as;
    return await hijack(c, (ready) => engine.attach(id, options, ready), (error) => {
      log(`attach to ${id} failed`, error);
      return Promise.resolve();
    }, as);
  });

  app.delete("/containers/:name", async (c) => {
    const { force, v, link } = readQuery(c, containerRemoveQuery);
    await engine.remove(pathName(c), { force, volumes: v, link });
    return bare(204);
  });
}

function stopOptions(c: AppContext): { timeout: number | undefined; signal: string | undefined } {
  const { t, signal } = readQuery(c, stopQuery);
  return { timeout: t, signal: atLeast(c, "1.42") ? signal : undefined };
}

function waitCondition(text: string | undefined): WaitCondition {
  switch (text) {
    case undefined:
      return "not-running";
    case "not-running":
    case "next-exit":
    case "removed":
      return text;
    default:
      throw invalid(`invalid condition: ${JSON.stringify(text)}`);
  }
}

const encoder = new TextEncoder();

/** The one line that a wait ends with. The response has begun long before, so errors are part of it. */
async function* waitResult(result: Promise<WaitResult>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let outcome: WaitResult;
  try {
    outcome = await result;
  } catch (error) {
    if (signal.aborted) throw error;
    outcome = { StatusCode: -1, Error: { Message: messageOf(error) } };
  }
  yield encoder.encode(`${JSON.stringify(outcome)}\n`);
}

/** Log chunks, and an error among them as Docker writes it: one more line, on the stream for errors of the engine. */
async function* logChunks(
  chunks: AsyncIterable<Uint8Array>,
  tty: boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    if (signal.aborted) return;
    const line = encoder.encode(`Error grabbing logs: ${messageOf(error)}\n`);
    yield tty ? line : frame("error", line);
  }
}
