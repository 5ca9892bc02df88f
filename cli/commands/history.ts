import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { bool, text } from "../flags/spec.ts";
import { humanDuration } from "../output/durations.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { ellipsis, shortId } from "../output/names.ts";
import { platformQuery } from "../output/platform.ts";
import { humanSizeShort } from "../output/units.ts";
import { print } from "../stdio.ts";

interface Entry {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

const headersOf = (human: boolean) => ({
  ID: "IMAGE",
  CreatedSince: human ? "CREATED" : "CREATED AT",
  CreatedAt: "CREATED AT",
  CreatedBy: "CREATED BY",
  Size: "SIZE",
  Comment: "COMMENT",
});

const CREATED_BY_LENGTH = 45;

export const command = defineCommand({
  flags: {
    "format": text(LIST_FORMAT_HELP),
    "human": bool("Print sizes and dates in human readable format", { short: "H", default: true }),
    "no-trunc": bool("Don't truncate output"),
    "platform": text(
      `Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`,
    ),
    "quiet": bool("Only show image IDs", { short: "q" }),
  },
  usage: "IMAGE",
  count: { min: 1, max: 1 },
  completes: "image",
  async run({ flags, args: [image = ""], client }) {
    const entries = await client.json<Entry[] | null>("GET", `/images/${segment(image)}/history`, {
      query: { platform: flags.platform === "" ? undefined : platformQuery(flags.platform) },
    });
    const short = !flags["no-trunc"];
    const date = ({ Created }: Entry) => new Date(Created * 1000).toISOString().replace(".000Z", "Z");
    print(
      await formatList({
        items: entries ?? [],
        row: (entry) => ({
          ID: () => short ? shortId(entry.Id) : entry.Id,
          CreatedAt: () => date(entry),
          CreatedSince: () =>
            flags.human ? `${humanDuration(Date.now() / 1000 - entry.Created)} ago` : date(entry),
          CreatedBy: () => {
            const by = entry.CreatedBy.replaceAll("\t", " ");
            return short ? ellipsis(by, CREATED_BY_LENGTH) : by;
          },
          Size: () => flags.human ? humanSizeShort(entry.Size) : String(entry.Size),
          Comment: () => entry.Comment,
        }),
        type: "*image.historyContext",
        headers: headersOf(flags.human),
        columns: ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
        format: flags.format,
        quiet: flags.quiet ? "ID" : undefined,
      }),
    );
  },
});
