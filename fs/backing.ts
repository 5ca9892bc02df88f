import type { Syscalls } from "../ffi/syscalls.ts";

/** Names of file systems by statfs(2)'s f_type (linux/magic.h), as Docker's info spells them. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0xef53, "extfs"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x01021994, "tmpfs"],
  [0x2fc12fc1, "zfs"],
  [0x794c7630, "overlayfs"],
  [0x65735546, "fuse"],
  [0xf2f52010, "f2fs"],
  [0xca451a4e, "bcachefs"],
  [0x6969, "nfs"],
  [0x517b, "smb"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "smb2"],
  [0x01021997, "9p"],
  [0xf15f, "ecryptfs"],
  [0x786f4256, "vboxsf"],
  [0x00c36400, "ceph"],
  [0x47504653, "gpfs"],
  [0x0bd00bd0, "lustre"],
]);

/** File systems on which owners, whiteouts or extended attributes of a user namespace do not work, whatever the driver. */
const UNFIT = new Set(["nfs", "smb", "cifs", "smb2", "9p", "ecryptfs", "vboxsf", "gpfs", "lustre"]);

export interface Backing {
  readonly name: string;
  readonly fit: boolean;
}

/** The file system that holds `path`. */
export function backingOf(path: string, sys: Pick<Syscalls, "statfs">): Backing {
  // f_type is a long, in which a magic number above 2^31 may look negative
  const type = sys.statfs(path).type >>> 0;
  const name = NAMES.get(type) ?? `0x${type.toString(16)}`;
  return { name, fit: !UNFIT.has(name) };
}
