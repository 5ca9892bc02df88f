import type { ContainerSummary, ImageSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { humanDuration } from "../output/durations.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { ellipsis, shortId, splitReference } from "../output/names.ts";
import { table } from "../output/table.ts";
import { humanSize, humanSizeShort } from "../output/units.ts";
import { volumeSize, type VolumeSummary } from "../output/volumes.ts";
import { print } from "../stdio.ts";

interface Usage {
  readonly LayersSize?: number;
  /** Of berth, and of Docker from version 1.52 of the API on. */
  readonly ImageUsage?: { readonly Reclaimable?: number };
  readonly Images?: ImageSummary[] | null;
  readonly Containers?: ContainerSummary[] | null;
  readonly Volumes?: VolumeSummary[] | null;
  readonly BuildCache?: CacheRecord[] | null;
}

interface CacheRecord {
  readonly ID: string;
  readonly Type?: string;
  readonly Size: number;
  readonly CreatedAt: string;
  readonly LastUsedAt?: string | null;
  readonly UsageCount?: number;
  readonly InUse?: boolean;
  readonly Shared?: boolean;
}

interface Line {
  readonly type: string;
  readonly total: number;
  readonly active: number;
  readonly size: number;
  readonly reclaimable: number;
}

const HEADERS = {
  Type: "TYPE",
  TotalCount: "TOTAL",
  Active: "ACTIVE",
  Size: "SIZE",
  Reclaimable: "RECLAIMABLE",
};

export const command = defineCommand({
  flags: {
    format: text(LIST_FORMAT_HELP),
    verbose: bool("Show detailed information on space usage", { short: "v" }),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client }) {
    if (flags.verbose && flags.format !== "" && flags.format !== "table") {
      throw new CliError("the verbose option is only available with the default format");
    }
    const usage = await client.json<Usage>("GET", "/system/df");
    if (flags.verbose) {
      print(details(usage));
      return;
    }
    print(
      await formatList({
        items: summary(usage),
        row: (line) => ({
          Type: () => line.type,
          TotalCount: () => String(line.total),
          Active: () => String(line.active),
          Size: () => humanSize(line.size),
          Reclaimable: () => reclaimable(line),
        }),
        type: "*formatter.diskUsageImagesContext",
        headers: HEADERS,
        columns: ["Type", "TotalCount", "Active", "Size", "Reclaimable"],
        format: flags.format,
        quiet: undefined,
      }),
    );
  },
});

const isActive = ({ State }: ContainerSummary) => /running|paused|restarting/.test(State ?? "");

function summary({ LayersSize = 0, Images, Containers, Volumes, BuildCache, ImageUsage }: Usage): Line[] {
  const images = Images ?? [], containers = Containers ?? [];
  const used = images.filter((image) => (image.Containers ?? 0) > 0);
  const usedBytes = used.reduce((sum, image) => sum + image.Size - (image.SharedSize ?? 0), 0);
  const volumes = Volumes ?? [], cache = BuildCache ?? [];
  const cacheBytes = (list: readonly CacheRecord[]) =>
    list.reduce((sum, { Size, Shared }) => sum + (Shared ? 0 : Size), 0);
  const links = ({ UsageData }: VolumeSummary) => UsageData?.RefCount ?? 0;
  const bytes = (list: readonly VolumeSummary[]) =>
    list.reduce((sum, { UsageData }) => sum + Math.max(0, UsageData?.Size ?? 0), 0);
  const rw = (list: readonly ContainerSummary[]) => list.reduce((sum, one) => sum + (one.SizeRw ?? 0), 0);
  return [
    {
      type: "Images",
      total: images.length,
      active: used.length,
      size: LayersSize,
      reclaimable: ImageUsage?.Reclaimable ?? LayersSize - usedBytes,
    },
    {
      type: "Containers",
      total: containers.length,
      active: containers.filter(isActive).length,
      size: rw(containers),
      reclaimable: rw(containers.filter((container) => !isActive(container))),
    },
    {
      type: "Local Volumes",
      total: volumes.length,
      active: volumes.filter((volume) => links(volume) > 0).length,
      size: bytes(volumes),
      reclaimable: bytes(volumes.filter((volume) => links(volume) === 0)),
    },
    {
      type: "Build Cache",
      total: cache.length,
      active: cache.filter(({ InUse }) => InUse).length,
      size: cacheBytes(cache),
      reclaimable: cacheBytes(cache.filter(({ InUse }) => !InUse)),
    },
  ];
}

function reclaimable(line: Line): string {
  if (line.type === "Build Cache" || line.size <= 0) return humanSize(line.reclaimable);
  return `${humanSize(line.reclaimable)} (${Math.trunc((line.reclaimable * 100) / line.size)}%)`;
}

/** docker's four tables. */
function details({ Images, Containers, Volumes, BuildCache }: Usage): string {
  const ago = (created: number) => `${humanDuration(Date.now() / 1000 - created)} ago`;
  const cache = BuildCache ?? [];
  const images = (Images ?? []).map((image) => {
    const { repository, tag } = splitReference(image.RepoTags?.[0] ?? "<none>:<none>");
    const shared = image.SharedSize ?? 0;
    return [
      repository,
      tag,
      shortId(image.Id),
      ago(image.Created),
      humanSizeShort(image.Size),
      humanSize(shared),
      humanSize(image.Size - shared),
      String(image.Containers ?? 0),
    ];
  });
  const containers = (Containers ?? []).map((container) => [
    shortId(container.Id),
    container.Image,
    ellipsis(JSON.stringify(container.Command ?? ""), 20),
    String((container.Mounts ?? []).filter(({ Driver }) => Driver === "local").length),
    humanSizeShort(container.SizeRw ?? 0),
    ago(container.Created),
    container.Status ?? "",
    (container.Names ?? []).map((name) => name.replace(/^\//, "")).join(","),
  ]);
  return [
    "Images space usage:\n",
    table([
      ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"],
      ...images,
    ]),
    "Containers space usage:\n",
    table([
      ["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"],
      ...containers,
    ]),
    "Local Volumes space usage:\n",
    table([
      ["VOLUME NAME", "LINKS", "SIZE"],
      ...(Volumes ?? []).map(({ Name, UsageData }) => [
        Name,
        String(UsageData?.RefCount ?? 0),
        volumeSize(UsageData?.Size ?? -1),
      ]),
    ]),
    `Build cache usage: ${
      humanSize(cache.reduce((sum, { Size, Shared }) => sum + (Shared ? 0 : Size), 0))
    }\n`,
    table([
      ["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"],
      ...cache.map((record) => [
        // docker marks what a build has in its hands
        `${record.ID.slice(0, 12)}${record.InUse ? "*" : ""}`,
        record.Type ?? "",
        humanSizeShort(record.Size),
        ago(Date.parse(record.CreatedAt) / 1000),
        record.LastUsedAt ? ago(Date.parse(record.LastUsedAt) / 1000) : "",
        String(record.UsageCount ?? 0),
        String(record.Shared ?? false),
      ]),
    ]),
  ].join("\n");
}
