/** The last part of a start, the same for a container's first process and for an exec: terminal, user, rights. */
import {
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
} from "../ffi/constants.ts";
import { errnoText, SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls } from "../ffi/syscalls.ts";
import { readText } from "./files.ts";
import { findCommand } from "./init_command.ts";
import { bindConsole, openConsole } from "./init_console.ts";
import { InitFailure, inStage } from "./init_failure.ts";
import { type ExecUser, lookupUser } from "./init_user.ts";
import type { ProcessSpec, RlimitSpec } from "./spec.ts";

const CAP_SYS_ADMIN = 1n << 21n;
const NULL_DEVICE = 0x103n;

/** What a process starts with, besides its ProcessSpec. */
export interface ProcessSetup {
  /** stdin, stdout, stderr; empty with a terminal. */
  readonly stdio: readonly number[];
  /** Put before the arguments: an init program. */
  readonly prefix: readonly string[];
  /** The container's first process: its terminal is /dev/console, its working directory is made when it is missing. */
  readonly first: boolean;
  /** Hands over the terminal's master. */
  readonly giveTerminal: (master: number) => void;
  /** Called when the process has given up all rights that the program is not to have: from here on the container may see it. */
  readonly appear: () => void;
}

/** What is left to do: execve. */
export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
}

/** Makes `kernel`'s process, which is inside the container's root, what the program is to start as. @throws {InitFailure} */
export function prepareProcess(kernel: ProcessSyscalls, process: ProcessSpec, setup: ProcessSetup): Program {
  const terminal = process.tty ? openTerminal(kernel, process, setup) : undefined;
  const stdio = terminal === undefined ? setup.stdio : [terminal, terminal, terminal];
  const user = inStage("user", "", () => readUser(kernel, process));
  inStage("stdio", "", () => chownStdio(kernel, stdio, user));
  const entered = enterDirectory(kernel, process.cwd, setup.first);
  const filter = process.seccomp === undefined ? undefined : Uint8Array.fromBase64(process.seccomp);
  const effective = inStage(
    "capabilities",
    "",
    () => applyUser(kernel, process, user, filter !== undefined && !process.noNewPrivileges),
  );
  if (!entered) changeDirectory(kernel, process.cwd);
  refuseOutside(kernel);
  const env = withHome(process.env, user.home);
  const args = [...setup.prefix, ...process.args];
  const [command] = args;
  if (command === undefined) throw new InitFailure("exec", "no command specified");
  const path = findCommand(kernel, command, env, user, effective);
  kernel.umask(0o022);
  setup.appear();
  if (terminal !== undefined) inStage("console", "", () => kernel.setControllingTerminal(terminal));
  for (const [target, fd] of stdio.entries()) kernel.dup2(fd, target);
  kernel.cloexecFrom(3);
  for (const rlimit of process.rlimits) {
    inStage("rlimit", `error setting rlimit type ${rlimit.resource}`, () => setLimit(kernel, rlimit));
  }
  if (process.noNewPrivileges) kernel.prctl(PR_SET_NO_NEW_PRIVS, 1);
  // The filter is the last step but one, so that it has to permit little more than execve.
  if (filter !== undefined) {
    inStage("seccomp", "", () => kernel.seccompSetFilter(filter, process.seccompFlags ?? 0));
  }
  return { path, args, env };
}

function openTerminal(kernel: ProcessSyscalls, process: ProcessSpec, setup: ProcessSetup): number {
  return inStage("console", "", () => {
    const terminal = openConsole(kernel);
    if (setup.first) bindConsole(kernel, terminal);
    const [rows, cols] = process.consoleSize ?? [0, 0];
    if (rows > 0 && cols > 0) kernel.setWindowSize(terminal.master, { rows, cols });
    setup.giveTerminal(terminal.master);
    kernel.close(terminal.master);
    return terminal.slave;
  });
}

function readUser(kernel: ProcessSyscalls, process: ProcessSpec): ExecUser {
  const passwd = readText(kernel, "/etc/passwd") ?? "";
  const group = readText(kernel, "/etc/group") ?? "";
  return lookupUser(process.user, process.additionalGroups, passwd, group);
}

/** /dev/stdout and the like can only be opened by their owner. What cannot be given away is left. */
function chownStdio(kernel: ProcessSyscalls, stdio: readonly number[], user: ExecUser): void {
  for (const fd of stdio) {
    const { uid, gid, rdev } = kernel.fstat(fd);
    if (uid === user.uid || rdev === NULL_DEVICE) continue;
    try {
      kernel.fchown(fd, user.uid, gid);
    } catch (error) {
      if (!(error instanceof SysError && error.is("EINVAL", "EPERM", "EROFS"))) throw error;
    }
  }
}

/** Enters the working directory. False: only the user itself may enter (a home on NFS, a FUSE mount). */
function enterDirectory(kernel: ProcessSyscalls, cwd: string, make: boolean): boolean {
  if (cwd === "" || cwd === "/") return true;
  try {
    kernel.chdir(cwd);
    return true;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.is("EACCES", "EPERM")) return false;
    if (!make || !error.is("ENOENT")) throw cwdFailure(cwd, error);
  }
  inStage("cwd", "", () => makeDirectories(kernel, cwd));
  changeDirectory(kernel, cwd);
  return true;
}

