/**
 * An engine of its own for a test: `dist/berth serve` with everything it owns in one temporary directory.
 *
 *     await using engine = await startEngine({ user });
 *     const { stdout } = await engine.berth(["run", "--rm", "berth/host", "echo", "hi"]);
 *
 * At the end the engine is stopped, and nothing may be left of it: no process, no mount. What is left fails the test.
 */

import {
  currentUser,
  environmentOf,
  runAs,
  type RunOptions,
  type RunResult,
  spawnAs,
  testDir,
  type User,
} from "./users.ts";
import { lexists } from "../../base/exists.ts";
import { leftovers, waitFor } from "./processes.ts";
import { makeShortDirectory, removeTree } from "./run_directory.ts";

export interface StartOptions {
  /** Default: who runs the tests. */
  user?: User;
  storageDriver?: string;
  /** More flags for `berth serve`. */
  args?: string[];
  env?: Record<string, string>;
  /** The docker command line to use. Default: the first on PATH. */
  docker?: string;
  /** Root only: the data root is a tmpfs of this size ("1m") in a mount namespace of the engine's own. */
  smallDisk?: string;
  /** The data root is named by a symbolic link. */
  linkedRoot?: boolean;
}

export interface Engine extends AsyncDisposable {
  readonly user: User;
  /** `unix://…`, for -H and DOCKER_HOST. */
  readonly host: string;
  readonly socket: string;
  readonly dir: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  /** Pid of the running engine. */
  readonly pid: number;
  /** What the engine has printed so far. */
  log(): string;
  /** Ends the engine by SIGTERM and waits for it; containers are left to the engine. Returns its exit code. */
  stop(): Promise<number>;
  /** kill -9 of the engine alone: shims and containers go on. */
  kill9(): Promise<void>;
  /** Starts an engine again on the same directories, after stop() or kill9(). */
  restart(): Promise<void>;
  /** Waits until the engine has a shim at hand: the pool's, when no container runs. */
  warm(): Promise<void>;
  /** berth's command line as the engine's user. */
  berth(args: string[], options?: RunOptions): Promise<RunResult>;
  /** The docker command line as the engine's user. */
  docker(args: string[], options?: RunOptions): Promise<RunResult>;
}

/** The executable under test, readable by every user. */
export function berthExecutable(): string {
  const path = `${testDir()}/berth`;
  try {
    Deno.statSync(path);
  } catch {
    throw new Error("dist/berth does not exist: run `make build` first");
  }
  return path;
}

/** Starts an engine and waits until it answers on its socket. */
export async function startEngine(options: StartOptions = {}): Promise<Engine> {
  const engine = new TestEngine(options);
  try {
    await engine.start();
  } catch (error) {
    await engine[Symbol.asyncDispose]().catch(() => {});
    throw error;
  }
  return engine;
}

class TestEngine implements Engine {
  readonly user: User;
  readonly dir: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socket: string;
  readonly #options: StartOptions;
  #child: Deno.ChildProcess | undefined;

  constructor(options: StartOptions) {
    this.#options = options;
    this.user = options.user ?? currentUser();
    environmentOf(this.user);
    // A shim's socket is <exec root>/shims/<64 hex digits>/attach.sock, and 107 bytes is the most a socket may have.
    this.dir = makeShortDirectory("b");
    Deno.chownSync(this.dir, this.user.uid, this.user.gid);
    this.dataRoot = `${this.dir}/data`;
    this.execRoot = `${this.dir}/e`;
    this.socket = `${this.dir}/s`;
  }

  get host(): string {
    return `unix://${this.socket}`;
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error("the engine is not running");
    return this.#child.pid;
  }

  log(): string {
    return Deno.readTextFileSync(`${this.dir}/log`);
  }

