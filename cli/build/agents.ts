/** `--ssh`: agents that the engine may speak to while it builds. */
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";

/** An agent that is there, or keys to have one for. */
export type Agent = { readonly socket: string } | { readonly keys: readonly string[] };

/**
 * `default`, `id`, `id=/path/to/socket`, `id=/path/to/key,…`.
 *
 * @throws {CliError}
 */
export function parseAgents(given: readonly string[]): ReadonlyMap<string, Agent> {
  const agents = new Map<string, Agent>();
  for (const text of given) {
    const equals = text.indexOf("=");
    const id = (equals < 0 ? text : text.slice(0, equals)) || "default";
    const paths = equals < 0 ? [] : text.slice(equals + 1).split(",").filter((path) => path !== "");
    if (agents.has(id)) throw new CliError(`invalid duplicate ID ${id}`);
    agents.set(id, agentOf(id, paths));
  }
  return agents;
}

function agentOf(id: string, paths: readonly string[]): Agent {
  const [first] = paths;
  if (first === undefined) {
    const socket = Deno.env.get("SSH_AUTH_SOCK") ?? "";
    if (socket === "") {
      throw new CliError(
        `invalid empty ssh agent socket for ${JSON.stringify(id)}: make sure SSH_AUTH_SOCK is set`,
      );
    }
    return { socket };
  }
  const sockets = paths.filter((path) => {
    try {
      return Deno.statSync(path).isSocket === true;
    } catch (error) {
      throw new CliError(`failed to open ${path}: open ${path}: ${goErrno(error)}`);
    }
  });
  if (sockets.length === 0) return { keys: paths };
  if (paths.length > 1) throw new CliError("only single socket allowed");
  return { socket: first };
}

/** The agents of a build, and how to reach them; those that were started for it end with it. */
export class Agents implements AsyncDisposable {
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #started = new Map<
    string,
    { readonly socket: string; readonly directory: string; readonly process: Deno.ChildProcess }
  >();

  constructor(agents: ReadonlyMap<string, Agent>) {
    this.#agents = agents;
  }

  has(id: string): boolean {
    return this.#agents.has(id);
  }

  /** A connection to the agent. @throws {CliError} when it does not answer. */
  async dial(id: string): Promise<Deno.UnixConn> {
    const agent = this.#agents.get(id);
    if (agent === undefined) throw new CliError(`unset ssh forward key ${id}`);
    const path = "socket" in agent ? agent.socket : await this.#start(id, agent.keys);
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      throw new CliError(`failed to connect to ${path}: ${goErrno(error)}`);
    }
  }

  /** OpenSSH's own agent reads keys in all their formats. */
  async #start(id: string, keys: readonly string[]): Promise<string> {
    const known = this.#started.get(id);
    if (known !== undefined) return known.socket;
    const directory = Deno.makeTempDirSync({ prefix: "berth-agent-" });
    const socket = `${directory}/agent`;
    const process = spawn("ssh-agent", ["-D", "-a", socket]);
    this.#started.set(id, { socket, directory, process });
    const deadline = performance.now() + 5_000;
    for (;;) {
      try {
        (await Deno.connect({ transport: "unix", path: socket })).close();
        break;
      } catch (error) {
        if (performance.now() > deadline) throw new CliError(`ssh-agent does not answer: ${goErrno(error)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    const { code } = await spawn("ssh-add", ["-q", ...keys], { SSH_AUTH_SOCK: socket }).status;
    if (code !== 0) throw new CliError(`failed to parse ${keys.join(", ")}: ssh-add exits with ${code}`);
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process, directory } of this.#started.values()) {
      try {
        process.kill("SIGTERM");
      } catch {
        // it has ended
      }
      await process.status;
      Deno.removeSync(directory, { recursive: true });
    }
    this.#started.clear();
  }
}

function spawn(program: string, args: string[], env: Record<string, string> = {}): Deno.ChildProcess {
  try {
    return new Deno.Command(program, { args, env, stdin: "null", stdout: "null", stderr: "inherit" }).spawn();
  } catch (error) {
    throw new CliError(
      `${program} is needed for keys of --ssh: ${goErrno(error)} (apt install openssh-client)`,
    );
  }
}
