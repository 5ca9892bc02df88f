/**
 * Mounts of type image: the files of an image at a place of a container, with a writable layer of their own that goes with the container. The
 * container's init puts the layers together in its own mount namespace, so nothing of them can be left on the host.
 */
import { EngineError, invalid } from "../base/errors.ts";
import type { MountSpec, OverlaySpec, RootfsSpec } from "../runtime/spec.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import type { MountPoint } from "./mount_points.ts";

type Ctx = Pick<EngineContext, "images">;

/** The image that the user names, pinned by its id. @throws {EngineError} invalid: there is none, or it cannot be mounted. */
export function withImage(ctx: Ctx & Pick<EngineContext, "driver">, point: MountPoint): MountPoint {
  const refuse = (problem: string) => invalid(`invalid mount config for type "image": ${problem}`);
  if (ctx.driver.name !== "overlay") {
    throw refuse(
      `the storage driver ${ctx.driver.name} cannot mount images, overlay can (berth info says why it is not used)`,
    );
  }
  try {
    const image = ctx.images.get(point.source);
    if (image.hostDirs.length > 0) {
      throw refuse(`${point.source} is made of this machine's directories: bind those (--mount type=bind)`);
    }
    return { ...point, imageId: image.id };
  } catch (error) {
    // 404 would make the docker command line pull the container's own image.
    throw error instanceof EngineError && error.kind === "not-found" ? invalid(error.message) : error;
  }
}

/** Ids of the images that a container needs: its own, and those that are mounted in it. */
export const imagesOf = ({ imageId, mounts = [] }: Pick<ContainerRecord, "imageId" | "mounts">): string[] => [
  imageId,
  ...mounts.flatMap((point) => point.imageId ?? []),
];

/** @param rootfs of the container: its driver's options hold for this mount too. */
export function imageMount(
  ctx: Ctx,
  record: Pick<ContainerRecord, "dir">,
  point: MountPoint,
  rootfs: RootfsSpec,
): MountSpec {
  return {
    type: "overlay",
    target: point.target,
    flags: point.readOnly ? ["ro"] : [],
    overlay: imageOverlay(ctx, record, point, rootfs),
  };
}

/** The layers of a mounted image, and the directories for what is written. */
export function imageOverlay(
  ctx: Ctx,
  { dir }: Pick<ContainerRecord, "dir">,
  point: MountPoint,
  rootfs: RootfsSpec,
): OverlaySpec {
  if (point.imageId === undefined || rootfs.kind !== "overlay") {
    throw new EngineError("system", `cannot mount the image ${point.source} at ${point.target}`);
  }
  const layers = ctx.images.layers(ctx.images.getForContainer(point.imageId));
  const place = `${dir}/images/${encodeURIComponent(point.target).replaceAll(".", "%2E").slice(0, 200)}`;
  const upper = `${place}/upper`, work = `${place}/work`;
  Deno.mkdirSync(work, { recursive: true, mode: 0o711 });
  Deno.mkdirSync(upper, { recursive: true, mode: 0o755 });
  // the upper directory's mode is what shows
  Deno.chmodSync(upper, 0o755);
  return { lower: layers.map(({ dir }) => dir), upper, work, options: rootfs.overlay.options };
}
