/** Environment variable in which the first process of berth hands on the limit that it was started with. */
export const NOFILE_VARIABLE = "BERTH_NOFILE";

/**
 * RLIMIT_NOFILE as the user's shell has it: Deno raises its own soft limit at start, and containers must not
 * inherit that. Taken from the environment when an earlier process of berth has left it there, else from the parent process.
 *
 * @returns soft and hard limit, decimal or "-1" for unlimited.
 */
export function originalNofile(): { soft: string; hard: string } {
  const handed = Deno.env.get(NOFILE_VARIABLE)?.match(/^(-1|\d+):(-1|\d+)$/);
  if (handed?.[1] !== undefined && handed[2] !== undefined) return { soft: handed[1], hard: handed[2] };
  try {
    const limits = Deno.readTextFileSync(`/proc/${Deno.ppid}/limits`);
    const row = limits.match(/^Max open files\s+(\S+)\s+(\S+)/m);
    if (row?.[1] !== undefined && row[2] !== undefined) {
      const decimal = (text: string) => (text === "unlimited" ? "-1" : text);
      return { soft: decimal(row[1]), hard: decimal(row[2]) };
    }
  } catch {
    // The parent is gone or hidden (hidepid): the kernel's own default does.
  }
  return { soft: "1024", hard: "524288" };
}
