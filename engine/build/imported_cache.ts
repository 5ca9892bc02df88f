import { messageOf } from "../../base/errors.ts";
import type { Platform } from "../../image/platform.ts";
import type { Image } from "../../image/types.ts";
import { inlineSteps } from "./inline_cache.ts";
import type { StageFiles } from "./stage_files.ts";
import type { StepTools } from "./steps.ts";

/**
 * `--cache-from`: layers of images that tell what they were made of. One that was built with an inline cache tells it of each layer. Of others the
 * history does: of commands, not of files that were copied, so a copy is always made; when it makes the layer that the image has, what is above
 * is found again.
 */
export class ImportedCache {
  readonly #tools: Pick<StepTools, "ctx" | "store">;
  readonly #find: (reference: string, platform: Platform) => Promise<Image>;
  #images: readonly Image[] = [];
  /** By key; whose layer, and which of them. */
  readonly #inline = new Map<string, { readonly image: Image; readonly layer: number }[]>();

  constructor(
    tools: Pick<StepTools, "ctx" | "store">,
    find: (reference: string, platform: Platform) => Promise<Image>,
  ) {
    this.#tools = tools;
    this.#find = find;
  }

  /** An image that cannot be had is no help, and no failure. */
  async load(references: readonly string[], platform: Platform): Promise<void> {
    const found = await Promise.allSettled(references.map((reference) => this.#find(reference, platform)));
    this.#images = found.flatMap((one) => {
      if (one.status === "fulfilled") return [one.value];
      this.#tools.ctx.log.info("an image of --cache-from is not used", { error: messageOf(one.reason) });
      return [];
    });
    for (const image of this.#images) {
      for (const { key, layer } of inlineSteps(image.config)) {
        const known = this.#inline.get(key) ?? [];
        this.#inline.set(key, [...known, { image, layer }]);
      }
    }
  }

  /** The layer that an image has of this very step, on top of the same layers. */
  findKey(key: string, parent: string): { chainId: string; createdAt: string } | undefined {
    for (const { image: { chainIds, config }, layer } of this.#inline.get(key) ?? []) {
      const chainId = chainIds[layer];
      const isUnchanged = chainId === parent;
      if (chainId === undefined || !(isUnchanged || (chainIds[layer - 1] ?? "") === parent)) continue;
      if (this.#tools.store.layers.known(chainId) === undefined) continue;
      const line = config.history?.filter((line) => line.empty_layer !== true)[layer];
      return { chainId, createdAt: line?.created ?? new Date().toISOString() };
    }
    return undefined;
  }

  /** The layer that an image has for the next line of history, when everything before is the same. */
  find(below: StageFiles, createdBy: string): { chainId: string; createdAt: string } | undefined {
    const lines = [
      ...below.baseHistory.map(({ created_by }) => created_by),
      ...below.history.map((line) => line.createdBy),
    ];
    const parent = below.stack.chainIds.at(-1);
    for (const { config: { history = [] }, chainIds } of this.#images) {
      const next = history[lines.length];
      if (next === undefined || next.empty_layer === true || next.created_by !== createdBy) continue;
      if (!lines.every((line, i) => history[i]?.created_by === line)) continue;
      const layersBelow = history.slice(0, lines.length).filter((line) => line.empty_layer !== true).length;
      const chainId = chainIds[layersBelow];
      if (chainId === undefined || chainIds[layersBelow - 1] !== parent) continue;
      if (this.#tools.store.layers.known(chainId) === undefined) continue;
      return { chainId, createdAt: next.created ?? new Date().toISOString() };
    }
    return undefined;
  }
}
