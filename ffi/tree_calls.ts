import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  FICLONE,
  FS_IOC_GETFLAGS,
  FS_IOC_SETFLAGS,
  FS_TOPDIR_FL,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
} from "./constants.ts";
import { ERRNO, SysError } from "./errno.ts";
import { LAYOUT, SIZEOF } from "./layout.ts";
import { check, raw, rawLong } from "./libc.ts";
import { block, cString } from "./memory.ts";
import { NR } from "./syscall_numbers.ts";

/**
 * System calls for copying trees of files. Not part of `Syscalls`: shims, which pay for every byte of code
 * once per container, never copy trees.
 */
export interface TreeCalls {
  /** Makes `to` share all blocks of `from` (FICLONE). @throws {SysError} EOPNOTSUPP, EXDEV, EINVAL where that cannot be. */
  cloneFile(from: number, to: number): void;
  /**
   * Copies inside the kernel between two positions; answers how many bytes, 0 at the end of the source.
   *
   * @throws {SysError} EXDEV, EOPNOTSUPP, EINVAL where the file systems cannot.
   */
  copyFileRange(from: number, fromOffset: number, to: number, toOffset: number, length: number): number;
  /** When a file's content or attributes were changed last (ctime), in nanoseconds; a symbolic link is not followed. */
  changeTime(path: string): bigint;
  /**
   * Tells the file system that the directories made in this one have nothing to do with each other, so that it spreads
   * them over the disk (`chattr +T`).
   *
   * @throws {SysError} EOPNOTSUPP, ENOTTY, EINVAL where it has no such flag: others than ext2, ext3 and ext4.
   */
  spreadSubdirectories(path: string): void;
  /** First byte at or after `offset` that is no hole; undefined when only holes follow. */
  seekData(fd: number, offset: number): number | undefined;
  /** First hole at or after `offset`; the end of the file counts as one. */
  seekHole(fd: number, offset: number): number;
  /** The next byte to be read or written is the one at `offset`. */
  seekTo(fd: number, offset: number): void;
}

function seek(fd: number, offset: number, whence: number): number {
  return rawLong(NR.lseek, fd, offset, whence);
}

export const treeCalls: TreeCalls = {
  cloneFile(from, to) {
    check(raw(NR.ioctl, to, FICLONE, from), "ioctl FICLONE");
  },
  copyFileRange(from, fromOffset, to, toOffset, length) {
    const offsets = block(16);
    offsets.view.setBigInt64(0, BigInt(fromOffset), true);
    offsets.view.setBigInt64(8, BigInt(toOffset), true);
    const size = Math.min(length, 0x4000_0000);
    const result = raw(NR.copy_file_range, from, offsets.address, to, offsets.address + 8, size, 0);
    return check(result, "copy_file_range");
  },
  changeTime(path) {
    const struct = block(LAYOUT.stat.size);
    check(raw(NR.newfstatat, AT_FDCWD, cString(path), struct.address, AT_SYMLINK_NOFOLLOW), "lstat", path);
    // struct stat: three timespecs in a row, st_atim, st_mtim, st_ctim
    const at = LAYOUT.stat.mtime + SIZEOF.timespec;
    return struct.view.getBigInt64(at, true) * 1_000_000_000n + struct.view.getBigInt64(at + 8, true);
  },
  spreadSubdirectories(path) {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const fd = check(raw(NR.openat, AT_FDCWD, cString(path), flags), "open", path);
    try {
      const word = block(8);
      check(raw(NR.ioctl, fd, FS_IOC_GETFLAGS, word.address), "ioctl FS_IOC_GETFLAGS", path);
      const had = word.view.getInt32(0, true);
      if ((had & FS_TOPDIR_FL) !== 0) return;
      word.view.setInt32(0, had | FS_TOPDIR_FL, true);
      check(raw(NR.ioctl, fd, FS_IOC_SETFLAGS, word.address), "ioctl FS_IOC_SETFLAGS", path);
    } finally {
      raw(NR.close, fd);
    }
  },
  seekData(fd, offset) {
    const result = seek(fd, offset, SEEK_DATA);
    if (result === -ERRNO.ENXIO) return undefined;
    if (result < 0) throw new SysError("lseek", -result);
    return result;
  },
  seekHole(fd, offset) {
    const result = seek(fd, offset, SEEK_HOLE);
    if (result < 0) throw new SysError("lseek", -result);
    return result;
  },
  seekTo(fd, offset) {
    const result = seek(fd, offset, SEEK_SET);
    if (result < 0) throw new SysError("lseek", -result);
  },
};
