import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUTS } from "../ffi/constants.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import type { NamespaceMode, ShimOptions } from "./spec.ts";

const FLAGS = { net: CLONE_NEWNET, ipc: CLONE_NEWIPC, uts: CLONE_NEWUTS, pid: CLONE_NEWPID } as const;

/**
 * Makes `kernel`'s process leave or join namespaces. Its own PID namespace does not change, only that of its children, the first
 * of which is PID 1 of a new one.
 */
export function enterNamespaces(kernel: ProcessSyscalls, namespaces: ShimOptions["namespaces"]): void {
  // All paths are opened first: after the first step some of them could no longer be reached.
  const joined = Object.entries(FLAGS).flatMap(([name, flag]) => {
    const mode: NamespaceMode = namespaces[name as keyof typeof FLAGS];
    return mode.kind === "path" ? [{ flag, fd: kernel.open(mode.path, 0) }] : [];
  });
  let fresh = 0;
  for (const [name, flag] of Object.entries(FLAGS)) {
    if (namespaces[name as keyof typeof FLAGS].kind === "private") fresh |= flag;
  }
  for (const { flag, fd } of joined) {
    kernel.setns(fd, flag);
    kernel.close(fd);
  }
  if (fresh !== 0) kernel.unshare(fresh);
  if (namespaces.net.kind === "private") kernel.interfaceUp("lo");
}
