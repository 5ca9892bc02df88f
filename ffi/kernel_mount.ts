import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  O_CLOEXEC,
} from "./constants.ts";
import { SIZEOF } from "./layout.ts";
import { check } from "./libc.ts";
import type { Machine } from "./machine.ts";
import { NR } from "./syscall_numbers.ts";
import type { Syscalls } from "./syscalls.ts";

type Calls = Pick<
  Syscalls,
  | "mount"
  | "umount2"
  | "openTree"
  | "moveMount"
  | "mountSetattr"
  | "fsopen"
  | "fsconfigString"
  | "fsconfigFlag"
  | "fsconfigCreate"
  | "fsmount"
  | "statfs"
>;

/** mount(2) and the descriptor-based mount API of Linux 5.2; its descriptors are always close-on-exec. */
export const mountCalls = ({ block, cString, cStringOrNull, raw }: Machine): Calls => ({
  mount(source, target, fstype, flags, data) {
    check(
      raw(
        NR.mount,
        cStringOrNull(source),
        cString(target),
        cStringOrNull(fstype),
        flags,
        cStringOrNull(data),
      ),
      "mount",
      target,
    );
  },
  umount2(target, flags) {
    check(raw(NR.umount2, cString(target), flags), "umount", target);
  },
  openTree(dirfd, path, flags) {
    // OPEN_TREE_CLOEXEC is O_CLOEXEC
    return check(raw(NR.open_tree, dirfd, cString(path), flags | O_CLOEXEC), "open_tree", path);
  },
  moveMount(fromFd, fromPath, toFd, toPath, flags) {
    check(raw(NR.move_mount, fromFd, cString(fromPath), toFd, cString(toPath), flags), "move_mount", toPath);
  },
  mountSetattr(dirfd, path, flags, attr) {
    const struct = block(SIZEOF.mountAttr);
    struct.view.setBigUint64(0, BigInt(attr.set ?? 0), true);
    struct.view.setBigUint64(8, BigInt(attr.clear ?? 0), true);
    struct.view.setBigUint64(16, BigInt(attr.propagation ?? 0), true);
    struct.view.setBigUint64(24, BigInt(attr.usernsFd ?? 0), true);
    check(
      raw(NR.mount_setattr, dirfd, cString(path), flags, struct.address, SIZEOF.mountAttr),
      "mount_setattr",
      path,
    );
  },
  fsopen(fstype, flags) {
    return check(raw(NR.fsopen, cString(fstype), flags | FSOPEN_CLOEXEC), "fsopen", fstype);
  },
  fsconfigString(fd, key, value) {
    check(raw(NR.fsconfig, fd, FSCONFIG_SET_STRING, cString(key), cString(value), 0), "fsconfig", key);
  },
  fsconfigFlag(fd, key) {
    check(raw(NR.fsconfig, fd, FSCONFIG_SET_FLAG, cString(key), 0, 0), "fsconfig", key);
  },
  fsconfigCreate(fd) {
    check(raw(NR.fsconfig, fd, FSCONFIG_CMD_CREATE, 0, 0, 0), "fsconfig");
  },
  fsmount(fd, flags, attrs) {
    return check(raw(NR.fsmount, fd, flags | FSMOUNT_CLOEXEC, attrs), "fsmount");
  },
  statfs(path) {
    const struct = block(SIZEOF.statfs);
    check(raw(NR.statfs, cString(path), struct.address), "statfs", path);
    return {
      // f_type is a long, but every magic number is an unsigned 32-bit one
      type: struct.view.getUint32(0, true),
      bsize: Number(struct.view.getBigInt64(8, true)),
      blocks: struct.view.getBigUint64(16, true),
      bavail: struct.view.getBigUint64(32, true),
      namelen: Number(struct.view.getBigInt64(64, true)),
    };
  },
});
