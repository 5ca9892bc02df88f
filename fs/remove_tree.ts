import { EngineError } from "../base/errors.ts";
import { mountedBelow } from "./mount_table.ts";

/**
 * Removes a directory with everything below it; what is not there is fine. Never follows a symbolic link, and removes nothing while something
 * is mounted below: it could be a directory of the user's.
 *
 * Deno's own removal is quick but recursive, and names that are no UTF-8 escape it: trees that are too deep or too strange
 * for it go to rm(1), which walks with relative paths and a bounded number of descriptors.
 *
 * @throws {EngineError} system, when something cannot be removed.
 */
export async function removeTree(path: string): Promise<void> {
  const mounted = mountedBelow(path);
  if (mounted !== undefined) {
    throw new EngineError("system", `unable to remove ${path}: something is mounted at ${mounted}`, {
      hint: `See what it is, and unmount it:  findmnt ${mounted}`,
    });
  }
  try {
    await Deno.remove(path, { recursive: true });
    return;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
  }
  const { success, stderr } = await new Deno.Command("rm", {
    args: ["-rf", "--one-file-system", "--", path],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    const reason = new TextDecoder().decode(stderr).trim().split("\n")[0] ?? "";
    throw new EngineError("system", `unable to remove ${path}: ${reason}`);
  }
}

/** {@link removeTree} for a caller that cannot wait: moved out of the way first, so that the name is free at once. */
export function moveToTrash(path: string, trash: string): string | undefined {
  Deno.mkdirSync(trash, { recursive: true, mode: 0o700 });
  const target = `${trash}/${crypto.randomUUID()}`;
  try {
    Deno.renameSync(path, target);
    return target;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
