import type { ApiClient } from "../api_client.ts";
import type { ContainerSummary, EventMessage } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { jsonValues } from "../json_lines.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { shortId } from "../output/names.ts";
import { STATS_COLUMNS, STATS_HEADERS, statsRow } from "../stats/entry.ts";
import { StatsWatch } from "../stats/watch.ts";
import { print } from "../stdio.ts";

/** How often the live view is drawn; the engine measures once a second. */
const REFRESH_MS = 500;

/** Control sequences of terminals (ECMA-48): to the upper left corner, clear to the line's end, clear what is below. */
const HOME = "\x1b[H", CLEAR_LINE = "\x1b[K", CLEAR_BELOW = "\x1b[J";

export const command = defineCommand({
  flags: {
    "all": bool("Show all containers (default shows just running)", { short: "a" }),
    "format": text(LIST_FORMAT_HELP),
    "no-stream": bool("Disable streaming stats and only pull the first result"),
    "no-trunc": bool("Do not truncate output"),
  },
  usage: "[CONTAINER...]",
  formatKey: "statsFormat",
  count: { min: 0 },
  completes: "container",
  async run({ flags, args, client }) {
    using watch = new StatsWatch(client, !flags["no-stream"]);
    const events = new AbortController();
    using _stopEvents = { [Symbol.dispose]: () => events.abort() };
    const shown = () =>
      formatList({
        items: watch.entries(),
        row: (entry) => statsRow(entry, !flags["no-trunc"]),
        type: "*container.statsContext",
        headers: STATS_HEADERS,
        columns: STATS_COLUMNS,
        format: flags.format,
        quiet: undefined,
      });
    let ended: { error?: unknown } | undefined;
    if (args.length === 0) {
      // Told of what comes before it is asked what is there: no container is missed in between.
      const following = await followEvents(client, watch, flags.all, events.signal);
      following.ended.then(() => ended = {}, (error: unknown) => ended = { error });
      const list = await client.json<ContainerSummary[] | null>("GET", "/containers/json", {
        query: { all: flags.all || undefined },
      });
      for (const { Id } of list ?? []) watch.add(shortId(Id));
      await watch.settled();
    } else {
      for (const name of args) watch.add(name);
      await watch.settled();
      const errors = watch.errors();
      if (errors.length > 0) throw new CliError(errors.join("\n"));
    }
    if (flags["no-stream"]) return print(await shown());
    const isTerminal = Deno.stdout.isTerminal();
    while (ended === undefined) {
      const view = await shown();
      print(isTerminal ? HOME + view.replaceAll("\n", `${CLEAR_LINE}\n`) + CLEAR_BELOW : view);
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
    }
    if (ended.error !== undefined) throw ended.error;
  },
});

/** Adds containers that start, and removes those that end, until the engine's events end. */
async function followEvents(
  client: ApiClient,
  watch: StatsWatch,
  all: boolean,
  signal: AbortSignal,
): Promise<{ ended: Promise<void> }> {
  const response = await client.request("GET", "/events", {
    query: { filters: JSON.stringify({ type: { container: true } }) },
    signal,
  });
  const follow = async () => {
    for await (const value of jsonValues(response.body())) {
      const { Action, Actor } = value as EventMessage;
      const id = shortId(Actor?.ID ?? "");
      if (Action === "start" || all && Action === "create") watch.add(id);
      else if (all ? Action === "destroy" : Action === "die") watch.remove(id);
    }
  };
  return { ended: follow() };
}
