/**
 * berth as a library for tests, in Deno and in Node: an engine of one's own, gone with everything in it when it is disposed.
 *
 *     import { Engine } from "berth";
 *     await using engine = await Engine.start();
 *     const docker = new Docker({ socketPath: engine.socketPath });
 */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

export interface EngineStart {
  /** The program; default: `BERTH_EXECUTABLE`, then the one of this package, then `berth` on PATH. */
  readonly executable?: string;
  /** Below it the engine's directory is made; default: the system's temporary directory. */
  readonly directory?: string;
  /** More flags for `berth serve`, for example `["--storage-driver", "vfs"]`. */
  readonly args?: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long the engine may take until it answers, in milliseconds; default 60,000. */
  readonly timeout?: number;
}

/** Ten starts at once on two cores are slow, and a test that waits is better than one that fails. */
const START_TIMEOUT_MS = 60_000;
/** Removing containers and their files; after that the engine is killed. */
const STOP_TIMEOUT_MS = 30_000;
const LONGEST_PAUSE_MS = 20;
/** `<directory>/e/shims/<16 digits>/attach.sock` must fit into the 107 bytes of a socket's path. */
const LONGEST_DIRECTORY = 107 - "/e/shims/0123456789abcdef/attach.sock".length;

/** A private engine in a temporary directory. It ends by itself when the process that has started it does, however that ends. */
export class Engine implements AsyncDisposable {
  /** Everything the engine has. */
  readonly directory: string;
  readonly socketPath: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #disposed: Promise<void> | undefined;

  private constructor(directory: string, child: ChildProcess, ended: Promise<void>) {
    this.directory = directory;
    this.socketPath = `${directory}/s`;
    this.#child = child;
    this.#ended = ended;
  }

  /** Starts an engine and waits until it answers. @throws Error with the engine's words when it does not. */
  static async start(options: EngineStart = {}): Promise<Engine> {
    const directory = makeDirectory(options.directory);
    const log = openSync(`${directory}/log`, "a", 0o600);
    const child = spawn(
      options.executable ?? findExecutable(),
      ["serve", "--ephemeral", directory, ...options.args ?? []],
      // A process group of its own: Ctrl-C on the terminal ends the tests, and the end of the pipe ends the engine.
      { stdio: ["pipe", log, log], env: { ...process.env, ...options.env }, detached: true },
    );
    closeSync(log);
    let problem: string | undefined;
    const ended = new Promise<void>((resolve) => {
      child.once("error", (error) => {
        problem ??= error.message;
        resolve();
      });
      child.once("exit", (code, signal) => {
        // Not when it ended because we had given up.
        problem ??= `it ended (${signal ?? code})`;
        resolve();
      });
    });
    child.stdin?.on("error", () => {});
    const engine = new Engine(directory, child, ended);
    const timeout = options.timeout ?? START_TIMEOUT_MS;
    const deadline = Date.now() + timeout;
    for (let pause = 2; !await answers(engine.socketPath); pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
      if (problem === undefined && Date.now() > deadline) problem = `it does not answer in ${timeout} ms`;
      if (problem !== undefined) {
        const words = engine.log().trim();
        await engine[Symbol.asyncDispose]();
        throw new Error(`the engine does not start: ${problem}${words === "" ? "" : `\n${words}`}`);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    // Who forgets to dispose it shall not wait for it at his end.
    child.unref();
    (child.stdin as { unref?: () => void } | null)?.unref?.();
    return engine;
  }

  /** For DOCKER_HOST. */
  get host(): string {
    return `unix://${this.socketPath}`;
  }

  /** What a program needs to find this engine: docker's command line, and testcontainers, whose Ryuk is not needed here. */
  get env(): { DOCKER_HOST: string; TESTCONTAINERS_RYUK_DISABLED: string } {
    return { DOCKER_HOST: this.host, TESTCONTAINERS_RYUK_DISABLED: "true" };
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What the engine has printed so far. */
  log(): string {
    try {
      return readFileSync(`${this.directory}/log`, "utf8");
    } catch {
      return "";
    }
  }

  /** Removes every container, network and image, ends the engine and removes its directory. Twice is as once. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposed ??= this.#dispose();
  }

  async #dispose(): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function makeDirectory(parent = tmpdir()): string {
  const directory = `${parent.replace(/\/+$/, "")}/berth-${randomBytes(6).toString("hex")}`;
  if (Buffer.byteLength(directory) > LONGEST_DIRECTORY) {
    throw new Error(`${directory} is too long for the sockets below it: choose another directory`);
  }
  mkdirSync(directory, { mode: 0o700 });
  return directory;
}

/** The package has its program in dist/, above or beside this file. */
function findExecutable(): string {
  const named = process.env["BERTH_EXECUTABLE"];
  if (named) return named;
  for (const path of ["../berth", "../dist/berth"]) {
    const file = fileURLToPath(new URL(path, import.meta.url));
    if (existsSync(file)) return file;
  }
  return "berth";
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
