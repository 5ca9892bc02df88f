import type { EventMessage } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { text } from "../flags/spec.ts";
import { jsonTexts } from "../json_lines.ts";
import { apiTimestamp, rfc3339Nano } from "../output/durations.ts";
import { FORMAT_HELP } from "../output/help_texts.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    filter: filter("Filter output based on conditions provided", { short: "f" }),
    format: text(FORMAT_HELP),
    since: text("Show all events created since timestamp"),
    until: text("Stream events until this timestamp"),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const render = await renderer(flags.format);
    const response = await client.request("GET", "/events", {
      query: {
        since: flags.since === "" ? undefined : apiTimestamp(flags.since),
        until: flags.until === "" ? undefined : apiTimestamp(flags.until),
        filters: filterQuery(flags.filter),
      },
    });
    for await (const text of jsonTexts(response.body())) printLine(render(text));
  },
});

async function renderer(format: string): Promise<(text: string) => string> {
  if (format === "") return (text) => describe(parse(text));
  if (format === "json" || format === "{{json .}}") return (text) => text;
  const { Template } = await import("../template/execute.ts");
  const { asStruct } = await import("../template/values.ts");
  const { orTemplateError, TEMPLATE_EXIT } = await import("../output/template_text.ts");
  const { asGoTypes } = await import("../template/go_types.ts");
  const message = (event: EventMessage) => asStruct(asGoTypes(fields(event)) as object, "*events.Message");
  return orTemplateError("Error parsing format: ", () => {
    const template = new Template(format);
    template.render(message({}));
    return (text) => template.render(message(parse(text)));
  }, TEMPLATE_EXIT);
}

/** Nanoseconds since 1970 do not fit a double: they stay as they were written. */
function parse(text: string): EventMessage {
  return JSON.parse(
    text,
    (key: string, value: unknown, context?: { source?: string }) =>
      key === "timeNano" ? BigInt(context?.source ?? String(value)) : value,
  ) as EventMessage;
}

/** The event with the field names of Go's structure. */
function fields(event: EventMessage): object {
  const { Type = "", Action = "", Actor, scope = "", time = 0, timeNano = 0n } = event;
  const ID = Actor?.ID ?? "";
  return {
    Type,
    Action,
    Actor: { ID, Attributes: Actor?.Attributes ?? {} },
    Scope: scope,
    Time: time,
    TimeNano: timeNano,
    Status: Action,
    ID,
    From: Actor?.Attributes?.image ?? "",
  };
}

function describe({ Type, Action, Actor, time, timeNano }: EventMessage): string {
  const stamp = timeNano
    ? `${rfc3339Nano(timeNano)} `
    : time
    ? `${rfc3339Nano(BigInt(time) * 10n ** 9n)} `
    : "";
  const attributes = Object.entries(Actor?.Attributes ?? {}).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([key, value]) => `${key}=${value}`);
  const shown = attributes.length === 0 ? "" : ` (${attributes.join(", ")})`;
  return `${stamp}${Type} ${Action} ${Actor?.ID ?? ""}${shown}`;
}
