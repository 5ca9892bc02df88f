/**
 * What a container's mounts are once its volumes exist: named ones, those of other containers (`--volumes-from`), and the
 * anonymous ones of its image. Decided when the container is created and kept in its record (moby: daemon/volumes.go).
 */
import { cleanPath } from "../base/clean_path.ts";
import { EngineError, invalid, messageOf } from "../base/errors.ts";
import { MNT_DETACH, MS_BIND, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { ViewSpec } from "../fs/tree_job.ts";
import type { Image } from "../image/types.ts";
import { findInRoot, isDirectory } from "../runtime/rootfs_path.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import { withImage } from "./image_mounts.ts";
import { type MountPoint, mountPoints, NO_WISHES, parentsFirst, volumePoint } from "./mount_points.ts";
import type { ContainerConfig, HostConfig } from "./types.ts";
import { ANONYMOUS_LABEL } from "./volume_record.ts";

type Ctx = Pick<EngineContext, "containers" | "volumes" | "events">;
type ResolveContext = Ctx & Pick<EngineContext, "driver" | "images">;

/** The mounts of a container that exists. */
export const mountsOf = (record: Pick<ContainerRecord, "mounts" | "hostConfig">): readonly MountPoint[] =>
  record.mounts ?? mountPoints(record.hostConfig).filter(({ type }) => type !== "volume");

/** Names of the volumes among mounts. */
export const volumeNames = (mounts: readonly MountPoint[]): string[] =>
  mounts.flatMap(({ type, name }) => type === "volume" && name ? [name] : []);

/** Ids of the containers that refer to a volume, running or not. */
export function usersOf(ctx: Pick<EngineContext, "containers">, name: string): string[] {
  return ctx.containers.all().filter(({ record }) => volumeNames(mountsOf(record)).includes(name))
    .map(({ id }) => id);
}

export interface ResolvedMounts {
  readonly mounts: readonly MountPoint[];
  /** To be called when the container is in the store, or will never be. */
  readonly release: () => void;
  /** Volumes that were made for it: to be removed when the container does not come to be. */
  readonly made: readonly string[];
}

/**
 * Finds or makes the volumes of a container that is being created.
 *
 * @throws {EngineError} invalid, not-found, in Docker's words. Then no volume is left behind.
 */
export async function resolveMounts(
  ctx: ResolveContext,
  config: ContainerConfig,
  hostConfig: HostConfig,
): Promise<ResolvedMounts> {
  const points = new Map<string, MountPoint>();
  for (const spec of hostConfig.VolumesFrom ?? []) {
    for (const point of mountsFrom(ctx, spec)) points.set(point.target, point);
  }
  for (const point of mountPoints(hostConfig)) points.set(point.target, point);
  for (const path of Object.keys(config.Volumes ?? {})) {
    const target = cleanPath(path);
    if (points.has(target)) continue;
    points.set(target, { ...volumePoint("", target, false), from: "Config" });
  }
  const made: string[] = [];
  const releases: (() => void)[] = [];
  const release = () => {
    for (const one of releases.splice(0)) one();
  };
  try {
    const mounts = [...points.values()].map((point): MountPoint => {
      if (point.type === "image") return withImage(ctx, point);
      if (point.type !== "volume") return point;
      const { driver, labels, options } = point.volume ?? NO_WISHES;
      const { record, fresh } = ctx.volumes.create({
        name: point.name,
        driver: driver || hostConfig.VolumeDriver,
        labels,
        options,
      });
      releases.push(ctx.volumes.hold([record.name]));
      if (fresh) {
        made.push(record.name);
        ctx.events.publish("volume", "create", record.name, { driver: record.driver });
      }
      return { ...point, name: record.name, source: ctx.volumes.path(record.name) };
    });
    return { mounts: parentsFirst(mounts), release, made };
  } catch (error) {
    release();
    for (const name of made) await ctx.volumes.remove(name, []).catch(() => {});
    throw error;
  }
}

/** `container[:mode]` of `--volumes-from`. */
function mountsFrom(ctx: Pick<EngineContext, "containers">, spec: string): MountPoint[] {
  const [reference = "", mode = "rw", ...rest] = spec.split(":");
  if (reference === "" || rest.length > 0) throw invalid(`invalid volumes-from specification: ${spec}`);
  const modes = mode.split(",");
  if (modes.some((one) => !["ro", "rw", "z", "Z", "nocopy", ""].includes(one))) {
    throw invalid(`invalid mode: ${mode}`);
  }
  const readOnly = modes.includes("ro");
  let record: ContainerRecord;
  try {
    record = ctx.containers.find(reference).record;
  } catch (error) {
    // 404 would make the docker command line pull the image.
    throw error instanceof EngineError && error.kind === "not-found" ? invalid(error.message, error) : error;
  }
  return mountsOf(record)
    .filter(({ type }) => type !== "tmpfs" && type !== "image")
    .map((point) => ({
      ...point,
      readOnly: point.readOnly || readOnly,
      volume: { ...(point.volume ?? NO_WISHES), noCopy: true },
      from: "VolumesFrom" as const,
    }));
}

/**
 * Copies what the image has where its volumes are mounted, into those that are empty.
 *
 * @param container as it will be; its writable layer exists.
 * @throws {EngineError} when a volume would hide a file, or the copy fails.
 */
export async function populateVolumes(
  ctx: Pick<EngineContext, "driver" | "images" | "trees" | "volumes">,
  image: Image,
  container: { readonly id: string; readonly dir: string; readonly mounts: readonly MountPoint[] },
): Promise<void> {
  const empty = container.mounts.filter((point) =>
    point.type === "volume" && !(point.volume ?? NO_WISHES).noCopy &&
    (point.volume ?? NO_WISHES).subpath === "" && isEmpty(ctx, point)
  );
  if (empty.length === 0) return;
  const { id, dir } = container;
  const rootfs = await ctx.driver.acquire(id, ctx.images.layers(image));
  try {
    const view: ViewSpec = {
      kind: "rootfs",
      at: dir,
      rootfs,
      mounts: ctx.images.hostMounts(image, dir).map(({ target, source, overlay }) => ({
        target,
        source: overlay ?? source ?? target,
        readOnly: overlay === undefined,
      })),
      writable: false,
    };
    for (const { target, source } of empty) await copyInto(ctx, view, dir, target, source);
  } finally {
    await ctx.driver.release(id);
  }
}

function isEmpty(ctx: Pick<EngineContext, "volumes">, { name = "", source }: MountPoint): boolean {
  ctx.volumes.mount(name);
  for (const _entry of Deno.readDirSync(source)) return false;
  return true;
}

async function copyInto(
  { trees }: Pick<EngineContext, "trees">,
  view: ViewSpec,
  at: string,
  target: string,
  volume: string,
): Promise<void> {
  try {
    const stat = await trees.run({ op: "stat", view, path: target });
    if ((stat.mode & 0o170000) !== 0o040000) {
      throw new EngineError(
        "system",
        `cannot mount volume over existing file, file exists ${target}`,
      );
    }
  } catch (error) {
    // The image has nothing there: the mount point is made at the start.
    if (error instanceof EngineError && error.kind === "not-found") return;
    throw error;
  }
  const { chunks } = await trees.archive({ op: "archive", view, path: `${target}/.` });
  try {
    await trees.extract({
      op: "extract",
      view: { kind: "rootfs", at, rootfs: { kind: "directory", path: volume }, mounts: [], writable: true },
      path: "/",
      options: {
        noOverwriteDirNonDir: false,
        owner: undefined,
        readOnlyRoot: false,
        wholeDirectory: true,
        volumes: [],
      },
    }, chunks);
  } catch (error) {
    throw new EngineError("system", `failed to populate volume for ${target}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Where a mount's files are for the container: of a volume's subpath, where {@link acquireVolumes} has bound it. */
export const mountSource = ({ dir }: Pick<ContainerRecord, "dir">, point: MountPoint): string =>
  point.type === "volume" && point.volume?.subpath ? subpathPlace(dir, point) : point.source;

/** A directory of the engine's, named by the target so that it can be found again. */
const subpathPlace = (dir: string, { target }: MountPoint): string =>
  `${dir}/mounts/${encodeURIComponent(target).replaceAll(".", "%2E").slice(0, 200)}`;

/**
 * Binds a directory of a volume to a place of the engine's: what the path leads to is decided once, below the volume's own root, however
 * the containers that write to it change it afterwards.
 */
function bindSubpath(kernel: Syscalls, dir: string, point: MountPoint): void {
  const place = subpathPlace(dir, point);
  unbindSubpath(kernel, dir, point);
  Deno.mkdirSync(place, { recursive: true, mode: 0o700 });
  const root = kernel.open(point.source, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    const found = findInRoot(kernel, root, `/${point.volume?.subpath}`);
    if (found === undefined) {
      throw new EngineError(
        "system",
        `cannot access path ${point.source}/${point.volume?.subpath}: no such file or directory`,
      );
    }
    try {
      if (!isDirectory(kernel, found)) {
        throw new EngineError("system", `volume subpath ${point.volume?.subpath} is not a directory`);
      }
      kernel.mount(`/proc/self/fd/${found}`, place, null, MS_BIND, null);
    } finally {
      kernel.close(found);
    }
  } finally {
    kernel.close(root);
  }
}

function unbindSubpath(kernel: Syscalls, dir: string, point: MountPoint): void {
  try {
    kernel.umount2(subpathPlace(dir, point), MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SysError && error.is("EINVAL", "ENOENT"))) throw error;
  }
}

/** Mounts what the options of a container's volumes say, and finds their subpaths. @throws {EngineError} */
export function acquireVolumes(
  ctx: Pick<EngineContext, "volumes" | "events" | "kernel">,
  record: ContainerRecord,
): void {
  for (const point of mountsOf(record)) {
    if (point.type !== "volume" || !point.name) continue;
    try {
      ctx.volumes.mount(point.name);
      if (point.volume?.subpath) bindSubpath(ctx.kernel, record.dir, point);
    } catch (error) {
      throw new EngineError(
        "system",
        `error while mounting volume '${point.source}': ${messageOf(error)}`,
        { cause: error, hint: error instanceof EngineError ? error.hint : undefined },
      );
    }
    ctx.events.publish("volume", "mount", point.name, {
      container: record.id,
      destination: point.target,
      driver: "local",
      propagation: point.propagation,
      "read/write": String(!point.readOnly),
    });
  }
}

/** Undoes {@link acquireVolumes} when the container has ended: a mount goes with the last container that runs with it. May be repeated. */
export function releaseVolumes(
  ctx: Pick<EngineContext, "volumes" | "containers" | "kernel">,
  record: ContainerRecord,
): void {
  const mounts = mountsOf(record);
  for (const point of mounts) {
    if (point.type === "volume" && point.volume?.subpath) unbindSubpath(ctx.kernel, record.dir, point);
  }
  for (const name of volumeNames(mounts)) {
    const others = usersOf(ctx, name).some((id) => {
      const other = ctx.containers.get(id);
      return id !== record.id && (other?.running || other?.record.state.status === "starting");
    });
    if (!others) ctx.volumes.unmount(name);
  }
}

/** Volumes that are to go with their container: those that nobody has named, and that nobody else has. */
export async function removeAnonymousVolumes(ctx: Ctx, record: ContainerRecord): Promise<void> {
  for (const { type, name = "", from } of mountsOf(record)) {
    if (type !== "volume" || from === "VolumesFrom") continue;
    const volume = ctx.volumes.find(name);
    if (volume === undefined || volume.labels[ANONYMOUS_LABEL] === undefined) continue;
    if (usersOf(ctx, name).some((id) => id !== record.id)) continue;
    await ctx.volumes.remove(name, []).catch(() => {});
    ctx.events.publish("volume", "destroy", name, { driver: "local" });
  }
}
