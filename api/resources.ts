/** What a container may use and does use: update, stats; and pause, which stops it from using anything. */
import type { StatsView } from "../engine/types.ts";
import { type App, atLeast, pathName, readJson, readQuery, type Services, signalOf } from "./context.ts";
import { bare, json, stream } from "./reply.ts";
import { updateBody } from "./schemas/container.ts";
import { statsQuery } from "./schemas/queries.ts";

const encoder = new TextEncoder();

export function resourceRoutes(app: App, { engine }: Services): void {
  app.post("/containers/:name/pause", async (c) => {
    await engine.pause(pathName(c));
    return bare(204);
  });

  app.post("/containers/:name/unpause", async (c) => {
    await engine.unpause(pathName(c));
    return bare(204);
  });

  app.post("/containers/:name/update", async (c) => {
    const { PidsLimit: pids, ...limits } = await readJson(c, updateBody, "UpdateConfig", true);
    const request = pids !== undefined && atLeast(c, "1.40") ? { ...limits, PidsLimit: pids } : limits;
    const { Warnings: warnings } = await engine.update(pathName(c), request);
    return json({ Warnings: warnings.length === 0 ? null : warnings });
  });

  app.get("/containers/:name/stats", async (c) => {
    const query = readQuery(c, statsQuery);
    const signal = signalOf(c);
    if (!query.stream) {
      const oneShot = query["one-shot"] && atLeast(c, "1.41");
      return json(await engine.statsOnce(pathName(c), oneShot, signal));
    }
    return stream(lines(await engine.stats(pathName(c), signal)), "application/json");
  });
}

async function* lines(views: AsyncIterable<StatsView>): AsyncGenerator<Uint8Array> {
  for await (const view of views) yield encoder.encode(`${JSON.stringify(view)}\n`);
}
