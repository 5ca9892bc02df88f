/**
 * Every kernel and libc entry that berth uses, in one interface with two implementations: `kernel.ts` (the kernel,
 * over Deno.dlopen) and `recorder.ts` (writes down calls, for unit tests without privileges).
 *
 * All calls are synchronous and act on the calling thread. Failures throw `SysError` (errno.ts); the calls whose
 * doc says so answer {@link WOULD_BLOCK} instead of throwing EAGAIN, because that is an ordinary outcome there.
 * Paths are NUL-free strings (a NUL throws TypeError before any call is made).
 */
export const WOULD_BLOCK = -1;

/** `struct epoll_event` reduced to what berth uses. */
export interface EpollEvent {
  readonly fd: number;
  readonly events: number;
}

export interface Stat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: bigint;
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
}

/** One received message of a unix socket: how much of the buffer is filled, and descriptors that came with it (all close-on-exec). */
export interface Received {
  /** 0 = end of stream; {@link WOULD_BLOCK} = nothing there. */
  readonly length: number;
  readonly fds: number[];
}

/** How a child ended, as waitid reports it. */
export interface ChildExit {
  readonly pid: number;
  /** Exit code, or undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: number | undefined;
}

export interface SpawnOptions {
  /** Absolute path of the executable. */
  readonly path: string;
  /** argv, argv[0] included. */
  readonly args: readonly string[];
  /** The whole environment, `NAME=value`. */
  readonly env: readonly string[];
  /** Child descriptor → parent's descriptor, by dup2 (clears close-on-exec); others follow their own close-on-exec flag. */
  readonly fds?: Readonly<Record<number, number>>;
  /** New session (POSIX_SPAWN_SETSID). */
  readonly setsid?: boolean;
  /** All signals to their default dispositions and an empty mask. Default true. */
  readonly resetSignals?: boolean;
  /**
   * Signals that are blocked in the child from its first instruction on. A child that is to read them from a
   * signalfd needs this: all threads that it starts inherit the mask (see {@link Syscalls.signalfd}).
   */
  readonly blockedSignals?: readonly number[];
}

/** `struct mount_attr` for mount_setattr(2). */
export interface MountAttr {
  readonly set?: number;
  readonly clear?: number;
  readonly propagation?: number;
  readonly usernsFd?: number;
}

/** Capability sets as 64-bit masks, for capget/capset (version 3). */
export interface CapSets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

/** `struct winsize`. */
export interface WindowSize {
  readonly rows: number;
  readonly cols: number;
}

export interface Syscalls {
  // --- namespaces and roots
  unshare(flags: number): void;
  setns(fd: number, nstype: number): void;
  pivotRoot(newRoot: string, putOld: string): void;
  chroot(path: string): void;
  chdir(path: string): void;
  fchdir(fd: number): void;
  /** Begins with "/", unless the directory cannot be reached from the root. */
  getcwd(): string;
  sethostname(name: string): void;
  setdomainname(name: string): void;

  // --- mounts
  mount(
    source: string | null,
    target: string,
    fstype: string | null,
    flags: number,
    data: string | null,
  ): void;
  umount2(target: string, flags: number): void;
  openTree(dirfd: number, path: string, flags: number): number;
  moveMount(fromFd: number, fromPath: string, toFd: number, toPath: string, flags: number): void;
  mountSetattr(dirfd: number, path: string, flags: number, attr: MountAttr): void;
  fsopen(fstype: string, flags: number): number;
  fsconfigString(fd: number, key: string, value: string): void;
  fsconfigFlag(fd: number, key: string): void;
  fsconfigCreate(fd: number): void;
  fsmount(fd: number, flags: number, attrs: number): number;
  /** `f_type` of statfs(2) (the file system's magic number), free and total bytes. */
  statfs(path: string): { type: number; bsize: number; blocks: bigint; bavail: bigint; namelen: number };

