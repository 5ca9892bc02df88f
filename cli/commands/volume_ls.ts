import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { bool, text } from "../flags/spec.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { compareNaturally } from "../output/natural_order.ts";
import { rawVolume } from "../output/raw_formats.ts";
import { print } from "../stdio.ts";
import { VOLUME_HEADERS, volumeRow, type VolumeSummary } from "../output/volumes.ts";

export const command = defineCommand({
  flags: {
    "cluster": bool("Display only cluster volumes, and use cluster volume list formatting", { hidden: true }),
    "filter": filter(`Provide filter values (e.g. "dangling=true")`, { short: "f" }),
    "format": text(LIST_FORMAT_HELP),
    "quiet": bool("Only display volume names", { short: "q" }),
  },
  usage: "",
  formatKey: "volumesFormat",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    const { Volumes } = await client.json<{ Volumes?: VolumeSummary[] | null }>("GET", "/volumes", {
      query: { filters: filterQuery(flags.filter) },
    });
    print(
      await formatList({
        items: (Volumes ?? []).filter(({ ClusterVolume }) => !flags.cluster || ClusterVolume).sort((a, b) =>
          compareNaturally(a.Name, b.Name)
        ),
        row: volumeRow,
        methods: ({ Labels }) => ({ Label: (name: string) => Labels?.[name] ?? "" }),
        type: "*formatter.volumeContext",
        headers: VOLUME_HEADERS,
        columns: flags.cluster ? ["Name", "Group", "Driver", "Availability", "Status"] : ["Driver", "Name"],
        format: flags.format === "raw" ? rawVolume(flags.quiet) : flags.format,
        quiet: flags.quiet ? "Name" : undefined,
      }),
    );
  },
});
