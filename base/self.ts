/**
 * How berth starts another process of itself.
 *
 * Every role of berth is the same program: what differs is the first argument (`@engine`, `@shim`, …; the `@`
 * keeps roles apart from commands) and the flags of the JavaScript engine. The shim imports this module, so it
 * imports nothing but the version and a look for files.
 */

import { packaging } from "./version.ts";
import { exists } from "./exists.ts";

/** A program to run: the caller adds `env` to what the child inherits, or to an otherwise empty environment. */
export interface SelfCommand {
  command: string;
  args: string[];
  env: Record<string, string>;
}

/** Environment variable with the path of the self-extracting file, set by its header. */
const EXECUTABLE_VARIABLE = "BERTH_EXECUTABLE";

/** Roles that are no commands of the command line. */
export const INTERNAL_ROLES = ["engine", "shim", "netd"] as const;

/**
 * Flags of V8 and the group of processes that use them. Processes that share a code cache (DENO_DIR) must run
 * with the same flags, or each discards what the other has stored; so there is one cache for each group.
 */
export const ROLE_FLAGS: Record<string, { v8: string; cache: string; codeCache?: false }> = {
  cli: { v8: "", cache: "cli" },
  // A command with a file of its own. The code cache takes what is compiled before anything runs: all of it.
  single: { v8: "--no-lazy", cache: "single" },
  engine: { v8: "--optimize-for-size", cache: "engine" },
  // Deno stores code when its event loop turns, which a shim's and netd's never does: a thread and a database for nothing.
  shim: { v8: "--optimize-for-size,--single-threaded", cache: "shim", codeCache: false },
  netd: { v8: "--optimize-for-size", cache: "engine", codeCache: false },
};

/** Flags of `deno run` when nothing but the bundle may be read: no configuration, no lock file, no download. */
export const PACKED_DENO_FLAGS = [
  "run",
  "-A",
  "--no-config",
  "--no-lock",
  "--no-remote",
  "--no-npm",
  "--quiet",
] as const;

/**
 * The command that starts berth in a role.
 *
 * `role` is "engine", "shim" or "netd" (also spelled with the `@`), "cli" for the command line without
 * a command, or the name of a command, for example "serve".
 */
export function selfCommand(role: string, ...args: string[]): SelfCommand {
  const name = role.startsWith("@") ? role.slice(1) : role;
  const internal = (INTERNAL_ROLES as readonly string[]).includes(name);
  const first = internal ? [`@${name}`] : name === "cli" ? [] : [name];
  const flags = ROLE_FLAGS[internal ? name : "cli"] ?? { v8: "", cache: "cli" };
  const own = denoFlags(flags);
  switch (packaging()) {
    case "compiled":
      return { command: Deno.execPath(), args: [...first, ...args], env: {} };
    case "self-extracting": {
      const dir = import.meta.dirname ?? "";
      const command = `${dir}/deno`;
      const executable = Deno.env.get(EXECUTABLE_VARIABLE);
      // The cache may have been emptied while this process lived: the file itself unpacks again.
      if (executable !== undefined && !exists(command)) {
        return { command: executable, args: [...first, ...args], env: {} };
      }
      const env: Record<string, string> = { DENO_DIR: `${dir}/cache/${flags.cache}`, ...QUIET_DENO };
      if (executable !== undefined) env[EXECUTABLE_VARIABLE] = executable;
      return { command, args: [...PACKED_DENO_FLAGS, ...own, `${dir}/main.js`, ...first, ...args], env };
    }
    case "source": {
      const root = new URL("..", import.meta.url).pathname;
      // Without imports from npm no configuration is needed, and reading it costs milliseconds.
      const config = name === "shim" || name === "netd" ? "--no-config" : `--config=${root}deno.json`;
      const deno = ["run", "-A", config, "--no-lock", "--no-remote", "--quiet", ...own];
      return {
        command: Deno.execPath(),
        args: [...deno, `${root}main.ts`, ...first, ...args],
        env: { ...QUIET_DENO },
      };
    }
  }
}

/** What a role adds to the options of `deno run`. */
export function denoFlags({ v8, codeCache }: { v8: string; codeCache?: false }): string[] {
  return [...codeCache === false ? ["--no-code-cache"] : [], ...v8 === "" ? [] : [`--v8-flags=${v8}`]];
}

/** Keeps Deno from asking the network for updates and from reading a package.json above the bundle. */
const QUIET_DENO = { DENO_NO_UPDATE_CHECK: "1", DENO_NO_PACKAGE_JSON: "1" };

/**
 * The URL of a Worker's entry file.
 *
 * `path` is the source file below the project's root, for example "fs/unpack_worker.ts"; its name must end in
 * `_worker.ts`, which is how scripts/build.ts finds what to bundle.
 */
export function workerUrl(path: string): URL {
  if (packaging() === "source") return new URL(`../${path}`, import.meta.url);
  const file = path.slice(path.lastIndexOf("/") + 1).replace(/\.ts$/, ".js");
  return new URL(`./${file}`, import.meta.url);
}

/** The file a user started: dist/berth when it is a single file, the Deno executable in the source form. */
export function selfExecutable(): string {
  return (packaging() === "self-extracting" ? Deno.env.get(EXECUTABLE_VARIABLE) : undefined) ??
    Deno.execPath();
}
