/** Routes of the Engine API that this version does not serve, each with the reason as its answer. */
import { EngineError, notFound } from "../base/errors.ts";
import { type App } from "./context.ts";

/** What other engines serve and this one does not yet: answered by 501. */
export const LATER: readonly [method: string, path: string, what: string][] = [
  ["GET", "/containers/:name/checkpoints", "docker checkpoint"],
  ["POST", "/containers/:name/checkpoints", "docker checkpoint"],
  ["DELETE", "/containers/:name/checkpoints/:checkpoint", "docker checkpoint"],
  ["POST", "/plugins/*", "docker plugin"],
  ["DELETE", "/plugins/:name", "docker plugin"],
];

const SWARM = ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"];

const NO_SWARM =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

export function unavailableRoutes(app: App): void {
  for (const [method, path, what] of LATER) {
    const refuse = (): never => {
      throw new EngineError("not-implemented", `${what} is not available yet in this version of berth`);
    };
    if (method === "*") app.all(path, refuse);
    else app.on(method, path, refuse);
  }
  // `docker inspect NAME` asks every kind of object in turn, and goes on only after a 404.
  app.get("/plugins", (c) => c.json([]));
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
