import type { ContainerDefaults, ImageConfig, ImageHistory } from "../../image/types.ts";
import type { Platform } from "../../image/platform.ts";

/** What BuildKit writes beside every entry of the history. */
const COMMENT = "buildkit.dockerfile.v0";

/** One line of the history that a build adds. */
export interface BuildHistory {
  readonly createdBy: string;
  /** When its layer was made; undefined: it has none. */
  readonly layerCreated: string | undefined;
  /** In the place of BuildKit's. */
  readonly comment?: string;
}

export interface ResultInput {
  readonly platform: Platform;
  readonly config: ContainerDefaults;
  readonly author: string;
  readonly diffIds: readonly string[];
  /** Of the base image, whole. */
  readonly baseHistory: readonly ImageHistory[];
  readonly history: readonly BuildHistory[];
  /** `--label` */
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds since 1970. */
  readonly epoch: number | undefined;
  /** What else is to be told; see inline_cache.ts. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/**
 * The configuration of a built image, as BuildKit writes it. Times are those at which layers were made, so that a build that finds everything in
 * the cache makes the same image again.
 */
export function resultConfig(input: ResultInput): ImageConfig {
  const { platform, author, diffIds, baseHistory } = input;
  const fixed = input.epoch === undefined ? undefined : new Date(input.epoch * 1000).toISOString();
  let last = fixed ?? baseHistory.findLast(({ created }) => created !== undefined)?.created;
  const own = input.history.map(({ createdBy, layerCreated, comment = COMMENT }): ImageHistory => {
    last = fixed ?? layerCreated ?? last;
    return {
      ...(last === undefined ? {} : { created: last }),
      created_by: createdBy,
      comment,
      ...(layerCreated === undefined ? { empty_layer: true } : {}),
    };
  });
  return {
    architecture: platform.architecture,
    ...(author === "" ? {} : { author }),
    config: withLabels(input.config, input.labels),
    ...(last === undefined ? {} : { created: last }),
    history: [...baseHistory, ...own],
    os: platform.os,
    rootfs: { type: "layers", diff_ids: diffIds },
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    ...input.members,
  };
}

function withLabels(config: ContainerDefaults, labels: Readonly<Record<string, string>>): ContainerDefaults {
  if (Object.keys(labels).length === 0) return config;
  return { ...config, Labels: { ...config.Labels, ...labels } };
}
