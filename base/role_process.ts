/** What the engine's other processes (shims, netd) are started with, and how they say that they are ready. */
import { selfCommand } from "./self.ts";

/** Deno needs to find its code cache (HOME, DENO_DIR), and the process its programs (PATH). Nothing of it reaches a container. */
function bareEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** Starts a role as a process of its own: own session, no stdio but a pipe for its first line, a bare environment, so that it outlives the engine. */
export function spawnRole(role: "shim" | "netd", options: unknown): Deno.ChildProcess {
  const self = selfCommand(role, JSON.stringify(options));
  const child = new Deno.Command(self.command, {
    args: self.args,
    clearEnv: true,
    env: { ...bareEnvironment(), ...self.env },
    cwd: "/",
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
  return child;
}

/**
 * Answers what `use` makes of the first line of a process's piped stdout, without its end; "" when it ends without one. A process that says
 * nothing for `deadlineMs` is killed. The pipe is open until `use` is done: by that, whoever has written the line knows that we live.
 */
export async function onFirstLine<T>(
  child: Deno.ChildProcess,
  deadlineMs: number,
  use: (line: string) => T | Promise<T>,
): Promise<T> {
  const reader = child.stdout.getReader();
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // Ended meanwhile.
    }
  }, deadlineMs);
  let text = "";
  try {
    try {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) break;
        text += new TextDecoder().decode(value);
      }
    } finally {
      clearTimeout(timer);
    }
    return await use(text.split("\n", 1)[0]?.trim() ?? "");
  } finally {
    // Closes our end of the pipe: one descriptor for each process would add up.
    await reader.cancel().catch(() => {});
  }
}
