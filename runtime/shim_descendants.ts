/**
 * Processes that a container without a PID namespace of its own leaves behind. The shim is their subreaper, so each of them is or becomes its
 * child. (In a PID namespace the kernel ends them with its PID 1.)
 */
import { SysError } from "../ffi/errno.ts";
import { SIGKILL } from "../ffi/signals.ts";
import type { ChildExit, Syscalls } from "../ffi/syscalls.ts";
import { readText } from "./files.ts";

/** Rounds of killing: each one can only uncover children of those it has killed. */
const MAX_ROUNDS = 1000;

/** Ends all children and what they leave, until there are none. Execs are among them: `reaped` is told of each. */
export function endDescendants(kernel: Syscalls, reaped: (exit: ChildExit) => void): void {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const children = childrenOf(kernel);
    if (children.length === 0) return;
    for (const pid of children) quietly(() => kernel.kill(pid, SIGKILL));
    for (const pid of children) {
      quietly(() => {
        const exit = kernel.wait(pid, false);
        if (exit !== undefined) reaped(exit);
      });
    }
  }
}

/** Takes away the zombies among adopted children. Those that the shim has started itself (`isOwn`) are waited for by pidfd. */
export function reapAdopted(kernel: Syscalls, isOwn: (pid: number) => boolean): void {
  for (const pid of childrenOf(kernel)) {
    if (!isOwn(pid)) quietly(() => kernel.wait(pid, true));
  }
}

function childrenOf(kernel: Syscalls): number[] {
  const self = kernel.getpid();
  const listed = [...Deno.readDirSync("/proc/self/task")].map(({ name }) =>
    readText(kernel, `/proc/self/task/${name}/children`)
  );
  if (!listed.includes(undefined)) return numbers(listed.join(" "));
  // A kernel without CONFIG_PROC_CHILDREN: ask every process for its parent.
  return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
    if (!/^\d+$/.test(name)) return [];
    const stat = readText(kernel, `/proc/${name}/stat`);
    const parent = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
    return Number(parent) === self ? [Number(name)] : [];
  });
}

function numbers(text: string): number[] {
  return text.split(/\s+/).filter((part) => part !== "").map(Number);
}

function quietly(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}
