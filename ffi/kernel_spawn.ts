import { POSIX_SPAWN_SETSID, POSIX_SPAWN_SETSIGDEF, POSIX_SPAWN_SETSIGMASK } from "./constants.ts";
import { SysError } from "./errno.ts";
import { writeSigset } from "./kernel_process.ts";
import { SIZEOF } from "./layout.ts";
import { spawnSymbols } from "./libc.ts";
import { cStringArray } from "./memory.ts";
import type { SpawnOptions, Syscalls } from "./syscalls.ts";

type Files = Pick<Syscalls, "dupCloexec" | "close">;

/**
 * `posix_spawnattr_t`. Its fields are filled in place: flags (short), pgroup (int at 4), sigdefault (128 bytes at
 * 8), sigmask (128 bytes at 136) stand at the same offsets in glibc and musl.
 */
function spawnAttributes(options: SpawnOptions): Uint8Array<ArrayBuffer> {
  const attributes = new Uint8Array(SIZEOF.posixSpawnattr);
  const view = new DataView(attributes.buffer);
  let flags = options.setsid ? POSIX_SPAWN_SETSID : 0;
  if (options.resetSignals ?? true) {
    flags |= POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true);
  }
  if (options.blockedSignals !== undefined) {
    flags |= POSIX_SPAWN_SETSIGMASK;
    writeSigset(view, 136, options.blockedSignals);
  }
  view.setInt16(0, flags, true);
  return attributes;
}

/**
 * The dup2 steps of a child. A source that is some step's target would be overwritten before it is used, so such
 * sources are duplicated first to numbers that no step touches; `moved` are those duplicates, to be closed after the spawn.
 */
function planDescriptors(
  files: Files,
  fds: Readonly<Record<number, number>>,
): { steps: [number, number][]; moved: number[] } {
  const wanted = Object.entries(fds).map(([target, source]): [number, number] => [source, Number(target)]);
  const targets = new Set(wanted.map(([, target]) => target));
  const above = Math.max(-1, ...targets) + 1;
  const moved: number[] = [];
  const steps = wanted.map(([source, target]): [number, number] => {
    if (source === target || !targets.has(source)) return [source, target];
    const copy = files.dupCloexec(source, above);
    moved.push(copy);
    return [copy, target];
  });
  return { steps, moved };
}

/** posix_spawn(3), see `Syscalls.spawn`. */
export function spawn(files: Files, options: SpawnOptions): number {
  const libc = spawnSymbols();
  const succeed = (errno: number): void => {
    if (errno !== 0) throw new SysError("fork/exec", errno, options.path);
  };
  const path = cStringBytes(options.path);
  const argv = cStringArray(options.args);
  const envp = cStringArray(options.env);
  const attributes = spawnAttributes(options);
  const pid = new Int32Array(1);
  const { steps, moved } = planDescriptors(files, options.fds ?? {});
  try {
    const actions = new Uint8Array(SIZEOF.posixSpawnFileActions);
    succeed(libc.posix_spawn_file_actions_init(actions));
    try {
      for (const [source, target] of steps) {
        succeed(libc.posix_spawn_file_actions_adddup2(actions, source, target));
      }
      succeed(libc.posix_spawn(pid, path, actions, attributes, argv, envp));
    } finally {
      libc.posix_spawn_file_actions_destroy(actions);
    }
  } finally {
    for (const fd of moved) files.close(fd);
  }
  return pid[0] ?? 0;
}

function cStringBytes(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`String holds a NUL: ${JSON.stringify(text)}`);
  return new TextEncoder().encode(`${text}\0`);
}
