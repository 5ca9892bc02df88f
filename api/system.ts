import { BUILD_SESSION_VERSION } from "../base/build_session.ts";
import { type App, type Services } from "./context.ts";
import { constantText, json } from "./reply.ts";
import { adaptInfo } from "./system_versions.ts";
import { pathOf, splitVersion } from "./version.ts";

const PING_HEADERS = {
  // "2" would make old command lines ask for BuildKit over gRPC.
  "Builder-Version": "1",
  "Berth-Build": BUILD_SESSION_VERSION,
  "Swarm": "inactive",
  "Cache-Control": "no-cache, no-store, must-revalidate",
  "Pragma": "no-cache",
};

export function systemRoutes(app: App, { engine }: Services): void {
  app.get("/_ping", (c) => constantText(c.req.method === "HEAD" ? "" : "OK", PING_HEADERS));
  app.get("/version", async () => json(await engine.version()));
  app.get("/openapi.json", async (c) => {
    const { openApiDocument } = await import("./openapi/document.ts");
    const [prefix] = splitVersion(pathOf(c.req.url));
    return json(openApiDocument(c.var.apiVersion, prefix === undefined ? "" : `/v${prefix}`));
  });
  app.get("/info", async (c) => json(adaptInfo(c.var.apiVersion, await engine.info())));
}
