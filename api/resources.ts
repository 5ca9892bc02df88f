/** What a container may use and does use: update, stats; and pause, which stops it from using anything. */
import type { StatsView } from "../engine/types.ts";
import { type App, pathName, readJson, readQuery, type Services, signalOf } from "./context.ts";
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
    const { Warnings: warnings } = await engine.update(
      pathName(c),
      await readJson(c, updateBody, "UpdateConfig", true),
    );
    return json({ Warnings: warnings.length === 0 ? null : warnings });
  });

  app.get("/containers/:name/stats", async (c) => {
    const query = readQuery(c, statsQuery);
    const signal = signalOf(c);
    if (!query.stream) {
      return json(await engine.statsOnce(pathName(c), query["one-shot"], signal));
    }
    return stream(lines(await engine.stats(pathName(c), signal)), "application/json");
  });
}

async function* lines(views: AsyncIterable<StatsView>): AsyncGenerator<Uint8Array> {
  for await (const view of views) yield encoder.encode(`${JSON.stringify(view)}\n`);
}
