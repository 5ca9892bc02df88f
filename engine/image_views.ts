/** Images as clients see them: list, inspect, history, and the filters of the list. */
import { invalid } from "../base/errors.ts";
import type { Image } from "../image/types.ts";
import { matchesLabels } from "./container_filters.ts";
import { orderedConfig } from "./field_order.ts";
import { parseFilterTime } from "./human_time.ts";
import type { Filters } from "./types.ts";

const NEVER = "0001-01-01T00:00:00Z";

/** Docker's ImageInspect. */
export function imageInspectView(
  image: Image,
  graphDriver: { readonly name: string; readonly data?: Readonly<Record<string, string>> | null },
): Record<string, unknown> {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parent,
    Comment: String(config["comment"] ?? config.history?.at(-1)?.comment ?? ""),
    Created: image.createdAt,
    DockerVersion: String(config["docker_version"] ?? ""),
    Author: config.author ?? "",
    Config: imageConfigView(image),
    Architecture: config.architecture,
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os,
    Size: image.size,
    VirtualSize: image.size,
    GraphDriver: { Data: graphDriver.data ?? null, Name: graphDriver.name },
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: image.lastTagTime ?? NEVER },
  };
}

function imageConfigView(image: Image): Record<string, unknown> {
  return orderedConfig({
    Hostname: "",
    Domainname: "",
    User: "",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: null,
    Cmd: null,
    Image: "",
    Volumes: null,
    WorkingDir: "",
    Entrypoint: null,
    OnBuild: null,
    Labels: null,
    ...image.config.config,
  });
}

/** One entry of Docker's image list. */
export function imageListView(image: Image, containers = -1): Record<string, unknown> {
  return {
    Id: image.id,
    ParentId: image.parent,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Created: Math.floor(Date.parse(image.createdAt) / 1000),
    Size: image.size,
    SharedSize: -1,
    VirtualSize: image.size,
    Labels: image.config.config?.Labels ?? null,
    Containers: containers,
  };
}

/**
 * Docker's image history, newest first.
 *
 * @param layerSizes unpacked bytes of each layer, bottom first; without it an image of one layer shows its whole size.
 * @param parents the images that this one was committed from, nearest first, as far as they are still there.
 */
export function imageHistoryView(
  image: Image,
  layerSizes?: readonly number[],
  parents: readonly Image[] = [],
): Record<string, unknown>[] {
  const { diff_ids: diffIds } = image.config.rootfs;
  const sizes = layerSizes ?? (diffIds.length === 1 ? [image.size] : []);
  const history = image.config.history ?? diffIds.map(() => ({ created: image.createdAt }));
  let layer = 0;
  const rows = history.map((entry, i) => {
    // moby takes one entry of the history for each image on the way down
    const known = [image, ...parents][history.length - 1 - i];
    const size = "empty_layer" in entry && entry.empty_layer ? 0 : sizes[layer++] ?? 0;
    return {
      Id: known?.id ?? "<missing>",
      Created: Math.floor(Date.parse(entry.created ?? NEVER) / 1000),
      CreatedBy: "created_by" in entry ? entry.created_by ?? "" : "",
      Tags: known !== undefined && known.repoTags.length > 0 ? known.repoTags : null,
      Size: size,
      Comment: "comment" in entry ? entry.comment ?? "" : "",
    };
  });
  return rows.reverse();
}

const KNOWN = ["before", "dangling", "label", "label!", "reference", "since", "until"];

/** Regular expression of a pattern as Go's path.Match takes it: `*` and `?` stop at a slash. */
function globPattern(pattern: string): RegExp {
  const source = pattern.replace(/\[[^\]]*\]|[*?]|[.+^${}()|\\\]]/g, (part) => {
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return part.startsWith("[") ? part.replace(/^\[\^/, "[^") : `\\${part}`;
  });
  try {
    return new RegExp(`^${source}$`);
  } catch {
    throw invalid(`syntax error in pattern: ${JSON.stringify(pattern)}`);
  }
}

/** Whether a pattern means a reference in familiar form, with or without its tag (moby: reference.FamiliarMatch). */
export function matchesReference(pattern: string, reference: string): boolean {
  const name = reference.includes("@") ? reference.replace(/@.*$/, "") : reference.replace(/:[^/:]*$/, "");
  const regex = globPattern(pattern.replace(/^docker\.io\/(library\/)?/, ""));
  return regex.test(reference) || regex.test(name);
}

/**
 * The images that a list shows, newest first, each with the references that the `reference` filter leaves.
 *
 * @param find looks an image up by reference or id, for `before` and `since`; throws not-found.
 * @throws EngineError invalid for an unknown filter.
 */
export function selectImages(
  images: readonly Image[],
  filters: Filters,
  find: (reference: string) => Image,
  now: number = Date.now(),
): Image[] {
  for (const key of filters.keys()) if (!KNOWN.includes(key)) throw invalid(`invalid filter '${key}'`);
  const values = (key: string) => filters.get(key) ?? [];
  const dangling = values("dangling").map((value) => {
    if (!/^(1|0|t|f|true|false)$/i.test(value)) throw invalid(`invalid filter 'dangling=[${value}]'`);
    return /^(1|t|true)$/i.test(value);
  });
  const created = (image: Image) => Date.parse(image.createdAt);
  const before = values("before").map((value) => created(find(value)));
  const since = values("since").map((value) => created(find(value)));
  const until = values("until").map((value) => parseFilterTime(value, now));
  const patterns = values("reference");
  const shown: Image[] = [];
  for (const image of images) {
    const labels = image.config.config?.Labels ?? {};
    const unnamed = image.repoTags.length === 0 && image.repoDigests.length === 0;
    if (dangling.length > 0 && !dangling.includes(unnamed)) continue;
    if (!matchesLabels(values("label"), labels)) continue;
    if (values("label!").some((label) => matchesLabels([label], labels))) continue;
    if (!before.every((limit) => created(image) < limit)) continue;
    if (!since.every((limit) => created(image) > limit)) continue;
    if (!until.every((limit) => created(image) < limit)) continue;
    if (patterns.length === 0) {
      shown.push(image);
      continue;
    }
    const keep = (reference: string) => patterns.some((pattern) => matchesReference(pattern, reference));
    const repoTags = image.repoTags.filter(keep);
    const repoDigests = image.repoDigests.filter(keep);
    if (repoTags.length + repoDigests.length > 0) shown.push({ ...image, repoTags, repoDigests });
  }
  return shown.sort((a, b) => created(b) - created(a));
}
