/**
 * Runs programs as another user, the way a login would: clean environment, own home and runtime directory.
 */
import { SLOWNESS } from "./processes.ts";
import { lexists } from "../../base/exists.ts";

export interface User {
  name: string;
  uid: number;
  gid: number;
}

export interface RunOptions {
  /** Added to the clean environment. */
  env?: Record<string, string>;
  /** Default: the user's home for tests. */
  cwd?: string;
  /** Bytes or text for standard input; nothing: /dev/null. */
  stdin?: string | Uint8Array;
  /** Milliseconds (on a slow machine so many times) after which the program is killed and run() rejects. Default 60,000. */
  timeout?: number;
}

export interface RunResult {
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
  stdoutBytes: Uint8Array;
}

/** The ordinary user that tests run as besides root; scripts/test_needs makes it. BERTH_TEST_USER names another. */
export const TEST_USER = Deno.env.get("BERTH_TEST_USER") ?? "berth-test";

/** A user by name, or undefined when there is none. */
export function findUser(name: string): User | undefined {
  for (const line of Deno.readTextFileSync("/etc/passwd").split("\n")) {
    const [login, , uid, gid] = line.split(":");
    if (login === name) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}

/** Who runs the tests. */
export function currentUser(): User {
  const uid = Deno.uid() ?? 0;
  for (const line of Deno.readTextFileSync("/etc/passwd").split("\n")) {
    const [login, , id, gid] = line.split(":");
    if (login && id === String(uid)) return { name: login, uid, gid: Number(gid) };
  }
  return { name: String(uid), uid, gid: Deno.gid() ?? 0 };
}

/** The users to run engine tests as: root tests both kinds, an ordinary user (also as root of a namespace) himself only. */
export function usersToTest(): User[] {
  const me = currentUser();
  const other = me.uid === 0 && !Deno.env.has("BERTH_TEST_BEFORE") ? findUser(TEST_USER) : undefined;
  return other === undefined ? [me] : [other, me];
}

/** Directory of this test run; see global_setup.ts. */
export function testDir(): string {
  const dir = Deno.env.get("BERTH_TEST_DIR");
  if (!dir) throw new Error("BERTH_TEST_DIR is not set: tests/support/global_setup.ts has not run");
  return dir;
}

/** The environment of `user` in this test run: temporary home, runtime directory and cache, owned by the user. */
export function environmentOf(user: User): Record<string, string> {
  const base = `${testDir()}/u${user.uid}`;
  for (const dir of [base, `${base}/home`, `${base}/run`, `${base}/cache`]) {
    try {
      Deno.mkdirSync(dir, { mode: 0o700 });
      if (user.uid !== Deno.uid()) Deno.chownSync(dir, user.uid, user.gid);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  // The user's systemd, where there is one: what the engine asks for containers' cgroups.
  for (const name of ["systemd", "bus"]) {
    const [real, link] = [`/run/user/${user.uid}/${name}`, `${base}/run/${name}`];
    try {
      if (lexists(real) && !lexists(link)) Deno.symlinkSync(real, link);
    } catch (error) {
      // Another test file of the same run.
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  const tools = `${new URL("../..", import.meta.url).pathname}.cache/tools`;
  return {
    PATH: `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${tools}`,
    LANG: "C.UTF-8",
    TERM: "xterm",
    USER: user.name,
    LOGNAME: user.name,
    SHELL: "/bin/sh",
    HOME: `${base}/home`,
    XDG_RUNTIME_DIR: `${base}/run`,
    XDG_CACHE_HOME: `${base}/cache`,
    ...(SLOWNESS === 1 ? {} : { BERTH_TEST_SLOWNESS: String(SLOWNESS) }),
  };
}

/** Words that run a program as `user`; root needs setpriv (util-linux) for anybody else. */
export function argvAs(user: User, argv: readonly string[]): string[] {
  if (user.uid === Deno.uid()) return [...argv];
  const groups = findUser(user.name) === undefined ? "--clear-groups" : "--init-groups";
  return ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, groups, "--", ...argv];
}

/** Starts a program as `user`, with standard streams of its own. */
export function spawnAs(
  user: User,
  argv: readonly string[],
  options: Pick<RunOptions, "env" | "cwd"> & Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr"> = {},
): Deno.ChildProcess {
  const env = { ...environmentOf(user), ...options.env };
  const [command = "true", ...args] = argvAs(user, argv);
  return new Deno.Command(command, {
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
    args,
    env,
    cwd: options.cwd ?? env["HOME"] ?? "/",
    clearEnv: true,
  }).spawn();
}

/** Runs a program as `user` to its end. Exit codes are results; only a timeout rejects. */
export async function runAs(
  user: User,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { stdin, ...rest } = options;
  const timeout = (options.timeout ?? 60_000) * SLOWNESS;
  const child = spawnAs(user, argv, { ...rest, stdin: stdin === undefined ? "null" : "piped" });
  let expired = false;
  const timer = setTimeout(() => {
    expired = true;
    child.kill("SIGKILL");
  }, timeout);
  try {
    const fed = stdin === undefined ? undefined : feed(child.stdin, stdin);
    const { code, signal, stdout, stderr } = await child.output();
    await fed;
    const text = new TextDecoder();
    const result = {
      code,
      signal,
      stdout: text.decode(stdout),
      stderr: text.decode(stderr),
      stdoutBytes: stdout,
    };
    if (expired) {
      throw new Error(`${argv.join(" ")} did not end in ${timeout} ms: ${result.stdout}${result.stderr}`);
    }
    return result;
  } finally {
    clearTimeout(timer);
  }
}

/** A program may end without reading all of its input: that is its right. */
async function feed(stream: WritableStream<Uint8Array>, input: string | Uint8Array): Promise<void> {
  try {
    const writer = stream.getWriter();
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : new Uint8Array(input));
    await writer.close();
  } catch {
    // EPIPE.
  }
}