  async start(): Promise<void> {
    const { storageDriver, args = [], env = {} } = this.#options;
    const driver = storageDriver === undefined ? [] : ["--storage-driver", storageDriver];
    const roots = ["-H", this.host, "--data-root", this.dataRoot, "--exec-root", this.execRoot];
    const disk = this.#options.smallDisk;
    if (disk !== undefined) Deno.mkdirSync(this.dataRoot);
    if (this.#options.linkedRoot) this.#linkRoot();
    const mount = 'mount -t tmpfs -o size="$0" tmpfs "$1"; shift; exec "$@"';
    const inside = disk === undefined ? [] : ["unshare", "--mount", "sh", "-c", mount, disk, this.dataRoot];
    const words = [...inside, berthExecutable(), "serve", ...roots, ...driver, ...args];
    // The log is opened by a shell: a pipe that nobody reads would stop the engine one day.
    this.#child = spawnAs(this.user, [
      "sh",
      "-c",
      'log=$1; shift; exec "$@" >>"$log" 2>&1',
      "sh",
      `${this.dir}/log`,
      ...words,
    ], {
      env,
      stdout: "null",
      stderr: "null",
    });
    let ended: Deno.CommandStatus | undefined;
    this.#child.status.then((status) => ended = status);
    await waitFor(
      () => {
        if (ended !== undefined) {
          throw new Error(`the engine ended at once (${ended.signal ?? ended.code}): ${this.log()}`);
        }
        return this.#answers();
      },
      30_000,
      () => `the engine does not answer: ${this.log()}`,
    );
  }

  #linkRoot(): void {
    const target = `${this.dir}/elsewhere`;
    if (lexists(target)) return;
    Deno.mkdirSync(target);
    Deno.chownSync(target, this.user.uid, this.user.gid);
    Deno.symlinkSync(target, this.dataRoot);
  }

  async #answers(): Promise<boolean> {
    try {
      using connection = await Deno.connect({ transport: "unix", path: this.socket });
      await connection.write(
        new TextEncoder().encode("GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"),
      );
      const buffer = new Uint8Array(4096);
      const n = await connection.read(buffer);
      return new TextDecoder().decode(buffer.subarray(0, n ?? 0)).startsWith("HTTP/1.1 200");
    } catch {
      return false;
    }
  }

  async stop(): Promise<number> {
    const child = this.#child;
    if (child === undefined) return 0;
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended by itself; its exit code says how.
    }
    let ended = false;
    const status = child.status.finally(() => ended = true);
    try {
      await waitFor(() => ended, 30_000, () => `the engine does not end on SIGTERM: ${this.log()}`);
    } catch (error) {
      if (!ended) child.kill("SIGKILL");
      throw error;
    } finally {
      this.#child = undefined;
    }
    return (await status).code;
  }

  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await child.status;
    this.#child = undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async warm(): Promise<void> {
    const shims = `${this.execRoot}/shims/`;
    // Columns: Num RefCount Protocol Flags Type St Inode Path; state 03 is an accepted connection.
    const connected = () =>
      Deno.readTextFileSync("/proc/net/unix").split("\n").some((line) => {
        const [, , , , , state, , path = ""] = line.trim().split(/\s+/);
        return state === "03" && path.startsWith(shims) && path.endsWith("/ctl.sock");
      });
    await waitFor(connected, 15_000, () => `no shim gets warm: ${this.log()}`);
  }

  berth(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return runAs(this.user, [berthExecutable(), "-H", this.host, ...args], options);
  }

  docker(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return runAs(this.user, [this.#options.docker ?? "docker", ...args], {
      ...options,
      env: { DOCKER_HOST: this.host, ...options.env },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const problems: string[] = [];
    try {
      if (this.#child !== undefined) {
        const { stdout } = await this.berth(["ps", "-aq"]);
        const ids = stdout.split("\n").filter((id) => id !== "");
        if (ids.length > 0) await this.berth(["rm", "-f", "-v", ...ids]);
        await this.stop();
      }
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
    // Warm shims and netd end by themselves when their engine has been gone for five seconds.
    await waitFor(() => leftovers(this.dir).length === 0, 20_000, () => "").catch(() => {});
    const left = leftovers(this.dir);
    for (const { pid, what } of left) {
      problems.push(`left behind: process ${pid}, ${what}`);
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // Gone meanwhile.
      }
    }
    await waitFor(() => leftovers(this.dir).length === 0, 5_000, () => "processes do not die").catch((
      error: Error,
    ) => problems.push(error.message));
    await removeTree(this.dir);
    if (problems.length > 0) throw new Error(problems.join("\n"));
  }
}
