import type { MountSpec } from "../runtime/spec.ts";
import { hostOwnersMapped } from "./host_image.ts";

/**
 * Mounts of the host's system directories into a container. Copy-on-write where the owners of the host's files are known
 * here (root's engine); read-only where they are not: copying up a file of an unmapped owner fails with EOVERFLOW.
 *
 * @param containerDir the container's own directory, where the writable parts go.
 * @param layers directories of layers that were committed on top of the host's, topmost first.
 */
export function hostMounts(
  hostDirs: readonly string[],
  containerDir: string,
  layers: readonly string[] = [],
): MountSpec[] {
  const writable = hostOwnersMapped();
  return hostDirs.filter(isDirectory).map((dir) =>
    writable ? overlayMount(dir, containerDir, layers) : readOnlyMount(dir)
  );
}

function readOnlyMount(dir: string): MountSpec {
  // recursive: what is mounted below it is locked to it in a user namespace
  return { type: "image-dir", source: dir, target: dir, flags: ["rbind", "ro"], recursiveReadOnly: true };
}

function overlayMount(dir: string, containerDir: string, layers: readonly string[]): MountSpec {
  const base = `${containerDir}/host${dir}`;
  const upper = `${base}/upper`, work = `${base}/work`;
  Deno.mkdirSync(work, { recursive: true, mode: 0o711 });
  Deno.mkdirSync(upper, { recursive: true, mode: 0o755 });
  // the upper directory's mode is what shows
  Deno.chmodSync(upper, 0o755);
  return {
    type: "overlay",
    // where overlay cannot be stacked on the host's file system, a read-only bind of this takes its place
    source: dir,
    target: dir,
    flags: [],
    overlay: {
      lower: [...layers.map((layer) => layer + dir).filter(isDirectory), dir],
      upper,
      work,
      options: ["userxattr"],
    },
  };
}

function isDirectory(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}
