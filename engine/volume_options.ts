/**
 * Options of the `local` volume driver: `type`, `device` and `o`, as mount(8) takes them (moby: volume/local).
 */
import { EngineError, invalid } from "../base/errors.ts";
import {
  MS_BIND,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from "../ffi/constants.ts";
import { errnoText, SysError } from "../ffi/errno.ts";
import type { Syscalls } from "../ffi/syscalls.ts";

const KNOWN = ["type", "device", "o", "size"];

/** What is mounted at a volume's directory while containers use it. */
export interface VolumeMount {
  readonly type: string;
  readonly device: string;
  readonly flags: number;
  readonly data: string;
}

const FLAGS: Readonly<Record<string, number>> = {
  defaults: 0,
  rw: 0,
  ro: MS_RDONLY,
  bind: MS_BIND,
  rbind: MS_BIND | MS_REC,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: MS_NOEXEC,
  sync: MS_SYNCHRONOUS,
  noatime: MS_NOATIME,
  nodiratime: MS_NODIRATIME,
  relatime: MS_RELATIME,
  strictatime: MS_STRICTATIME,
  // what a mount is without any flag
  suid: 0,
  dev: 0,
  exec: 0,
  async: 0,
  atime: 0,
  diratime: 0,
};

/**
 * Checks options at a volume's creation.
 *
 * @throws {EngineError} invalid, in Docker's words.
 */
export function checkVolumeOptions(options: Readonly<Record<string, string>>): void {
  const given = Object.keys(options);
  for (const key of given) if (!KNOWN.includes(key)) throw invalid(`invalid option: ${JSON.stringify(key)}`);
  if (options["size"] !== undefined) {
    throw invalid("quota size requested but no quota support");
  }
  if (given.length === 0) return;
  for (const key of ["device", "type"]) {
    if (options[key] === undefined) throw invalid(`missing required option: ${JSON.stringify(key)}`);
  }
  volumeMount(options);
}

/** The mount that options stand for; undefined for none. */
export function volumeMount(options: Readonly<Record<string, string>>): VolumeMount | undefined {
  const { type = "", device = "", o = "" } = options;
  if (type === "" && device === "" && o === "") return undefined;
  let flags = 0;
  const data: string[] = [];
  for (const option of o.split(",")) {
    if (option === "") continue;
    const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
    if (flag === undefined) data.push(option);
    else flags |= flag;
  }
  return { type, device, flags, data: data.join(",") };
}

/**
 * Mounts it at the volume's directory, in the engine's own mount namespace.
 *
 * @throws {EngineError} with what the kernel refused, and what helps.
 */
export function mountVolume(kernel: Syscalls, name: string, path: string, mount: VolumeMount): void {
  try {
    const bind = (mount.flags & MS_BIND) !== 0;
    if (bind) {
      kernel.mount(mount.device, path, null, mount.flags & (MS_BIND | MS_REC), null);
      // a bind takes its other flags only in a second step
      const more = mount.flags & ~(MS_BIND | MS_REC);
      if (more !== 0) kernel.mount(null, path, null, more | MS_BIND | MS_REMOUNT, null);
    } else {
      kernel.mount(mount.device, path, mount.type, mount.flags, mount.data === "" ? null : mount.data);
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const options = mount.data === "" ? "" : `, data: ${mount.data}`;
    throw new EngineError(
      "system",
      `failed to mount local volume: mount ${mount.device}:${path}, flags: 0x${
        mount.flags.toString(16)
      }${options}: ${errnoText(error.errno)}`,
      {
        cause: error,
        hint: error.is("EPERM")
          ? `A user namespace cannot mount ${
            mount.type || "this"
          }. Mount it on the host and use it as a bind: volume create -o type=none -o o=bind -o device=/mnt/${name}.`
          : undefined,
      },
    );
  }
}
