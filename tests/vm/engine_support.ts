/** An engine in the virtual machine, and its API. */
import { eventually, Failure } from "./checks.ts";

/** Where the host has put berth and the docker command line. */
export const TOOLS = new URL(".", import.meta.url).pathname.replace(/\/$/, "");

export const IMAGE = "berth/host";

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Json = Record<string, unknown>;

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs a program as the virtual machine's root, where scripts/test_vm could provide for that; exit code 127 elsewhere. */
export async function asRoot(...words: string[]): Promise<Output> {
  const become = ["--reuid=0", "--regid=0", "--clear-groups", "--"];
  try {
    return await run("/work/as-root", [...become, ...words]);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { code: 127, stdout: "", stderr: "" };
  }
}

export interface Container {
  readonly Id: string;
  readonly Warnings: readonly string[];
}

let engines = 0;

export class Engine implements AsyncDisposable {
  readonly #dir: string;
  readonly #args: readonly string[];
  readonly #prefix: readonly string[];
  #child: Deno.ChildProcess | undefined;
  #client: Deno.HttpClient;

  private constructor(args: readonly string[], prefix: readonly string[]) {
    this.#args = args;
    this.#prefix = prefix;
    this.#dir = `${Deno.env.get("HOME")}/e${++engines}-${Deno.pid}`;
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path: this.socket } });
  }

  /** @param prefix words before the command, as `systemd-run …` */
  static async start(args: readonly string[] = [], prefix: readonly string[] = []): Promise<Engine> {
    const engine = new Engine(args, prefix);
    Deno.mkdirSync(engine.#dir);
    await engine.boot();
    return engine;
  }

  get socket(): string {
    return `${this.#dir}/s`;
  }

  get log(): string {
    return Deno.readTextFileSync(`${this.#dir}/log`);
  }

  async boot(): Promise<void> {
    const roots = ["--data-root", `${this.#dir}/data`, "--exec-root", `${this.#dir}/x`];
    const words = [
      ...this.#prefix,
      `${TOOLS}/berth`,
      "serve",
      "-H",
      `unix://${this.socket}`,
      ...roots,
      ...this.#args,
    ];
    this.#child = new Deno.Command("sh", {
      args: ["-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", `${this.#dir}/log`, ...words],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let ended = false;
    void this.#child.status.then(() => ended = true);
    await eventually(
      async () => {
        if (ended) throw new Failure(`the engine has ended: ${this.log}`);
        try {
          return (await this.request("GET", "/_ping")).status === 200;
        } catch {
          return false;
        }
      },
      () => `the engine does not answer: ${this.log}`,
      60,
    );
  }

  async request(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; json: Json; text: string }> {
    const response = await fetch(`http://localhost/v1.47${path}`, {
      method,
      client: this.#client,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    let json: Json = {};
    try {
      json = JSON.parse(text) as Json;
    } catch {
      // no JSON
    }
    return { status: response.status, json, text };
  }

  /** The answer of a request that must succeed. */
  async ask(method: string, path: string, body?: unknown): Promise<Json> {
    const { status, json, text } = await this.request(method, path, body);
    if (status >= 400) throw new Failure(`${method} ${path}: ${status} ${text}`);
    return json;
  }

  async create(
    cmd: readonly string[],
    host: Json = {},
    config: Json = {},
    name?: string,
  ): Promise<Container> {
    const body = { Image: IMAGE, Cmd: cmd, HostConfig: { NetworkMode: "none", ...host }, ...config };
    const query = name === undefined ? "" : `?name=${name}`;
    return await this.ask("POST", `/containers/create${query}`, body) as unknown as Container;
  }

  /** Starts a shell script. */
  async run(script: string, host: Json = {}, config: Json = {}): Promise<string> {
    const { Id } = await this.create(["sh", "-c", script], host, config);
    await this.ask("POST", `/containers/${Id}/start`);
    return Id;
  }

  async wait(id: string): Promise<number> {
    return Number((await this.ask("POST", `/containers/${id}/wait`))["StatusCode"]);
  }

  async state(id: string): Promise<Json> {
    return (await this.ask("GET", `/containers/${id}/json`))["State"] as Json;
  }

  async remove(id: string): Promise<void> {
    await this.ask("DELETE", `/containers/${id}?force=1`);
  }

  /** The output of a container that ends by itself. */
  async output(script: string, host: Json = {}): Promise<string> {
    const id = await this.run(script, host, { Tty: true });
    await this.wait(id);
    const { text } = await this.request("GET", `/containers/${id}/logs?stdout=1&stderr=1`);
    await this.remove(id);
    return text.replaceAll("\r\n", "\n").trim();
  }

  /** Directory of a running container's cgroup, by its process. */
  async cgroup(id: string): Promise<string> {
    const { Pid: pid } = await this.state(id);
    const [, path] = /^0::(.*)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/cgroup`)) ?? [];
    return `/sys/fs/cgroup${path}`;
  }

  async value(id: string, file: string): Promise<string> {
    return Deno.readTextFileSync(`${await this.cgroup(id)}/${file}`).trim();
  }

  /** Events of containers so far, "action" or "action NAME=value". */
  async events(id: string): Promise<string[]> {
    const now = Math.floor(Date.now() / 1000) + 1;
    const filters = encodeURIComponent(JSON.stringify({ container: [id] }));
    const { text } = await this.request("GET", `/events?since=1&until=${now}&filters=${filters}`);
    return text.split("\n").filter((line) => line !== "").map((line) =>
      String((JSON.parse(line) as Json)["Action"])
    );
  }

  docker(...args: string[]): Promise<Output> {
    return run(`${TOOLS}/docker`, args, { DOCKER_HOST: `unix://${this.socket}` });
  }

  berth(...args: string[]): Promise<Output> {
    return run(`${TOOLS}/berth`, ["-H", `unix://${this.socket}`, ...args]);
  }

  /** Pid of the process that listens on the socket. */
  enginePid(): number {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const command = Deno.readTextFileSync(`/proc/${name}/cmdline`);
        if (command.includes("@engine") && command.includes(this.#dir)) return Number(name);
      } catch {
        // It has ended.
      }
    }
    throw new Failure("no engine process");
  }

  async kill9(): Promise<void> {
    Deno.kill(this.enginePid(), "SIGKILL");
    await this.#child?.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const list = await this.ask("GET", "/containers/json?all=1") as unknown as { Id: string }[];
    for (const { Id } of list) await this.remove(Id);
    this.#client.close();
    try {
      Deno.kill(this.enginePid(), "SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child?.status;
  }
}
