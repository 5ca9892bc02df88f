/** Finds the program of a command as Go's exec.LookPath does, with its messages: Docker's clients know them. */
import { S_IFDIR, S_IFMT } from "../ffi/constants.ts";
import { ERRNO, errnoText, SysError } from "../ffi/errno.ts";
import type { ProcessSyscalls, Stat } from "../ffi/syscalls.ts";
import { InitFailure } from "./init_failure.ts";
import type { ExecUser } from "./init_user.ts";

const CAP_DAC_OVERRIDE = 1n << 1n;

/**
 * Path to execute for `name`, looked up by the calling thread's rights.
 *
 * @param env the container's environment, whose PATH counts
 * @param effective the capabilities that the thread has now
 * @throws {InitFailure} stage "exec"
 */
export function findCommand(
  kernel: ProcessSyscalls,
  name: string,
  env: readonly string[],
  user: ExecUser,
  effective: bigint,
): string {
  const fail = (reason: string, errno: number): never => {
    throw new InitFailure("exec", `exec: ${JSON.stringify(name)}: ${reason}`, errno);
  };
  if (name.includes("/")) {
    const problem = notExecutable(kernel, name, user, effective);
    if (problem !== undefined) fail(problem.message, problem.errno);
    return name;
  }
  const path = env.findLast((entry) => entry.startsWith("PATH="))?.slice(5) ?? "";
  for (const directory of path === "" || name === "" ? [] : path.split(":")) {
    const candidate = `${directory === "" ? "." : directory}/${name}`;
    if (notExecutable(kernel, candidate, user, effective) === undefined) return candidate;
  }
  return fail("executable file not found in $PATH", ERRNO.ENOENT);
}

function notExecutable(
  kernel: ProcessSyscalls,
  path: string,
  user: ExecUser,
  effective: bigint,
): { message: string; errno: number } | undefined {
  let stat: Stat;
  try {
    stat = kernel.stat(path, true);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return { message: error.message, errno: error.errno };
  }
  if ((stat.mode & S_IFMT) === S_IFDIR) return { message: "is a directory", errno: ERRNO.EISDIR };
  try {
    kernel.checkExecutable(path);
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    // Linux before 5.8, or an old filter around berth: by what can be seen
    const unknown = error.is("ENOSYS", "EPERM");
    if (unknown && mayExecute(stat, user, effective)) return undefined;
    const errno = unknown ? ERRNO.EACCES : error.errno;
    return { message: errnoText(errno), errno };
  }
}

/** What access(2) with AT_EACCESS would say, without access control lists and mounts with noexec. */
function mayExecute(stat: Stat, user: ExecUser, effective: bigint): boolean {
  const any = (stat.mode & 0o111) !== 0;
  if ((effective & CAP_DAC_OVERRIDE) !== 0n) return any;
  if (stat.uid === user.uid) return (stat.mode & 0o100) !== 0;
  if (user.groups.includes(stat.gid)) return (stat.mode & 0o010) !== 0;
  return (stat.mode & 0o001) !== 0;
}
