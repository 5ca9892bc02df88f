/**
 * Starts a program that goes on when this one ends: a session of its own, nothing inherited but the environment, what it
 * says in a file.
 *
 * @param log opened by a shell, because a pipe would break with this process. `append`: behind what is there.
 */
export function spawnBackground(
  command: string,
  args: readonly string[],
  log: { readonly path: string; readonly append: boolean; readonly streams: "stderr" | "both" },
  env: Readonly<Record<string, string>> = {},
): Deno.ChildProcess {
  const redirect = `${log.streams === "both" ? "" : "2"}${log.append ? ">>" : ">"}"$0"${
    log.streams === "both" ? " 2>&1" : ""
  }`;
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", `exec "$@" ${redirect}`, log.path, command, ...args],
    env,
    cwd: "/",
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
  return child;
}
