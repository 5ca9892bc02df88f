/** Containers as lists show them. */

import type { ContainerSummary } from "../api_types.ts";
import { goTimeString, humanDuration } from "./durations.ts";
import type { Row } from "./list_format.ts";
import { ellipsis, familiarName, shortId, splitReference } from "./names.ts";
import { displayPorts } from "./ports.ts";
import { humanSizeShort } from "./units.ts";

export const CONTAINER_HEADERS = {
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
export const CONTAINER_TYPE = "*formatter.ContainerContext";

const COMMAND_WIDTH = 20;
const MOUNT_WIDTH = 15;

/** @param short ids, commands and names of mounts are cut. */
export function containerRow(item: ContainerSummary, short: boolean): Row {
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
