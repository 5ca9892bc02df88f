/**
 * What the engine hands to a shim, and the shim to init: a container spelled out, with nothing left to decide and nothing
 * to look up but what only the container's own root file system can answer (user names). Plain JSON; no imports, so that
 * every process may load it.
 */

/** One mount of the container, in order. Paths in `target` are inside the container and untrusted. */
export interface MountSpec {
  readonly type:
    | "bind"
    | "proc"
    | "sysfs"
    | "tmpfs"
    | "devpts"
    | "mqueue"
    | "cgroup2"
    | "overlay"
    | "image-dir";
  /** Host path for bind; overlay uses `overlay`. */
  readonly source?: string;
  readonly target: string;
  /** MS_* names without prefix, lower case: "ro", "nosuid", "nodev", "noexec", "rbind", "strictatime", "relatime", "noatime"… */
  readonly flags: readonly string[];
  /** rprivate (default), private, rslave, slave, rshared, shared. */
  readonly propagation?: string;
  /** File-system data string, e.g. "mode=1777,size=65536k". */
  readonly data?: string;
  /** A read-only bind is made read-only with everything below it (mount_setattr AT_RECURSIVE), where the kernel can. */
  readonly recursiveReadOnly?: boolean;
  /** For overlay mounts (berth/host directories): layers. */
  readonly overlay?: OverlaySpec;
  /** When the mount fails: "ignore" goes on without (mqueue, cgroup2 where refused); default is to fail the start. */
  readonly onError?: "ignore";
  /** tmpfs over something: copy what was below into it first (Docker's tmpcopyup). */
  readonly copyUp?: boolean;
}

export interface OverlaySpec {
  /** Topmost first. Directories. */
  readonly lower: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  /** Further mount options: ["userxattr"], … */
  readonly options: readonly string[];
}

/** Where the container's root comes from. */
export type RootfsSpec =
  | { readonly kind: "overlay"; readonly overlay: OverlaySpec }
  /** A directory that is mounted or plain already (fuse-overlayfs, vfs): bound. */
  | { readonly kind: "directory"; readonly path: string };

/** private = its own; host = the engine's; path = that namespace file (/proc/PID/ns/x). */
export type NamespaceMode =
  | { readonly kind: "private" }
  | { readonly kind: "host" }
  | { readonly kind: "path"; readonly path: string };

export interface RlimitSpec {
  /** Number of the RLIMIT_*. */
  readonly resource: number;
  /** Decimal, "-1" = unlimited. */
  readonly soft: string;
  readonly hard: string;
  /** A default that nobody has asked for: brought down to what the kernel permits, where that is less. */
  readonly atMost?: true;
}

export interface ProcessSpec {
  readonly args: readonly string[];
  /** Whole environment, `NAME=value`; init adds HOME (from the user's passwd entry) when missing, and nothing else. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** As given: "", "name", "uid", "name:group", "uid:gid"; resolved by init in the container's own /etc/passwd and /etc/group. */
  readonly user: string;
  /** --group-add: names or ids. */
  readonly additionalGroups: readonly string[];
  readonly tty: boolean;
  /** Initial size of the terminal, [rows, cols]. */
  readonly consoleSize?: readonly [number, number];
  /** 64-bit masks in hexadecimal without 0x. For a non-root user effective and permitted are cleared by execve itself, as in Docker. */
  readonly capabilities: {
    readonly bounding: string;
    readonly permitted: string;
    readonly effective: string;
    readonly inheritable: string;
    readonly ambient: string;
  };
  readonly noNewPrivileges: boolean;
  /** struct sock_filter[] in base64; absent = unconfined. */
  readonly seccomp?: string;
  /** SECCOMP_FILTER_FLAG_* to load it with; absent = none. */
  readonly seccompFlags?: number;
  readonly rlimits: readonly RlimitSpec[];
  readonly oomScoreAdj?: number;
}

export interface ContainerSpec {
  readonly id: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly rootfs: RootfsSpec;
  readonly readonlyRootfs: boolean;
  /** Propagation of the container's root mount; default rprivate. */
  readonly rootPropagation?: string;
  readonly mounts: readonly MountSpec[];
  /** Device nodes bound from the host into /dev: host path → container path. */
  readonly devices: readonly {
    readonly source: string;
    readonly target: string;
    readonly optional?: boolean;
  }[];
  /** Symlinks made in the container's fresh /dev: [target, path]. */
  readonly symlinks: readonly (readonly [string, string])[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly namespaces: {
    readonly pid: NamespaceMode;
    readonly net: NamespaceMode;
    readonly ipc: NamespaceMode;
    readonly uts: NamespaceMode;
    readonly cgroup: NamespaceMode;
  };
  /** --init: host path of a static init program bound at /sbin/docker-init and put before args; or "builtin". */
  readonly init?: string;
  /** Directory of the container's cgroup (cgroup v2), joined by init before the cgroup namespace; absent = none. */
  readonly cgroupPath?: string;
  readonly process: ProcessSpec;
}

/** How the shim logs. */
export interface LogSpec {
  readonly driver: "json-file" | "none";
  /** Absolute path of `<id>-json.log`. */
  readonly path: string;
  /** Bytes, 0 = unlimited. */
  readonly maxSize: number;
  readonly maxFile: number;
  readonly compress: boolean;
  /** Docker's "attrs" of each line, when labels/env options ask for it. */
  readonly attrs?: Readonly<Record<string, string>>;
}

/** What a shim is started with: namespaces it makes at once, before it knows its container. */
export interface ShimOptions {
  /** `<exec-root>/shims/<shim id>`: exists, empty, mode 0700. The shim puts ctl.sock, attach.sock, state.json, shim.log there. */
  readonly dir: string;
  /** Default: all private. A shim for `--net host` and the like is made to measure (no warm one fits). */
  readonly namespaces: {
    readonly pid: NamespaceMode;
    readonly net: NamespaceMode;
    readonly ipc: NamespaceMode;
    readonly uts: NamespaceMode;
  };
}
