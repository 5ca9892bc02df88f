import { invalid } from "../base/errors.ts";
import type { DiskUsageObject } from "../engine/file_types.ts";
import { type App, atLeast, readQuery, type Services, signalOf } from "./context.ts";
import { json } from "./reply.ts";
import { adaptDiskUsage } from "./system_versions.ts";
import { filterQuery } from "./schemas/queries.ts";

const OBJECTS: readonly DiskUsageObject[] = ["container", "image", "volume", "build-cache"];

/** What takes space, and giving it back. */
export function diskUsageRoutes(app: App, { engine }: Services): void {
  app.get("/system/df", async (c) => {
    const wanted = atLeast(c, "1.42") ? c.req.queries("type") ?? [] : [];
    for (const type of wanted) {
      if (!OBJECTS.some((one) => one === type)) throw invalid(`unknown object type: ${type}`);
    }
    const objects = OBJECTS.filter((one) => wanted.length === 0 || wanted.includes(one));
    return json(adaptDiskUsage(c.var.apiVersion, await engine.diskUsage(new Set(objects))));
  });

  app.post("/containers/prune", async (c) => {
    return json(await engine.pruneContainers(readQuery(c, filterQuery).filters, signalOf(c)));
  });

  app.post("/images/prune", async (c) => {
    return json(await engine.pruneImages(readQuery(c, filterQuery).filters, signalOf(c)));
  });
}
