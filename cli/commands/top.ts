import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { alignTabs } from "../output/table.ts";
import { print } from "../stdio.ts";

export const command = defineCommand({
  flags: {},
  usage: "CONTAINER [ps OPTIONS]",
  count: { min: 1 },
  interspersed: false,
  completes: "container",
  async run({ args: [name = "", ...options], client }) {
    const answer = await client.json<{ Titles?: string[]; Processes?: string[][] | null } | null>(
      "GET",
      `/containers/${segment(name, "container")}/top`,
      { query: { ps_args: options.length === 0 ? undefined : options.join(" ") } },
    );
    const rows = [answer?.Titles ?? [], ...(answer?.Processes ?? [])];
    // docker's tabwriter of this command: columns of at least 20, and a tab after the last cell too.
    print(alignTabs(rows.map((row) => row.join("\t")).join("\n"), 20, 1) + "\n");
  },
});
