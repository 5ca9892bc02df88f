/** Files and history at some point of a stage. */
import type { Image, ImageHistory } from "../../image/types.ts";
import type { LayerStack } from "./build_context.ts";
import { keyOf } from "./cache.ts";
import type { BuildHistory } from "./image_result.ts";
import type { InlineStep } from "./inline_cache.ts";
import type { StepEnd } from "./progress.ts";

export interface StageFiles {
  readonly stack: LayerStack;
  /** One for each layer. */
  readonly diffIds: readonly string[];
  readonly baseHistory: readonly ImageHistory[];
  readonly history: readonly BuildHistory[];
  /** What this build's layers were made of. */
  readonly steps: readonly InlineStep[];
  /** Everything so far was there. */
  readonly cached: boolean;
  /** Names this point, as classic progress shows one: equal for what has come about in the same way. */
  readonly id: string;
}

/** What an operation has come to. */
export interface Outcome {
  /** Of the topmost layer, the one below when nothing has changed. */
  readonly chainId: string;
  readonly createdAt: string;
  readonly cached: boolean;
}

/** Of a stage that begins with nothing. */
export const NOTHING: StageFiles = {
  stack: { chainIds: [], hostDirs: [] },
  diffIds: [],
  baseHistory: [],
  history: [],
  steps: [],
  cached: true,
  id: nextId("", "scratch", ""),
};

export function filesOfImage(image: Image): StageFiles {
  return {
    stack: { chainIds: image.chainIds, hostDirs: image.hostDirs },
    diffIds: image.config.rootfs.diff_ids,
    baseHistory: image.config.history ?? [],
    history: [],
    steps: [],
    cached: true,
    id: image.id,
  };
}

/** After an instruction that changes the configuration only. @param createdBy "": no line of the history */
export function withConfig(below: StageFiles, createdBy: string, title: string): StageFiles {
  const history = createdBy === ""
    ? below.history
    : [...below.history, { createdBy, layerCreated: undefined }];
  return { ...below, history, id: nextId(below.id, createdBy || title, "") };
}

/**
 * After an operation.
 *
 * @param key what its layer was made of.
 * @param diffIdOf of the outcome's layer.
 */
export function withLayer(
  below: StageFiles,
  { chainId, createdAt, cached }: Outcome,
  { createdBy, key }: { readonly createdBy: string; readonly key: string },
  diffIdOf: (chainId: string) => string,
): StageFiles {
  const isChanged = chainId !== topOf(below);
  const line = { createdBy, layerCreated: isChanged ? createdAt : undefined };
  return {
    stack: isChanged ? { ...below.stack, chainIds: [...below.stack.chainIds, chainId] } : below.stack,
    diffIds: isChanged ? [...below.diffIds, diffIdOf(chainId)] : below.diffIds,
    baseHistory: below.baseHistory,
    history: createdBy === "" ? below.history : [...below.history, line],
    steps: [...below.steps, { key, layer: below.stack.chainIds.length - (isChanged ? 0 : 1) }],
    cached,
    id: nextId(below.id, createdBy, chainId),
  };
}

/** Chain id of the topmost layer, "" for no files at all. */
export const topOf = ({ stack }: StageFiles): string => stack.chainIds.at(-1) ?? "";

/** How a step has ended, for those who follow the build. */
export const endOf = ({ cached, id }: StageFiles): StepEnd => ({ cached, result: id });

function nextId(before: string, line: string, chainId: string): string {
  return `sha256:${keyOf([before, line, chainId])}`;
}
