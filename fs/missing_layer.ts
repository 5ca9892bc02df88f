import type { LayerRef } from "./graph_driver.ts";

/** An unpacked layer is not where it belongs: somebody has deleted it, or the disk has lost it. */
export class MissingLayer extends Error {
  override readonly name = "MissingLayer";
  readonly layer: LayerRef;

  constructor(layer: LayerRef) {
    super(`layer ${layer.chainId} is missing: ${layer.dir} is not a directory`);
    this.layer = layer;
  }
}

/** @throws {MissingLayer} for the topmost layer that is not there. */
export function requireLayers(layers: readonly LayerRef[]): void {
  for (const layer of layers) {
    let there = false;
    try {
      there = Deno.statSync(layer.dir).isDirectory;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) throw error;
    }
    if (!there) throw new MissingLayer(layer);
  }
}
