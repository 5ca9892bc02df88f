import { AT_EACCESS, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW } from "./constants.ts";
import { ERRNO } from "./errno.ts";
import { LAYOUT, SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { type Block, fromCString } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";
import type { Stat, Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  | "stat"
  | "fstat"
  | "checkExecutable"
  | "mkdir"
  | "mkdirat"
  | "mknod"
  | "symlink"
  | "link"
  | "rename"
  | "unlink"
  | "rmdir"
  | "readlink"
  | "readDirectory"
  | "chmod"
  | "lchown"
  | "fchown"
  | "lutimes"
  | "lgetxattr"
  | "lsetxattr"
  | "llistxattr"
  | "lremovexattr"
>;

function readStat({ view }: Block): Stat {
  const at = LAYOUT.stat;
  return {
    dev: view.getBigUint64(at.dev, true),
    ino: view.getBigUint64(at.ino, true),
    mode: view.getUint32(at.mode, true),
    nlink: at.nlinkBytes === 8 ? Number(view.getBigUint64(at.nlink, true)) : view.getUint32(at.nlink, true),
    uid: view.getUint32(at.uid, true),
    gid: view.getUint32(at.gid, true),
    rdev: view.getBigUint64(at.rdev, true),
    size: Number(view.getBigInt64(at.fileSize, true)),
    mtimeSec: Number(view.getBigInt64(at.mtime, true)),
    mtimeNsec: Number(view.getBigInt64(at.mtime + 8, true)),
  };
}

/** Calls `fetch` with growing buffers until the answer fits; minus errno as raw gives it when it fails. */
function growing({ block }: Machine, fetch: (address: number, size: number) => number): Uint8Array | number {
  for (let size = 1024;; size *= 8) {
    const memory = block(size);
    const length = fetch(memory.address, size);
    if (length === -ERRNO.ERANGE && size < 128 * 1024) continue;
    return length < 0 ? length : memory.bytes.slice(0, length);
  }
}

function bytesOrThrow(answer: Uint8Array | number, op: string, path: string): Uint8Array {
  if (typeof answer === "number") check(answer, op, path);
  return answer as Uint8Array;
}

/** unistd.h */
const X_OK = 1;

/** Bytes of directory entries asked for at once, as glibc does. */
const DIRECTORY_BUFFER = 32 * 1024;

/** File names, inodes and extended attributes. */
export const fileCalls = (machine: Machine): Calls => {
  const { block, cString, raw } = machine;
  return {
    stat(path, followLast) {
      const struct = block(LAYOUT.stat.size);
      const flags = followLast ? 0 : AT_SYMLINK_NOFOLLOW;
      check(
        raw(NR.newfstatat, AT_FDCWD, cString(path), struct.address, flags),
        followLast ? "stat" : "lstat",
        path,
      );
      return readStat(struct);
    },
    fstat(fd) {
      const struct = block(LAYOUT.stat.size);
      check(raw(NR.fstat, fd, struct.address), "fstat");
      return readStat(struct);
    },
    checkExecutable(path) {
      check(raw(NR.faccessat2, AT_FDCWD, cString(path), X_OK, AT_EACCESS), "faccessat2", path);
    },
    mkdir(path, mode) {
      check(raw(NR.mkdirat, AT_FDCWD, cString(path), mode), "mkdir", path);
    },
    mkdirat(dirfd, path, mode) {
      check(raw(NR.mkdirat, dirfd, cString(path), mode), "mkdirat", path);
    },
    mknod(path, mode, dev) {
      // the call takes the low 32 bits; makedev's upper half is for majors that Linux does not have
      check(raw(NR.mknodat, AT_FDCWD, cString(path), mode, dev), "mknod", path);
    },
    symlink(target, path) {
      check(raw(NR.symlinkat, cString(target), AT_FDCWD, cString(path)), "symlink", path);
    },
    link(from, to) {
      check(raw(NR.linkat, AT_FDCWD, cString(from), AT_FDCWD, cString(to), 0), "link", to);
    },
    rename(from, to) {
      check(raw(NR.renameat2, AT_FDCWD, cString(from), AT_FDCWD, cString(to), 0), "rename", from);
    },
    unlink(path) {
      check(raw(NR.unlinkat, AT_FDCWD, cString(path), 0), "unlink", path);
    },
    rmdir(path) {
      check(raw(NR.unlinkat, AT_FDCWD, cString(path), AT_REMOVEDIR), "rmdir", path);
    },
    readlink(path) {
      const memory = block(4097);
      const length = check(
        raw(NR.readlinkat, AT_FDCWD, cString(path), memory.address, 4096),
        "readlink",
        path,
      );
      return fromCString(memory.bytes.subarray(0, length));
    },
    readDirectory(fd) {
      const { address, bytes, view } = block(DIRECTORY_BUFFER);
      const names: string[] = [];
      for (;;) {
        const length = check(raw(NR.getdents64, fd, address, DIRECTORY_BUFFER), "getdents64");
        if (length === 0) return names;
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name
        for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
          const end = at + view.getUint16(at + 16, true);
          const name = fromCString(bytes.subarray(at + 19, end));
          if (name !== "." && name !== "..") names.push(name);
        }
      }
    },
    chmod(path, mode) {
      check(raw(NR.fchmodat, AT_FDCWD, cString(path), mode), "chmod", path);
    },
    lchown(path, uid, gid) {
      check(raw(NR.fchownat, AT_FDCWD, cString(path), uid, gid, AT_SYMLINK_NOFOLLOW), "lchown", path);
    },
    fchown(fd, uid, gid) {
      check(raw(NR.fchown, fd, uid, gid), "fchown");
    },
    lutimes(path, atime, mtime) {
      const times = block(2 * SIZEOF.timespec);
      for (const [index, value] of [...atime, ...mtime].entries()) {
        times.view.setBigInt64(index * 8, BigInt(value), true);
      }
      check(
        raw(NR.utimensat, AT_FDCWD, cString(path), times.address, AT_SYMLINK_NOFOLLOW),
        "utimensat",
        path,
      );
    },
    lgetxattr(path, name) {
      const answer = growing(
        machine,
        (address, size) => raw(NR.lgetxattr, cString(path), cString(name), address, size),
      );
      return answer === -ERRNO.ENODATA ? undefined : bytesOrThrow(answer, "lgetxattr", path);
    },
    lsetxattr(path, name, value, flags = 0) {
      const memory = block(value.length);
      memory.bytes.set(value);
      check(
        raw(NR.lsetxattr, cString(path), cString(name), memory.address, value.length, flags),
        "lsetxattr",
        path,
      );
    },
    llistxattr(path) {
      const answer = growing(machine, (address, size) => raw(NR.llistxattr, cString(path), address, size));
      const text = new TextDecoder().decode(bytesOrThrow(answer, "llistxattr", path));
      return text.split("\0").filter((name) => name !== "");
    },
    lremovexattr(path, name) {
      check(raw(NR.lremovexattr, cString(path), cString(name)), "lremovexattr", path);
    },
  };
};
