/** `system df --verbose`: what there is of images, containers, volumes and build cache, one by one. */

import type { ContainerSummary, ImageSummary } from "../api_types.ts";
import { byLastUse, type CacheRecord, cacheRow, cacheSize } from "./build_cache.ts";
import { CONTAINER_TYPE, containerRow } from "./containers.ts";
import { IMAGE_TYPE, imageRow } from "./images.ts";
import { type Row, templateFields } from "./list_format.ts";
import { familiarName, splitReference } from "./names.ts";
import { RAW_USAGE_DETAILS } from "./raw_formats.ts";
import { table } from "./table.ts";
import { humanSize } from "./units.ts";
import { volumeRow, type VolumeSummary } from "./volumes.ts";

/** What the engine says of its disk. */
export interface Usage {
  readonly LayersSize?: number;
  /** Of berth, and of Docker from version 1.52 of the API on. */
  readonly ImageUsage?: { readonly Reclaimable?: number };
  readonly Images?: ImageSummary[] | null;
  readonly Containers?: ContainerSummary[] | null;
  readonly Volumes?: VolumeSummary[] | null;
  readonly BuildCache?: CacheRecord[] | null;
}

type Rows = Readonly<Record<"images" | "containers" | "volumes" | "cache", readonly Row[]>>;

/** @param format "" and "table" are docker's four tables; "json", "raw" or a template see everything as one object. */
export async function usageDetails(usage: Usage, format: string): Promise<string> {
  const isTable = format === "" || format === "table";
  const rows = rowsOf(usage, isTable);
  if (isTable) return tables(rows, cacheSize(usage.BuildCache ?? []));
  const { Template } = await import("../template/execute.ts");
  const { asStruct, goJson } = await import("../template/values.ts");
  const { asTemplateText, orTemplateError, TEMPLATE_ERROR } = await import("./template_text.ts");
  const list = (rows: readonly Row[], type: string) => rows.map((row) => asStruct(templateFields(row), type));
  const all = asStruct({
    Images: list(rows.images, IMAGE_TYPE),
    Containers: list(rows.containers, CONTAINER_TYPE),
    Volumes: list(rows.volumes, "*formatter.volumeContext"),
    BuildCache: list(rows.cache, "*formatter.buildCacheContext"),
  }, "*formatter.diskUsageContext");
  if (format === "json") return goJson(all);
  const source = format === "raw" ? RAW_USAGE_DETAILS : asTemplateText(format);
  const template = orTemplateError(TEMPLATE_ERROR, () => new Template(source));
  return orTemplateError("", () => template.render(all));
}

function rowsOf({ Images, Containers, Volumes, BuildCache }: Usage, short: boolean): Rows {
  return {
    images: (Images ?? []).map((image) => {
      const { repository, tag } = splitReference(image.RepoTags?.[0] ?? "<none>:<none>");
      return imageRow({ image, repository: familiarName(repository), tag, digest: "" }, short);
    }),
    // The size with the image's is not shown here.
    containers: (Containers ?? []).map((container) => containerRow({ ...container, SizeRootFs: 0 }, short)),
    volumes: (Volumes ?? []).map(volumeRow),
    cache: [...BuildCache ?? []].sort(byLastUse).map((record) => cacheRow(record, short)),
  };
}

const IMAGES = {
  Repository: "REPOSITORY",
  Tag: "TAG",
  ID: "IMAGE ID",
  CreatedSince: "CREATED",
  Size: "SIZE",
  SharedSize: "SHARED SIZE",
  UniqueSize: "UNIQUE SIZE",
  Containers: "CONTAINERS",
};
const CONTAINERS = {
  ID: "CONTAINER ID",
  Image: "IMAGE",
  Command: "COMMAND",
  LocalVolumes: "LOCAL VOLUMES",
  Size: "SIZE",
  RunningFor: "CREATED",
  Status: "STATUS",
  Names: "NAMES",
};
const VOLUMES = { Name: "VOLUME NAME", Links: "LINKS", Size: "SIZE" };
const BUILD_CACHE = {
  ID: "CACHE ID",
  CacheType: "CACHE TYPE",
  Size: "SIZE",
  CreatedSince: "CREATED",
  LastUsedSince: "LAST USED",
  UsageCount: "USAGE",
  Shared: "SHARED",
};

function tables(rows: Rows, cacheBytes: number): string {
  return [
    "Images space usage:\n",
    columns(rows.images, IMAGES),
    "Containers space usage:\n",
    columns(rows.containers, CONTAINERS),
    "Local Volumes space usage:\n",
    columns(rows.volumes, VOLUMES),
    `Build cache usage: ${humanSize(cacheBytes)}\n`,
    columns(rows.cache, BUILD_CACHE),
  ].join("\n");
}

/** @param headers of the columns, by their fields, in order. */
function columns(rows: readonly Row[], headers: Readonly<Record<string, string>>): string {
  const fields = Object.keys(headers);
  return table([
    Object.values(headers),
    ...rows.map((row) => fields.map((field) => String(row[field]?.() ?? ""))),
  ]);
}