  // --- processes
  /** posix_spawn(3): the child is cloned from the calling thread and inherits its namespaces. Answers the pid. */
  spawn(options: SpawnOptions): number;
  /** Returns only by throwing. */
  execve(path: string, argv: readonly string[], env: readonly string[]): never;
  /** waitid(2), WEXITED; undefined when `noHang` and nobody has ended. `pid` undefined = any child. */
  wait(pid: number | undefined, noHang: boolean): ChildExit | undefined;
  kill(pid: number, signal: number): void;
  getpid(): number;
  getppid(): number;
  geteuid(): number;
  setsid(): void;
  pidfdOpen(pid: number, flags: number): number;
  pidfdGetfd(pidfd: number, targetFd: number): number;
  pidfdSendSignal(pidfd: number, signal: number): void;
  prctl(
    option: number,
    a2: number | bigint,
    a3?: number | bigint,
    a4?: number | bigint,
    a5?: number | bigint,
  ): number;
  /** keyctl(KEYCTL_JOIN_SESSION_KEYRING) without a name: a new, empty session keyring for the calling thread. */
  newSessionKeyring(): void;
  capget(): CapSets;
  capset(sets: CapSets): void;
  /** seccomp(SECCOMP_SET_MODE_FILTER): `program` is an array of struct sock_filter, 8 bytes each. */
  seccompSetFilter(program: Uint8Array, flags: number): void;
  /** The raw calls, which act on the calling thread only (glibc's wrappers broadcast to all threads). */
  setresuid(r: number, e: number, s: number): void;
  setresgid(r: number, e: number, s: number): void;
  setgroups(gids: readonly number[]): void;
  setrlimit(resource: number, soft: bigint, hard: bigint): void;
  getrlimit(resource: number): { soft: bigint; hard: bigint };
  umask(mask: number): number;
  /** SIG_IGN for each of them. Children of {@link spawn} start with the defaults all the same. */
  ignoreSignals(signals: readonly number[]): void;
  /** Sets close-on-exec on all descriptors ≥ `first` (close_range with CLOSE_RANGE_CLOEXEC, or one by one on old kernels). */
  cloexecFrom(first: number): void;
  sysconfClockTicks(): number;

  // --- descriptors
  /** Always close-on-exec. */
  open(path: string, flags: number, mode?: number): number;
  /** openat2(2), always close-on-exec. `resolve` takes RESOLVE_* flags: use it for every path that holds untrusted text. */
  openat2(dirfd: number, path: string, flags: number, mode: number, resolve: number): number;
  close(fd: number): void;
  /** Bytes read, 0 at the end, {@link WOULD_BLOCK}. */
  read(fd: number, buffer: Uint8Array): number;
  /** Bytes written, {@link WOULD_BLOCK}. */
  write(fd: number, data: Uint8Array): number;
  dup2(from: number, to: number): void;
  /** The lowest free number that is ≥ `atLeast` (0). */
  dupCloexec(fd: number, atLeast?: number): number;
  /** Both ends close-on-exec; `flags` adds O_NONBLOCK and the like. */
  pipe2(flags: number): [number, number];
  setNonblocking(fd: number, on: boolean): void;
  setCloexec(fd: number, on: boolean): void;
  /** Bytes moved, 0 at the end, {@link WOULD_BLOCK}. */
  splice(fdIn: number, fdOut: number, length: number, flags: number): number;
  fsync(fd: number): void;
  ftruncate(fd: number, length: number): void;

