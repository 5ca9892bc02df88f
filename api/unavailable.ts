/** Routes of the Engine API that this engine refuses, each with the reason as its answer. */
import { EngineError, type ErrorKind, notFound } from "../base/errors.ts";
import { type App } from "./context.ts";
import { json } from "./reply.ts";

const NO_EXPERIMENTS =
  "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.";
const NO_PLUGINS = "this engine runs no plugins: volumes, networks, logs and authorization are built in";
const NO_SWARM_MODE = "this engine has no swarm mode: it can neither make a swarm nor join one";
/** Docker's answer to what only a swarm has. */
export const NO_SWARM =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

/** No plugin is there, so Docker's answer for one that is not there is the answer for all. */
const NO_SUCH_PLUGIN = "plugin %q not found";

/** What is refused whatever the request says; `%q` is the name in the path. */
export const REFUSED: readonly [method: string, path: string, kind: ErrorKind, message: string][] = [
  ["GET", "/containers/:name/checkpoints", "not-implemented", NO_EXPERIMENTS],
  ["POST", "/containers/:name/checkpoints", "not-implemented", NO_EXPERIMENTS],
  ["DELETE", "/containers/:name/checkpoints/:checkpoint", "not-implemented", NO_EXPERIMENTS],
  ["GET", "/plugins/privileges", "not-implemented", NO_PLUGINS],
  ["POST", "/plugins/pull", "not-implemented", NO_PLUGINS],
  ["POST", "/plugins/create", "not-implemented", NO_PLUGINS],
  ["POST", "/plugins/:name/enable", "not-found", NO_SUCH_PLUGIN],
  ["POST", "/plugins/:name/disable", "not-found", NO_SUCH_PLUGIN],
  ["POST", "/plugins/:name/upgrade", "not-found", NO_SUCH_PLUGIN],
  ["POST", "/plugins/:name/push", "not-found", NO_SUCH_PLUGIN],
  ["POST", "/plugins/:name/set", "not-found", NO_SUCH_PLUGIN],
  ["DELETE", "/plugins/:name", "not-found", NO_SUCH_PLUGIN],
  [
    "PUT",
    "/volumes/:name",
    "unavailable",
    "volume update only valid for cluster volumes, but swarm is unavailable",
  ],
  ["POST", "/swarm/init", "not-implemented", NO_SWARM_MODE],
  ["POST", "/swarm/join", "not-implemented", NO_SWARM_MODE],
  ["POST", "/swarm/leave", "unavailable", "This node is not part of a swarm"],
];

const SWARM = ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"];

export function unavailableRoutes(app: App): void {
  for (const [method, path, kind, message] of REFUSED) {
    app.on(method, path, (c) => {
      throw new EngineError(kind, message.replace("%q", () => JSON.stringify(c.req.param("name"))));
    });
  }
  app.get("/plugins", () => json([]));
  // `docker inspect NAME` asks every kind of object in turn, and goes on only after a 404.
  app.get("/plugins/:name/json", (c) => {
    throw notFound(`plugin ${JSON.stringify(c.req.param("name"))} not found`);
  });
  for (const path of SWARM) {
    const refuse = (): never => {
      throw new EngineError("unavailable", NO_SWARM);
    };
    app.all(path, refuse);
    app.all(`${path}/*`, refuse);
  }
}
