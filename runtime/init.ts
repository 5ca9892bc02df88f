/**
 * A process that waits for an order, makes itself the container (or enters one) and becomes the ordered program.
 * What it has changed when a step fails vanishes with it.
 */
import { CLONE_FS, CLONE_NEWCGROUP, CLONE_NEWNS, PR_SET_DUMPABLE } from "../ffi/constants.ts";
import { SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import { writeProc } from "./files.ts";
import {
  ChannelReader,
  type ContainerOrder,
  type ExecOrder,
  type InitOrder,
  sendReply,
} from "./init_channel.ts";
import { inStage, toStartFailure } from "./init_failure.ts";
import { becomeProcess } from "./init_process.ts";
import { rehearse } from "./init_rehearsal.ts";
import { enterRootfs, INIT_PROGRAM } from "./init_rootfs.ts";

/** Exit code of an init that has failed; its shim tells the engine why. */
const FAILED = 127;

/** Waits on `channel` and does what is ordered. Returns an exit code when there was no order or it failed. */
export function runInit(kernel: Syscalls, channel: number): number {
  // Processes of a container that an exec enters must not look into this one, which can still reach the host.
  kernel.prctl(PR_SET_DUMPABLE, 0);
  kernel.setCloexec(channel, true);
  const received = waitForOrder(kernel, channel);
  if (received === "end" || received === "later") return 0;
  const { message: order, fds } = received;
  try {
    kernel.umask(0);
    newKeyring(kernel);
    if (order.kind === "container") startContainer(kernel, channel, order, fds);
    else enterContainer(kernel, channel, order, fds);
  } catch (error) {
    sendReply(kernel, channel, { kind: "error", error: toStartFailure(error) });
  }
  return FAILED;
}

/** Uses the time until there is an order, if there is any: an exec's is there at once. */
function waitForOrder(kernel: Syscalls, channel: number): ReturnType<ChannelReader<InitOrder>["next"]> {
  const reader = new ChannelReader<InitOrder>(kernel, channel);
  kernel.setNonblocking(channel, true);
  let received = reader.next();
  kernel.setNonblocking(channel, false);
  if (received === "later") {
    rehearse(kernel);
    received = reader.next();
  }
  return received;
}

function startContainer(kernel: Syscalls, channel: number, order: ContainerOrder, stdio: number[]): never {
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
  enterRootfs(kernel, spec, order.mountPoint);
  const prefix = spec.init === undefined || spec.init === "builtin" ? [] : [INIT_PROGRAM, "--"];
  becomeProcess(kernel, spec.process, { channel, stdio, prefix, first: true });
}

function enterContainer(kernel: Syscalls, channel: number, order: ExecOrder, fds: number[]): never {
  const [mountNamespace = -1, cgroupNamespace = -1, ...stdio] = fds;
  setOomScore(kernel, order.process.oomScoreAdj ?? order.oomScoreAdj);
  joinCgroup(kernel, order.cgroupPath);
  inStage("namespaces", "", () => {
    // A thread that shares root and working directory with others may not enter a mount namespace.
    kernel.unshare(CLONE_FS);
    kernel.setns(cgroupNamespace, CLONE_NEWCGROUP);
    kernel.setns(mountNamespace, CLONE_NEWNS);
    kernel.close(cgroupNamespace);
    kernel.close(mountNamespace);
  });
  becomeProcess(kernel, order.process, { channel, stdio, prefix: [], first: false });
}

/** Or the container would hold the keys of the engine's session. A user's quota of keys is small, and no reason not to start. */
function newKeyring(kernel: Syscalls): void {
  try {
    kernel.newSessionKeyring();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}

function joinNamespace(kernel: Syscalls, path: string, type: number): void {
  const fd = kernel.open(path, 0);
  try {
    kernel.setns(fd, type);
  } finally {
    kernel.close(fd);
  }
}

function joinCgroup(kernel: Syscalls, path: string | undefined): void {
  if (path === undefined) return;
  // "0" is the writer itself, whatever its number in its own PID namespace
  inStage("cgroup", "", () => writeProc(kernel, `${path}/cgroup.procs`, "0"));
}

/** Lowering it below what the engine itself was given needs rights over the host: then it stays as it is. */
function setOomScore(kernel: Syscalls, value: number): void {
  try {
    writeProc(kernel, "/proc/self/oom_score_adj", String(value));
  } catch (error) {
    if (!(error instanceof SysError && error.is("EACCES", "EPERM"))) throw error;
  }
}