  // --- files
  stat(path: string, followLast: boolean): Stat;
  fstat(fd: number): Stat;
  /** Whether the calling thread, with what rights it has at this moment, could execute the file (faccessat2(2): Linux 5.8). @throws {SysError} EACCES */
  checkExecutable(path: string): void;
  mkdir(path: string, mode: number): void;
  mkdirat(dirfd: number, path: string, mode: number): void;
  mknod(path: string, mode: number, dev: bigint): void;
  symlink(target: string, path: string): void;
  link(from: string, to: string): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  rmdir(path: string): void;
  readlink(path: string): string;
  /** Names in an open directory, without `.` and `..`, from where the descriptor stands to the end. */
  readDirectory(fd: number): string[];
  chmod(path: string, mode: number): void;
  lchown(path: string, uid: number, gid: number): void;
  fchown(fd: number, uid: number, gid: number): void;
  /** utimensat(2) without following a symlink; times in seconds and nanoseconds. */
  lutimes(path: string, atime: [number, number], mtime: [number, number]): void;
  /** The l*xattr calls. `lgetxattr` answers undefined for ENODATA. Values are bytes. */
  lgetxattr(path: string, name: string): Uint8Array | undefined;
  lsetxattr(path: string, name: string, value: Uint8Array, flags?: number): void;
  llistxattr(path: string): string[];
  lremovexattr(path: string, name: string): void;
  /** LOCK_EX | LOCK_NB on an open descriptor; false when somebody else holds it. */
  flock(fd: number): boolean;

  // --- events
  epollCreate(): number;
  epollAdd(epfd: number, fd: number, events: number): void;
  epollModify(epfd: number, fd: number, events: number): void;
  epollDelete(epfd: number, fd: number): void;
  /** Answers an empty list on timeout or EINTR. `timeoutMs` -1 = for ever. The list is reused: read it before the next call. */
  epollWait(epfd: number, timeoutMs: number): readonly EpollEvent[];
  /**
   * signalfd4(2), nonblocking, with the signals blocked on this thread first. A signal to the whole process (kill,
   * SIGCHLD) goes to any thread that has it unblocked, and Deno has some: only signals that the process was *born*
   * with in its mask (`SpawnOptions.blockedSignals`) reach the descriptor for certain. For children prefer a pidfd.
   */
  signalfd(signals: readonly number[]): number;
  timerfdCreate(): number;
  /** One shot after `ms` milliseconds; 0 disarms. */
  timerfdSet(fd: number, ms: number): void;

  // --- sockets (AF_UNIX unless said otherwise); all are close-on-exec
  socketpair(type: number): [number, number];
  /** Listening stream socket; a stale file at `path` is the caller's to remove. Created with mode `mode`. */
  unixListen(path: string, backlog: number, mode: number): number;
  /** A blocking stream socket. Paths longer than sun_path (107 bytes) work here and in unixListen. */
  unixConnect(path: string): number;
  /** Nonblocking, close-on-exec descriptor, or {@link WOULD_BLOCK}. */
  accept(fd: number): number;
  shutdown(fd: number, how: number): void;
  /** uid/pid of the peer (SO_PEERCRED). */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
  /** Bytes sent, {@link WOULD_BLOCK}. Never raises SIGPIPE. */
  sendmsg(fd: number, data: Uint8Array, fds: readonly number[]): number;
  /** @throws {SysError} EMSGSIZE when a message (SOCK_SEQPACKET) was longer than the buffer: its rest is lost. */
  recvmsg(fd: number, buffer: Uint8Array): Received;
  /** Brings a network interface up in the thread's network namespace (SIOCSIFFLAGS), `lo` for instance. */
  interfaceUp(name: string): void;

  // --- terminals
  /** Lets the slave of an open /dev/ptmx be opened (TIOCSPTLCK). */
  unlockPty(master: number): void;
  /** The slave of `master`, close-on-exec and not yet anybody's controlling terminal: without a path, so there is none to be deceived by. */
  openPtyPeer(master: number): number;
  setWindowSize(fd: number, size: WindowSize): void;
  getWindowSize(fd: number): WindowSize;
  setControllingTerminal(fd: number): void;
}

/** What one event loop sleeps on: of use to the calling thread alone. */
export type EventSyscalls = Pick<
  Syscalls,
  | "epollCreate"
  | "epollAdd"
  | "epollModify"
  | "epollDelete"
  | "epollWait"
  | "signalfd"
  | "timerfdCreate"
  | "timerfdSet"
>;

/** Those that can be made for another process as well (stub_process.ts). */
export type ProcessSyscalls = Omit<Syscalls, keyof EventSyscalls | "spawn">;
