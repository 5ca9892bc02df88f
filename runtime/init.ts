/**
 * Makes a process the container's first one, or one more in a running container, up to the execve. The process is a stub
 * (ffi/stub_process.ts): `kernel` are its calls. What it has changed when a step fails vanishes with it.
 */
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUTS,
} from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { readText, writeProc } from "./files.ts";
import { InitFailure, inStage } from "./init_failure.ts";
import { prepareProcess, type ProcessSetup, type Program } from "./init_process.ts";
import { enterRootfs, INIT_PROGRAM } from "./init_rootfs.ts";
import type { ContainerSpec, NamespaceMode, ProcessSpec } from "./spec.ts";

/** Make a container and become its process. Descriptors: stdin, stdout, stderr, unless the process has a terminal. */
export interface ContainerOrder {
  readonly kind: "container";
  readonly spec: ContainerSpec;
  /** A directory that the container's root may be mounted over, in the process's own mount namespace. */
  readonly mountPoint: string;
  /** /proc/self/oom_score_adj for a process that asks for nothing else. */
  readonly oomScoreAdj: number;
}

/** Become one more process of a running container. Descriptors as above. */
export interface ExecOrder {
  readonly kind: "exec";
  readonly process: ProcessSpec;
  /** The container's first process, as the caller sees it, and in which of its namespaces it is not at home. */
  readonly pid: number;
  readonly namespaces: ContainerSpec["namespaces"];
  readonly cgroupPath?: string;
  readonly oomScoreAdj: number;
}

export type InitOrder = ContainerOrder | ExecOrder;

type Hooks = Pick<ProcessSetup, "stdio" | "giveTerminal" | "appear"> & {
  /** Called when the process is inside the container's root: nothing of the host may be reachable from here on. */
  readonly entered: () => void;
  /** Goes on in a child of the process, which is born in that cgroup. @throws {SysError} */
  readonly forkInto: (cgroup: string) => void;
  /** A detached copy of the /proc of the PID namespace at that path (init_joined_proc.ts). */
  readonly procOf: (pidNamespace: string) => number;
};

/** Does all of `order` but the execve. @throws {InitFailure} */
export function obey(kernel: ProcessSyscalls, order: InitOrder, hooks: Hooks): Program {
  kernel.umask(0);
  newKeyring(kernel);
  return order.kind === "container"
    ? makeContainer(kernel, order, hooks)
    : enterContainer(kernel, order, hooks);
}

function makeContainer(kernel: ProcessSyscalls, order: ContainerOrder, hooks: Hooks): Program {
  const { spec } = order;
  setOomScore(kernel, spec.process.oomScoreAdj ?? order.oomScoreAdj);
  joinCgroup(kernel, spec.cgroupPath);
  inStage("namespaces", "", () => {
    kernel.unshare(CLONE_NEWNS | (spec.namespaces.cgroup.kind === "private" ? CLONE_NEWCGROUP : 0));
    if (spec.namespaces.cgroup.kind === "path") {
      joinNamespace(kernel, spec.namespaces.cgroup.path, CLONE_NEWCGROUP);
    }
  });
  if (spec.namespaces.uts.kind === "private") {
    inStage("hostname", "", () => {
      kernel.sethostname(spec.hostname);
      if (spec.domainname !== "") kernel.setdomainname(spec.domainname);
    });
  }
  const { pid } = spec.namespaces;
  enterRootfs(kernel, spec, order.mountPoint, pid.kind === "path" ? () => hooks.procOf(pid.path) : undefined);
  hooks.entered();
  const prefix = spec.init === undefined || spec.init === "builtin" ? [] : [INIT_PROGRAM, "--"];
  return prepareProcess(kernel, spec.process, { ...hooks, prefix, first: true });
}

/** The namespaces of a container, by the name that /proc/PID/ns has for them. The mount namespace is never the engine's. */
const FLAGS = {
  cgroup: CLONE_NEWCGROUP,
  ipc: CLONE_NEWIPC,
  net: CLONE_NEWNET,
  pid: CLONE_NEWPID,
  uts: CLONE_NEWUTS,
  mnt: CLONE_NEWNS,
} as const;

/**
 * The process does not enter the PID namespace itself (nobody can): its child will, which `hooks.appear` makes when there is
 * nothing left in this process that the container's processes should not get at.
 */
