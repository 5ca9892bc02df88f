import { type Engine } from "../engine/types.ts";
import { createApp } from "./app.ts";
import { type ListenAddress } from "./http/listener.ts";
import { serveHttp, type Server, type ServerOptions } from "./server.ts";

/**
 * Serves the Engine API of `engine` on all `listeners`.
 *
 * @throws EngineError when an address cannot be used; nothing is left listening then.
 */
export function serveApi(
  engine: Engine,
  listeners: readonly ListenAddress[],
  options: ServerOptions = {},
): Promise<Server> {
  const app = createApp(engine, options.log);
  return serveHttp((request, exchange) => app.fetch(request, exchange), listeners, options);
}
