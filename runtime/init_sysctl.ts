import { IPC_SYSCTLS } from "../base/ipc_sysctls.ts";
import { O_WRONLY, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS } from "../ffi/constants.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { InitFailure, inStage } from "./init_failure.ts";
import type { ContainerSpec } from "./spec.ts";

/** Writes spec.sysctls to the container's own /proc/sys. Anything that would change the host is refused. */
export function applySysctls(kernel: ProcessSyscalls, root: number, spec: ContainerSpec): void {
  for (const [name, value] of Object.entries(spec.sysctls)) {
    const path = sysctlPath(name);
    checkNamespaced(path.replaceAll("/", "."), name, spec);
    inStage("sysctl", `error writing sysctl ${name}`, () => {
      const fd = kernel.openat2(
        root,
        `/proc/sys/${path}`,
        O_WRONLY,
        0,
        RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
      );
      try {
        kernel.write(fd, new TextEncoder().encode(value));
      } finally {
        kernel.close(fd);
      }
    });
  }
}

/** `net.ipv4.ip_forward` → `net/ipv4/ip_forward`; as sysctl(8) does, a name whose first separator is a slash keeps its dots. */
function sysctlPath(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  const path = first === "/" ? name : name.replace(/[./]/g, (mark) => mark === "." ? "/" : ".");
  if (path.split("/").some((part) => part === "" || part === "." || part === "..")) {
    throw new InitFailure("sysctl", `sysctl ${JSON.stringify(name)} is not a name`);
  }
  return path;
}

function checkNamespaced(dotted: string, name: string, { namespaces }: ContainerSpec): void {
  const refuse = (): never => {
    throw new InitFailure("sysctl", `sysctl ${JSON.stringify(name)} is not in a separate kernel namespace`);
  };
  if (IPC_SYSCTLS.includes(dotted) || dotted.startsWith("fs.mqueue.")) {
    if (namespaces.ipc.kind === "host") refuse();
  } else if (dotted.startsWith("net.")) {
    if (namespaces.net.kind === "host") refuse();
  } else if (dotted === "kernel.domainname" || dotted === "kernel.hostname") {
    if (namespaces.uts.kind === "host") refuse();
  } else {
    refuse();
  }
}
