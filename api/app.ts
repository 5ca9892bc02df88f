import { Hono } from "hono";
import { type Engine } from "../engine/types.ts";
import { archiveRoutes } from "./archive.ts";
import { buildRoutes } from "./build.ts";
import { buildkitRoutes } from "./buildkit.ts";
import { commitRoutes } from "./commit.ts";
import { containerRoutes } from "./containers.ts";
import { type App, type AppEnv, type Log, type Services } from "./context.ts";
import { eventRoutes } from "./events.ts";
import { execRoutes } from "./exec.ts";
import { imageTransferRoutes } from "./image_transfer.ts";
import { diskUsageRoutes } from "./disk_usage.ts";
import { imageRoutes } from "./images.ts";
import { networkRoutes } from "./networks.ts";
import { bare, errorReply, json } from "./reply.ts";
import { resourceRoutes } from "./resources.ts";
import { systemRoutes } from "./system.ts";
import { unavailableRoutes } from "./unavailable.ts";
import { volumeRoutes } from "./volumes.ts";
import { negotiate, pathOf, splitVersion } from "./version.ts";

/** What follows an image's name in a path, by method; the name itself may contain slashes. */
const IMAGE_SUFFIXES: Readonly<Record<string, RegExp>> = {
  GET: /\/(?:json|history|get|attestations)$/,
  HEAD: /\/(?:json|history|get|attestations)$/,
  POST: /\/(?:push|tag)$/,
  DELETE: /$/,
};

/**
 * The path that routes are matched against: without `/v1.xx`, and with the slashes inside of an image's name escaped,
 * so that the router sees one segment (which it decodes again).
 */
export function routePath(request: Request): string {
  const [, path] = splitVersion(pathOf(request.url));
  const room = /^\/(?:images|distribution)\//.exec(path)?.[0];
  if (room === undefined) return path;
  const rest = path.slice(room.length).replaceAll(/%2f/gi, "/");
  if (!rest.includes("/")) return path;
  const suffix = IMAGE_SUFFIXES[request.method]?.exec(rest)?.[0];
  if (suffix === undefined) return path;
  const name = rest.slice(0, rest.length - suffix.length);
  return `${room}${name.replaceAll("/", "%2F")}${suffix}`;
}

/**
 * The whole Engine API on top of `engine`. Its `fetch` takes the server's Exchange as Hono's `env`; without one
 * (in tests) everything works but attach and exec, which need a connection to take over.
 */
export function createApp(engine: Engine, log: Log = () => {}): App {
  const app = new Hono<AppEnv>({ getPath: routePath });
  app.onError((error) => errorReply(error, log));
  // Docker's router says the same for a path that exists with another method.
  app.notFound(() => json({ message: "page not found" }, 404));
  app.use(async (c, next) => {
    const whole = pathOf(c.req.url);
    // `DOCKER_HOST=tcp://host:2375/` makes some clients ask for `//info`: Go's router sends them to the clean path.
    if (whole.includes("//")) {
      const query = c.req.url.indexOf("?");
      const search = query < 0 ? "" : c.req.url.slice(query);
      return bare(301, { Location: whole.replaceAll(/\/{2,}/g, "/") + search });
    }
    const [version, path] = splitVersion(whole);
    c.set("apiVersion", negotiate(version));
    // Hono would answer any HEAD as a GET without body; Docker has it for these two.
    if (c.req.method === "HEAD" && path !== "/_ping" && !path.endsWith("/archive")) return c.notFound();
    await next();
  });
  app.options("*", () => bare(200));
  const services: Services = { engine, log };
  systemRoutes(app, services);
  eventRoutes(app, services);
  containerRoutes(app, services);
  resourceRoutes(app, services);
  archiveRoutes(app, services);
  commitRoutes(app, services);
  buildRoutes(app, services);
  diskUsageRoutes(app, services);
  execRoutes(app, services);
  imageTransferRoutes(app, services);
  imageRoutes(app, services);
  networkRoutes(app, services);
  volumeRoutes(app, services);
  buildkitRoutes(app, services);
  unavailableRoutes(app);
  return app;
}
