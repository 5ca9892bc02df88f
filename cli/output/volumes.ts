import type { Row } from "./list_format.ts";
import { humanSize } from "./units.ts";

/** What lists of volumes have of each. */
export interface VolumeSummary {
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Mountpoint: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  /** Only of volumes that a swarm has, which only a real Docker may have. */
  readonly ClusterVolume?: unknown;
  /** Only in `system df`. */
  readonly UsageData?: { readonly RefCount: number; readonly Size: number } | null;
}

export const VOLUME_HEADERS = {
  Name: "VOLUME NAME",
  Driver: "DRIVER",
  Scope: "SCOPE",
  Availability: "AVAILABILITY",
  Mountpoint: "MOUNTPOINT",
  Labels: "LABELS",
  Links: "LINKS",
  Size: "SIZE",
  Group: "GROUP",
  Status: "STATUS",
};

export function volumeRow({ Name, Driver, Scope, Mountpoint, Labels, UsageData }: VolumeSummary): Row {
  return {
    Name: () => Name,
    Driver: () => Driver,
    Scope: () => Scope,
    // of volumes of a cluster
    Availability: () => "N/A",
    Group: () => "N/A",
    Status: () => "N/A",
    Mountpoint: () => Mountpoint,
    Labels: () => Object.entries(Labels ?? {}).map(([key, value]) => `${key}=${value}`).sort().join(","),
    Links: () => UsageData ? String(UsageData.RefCount) : "N/A",
    Size: () => UsageData ? volumeSize(UsageData.Size) : "N/A",
  };
}

/** -1: nobody can tell. */
export const volumeSize = (size: number): string => size < 0 ? "N/A" : humanSize(size);
