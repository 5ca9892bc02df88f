import type { ContainerSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { bool, text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";
import { goTimeString, humanDuration } from "../output/durations.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList, type Row } from "../output/list_format.ts";
import { ellipsis, familiarName, shortId, splitReference } from "../output/names.ts";
import { displayPorts } from "../output/ports.ts";
import { humanSizeShort } from "../output/units.ts";
import { print, printError } from "../stdio.ts";

const COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
const HEADERS = {
  ID: "CONTAINER ID",
  Names: "NAMES",
  Image: "IMAGE",
  Command: "COMMAND",
  CreatedAt: "CREATED AT",
  RunningFor: "CREATED",
  Ports: "PORTS",
  State: "STATE",
  Status: "STATUS",
  Size: "SIZE",
  Labels: "LABELS",
  Mounts: "MOUNTS",
  LocalVolumes: "LOCAL VOLUMES",
  Networks: "NETWORKS",
  Platform: "PLATFORM",
};

/** Go's name of what a template is applied to. */
const TYPE = "*formatter.ContainerContext";

const COMMAND_WIDTH = 20;
const MOUNT_WIDTH = 15;

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
        row: (item) => row(item, !flags["no-trunc"]),
        methods: ({ Labels }) => ({ Label: (name: string) => Labels?.[name] ?? "" }),
        type: TYPE,
        headers: HEADERS,
        columns: flags.size ? [...COLUMNS, "Size"] : COLUMNS,
        format: flags.quiet ? "" : format,
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
  const sample = asStruct({ ...HEADERS, Label: (name: string) => name }, TYPE);
  orTemplateError("failed to execute template: ", () => template.render(sample));
}

function row(item: ContainerSummary, short: boolean): Row {
  const mounts = item.Mounts ?? [];
  return {
    Command: () => JSON.stringify(short ? ellipsis(item.Command ?? "", COMMAND_WIDTH) : item.Command ?? ""),
    CreatedAt: () => goTimeString(item.Created),
    ID: () => short ? shortId(item.Id) : item.Id,
    Image: () => image(item, short),
    Labels: () => Object.entries(item.Labels ?? {}).map(([key, value]) => `${key}=${value}`).sort().join(","),
    LocalVolumes: () => String(mounts.filter(({ Driver }) => Driver === "local").length),
    Mounts: () =>
      mounts.map(({ Name, Source }) => Name || Source || "")
        .map((name) => short ? ellipsis(name, MOUNT_WIDTH) : name).join(","),
    Names: () => names(item, short),
    Networks: () => Object.keys(item.NetworkSettings?.Networks ?? {}).join(","),
    Platform: () => {
      const { os, architecture, variant } = item.ImageManifestDescriptor?.platform ?? {};
      return os === undefined ? null : [os, architecture, variant].filter(Boolean).join("/");
    },
    Ports: () => displayPorts(item.Ports ?? []),
    RunningFor: () => `${humanDuration(Date.now() / 1000 - item.Created)} ago`,
    Size: () => {
      const own = humanSizeShort(item.SizeRw ?? 0);
      return item.SizeRootFs ? `${own} (virtual ${humanSizeShort(item.SizeRootFs)})` : own;
    },
    State: () => item.State ?? "",
    Status: () => item.Status ?? "",
  };
}

function image(item: ContainerSummary, short: boolean): string {
  if (item.Image === "") return "<no image>";
  if (!short) return item.Image;
  if (item.ImageID !== undefined && shortId(item.ImageID) === shortId(item.Image)) {
    return shortId(item.ImageID);
  }
  const { repository, tag } = splitReference(item.Image);
  return familiarName(repository) + (tag === "" ? "" : `:${tag}`);
}

/** Names with a slash inside are those of the old links. */
function names(item: ContainerSummary, short: boolean): string {
  const all = (item.Names ?? []).map((name) => name.replace(/^\//, ""));
  return short ? all.find((name) => !name.includes("/")) ?? "" : all.join(",");
}
