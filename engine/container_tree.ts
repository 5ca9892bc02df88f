import { conflict } from "../base/errors.ts";
import type { DiffSource } from "../fs/diff.ts";
import { STUBS } from "../fs/diff.ts";
import type { Image } from "../image/types.ts";
import type { ViewMount, ViewSpec } from "../fs/tree_job.ts";
import type { OverlaySpec, RootfsSpec } from "../runtime/spec.ts";
import type { Container } from "./container.ts";
import type { EngineContext } from "./context.ts";
import { withLayers } from "./image_layers.ts";
import { mountsOf } from "./container_volumes.ts";
import { imageOverlay } from "./image_mounts.ts";

/** How a container's files are to be seen. */
export interface TreeUse {
  /** Something is written: then nobody may start the container meanwhile. */
  readonly writable: boolean;
  /** The user's mounts and the generated files in /etc belong to it. */
  readonly volumes: boolean;
}

export interface ContainerTree {
  readonly view: ViewSpec;
  /** To be called when the view is not needed any more. */
  release(): Promise<void>;
}

type TreeContext = Pick<EngineContext, "driver" | "images">;

/**
 * A view of a container's files, running or not. Of one that does not run, starting and removing wait until the view is
 * released, unless it is an overlay that is only read.
 *
 * @throws {EngineError} conflict when it is being removed.
 */
export async function openTree(ctx: TreeContext, container: Container, use: TreeUse): Promise<ContainerTree> {
  if (runs(container)) return runningTree(ctx, container, use);
  const unlock = await lock(container);
  try {
    // it may have been started while others had the lock
    if (runs(container)) {
      unlock();
      return runningTree(ctx, container, use);
    }
    return await stoppedTree(ctx, container, use, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

function runs({ record: { state } }: Container): boolean {
  return state.status === "running" && state.pid > 0;
}

/** Takes the container's mutex until the answer is called. */
function lock(container: Container): Promise<() => void> {
  return new Promise((resolve) => {
    void container.mutex.run(() => new Promise<void>((unlock) => resolve(unlock)));
  });
}

function runningTree(ctx: TreeContext, container: Container, { volumes }: TreeUse): ContainerTree {
  const { record } = container;
  const targets = [
    ...ctx.images.get(record.imageId).hostDirs,
    ...(volumes ? [...volumesOf(container).map(({ target }) => target), ...generatedFiles(container)] : []),
  ];
  return {
    view: {
      kind: "process",
      at: record.dir,
      pid: record.state.pid,
      startTime: record.state.pidStartTime,
      targets,
    },
    release: () => Promise.resolve(),
  };
}

async function stoppedTree(
  ctx: TreeContext,
  container: Container,
  { writable, volumes }: TreeUse,
  unlock: () => void,
): Promise<ContainerTree> {
  const { record } = container;
  if (container.removed || record.state.status === "removing" || record.state.status === "dead") {
    throw conflict(`container ${record.id} is marked for removal`);
  }
  const image = ctx.images.get(record.imageId);
  const acquired = await withLayers(image, () => ctx.driver.acquire(record.id, ctx.images.layers(image)));
  const readOnlyOverlay = acquired.kind === "overlay" && !writable;
  const rootfs: RootfsSpec = readOnlyOverlay
    ? { kind: "overlay", overlay: withoutUpper(acquired.overlay) }
    : acquired;
  if (readOnlyOverlay) unlock();
  const release = async () => {
    try {
      if (!readOnlyOverlay) await ctx.driver.release(record.id);
    } finally {
      unlock();
    }
  };
  try {
    const mounts = viewMounts(ctx, container, image, acquired, { writable, volumes });
    return { view: { kind: "rootfs", at: record.dir, rootfs, mounts, writable }, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** What is mounted in the view of a container that does not run. */
function viewMounts(
  ctx: Pick<TreeContext, "images">,
  container: Container,
  image: Image,
  rootfs: RootfsSpec,
  { writable, volumes }: TreeUse,
): ViewMount[] {
  const { record } = container;
  const mounts: ViewMount[] = ctx.images.hostMounts(image, record.dir).map(({ target, source, overlay }) => ({
    target,
    source: overlay === undefined ? source ?? target : writable ? overlay : withoutUpper(overlay),
    readOnly: overlay === undefined,
  }));
  if (volumes) mounts.push(...bindsOf(container), ...imagesIn(ctx, container, rootfs, writable));
  return mounts;
}

/** An overlay that can be mounted beside another one of the same upper directory: that is only read as well. */
function withoutUpper({ lower, upper, options }: OverlaySpec): OverlaySpec {
  return { lower: upper === undefined ? lower : [upper, ...lower], options };
}

/** The user's mounts, parents first. */
function volumesOf({ record }: Container) {
  return mountsOf(record);
}

function generatedFiles({ record }: Container): string[] {
  return [
    ...(record.hostnamePath === "" ? [] : ["/etc/hostname"]),
    ...(record.hostsPath === "" ? [] : ["/etc/hosts"]),
    ...(record.resolvConfPath === "" ? [] : ["/etc/resolv.conf"]),
  ];
}

function bindsOf(container: Container): ViewMount[] {
  const { record } = container;
  const binds = volumesOf(container).filter(({ type }) => type === "bind" || type === "volume").map((
    point,
  ) => ({
    target: point.target,
    source: point.source,
    readOnly: point.readOnly,
  }));
  const generated = [
    { target: "/etc/hostname", source: record.hostnamePath },
    { target: "/etc/hosts", source: record.hostsPath },
    { target: "/etc/resolv.conf", source: record.resolvConfPath },
  ].filter(({ target, source }) => source !== "" && !binds.some((bind) => bind.target === target));
  return [...generated.map((file) => ({ ...file, readOnly: false })), ...binds];
}

/** Images that are mounted, with what was written there. */
function imagesIn(
  ctx: Pick<TreeContext, "images">,
  { record }: Container,
  rootfs: RootfsSpec,
  writable: boolean,
): ViewMount[] {
  return mountsOf(record).filter(({ type }) => type === "image").map((point) => {
    const overlay = imageOverlay(ctx, record, point, rootfs);
    return {
      target: point.target,
      source: writable && !point.readOnly ? overlay : withoutUpper(overlay),
      readOnly: point.readOnly,
    };
  });
}

/** The user's mounts as `cp` asks about them. */
export function volumeModes(container: Container): { target: string; readOnly: boolean }[] {
  return volumesOf(container).map(({ target, readOnly }) => ({ target, readOnly }));
}

/** Where a container's changes are to be looked for. */
export function diffSource(
  ctx: TreeContext & { readonly dataRoot: string },
  container: Container,
): DiffSource {
  const { record } = container;
  const image = ctx.images.get(record.imageId);
  const layers = ctx.images.layers(image).map(({ dir }) => dir);
  const base = `${ctx.dataRoot}/containers/${record.id}`;
  if (ctx.driver.name === "vfs") {
    return { kind: "trees", before: layers, after: `${base}/rootfs`, stubs: STUBS };
  }
  const parts = ctx.images.hostMounts(image, record.dir).flatMap(({ target, overlay }) =>
    overlay?.upper === undefined ? [] : [{ at: target, upper: overlay.upper, lower: overlay.lower }]
  );
  return {
    kind: "union",
    parts: [{ at: "/", upper: `${base}/upper`, lower: layers }, ...parts],
    whiteoutFiles: ctx.driver.whiteouts === "fuse-overlayfs",
    stubs: STUBS,
  };
}
