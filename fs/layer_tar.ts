import { DELETED, type DiffEntry } from "./diff.ts";
import type { TreeTar } from "./tree_tar.ts";
import { OPAQUE_MARKER, WHITEOUT_PREFIX } from "./whiteouts.ts";

/**
 * Writes a difference as a layer's archive (OCI image-spec, layer.md): whiteouts stand before their siblings.
 */
export function writeLayer(tar: TreeTar, entries: readonly DiffEntry[]): void {
  for (const { path, kind, source, stat, opaque, implied } of entries) {
    const name = path.slice(1);
    if (kind === DELETED) {
      // a directory that is opaque has said it
      if (implied) continue;
      const slash = name.lastIndexOf("/") + 1;
      tar.marker(`${name.slice(0, slash)}${WHITEOUT_PREFIX}${name.slice(slash)}`);
    } else if (source !== undefined && stat !== undefined) {
      tar.entry(name === "" ? "./" : name, source, stat);
      if (opaque) tar.marker(`${name}/${OPAQUE_MARKER}`);
    }
  }
  tar.finish();
}
