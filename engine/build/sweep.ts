/** What an engine that was killed in the middle of a build has left, as the next one finds it. Small: every start loads it. */
import { messageOf } from "../../base/errors.ts";
import { Cgroup } from "../../cgroups/cgroup.ts";
import { MNT_DETACH } from "../../ffi/constants.ts";
import { mountTable } from "../../fs/mount_table.ts";
import { moveToTrash } from "../../fs/remove_tree.ts";
import type { EngineContext } from "../context.ts";

/** In the directory of a build's container: the path of its cgroup. */
export const CGROUP_NOTE = "cgroup";

/** Contexts of builds, and what else lives as long as a build: all of it goes at the start. */
export const temporaryRoot = ({ dataRoot }: Pick<EngineContext, "dataRoot">): string =>
  `${dataRoot}/build/tmp`;

/** Sockets of builds. */
export const socketRoot = ({ execRoot }: Pick<EngineContext, "execRoot">): string => `${execRoot}/build`;

/** Lets go of what keeps a directory of a container that there is not: mounts in it, and a cgroup that it names. */
export async function releaseLeftover(
  ctx: Pick<EngineContext, "kernel" | "log">,
  dir: string,
): Promise<void> {
  try {
    // those on top first
    for (const { target } of mountTable().filter(({ target }) => target.startsWith(`${dir}/`)).reverse()) {
      ctx.kernel.umount2(target, MNT_DETACH);
    }
    const cgroup = readNote(`${dir}/${CGROUP_NOTE}`);
    if (cgroup !== undefined) await new Cgroup(cgroup).remove();
  } catch (error) {
    ctx.log.warn("cannot release what a build has left", { dir, error: messageOf(error) });
  }
}

/** At the start of the engine, when no build runs. */
export function sweepBuilds(ctx: Pick<EngineContext, "dataRoot" | "execRoot" | "log">): void {
  try {
    moveToTrash(temporaryRoot(ctx), `${ctx.dataRoot}/trash`);
    Deno.removeSync(socketRoot(ctx), { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    ctx.log.warn("cannot remove what builds have left", { error: messageOf(error) });
  }
}

function readNote(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
