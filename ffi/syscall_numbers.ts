import { ARCH, type Arch } from "./arch.ts";

/**
 * Numbers of the system calls that berth makes itself, `[x86-64, arm64]`.
 * Origin: Linux 6.1 uapi, asm/unistd_64.h and asm-generic/unistd.h. Only calls that both machines have
 * (`openat`, never `open`).
 */
const NUMBERS = {
  unshare: [272, 97],
  setns: [308, 268],
  pivot_root: [155, 41],
  chroot: [161, 51],
  chdir: [80, 49],
  fchdir: [81, 50],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  mount: [165, 40],
  umount2: [166, 39],
  open_tree: [428, 428],
  move_mount: [429, 429],
  mount_setattr: [442, 442],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  statfs: [137, 43],
  execve: [59, 221],
  waitid: [247, 95],
  kill: [62, 129],
  getpid: [39, 172],
  getppid: [110, 173],
  geteuid: [107, 175],
  setsid: [112, 157],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  pidfd_send_signal: [424, 424],
  prctl: [157, 167],
  keyctl: [250, 219],
  capget: [125, 90],
  capset: [126, 91],
  seccomp: [317, 277],
  setresuid: [117, 147],
  setresgid: [119, 149],
  setgroups: [116, 159],
  prlimit64: [302, 261],
  umask: [95, 166],
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  close_range: [436, 436],
  openat: [257, 56],
  openat2: [437, 437],
  close: [3, 57],
  read: [0, 63],
  write: [1, 64],
  dup3: [292, 24],
  fcntl: [72, 25],
  pipe2: [293, 59],
  splice: [275, 76],
  fsync: [74, 82],
  ftruncate: [77, 46],
  newfstatat: [262, 79],
  fstat: [5, 80],
  mkdirat: [258, 34],
  mknodat: [259, 33],
  symlinkat: [266, 36],
  linkat: [265, 37],
  renameat2: [316, 276],
  unlinkat: [263, 35],
  readlinkat: [267, 78],
  fchmodat: [268, 53],
  fchmod: [91, 52],
  fchownat: [260, 54],
  fchown: [93, 55],
  utimensat: [280, 88],
  lgetxattr: [192, 9],
  lsetxattr: [189, 6],
  llistxattr: [195, 12],
  lremovexattr: [198, 15],
  flock: [73, 32],
  lseek: [8, 62],
  getdents64: [217, 61],
  copy_file_range: [326, 285],
  epoll_create1: [291, 20],
  epoll_ctl: [233, 21],
  epoll_pwait: [281, 22],
  signalfd4: [289, 74],
  timerfd_create: [283, 85],
  timerfd_settime: [286, 86],
  socket: [41, 198],
  socketpair: [53, 199],
  bind: [49, 200],
  listen: [50, 201],
  connect: [42, 203],
  accept4: [288, 242],
  shutdown: [48, 210],
  getsockopt: [55, 209],
  setsockopt: [54, 208],
  sendmsg: [46, 211],
  recvmsg: [47, 212],
  ioctl: [16, 29],
  gettid: [186, 178],
} as const;

export type SyscallName = keyof typeof NUMBERS;

/** The numbers of one machine. */
export function numbersOf(arch: Arch): Readonly<Record<SyscallName, number>> {
  const column = arch === "x86_64" ? 0 : 1;
  const table: Partial<Record<SyscallName, number>> = {};
  for (const name of Object.keys(NUMBERS) as SyscallName[]) table[name] = NUMBERS[name][column];
  return table as Record<SyscallName, number>;
}

/** System call numbers of this machine. */
export const NR = numbersOf(ARCH);
