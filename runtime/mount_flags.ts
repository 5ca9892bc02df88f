/** Mount options by name, for mount(2) and for mount_setattr(2). */
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_DIRSYNC,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "../ffi/constants.ts";
import { InitFailure } from "./init_failure.ts";

interface Option {
  readonly ms: number;
  readonly set: number;
  readonly clear: number;
}

const flag = (ms: number, set = 0, clear = 0): Option => ({ ms, set, clear });
/** What allows more than the mount under it may is never asked for: in a user namespace the kernel has locked it. */
const nothing = flag(0);

const OPTIONS: Readonly<Record<string, Option>> = {
  ro: flag(MS_RDONLY, MOUNT_ATTR_RDONLY),
  nosuid: flag(MS_NOSUID, MOUNT_ATTR_NOSUID),
  nodev: flag(MS_NODEV, MOUNT_ATTR_NODEV),
  noexec: flag(MS_NOEXEC, MOUNT_ATTR_NOEXEC),
  noatime: flag(MS_NOATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
  relatime: flag(MS_RELATIME, 0, MOUNT_ATTR__ATIME),
  strictatime: flag(MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
  nodiratime: flag(MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
  nosymfollow: flag(MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
  sync: flag(MS_SYNCHRONOUS),
  dirsync: flag(MS_DIRSYNC),
  rw: nothing,
  suid: nothing,
  dev: nothing,
  exec: nothing,
  async: nothing,
  atime: nothing,
  diratime: nothing,
  defaults: nothing,
  bind: nothing,
  rbind: nothing,
};

/** The options put together. @throws {InitFailure} for a name that is none. */
export function mountOptions(names: readonly string[]): Option {
  let [ms, set, clear] = [0, 0, 0];
  for (const name of names) {
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (option === undefined) throw new InitFailure("mount", `invalid mount option ${name}`);
    ms |= option.ms;
    set |= option.set;
    clear |= option.clear;
  }
  return { ms, set, clear };
}

const PROPAGATIONS: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  slave: MS_SLAVE,
  shared: MS_SHARED,
  unbindable: MS_UNBINDABLE,
};

/** `rslave` → { type: MS_SLAVE, recursive: true }. */
export function propagation(name: string): { type: number; recursive: boolean } {
  const recursive = name.startsWith("r");
  const type = PROPAGATIONS[recursive ? name.slice(1) : name];
  if (type === undefined) throw new InitFailure("mount", `invalid mount propagation ${name}`);
  return { type, recursive };
}

/** The same as flags for mount(2). */
export function propagationFlags(name: string): number {
  const { type, recursive } = propagation(name);
  return type | (recursive ? MS_REC : 0);
}