function changeDirectory(kernel: ProcessSyscalls, cwd: string): void {
  try {
    kernel.chdir(cwd);
  } catch (error) {
    throw error instanceof SysError ? cwdFailure(cwd, error) : error;
  }
}

/** In runc's words. */
function cwdFailure(cwd: string, { errno }: SysError): InitFailure {
  return new InitFailure(
    "cwd",
    `chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed: ${errnoText(errno)}`,
    errno,
  );
}

function makeDirectories(kernel: ProcessSyscalls, path: string): void {
  try {
    kernel.mkdir(path, 0o755);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.is("EEXIST")) return;
    const slash = path.replace(/\/+$/, "").lastIndexOf("/");
    if (!error.is("ENOENT") || slash <= 0) throw error;
    makeDirectories(kernel, path.slice(0, slash));
    kernel.mkdir(path, 0o755);
  }
}

/** A working directory of /proc/self/fd/N would be one of the host's: getcwd(2) finds no way from the root to it. */
function refuseOutside(kernel: ProcessSyscalls): void {
  let cwd = "";
  try {
    cwd = kernel.getcwd();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    // refused below
  }
  if (!cwd.startsWith("/")) {
    throw new InitFailure(
      "cwd",
      "current working directory is outside of container mount namespace root -- possible container breakout detected",
    );
  }
}

/**
 * Takes on user, groups and capabilities: those that the program will have, and what the filter needs. execve takes away the rest; and
 * the program's path is looked at with the program's own rights. Answers the program's.
 */
function applyUser(
  kernel: ProcessSyscalls,
  process: ProcessSpec,
  user: ExecUser,
  forFilter: boolean,
): bigint {
  const { bounding, effective, inheritable, ambient } = process.capabilities;
  dropBounding(kernel, mask(bounding));
  kernel.prctl(PR_SET_KEEPCAPS, 1);
  // Refused when the ids are not mapped: a user without subordinate ids has only one.
  inStage(
    "user",
    `switching to uid ${user.uid}, gid ${user.gid} (are they mapped in the user namespace?)`,
    () => {
      setGroups(kernel, user);
      kernel.setresgid(user.gid, user.gid, user.gid);
      kernel.setresuid(user.uid, user.uid, user.uid);
    },
  );
  const { permitted } = kernel.capget();
  const own = (user.uid === 0 ? mask(effective) : mask(ambient)) & permitted;
  const kept = forFilter ? own | (CAP_SYS_ADMIN & permitted) : own;
  kernel.capset({
    permitted: kept | (mask(ambient) & permitted),
    effective: kept,
    inheritable: mask(inheritable) & permitted,
  });
  kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  for (const cap of bits(mask(ambient))) kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap);
  return own;
}

function dropBounding(kernel: ProcessSyscalls, keep: bigint): void {
  const kept = bits(keep);
  for (let cap = 0; cap < 64; cap++) {
    if (kept.includes(cap)) continue;
    try {
      kernel.prctl(PR_CAPBSET_DROP, cap);
    } catch (error) {
      // EINVAL: the kernel knows no capability of that number, nor a higher one
      if (error instanceof SysError && error.is("EINVAL")) return;
      throw error;
    }
  }
}

function setGroups(kernel: ProcessSyscalls, user: ExecUser): void {
  try {
    kernel.setgroups(user.groups);
  } catch (error) {
    // With a single mapped id the kernel forbids it; there are no other groups to be in anyhow.
    const alone = user.groups.every((gid) => gid === user.gid);
    if (!(error instanceof SysError && error.is("EPERM", "EINVAL") && alone)) throw error;
  }
}

const mask = (hex: string): bigint => hex === "" ? 0n : BigInt(`0x${hex}`);

function bits(value: bigint): number[] {
  const halves = [Number(value & 0xffff_ffffn), Number(value >> 32n)];
  return halves.flatMap((half, index) =>
    Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (half >>> bit & 1) === 1).map((bit) =>
      32 * index + bit
    )
  );
}

/** Raising a hard limit takes rights over the host, which nobody has in a user namespace. */
function setLimit(kernel: ProcessSyscalls, { resource, soft, hard, atMost }: RlimitSpec): void {
  if (!atMost) return kernel.setrlimit(resource, limit(soft), limit(hard));
  const most = smaller(limit(hard), kernel.getrlimit(resource).hard);
  kernel.setrlimit(resource, smaller(limit(soft), most), most);
}

const smaller = (a: bigint, b: bigint): bigint => a < b ? a : b;

/** RLIM_INFINITY for "-1". */
const limit = (text: string): bigint => BigInt.asUintN(64, BigInt(text));

/** HOME from the user's passwd entry when the environment has none; nothing else is added. */
function withHome(env: readonly string[], home: string): readonly string[] {
  if (env.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")) return env;
  return [...env.filter((entry) => entry !== "HOME="), `HOME=${home}`];
}
