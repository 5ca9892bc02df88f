import { EngineError } from "../base/errors.ts";
import { type App, atLeast, pathName, readJson, readQuery, type Services, signalOf } from "./context.ts";
import { bare, json } from "./reply.ts";
import { filterQuery, volumeRemoveQuery } from "./schemas/queries.ts";
import { volumeCreateBody } from "./schemas/volume.ts";
import { NO_SWARM } from "./unavailable.ts";

export function volumeRoutes(app: App, { engine }: Services): void {
  app.get("/volumes", (c) => {
    const Volumes = engine.volumeList(readQuery(c, filterQuery).filters);
    return json({ Volumes, Warnings: null });
  });

  app.post("/volumes/create", async (c) => {
    const { Name, Driver, DriverOpts, Labels, ClusterVolumeSpec } = await readJson(
      c,
      volumeCreateBody,
      "volume.CreateOptions",
      true,
    );
    if (ClusterVolumeSpec !== undefined && atLeast(c, "1.42")) {
      throw new EngineError("unavailable", NO_SWARM);
    }
    const request = {
      name: Name,
      driver: Driver,
      options: DriverOpts ?? {},
      labels: Labels ?? {},
    };
    return json(engine.volumeCreate(request), 201);
  });

  app.post("/volumes/prune", async (c) => {
    const wanted = new Map(readQuery(c, filterQuery).filters);
    // Older versions know no anonymous volumes: all that are not used go.
    if (!atLeast(c, "1.42")) wanted.set("all", ["true"]);
    return json(await engine.pruneVolumes(wanted, signalOf(c)));
  });

  app.get("/volumes/:name", (c) => json(engine.volumeInspect(pathName(c))));

  app.delete("/volumes/:name", async (c) => {
    const { force } = readQuery(c, volumeRemoveQuery);
    await engine.volumeRemove(pathName(c), force);
    return bare(204);
  });
}
