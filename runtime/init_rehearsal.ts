/**
 * A warm shim has time until its order comes, and V8 compiles a function when it is called for the first time. So a start is
 * gone through once before: by a kernel that does nothing, and the stub's calls by arguments that the kernel refuses.
 */
import { S_IFDIR } from "../ffi/constants.ts";
import type { ProcessSyscalls, Stat } from "../ffi/syscalls.ts";
import { prepareProcess } from "./init_process.ts";
import { enterRootfs } from "./init_rootfs.ts";
import type { ContainerSpec, MountSpec, NamespaceMode } from "./spec.ts";

/** Answers how it went, for a test: undefined for a part that went to its end, else what stopped it. */
export function rehearse(kernel: ProcessSyscalls): { root: unknown; process: unknown } {
  const idle = idleKernel();
  const root = outcome(() => enterRootfs(idle, SPEC, "/"));
  const process = outcome(() =>
    prepareProcess(idle, SPEC.process, {
      stdio: [0],
      prefix: [],
      first: true,
      giveTerminal: () => {},
      appear: () => {},
    })
  );
  for (const call of refusedCalls(kernel)) outcome(call);
  return { root, process };
}

/** What `action` throws, if it does. */
function outcome(action: () => void): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

function idleKernel(): ProcessSyscalls {
  const directory: Stat = {
    dev: 0n,
    ino: 0n,
    mode: S_IFDIR,
    nlink: 1,
    uid: 1,
    gid: 0,
    rdev: 0n,
    size: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
  };
  const answers: Partial<ProcessSyscalls> = {
    fstat: () => directory,
    readlink: () => "",
    stat: () => ({ ...directory, mode: 0o111 }),
    capget: () => ({ effective: 0n, permitted: 0n, inheritable: 0n }),
    getcwd: () => "/",
  };
  const nothing = (): number => 0;
  return new Proxy(answers, {
    get: (target, name) => target[name as keyof ProcessSyscalls] ?? nothing,
  }) as ProcessSyscalls;
}

/** Descriptor -1 and the empty path are always refused. */
function refusedCalls(kernel: ProcessSyscalls): (() => void)[] {
  return [
    () => kernel.mount(null, "", null, 0, null),
    () => kernel.umount2("", 0),
    () => kernel.openTree(-1, "", 0),
    () => kernel.moveMount(-1, "", -1, "", 0),
    () => kernel.mountSetattr(-1, "", 0, {}),
    () => kernel.openat2(-1, "", 0, 0, 0),
    () => kernel.open("", 0),
    () => kernel.fstat(-1),
    () => kernel.stat("", true),
    () => kernel.checkExecutable(""),
    () => kernel.mkdirat(-1, "", 0),
    () => kernel.symlink("", ""),
    () => kernel.chdir(""),
    () => kernel.fchdir(-1),
    () => kernel.pivotRoot("", ""),
    () => kernel.setns(-1, 0),
    () => kernel.fchown(-1, 0, 0),
    () => kernel.dup2(-1, -1),
    () => kernel.capget(),
    () => kernel.write(-1, new Uint8Array(1)),
    () => kernel.read(-1, new Uint8Array(1)),
    () => kernel.seccompSetFilter(new Uint8Array(0), 0),
    () => kernel.sendmsg(-1, new Uint8Array(1), []),
    () => kernel.close(-1),
  ];
}

const own: NamespaceMode = { kind: "private" };

function mount(type: MountSpec["type"], source?: string): MountSpec {
  return {
    type,
    target: "/a/b",
    flags: ["nosuid", "ro"],
    data: "",
    ...(source === undefined ? {} : { source }),
  };
}

const SPEC: ContainerSpec = {
  id: "",
  hostname: "",
  domainname: "",
  rootfs: { kind: "overlay", overlay: { lower: ["/a", "/b"], upper: "/", work: "/", options: [""] } },
  readonlyRootfs: true,
  mounts: [
    mount("proc"),
    mount("tmpfs"),
    mount("devpts"),
    mount("sysfs"),
    mount("mqueue"),
    mount("bind", "/"),
  ],
  devices: [{ source: "/", target: "/a" }],
  symlinks: [["/", "/a"]],
  maskedPaths: ["/"],
  readonlyPaths: ["/"],
  sysctls: { "net.a": "" },
  namespaces: { pid: own, net: own, ipc: own, uts: own, cgroup: own },
  process: {
    args: ["a"],
    env: ["PATH=/"],
    cwd: "/",
    user: "",
    additionalGroups: [],
    tty: false,
    capabilities: { bounding: "1", permitted: "1", effective: "1", inheritable: "0", ambient: "0" },
    noNewPrivileges: false,
    seccomp: "",
    rlimits: [{ resource: 7, soft: "1", hard: "1" }],
  },
};
