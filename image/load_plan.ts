import { invalid } from "../base/errors.ts";
import type { ArchivePart } from "./archive_spool.ts";
import type { Reference } from "../base/reference.ts";
import type { ImageConfig } from "./types.ts";

/** A layer as an archive holds it, perhaps compressed. */
export interface PlannedLayer {
  readonly diffId: string;
  /** Absent when the archive leaves out a layer that the store is expected to have. */
  readonly part: ArchivePart | undefined;
  /** Digest of the bytes in the archive, when it states one. */
  readonly digest: string | undefined;
}

/** An image found in an archive. */
export interface PlannedImage {
  readonly configJson: string;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layers: readonly PlannedLayer[];
  /** Names with tags. */
  readonly refs: readonly Reference[];
}

/** As many layers as Docker allows an image (moby: layer.maxLayerDepth). */
const MAX_LAYERS = 125;

/** @throws {EngineError} invalid when the configuration and the list of layers do not go together, or are too long. */
export function checkLayerCount(expected: number, got: number): void {
  if (expected > MAX_LAYERS) throw invalid("max depth exceeded");
  if (expected !== got) {
    throw invalid(`invalid manifest, layers length mismatch: expected ${expected}, got ${got}`);
  }
}
