import type { ContentStore } from "./content_store.ts";
import type { ImageTables } from "./image_tables.ts";
import type { LayerRecord, LayerStore } from "./layer_store.ts";
import type { Reference } from "../base/reference.ts";

/** An image that has come from a registry, all its layers in place. */
export interface PulledImage {
  readonly configJson: string;
  readonly records: readonly LayerRecord[];
  readonly chain: readonly string[];
  /** The name it was asked for by. */
  readonly reference: Reference;
  /** What that name leads to. */
  readonly digest: string;
  /** Part of the same transaction. */
  readonly also: (imageId: string) => void;
}

/** What load, import, commit, pull and push need of an image store: they are in files of their own. */
export interface StoreInternals {
  readonly tables: ImageTables;
  readonly layers: LayerStore;
  readonly content: ContentStore;
  readonly log: (line: string) => void;
  /** Writes an image, its layers and names in one transaction. Answers the id. */
  insert(
    config: string,
    layers: readonly LayerRecord[],
    chain: readonly string[],
    refs: readonly Reference[],
    hostDirs?: readonly string[],
    parent?: string,
  ): Promise<string>;
  /** As {@link insert}, with what a registry says about it. `changed`: the name led elsewhere before. */
  insertPulled(image: PulledImage): Promise<{ id: string; changed: boolean }>;
}
