/** The end of an engine that leaves nothing. */
import { realPath } from "../base/real_path.ts";
import { MNT_DETACH } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { mountTable } from "../fs/mount_table.ts";
import { removeTree } from "../fs/remove_tree.ts";

/** The network process notices a little later that nobody needs it any more, and may still have made a file or a mount. */
const DEADLINE_MS = 5_000;
const PAUSE_MS = 20;

/**
 * Removes everything below `dir`, and `dir`.
 *
 * @throws Error when it cannot be removed; then it is as empty as it could be made.
 */
export async function removeEphemeral(kernel: Pick<Syscalls, "umount2">, dir: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  // As the kernel names what is mounted there.
  const real = realPath(dir);
  for (;;) {
    // The newest first: one may lie in another.
    const mounts = mountTable().filter(({ target }) => target.startsWith(`${real}/`)).reverse();
    for (const { target } of mounts) {
      try {
        kernel.umount2(target, MNT_DETACH);
      } catch {
        // Another process's end has taken it away meanwhile.
      }
    }
    try {
      return await removeTree(dir);
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
