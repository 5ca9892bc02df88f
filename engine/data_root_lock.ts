import { EngineError } from "../base/errors.ts";
import { O_CREAT, O_RDWR } from "../ffi/constants.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

/**
 * Takes the lock of a data root for the life of this process: two engines on one store would each remove what the other makes.
 * The kernel gives the lock up when the process ends, however it ends.
 *
 * @throws {EngineError} conflict `another berth engine (pid N) already uses <dir>`.
 */
export function lockDataRoot(
  kernel: Pick<Syscalls, "open" | "close" | "flock" | "ftruncate" | "write">,
  dir: string,
): Disposable {
  const path = `${dir}/berth.lock`;
  const fd = kernel.open(path, O_RDWR | O_CREAT, 0o600);
  if (!kernel.flock(fd)) {
    kernel.close(fd);
    let pid = "";
    try {
      pid = Deno.readTextFileSync(path).trim();
    } catch {
      // It is being written.
    }
    throw new EngineError(
      "conflict",
      `another berth engine ${pid === "" ? "" : `(pid ${pid}) `}already uses ${dir}`,
      {
        hint: "Use that engine (its socket answers), stop it, or give this one another --data-root.",
      },
    );
  }
  kernel.ftruncate(fd, 0);
  kernel.write(fd, new TextEncoder().encode(`${Deno.pid}\n`));
  return { [Symbol.dispose]: () => kernel.close(fd) };
}
