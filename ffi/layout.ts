/**
 * Sizes and field offsets of the C structs that cross the border, one table per machine where they differ.
 * Origin: Linux uapi headers; glibc's spawn.h for the posix_spawn ones (musl's fields stand at the same offsets).
 */
import { ARCH, type Arch } from "./arch.ts";

export interface StatLayout {
  readonly size: number;
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  /** st_nlink is a long on x86-64 and an int on arm64. */
  readonly nlinkBytes: 4 | 8;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly fileSize: number;
  readonly mtime: number;
}

export interface Layouts {
  readonly stat: StatLayout;
  /** `struct epoll_event` is packed on x86-64 only. */
  readonly epollEvent: { readonly size: number; readonly data: number };
}

// deno-fmt-ignore
export const LAYOUTS: Readonly<Record<Arch, Layouts>> = {
  x86_64: {
    stat: { size: 144, dev: 0, ino: 8, nlink: 16, nlinkBytes: 8, mode: 24, uid: 28, gid: 32, rdev: 40, fileSize: 48, mtime: 88 },
    epollEvent: { size: 12, data: 4 },
  },
  aarch64: {
    stat: { size: 128, dev: 0, ino: 8, mode: 16, nlink: 20, nlinkBytes: 4, uid: 24, gid: 28, rdev: 32, fileSize: 48, mtime: 88 },
    epollEvent: { size: 16, data: 8 },
  },
};

export const LAYOUT: Layouts = LAYOUTS[ARCH];

/** Structs that are the same on both machines. */
export const SIZEOF = {
  statfs: 120,
  timespec: 16,
  itimerspec: 32,
  siginfo: 128,
  /** The kernel's sigaction, not libc's: handler, flags, restorer, mask. */
  kernelSigaction: 32,
  /** The kernel's sigset_t; libc's is 128 bytes. */
  kernelSigset: 8,
  signalfdSiginfo: 128,
  msghdr: 56,
  cmsghdr: 16,
  iovec: 16,
  ucred: 12,
  sockaddrUn: 110,
  ifreq: 40,
  winsize: 8,
  /** With `cgroup`, its last field: Linux 5.7. */
  cloneArgs: 88,
  openHow: 24,
  mountAttr: 32,
  rlimit: 16,
  capHeader: 8,
  capData: 12,
  sockFprog: 16,
  sockFilter: 8,
  posixSpawnattr: 336,
  posixSpawnFileActions: 80,
} as const;

/** Device number as stat(2) and mknod(2) carry it (glibc's makedev). */
export function makedev(major: number, minor: number): bigint {
  const ma = BigInt(major), mi = BigInt(minor);
  return (mi & 0xffn) | ((ma & 0xfffn) << 8n) | ((mi & ~0xffn) << 12n) | ((ma & ~0xfffn) << 32n);
}

export function devMajor(dev: bigint): number {
  return Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn));
}

export function devMinor(dev: bigint): number {
  return Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n));
}
