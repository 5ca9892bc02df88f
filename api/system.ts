import { type App, type Services } from "./context.ts";
import { constantText, json } from "./reply.ts";
import { adaptInfo } from "./system_versions.ts";

const PING_HEADERS = {
  // "2" would make old command lines ask for BuildKit over gRPC.
  "Builder-Version": "1",
  "Swarm": "inactive",
  "Cache-Control": "no-cache, no-store, must-revalidate",
  "Pragma": "no-cache",
};

export function systemRoutes(app: App, { engine }: Services): void {
  app.get("/_ping", (c) => constantText(c.req.method === "HEAD" ? "" : "OK", PING_HEADERS));
  app.get("/version", async () => json(await engine.version()));
  app.get("/info", async (c) => json(adaptInfo(c.var.apiVersion, await engine.info())));
}
