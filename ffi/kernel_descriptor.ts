import {
  AT_FDCWD,
  CLOSE_RANGE_CLOEXEC,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  LOCK_EX,
  LOCK_NB,
  O_CLOEXEC,
  O_CREAT,
  O_NONBLOCK,
  O_TMPFILE,
} from "./constants.ts";
import { ERRNO } from "./errno.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import { type Machine, thread } from "./machine.ts";
import { NR } from "./syscall_numbers.ts";
import { type Syscalls, WOULD_BLOCK } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  | "open"
  | "openat2"
  | "close"
  | "read"
  | "write"
  | "dup2"
  | "dupCloexec"
  | "pipe2"
  | "setNonblocking"
  | "setCloexec"
  | "cloexecFrom"
  | "splice"
  | "fsync"
  | "ftruncate"
  | "flock"
>;

/** EAGAIN as {@link WOULD_BLOCK}, every other failure as an exception. */
export function blockingResult(result: number, op: string): number {
  return result === -ERRNO.EAGAIN ? WOULD_BLOCK : check(result, op);
}

function changeFlag({ raw }: Machine, fd: number, get: number, set: number, flag: number, on: boolean): void {
  const flags = check(raw(NR.fcntl, fd, get), "fcntl");
  const wanted = on ? flags | flag : flags & ~flag;
  if (wanted !== flags) check(raw(NR.fcntl, fd, set, wanted), "fcntl");
}

/** Higher numbers than a stub ever has: one for each layer, mount and device of a container. */
const STUB_DESCRIPTORS = 4096;

/** Numbers that descriptors may have: of the calling process those that are open, of another one all. */
function possibleDescriptors(machine: Machine): number[] {
  return machine === thread
    ? [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name))
    : Array.from({ length: STUB_DESCRIPTORS }, (_, fd) => fd);
}

/** Close-on-exec for each open descriptor ≥ `first`: what close_range does since Linux 5.11. */
function cloexecOneByOne(machine: Machine, first: number): void {
  for (const fd of possibleDescriptors(machine)) {
    // the listing's own descriptor is closed by now
    if (fd >= first && machine.raw(NR.fcntl, fd, F_GETFD) >= 0) {
      changeFlag(machine, fd, F_GETFD, F_SETFD, FD_CLOEXEC, true);
    }
  }
}

/** Descriptors and the data behind them. */
export const descriptorCalls = (machine: Machine): Calls => {
  const { block, cString, raw, rawOnce } = machine;
  return {
    open(path, flags, mode = 0) {
      return check(raw(NR.openat, AT_FDCWD, cString(path), flags | O_CLOEXEC, mode), "open", path);
    },
    openat2(dirfd, path, flags, mode, resolve) {
      const how = block(SIZEOF.openHow);
      how.view.setBigUint64(0, BigInt(flags | O_CLOEXEC), true);
      // openat2 refuses what openat overlooks: a mode without a file to make
      const creates = (flags & O_CREAT) !== 0 || (flags & O_TMPFILE) === O_TMPFILE;
      how.view.setBigUint64(8, BigInt(creates ? mode : 0), true);
      how.view.setBigUint64(16, BigInt(resolve), true);
      const name = cString(path);
      let result = 0;
      // EAGAIN: a rename raced with the resolution of `..`; the manual page says to try again
      for (let attempt = 0; attempt < 64; attempt++) {
        result = raw(NR.openat2, dirfd, name, how.address, SIZEOF.openHow);
        if (result !== -ERRNO.EAGAIN) break;
      }
      return check(result, "openat2", path);
    },
    close(fd) {
      // never again after EINTR: Linux has freed the number already
      const result = rawOnce(NR.close, fd);
      if (result !== -ERRNO.EINTR) check(result, "close");
    },
    read: (fd, buffer) => blockingResult(machine.read(fd, buffer), "read"),
    write: (fd, data) => blockingResult(machine.write(fd, data), "write"),
    dup2(from, to) {
      // dup3 refuses equal numbers where dup2 does nothing; the meaning here is "to is open and survives exec"
      if (from === to) changeFlag(machine, from, F_GETFD, F_SETFD, FD_CLOEXEC, false);
      else check(raw(NR.dup3, from, to, 0), "dup2");
    },
    dupCloexec(fd, atLeast = 0) {
      return check(raw(NR.fcntl, fd, F_DUPFD_CLOEXEC, atLeast), "dup");
    },
    pipe2(flags) {
      const pair = block(8);
      check(raw(NR.pipe2, pair.address, flags | O_CLOEXEC), "pipe");
      return [pair.view.getInt32(0, true), pair.view.getInt32(4, true)];
    },
    setNonblocking(fd, on) {
      changeFlag(machine, fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
    },
    setCloexec(fd, on) {
      changeFlag(machine, fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
    },
    cloexecFrom(first) {
      const result = raw(NR.close_range, first, 0xffff_ffff, CLOSE_RANGE_CLOEXEC);
      // ENOSYS before 5.9, EINVAL before 5.11; EPERM from an old outer seccomp filter
      if (result === -ERRNO.ENOSYS || result === -ERRNO.EINVAL || result === -ERRNO.EPERM) {
        cloexecOneByOne(machine, first);
      } else check(result, "close_range");
    },
    splice(fdIn, fdOut, length, flags) {
      return blockingResult(raw(NR.splice, fdIn, 0, fdOut, 0, length, flags), "splice");
    },
    fsync(fd) {
      check(raw(NR.fsync, fd), "fsync");
    },
    ftruncate(fd, length) {
      check(raw(NR.ftruncate, fd, length), "ftruncate");
    },
    flock(fd) {
      const result = raw(NR.flock, fd, LOCK_EX | LOCK_NB);
      if (result === -ERRNO.EAGAIN) return false;
      check(result, "flock");
      return true;
    },
  };
};