function enterContainer(kernel: ProcessSyscalls, order: ExecOrder, hooks: Hooks): Program {
  setOomScore(kernel, order.process.oomScoreAdj ?? order.oomScoreAdj);
  enterCgroup(kernel, order, hooks);
  const modes: Readonly<Record<keyof typeof FLAGS, NamespaceMode>> = {
    ...order.namespaces,
    mnt: { kind: "private" },
  };
  inStage("namespaces", "", () => {
    // All are opened first: in the container's mount namespace there is no such /proc any more.
    const joined = Object.entries(FLAGS).flatMap(([name, flag]) =>
      modes[name as keyof typeof FLAGS].kind === "host"
        ? []
        : [{ flag, fd: kernel.open(`/proc/${order.pid}/ns/${name}`, 0) }]
    );
    for (const { flag, fd } of joined) {
      kernel.setns(fd, flag);
      kernel.close(fd);
    }
  });
  hooks.entered();
  return prepareProcess(kernel, order.process, { ...hooks, prefix: [], first: false });
}

/** Or the container would hold the keys of the engine's session. A user's quota of keys is small, and no reason not to start. */
function newKeyring(kernel: ProcessSyscalls): void {
  try {
    kernel.newSessionKeyring();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}

function joinNamespace(kernel: ProcessSyscalls, path: string, type: number): void {
  const fd = kernel.open(path, 0);
  try {
    kernel.setns(fd, type);
  } finally {
    kernel.close(fd);
  }
}

function joinCgroup(kernel: ProcessSyscalls, path: string | undefined): void {
  if (path === undefined) return;
  // "0" is the writer itself, whatever its number in its own PID namespace
  inStage("cgroup", "", () => writeProc(kernel, `${path}/cgroup.procs`, "0"));
}

/** Brings the process to the container's cgroup. */
function enterCgroup(kernel: ProcessSyscalls, { cgroupPath, pid }: ExecOrder, hooks: Hooks): void {
  if (cgroupPath === undefined) return;
  try {
    bearInCgroup(kernel, cgroupPath, hooks);
  } catch (error) {
    // systemd, dockerd and the like give controllers on to cgroups that they make below theirs, and then no process may be beside those:
    // where the first process has gone to, others may be (as runc's exec does it).
    const nested = refusedWith(error, "EBUSY") ? nestedCgroup(kernel, cgroupPath, pid) : undefined;
    if (nested === undefined) throw error;
    bearInCgroup(kernel, nested, hooks);
  }
}

/** Below `cgroup`, where process `pid` is; undefined: it is in there itself. */
function nestedCgroup(kernel: ProcessSyscalls, cgroup: string, pid: number): string | undefined {
  const [, own = ""] = /^0::(\/.*)$/m.exec(readText(kernel, `/proc/${pid}/cgroup`) ?? "") ?? [];
  const name = `${cgroup.slice(cgroup.lastIndexOf("/"))}/`;
  const at = own.indexOf(name);
  return at < 0 ? undefined : `${cgroup}/${own.slice(at + name.length)}`;
}

/** As {@link joinCgroup}, in a fiftieth of the time, for a process that nobody knows yet: it will have another number. */
function bearInCgroup(kernel: ProcessSyscalls, path: string, hooks: Hooks): void {
  try {
    inStage("cgroup", "", () => hooks.forkInto(path));
  } catch (error) {
    // Linux before 5.7, or a filter around berth that does not know clone3.
    if (!refusedWith(error, "ENOSYS", "EINVAL", "E2BIG", "EPERM")) throw error;
    joinCgroup(kernel, path);
  }
}

function refusedWith(error: unknown, ...names: Parameters<SysError["is"]>): boolean {
  const cause = error instanceof InitFailure ? error.cause : undefined;
  return cause instanceof SysError && cause.is(...names);
}

/** Lowering it below what the engine itself was given needs rights over the host: then it stays as it is. */
function setOomScore(kernel: ProcessSyscalls, value: number): void {
  try {
    writeProc(kernel, "/proc/self/oom_score_adj", String(value));
  } catch (error) {
    if (!(error instanceof SysError && error.is("EACCES", "EPERM"))) throw error;
  }
}
