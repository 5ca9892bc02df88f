/** The /dev/shm that containers share by `--ipc shareable` and `--ipc container:x`. */
import { conflict, invalid } from "../base/errors.ts";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Container } from "./container.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import { joinedContainer } from "./namespaces.ts";

type Ctx = Pick<EngineContext, "kernel" | "containers">;

/** Where a shareable container's /dev/shm is mounted in the engine's mount namespace while the container runs. */
function mountPoint(record: Pick<ContainerRecord, "dir">): string {
  return `${record.dir}/mounts/shm`;
}

/**
 * What a container that starts finds at /dev/shm: the path to bind, or undefined for a tmpfs of its own (or none at all).
 * A shareable container's tmpfs is mounted here: only what the engine has mounted can be bound into another container,
 * whose init sees no mount of the first one's namespace.
 *
 * @throws {EngineError} not-found, conflict or invalid: the container to share with does not exist, does not run or does not share.
 */
export function acquireSharedMemory(ctx: Ctx, record: ContainerRecord): string | undefined {
  const mode = record.hostConfig.IpcMode ?? "";
  if (mode === "shareable") return mountSharedMemory(ctx, record);
  const other = joinedContainer(mode);
  return other === undefined ? undefined : pathOf(ctx, ctx.containers.find(other));
}

/** Undoes {@link acquireSharedMemory}. Containers that share it keep it as long as they run. May be repeated. */
export function releaseSharedMemory(ctx: Pick<Ctx, "kernel">, record: ContainerRecord): void {
  if (record.hostConfig.IpcMode !== "shareable") return;
  try {
    ctx.kernel.umount2(mountPoint(record), MNT_DETACH);
  } catch (error) {
    // Not mounted (EINVAL), or never made.
    if (!(error instanceof SysError && error.is("EINVAL", "ENOENT"))) throw error;
  }
}

function mountSharedMemory(ctx: Pick<Ctx, "kernel">, record: ContainerRecord): string {
  const path = mountPoint(record);
  // An engine that was killed in the middle of a start may have left one.
  releaseSharedMemory(ctx, record);
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const options = `mode=1777,size=${record.hostConfig.ShmSize ?? 0}`;
  ctx.kernel.mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options);
  return path;
}

/** A container that joined another one shares what that one has. */
function pathOf(ctx: Ctx, container: Container): string {
  const { record } = container;
  if (record.state.status !== "running") throw conflict(`container ${container.id} is not running`);
  const mode = record.hostConfig.IpcMode ?? "";
  if (mode === "host") return "/dev/shm";
  const other = joinedContainer(mode);
  if (other !== undefined) return pathOf(ctx, ctx.containers.find(other));
  if (mode === "shareable") return mountPoint(record);
  throw invalid(
    `container ${container.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
  );
}
