import { invalid } from "../base/errors.ts";
import { type EngineEvent } from "../engine/types.ts";
import { type App, atLeast, readQuery, type Services, signalOf } from "./context.ts";
import { stream } from "./reply.ts";
import { eventsQuery } from "./schemas/queries.ts";

const encoder = new TextEncoder();

/**
 * One event as a line of JSON, with the fields that clients before API 1.52 read: status, id and from.
 * timeNano has more digits than a double holds, so it is put in as text.
 */
export function formatEvent(event: EngineEvent): string {
  const { Type, Action, Actor, scope, time, timeNano } = event;
  const legacy = Type === "container"
    ? { status: Action, id: Actor.ID, from: Actor.Attributes["image"] ?? "" }
    : Type === "image"
    ? { status: Action, id: Actor.ID }
    : {};
  const text = JSON.stringify({ ...legacy, Type, Action, Actor, scope, time });
  return `${text.slice(0, -1)},"timeNano":${timeNano}}\n`;
}

export function eventRoutes(app: App, { engine }: Services): void {
  app.get("/events", (c) => {
    const options = readQuery(c, eventsQuery);
    const { since, until } = options;
    if (since !== undefined && until !== undefined && until < since) {
      const { since: from, until: to } = c.req.query();
      throw invalid(`\`since\` time (${from}) cannot be after \`until\` time (${to})`);
    }
    const events = engine.events(options, signalOf(c));
    return stream(lines(events, atLeast(c, "1.46")), "application/json");
  });
}

/** @param creations Images that are made are told since 1.46. */
async function* lines(
  events: AsyncIterable<EngineEvent>,
  creations: boolean,
): AsyncGenerator<Uint8Array> {
  for await (const event of events) {
    if (!creations && event.Type === "image" && event.Action === "create") continue;
    yield encoder.encode(formatEvent(event));
  }
}
