import type { ContainerSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { bool, text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";
import { CONTAINER_HEADERS, CONTAINER_TYPE, containerRow } from "../output/containers.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { rawContainer } from "../output/raw_formats.ts";
import { print, printError } from "../stdio.ts";

const COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];

export const command = defineCommand({
  flags: {
    "all": bool("Show all containers (default shows just running)", { short: "a" }),
    "filter": filter("Filter output based on conditions provided", { short: "f" }),
    "format": text(LIST_FORMAT_HELP),
    "last": int("Show n last created containers (includes all states)", { short: "n", default: -1 }),
    "latest": bool("Show the latest created container (includes all states)", { short: "l" }),
    "no-trunc": bool("Don't truncate output"),
    "quiet": bool("Only display container IDs", { short: "q" }),
    "size": bool("Display total file sizes", { short: "s" }),
  },
  usage: "",
  formatKey: "psFormat",
  count: { min: 0, max: 0 },
  async run({ flags, changed, client }) {
    const { format } = flags;
    if (format !== "" && flags.quiet) {
      printError("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    if (format !== "") await checkTemplate(format);
    const limit = flags.latest && flags.last === -1 ? 1 : flags.last;
    // Sizes are costly: they are asked for only when they are shown.
    const size = flags.size ||
      !flags.quiet && !changed.has("size") && /\.Size\b|\bjson\s+\.\s*\}\}/.test(format);
    const items = await client.json<ContainerSummary[] | null>("GET", "/containers/json", {
      query: {
        all: flags.all || undefined,
        limit: limit > 0 ? limit : undefined,
        size: size || undefined,
        filters: filterQuery(flags.filter),
      },
    });
    print(
      await formatList({
        items: items ?? [],
        row: (item) => containerRow(item, !flags["no-trunc"]),
        methods: ({ Labels }) => ({ Label: (name: string) => Labels?.[name] ?? "" }),
        type: CONTAINER_TYPE,
        headers: CONTAINER_HEADERS,
        columns: flags.size ? [...COLUMNS, "Size"] : COLUMNS,
        format: format === "raw" ? rawContainer(flags.quiet, flags.size) : flags.quiet ? "" : format,
        quiet: flags.quiet ? "ID" : undefined,
      }),
    );
  },
});

/** Refuses a wrong template before the engine is asked; columns in errors count from the start of the whole format. */
async function checkTemplate(format: string): Promise<void> {
  const { Template } = await import("../template/execute.ts");
  const { asStruct } = await import("../template/values.ts");
  const { orTemplateError } = await import("../output/template_text.ts");
  const template = orTemplateError("failed to parse template: ", () => new Template(format));
  const sample = asStruct({ ...CONTAINER_HEADERS, Label: (name: string) => name }, CONTAINER_TYPE);
  orTemplateError("failed to execute template: ", () => template.render(sample));
}
