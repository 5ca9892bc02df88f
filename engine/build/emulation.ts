/**
 * Programs of other processors, by QEMU's emulators. The kernel starts them where binfmt_misc has an entry: the machine's, or since Linux 6.7 one of
 * a user namespace's own, which the engine and its containers are in.
 */
import { messageOf } from "../../base/errors.ts";
import { findProgram } from "../../base/find_program.ts";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID } from "../../ffi/constants.ts";
import { HOST_PLATFORM } from "../../image/platform.ts";
import type { EngineContext } from "../context.ts";
import { lexists } from "../../base/exists.ts";

interface Processor {
  /** Of QEMU and of binfmt_misc's entries. */
  readonly name: string;
  /** ELF's e_machine. */
  readonly machine: number;
  readonly bits: 32 | 64;
  readonly bigEndian?: true;
}

/** By Go's names. */
const PROCESSORS: Readonly<Record<string, Processor>> = {
  amd64: { name: "x86_64", machine: 62, bits: 64 },
  "386": { name: "i386", machine: 3, bits: 32 },
  arm64: { name: "aarch64", machine: 183, bits: 64 },
  arm: { name: "arm", machine: 40, bits: 32 },
  riscv64: { name: "riscv64", machine: 243, bits: 64 },
  ppc64le: { name: "ppc64le", machine: 21, bits: 64 },
  s390x: { name: "s390x", machine: 22, bits: 64, bigEndian: true },
  mips64le: { name: "mips64el", machine: 8, bits: 64 },
  loong64: { name: "loongarch64", machine: 258, bits: 64 },
};

/** Processors whose programs this one runs by itself. An entry for one of them would have the machine's own programs emulated. */
const NATIVE: Readonly<Record<string, readonly string[]>> = {
  amd64: ["amd64", "386"],
  arm64: ["arm64", "arm"],
};

export const isNative = (architecture: string): boolean =>
  architecture === HOST_PLATFORM.architecture ||
  (NATIVE[HOST_PLATFORM.architecture]?.includes(architecture) ?? false);

/** The machine's entries. */
const SYSTEM = "/proc/sys/fs/binfmt_misc";

type Ctx = Pick<EngineContext, "execRoot" | "kernel" | "log">;

/**
 * Whether programs of a processor are emulated, by the machine's setting or by one that is made now for the engine alone, where an emulator that
 * needs no libraries (`qemu-…-static`) is installed.
 */
export function isEmulated(ctx: Ctx, architecture: string): boolean {
  const processor = PROCESSORS[architecture];
  if (processor === undefined) return false;
  if (isEnabled(`${SYSTEM}/qemu-${processor.name}`)) return true;
  const own = directoryOf(ctx);
  if (isEnabled(`${own}/qemu-${processor.name}`)) return true;
  const wanted = Object.entries(PROCESSORS).flatMap(([name, one]) => {
    if (isNative(name)) return [];
    const program = findProgram(`qemu-${one.name}-static`);
    return program === undefined ? [] : [{ ...one, program }];
  });
  if (!wanted.some(({ name }) => name === processor.name)) return false;
  try {
    mount(ctx, own);
    // with an instance of its own, a namespace sees no entry of the machine's any more: all that can be had are made
    for (const one of wanted) {
      if (!lexists(`${own}/qemu-${one.name}`)) Deno.writeTextFileSync(`${own}/register`, entryOf(one));
    }
  } catch (error) {
    ctx.log.info("emulators cannot be registered for this engine alone", { error: messageOf(error) });
  }
  return isEnabled(`${own}/qemu-${processor.name}`);
}

/** Unmounts what {@link isEmulated} may have mounted. The entries live as long as the namespace. */
export function releaseEmulation(ctx: Ctx): void {
  const own = directoryOf(ctx);
  if (!lexists(`${own}/register`)) return;
  try {
    ctx.kernel.umount2(own, MNT_DETACH);
    Deno.removeSync(own);
  } catch (error) {
    ctx.log.warn("cannot unmount the emulators", { error: messageOf(error) });
  }
}

const directoryOf = ({ execRoot }: Pick<EngineContext, "execRoot">): string => `${execRoot}/binfmt`;

function mount({ kernel }: Ctx, directory: string): void {
  if (lexists(`${directory}/register`)) return;
  Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
  kernel.mount("binfmt_misc", directory, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, null);
}

/**
 * A line for `register` (kernel: Documentation/admin-guide/binfmt-misc.rst): executables and position-independent ones of one processor, whatever
 * system they name. F: the emulator is opened now, for there is none in containers.
 */
export function entryOf(
  { name, machine, bits, bigEndian, program }: Processor & { readonly program: string },
): string {
  const number = (value: number) => bigEndian ? [value >> 8, value & 0xff] : [value & 0xff, value >> 8];
  const ident = [0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, bigEndian ? 2 : 1, 1, 0];
  const magic = [...ident, ...new Array<number>(8).fill(0), ...number(2), ...number(machine)];
  // the system's number does not count; type 2 or 3
  const mask = [...new Array<number>(7).fill(0xff), 0, ...new Array<number>(8).fill(0xff)];
  mask.push(...number(0xfffe), 0xff, 0xff);
  return `:qemu-${name}:M::${escaped(magic)}:${escaped(mask)}:${program}:F`;
}

const escaped = (bytes: readonly number[]): string =>
  bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");

function isEnabled(path: string): boolean {
  try {
    return Deno.readTextFileSync(path).startsWith("enabled");
  } catch {
    return false;
  }
}
