import * as z from "zod/mini";
import { type App, atLeast, pathName, readJson, readQuery, type Services, signalOf } from "./context.ts";
import { bare, json } from "./reply.ts";
import { opt, struct, text, textMap } from "./schemas/go.ts";
import { filters, flag } from "./schemas/query.ts";

const createBody = struct("volume.CreateOptions", {
  Name: opt(text),
  Driver: opt(text),
  DriverOpts: opt(textMap),
  Labels: opt(textMap),
});
const listQuery = z.object({ filters });
const removeQuery = z.object({ force: flag });

export function volumeRoutes(app: App, { engine }: Services): void {
  app.get("/volumes", (c) => {
    const Volumes = engine.volumeList(readQuery(c, listQuery).filters);
    return json({ Volumes, Warnings: null });
  });

  app.post("/volumes/create", async (c) => {
    const { Name, Driver, DriverOpts, Labels } = await readJson(
      c,
      createBody,
      "volume.CreateOptions",
      true,
    );
    const request = {
      name: Name,
      driver: Driver,
      options: DriverOpts ?? {},
      labels: Labels ?? {},
    };
    return json(engine.volumeCreate(request), 201);
  });

  app.post("/volumes/prune", async (c) => {
    const wanted = new Map(readQuery(c, listQuery).filters);
    // Older versions know no anonymous volumes: all that are not used go.
    if (!atLeast(c, "1.42")) wanted.set("all", ["true"]);
    return json(await engine.pruneVolumes(wanted, signalOf(c)));
  });

  app.get("/volumes/:name", (c) => json(engine.volumeInspect(pathName(c))));

  app.delete("/volumes/:name", async (c) => {
    const { force } = readQuery(c, removeQuery);
    await engine.volumeRemove(pathName(c), force);
    return bare(204);
  });
}
