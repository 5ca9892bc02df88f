import type { ContainerSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { bool, text } from "../flags/spec.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { formatList } from "../output/list_format.ts";
import { cacheSize } from "../output/build_cache.ts";
import { RAW_USAGE } from "../output/raw_formats.ts";
import { humanSize } from "../output/units.ts";
import type { Usage } from "../output/usage_details.ts";
import type { VolumeSummary } from "../output/volumes.ts";
import { print } from "../stdio.ts";

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
    const usage = await client.json<Usage>("GET", "/system/df");
    if (flags.verbose) {
      const { usageDetails } = await import("../output/usage_details.ts");
      print(await usageDetails(usage, flags.format));
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
        format: flags.format === "raw" ? RAW_USAGE : flags.format,
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
      size: cacheSize(cache),
      reclaimable: cacheSize(cache.filter(({ InUse }) => !InUse)),
    },
  ];
}

function reclaimable(line: Line): string {
  if (line.type === "Build Cache" || line.size <= 0) return humanSize(line.reclaimable);
  return `${humanSize(line.reclaimable)} (${Math.trunc((line.reclaimable * 100) / line.size)}%)`;
}
