/**
 * The machines of the network benchmark, as network namespaces: the host, which is the namespace that this process is in, and one that
 * stands for another machine.
 *
 *     far 198.18.0.2 ──veth──▶ 198.18.0.1 host: berth's engine and its peers ──▶ containers
 *
 * 198.18.0.0/15 is set aside for benchmarks (RFC 2544), so it is nobody's.
 */
import { currentUser, runAs, type RunResult, spawnAs, type User } from "../tests/support/users.ts";
import { waitFor } from "../tests/support/processes.ts";
import { lastLine } from "./peers.ts";
import type { Measurement, Result } from "./traffic.ts";

export const HOST = "198.18.0.1";
export const FAR = "198.18.0.2";
/** The default gateway, another address of the same machine: pasta takes the gateway's for the host's loopback. */
const ROUTER = "198.18.0.3";
/** Where every server listens, inside. */
export const SERVER_PORT = 5000;
/** A container that the kernel alone leads to, as Docker's run by root are. */
const ROUTED = "198.18.1.2";

const ROUTED_GATEWAY = "198.18.1.1";
const TRAFFIC = new URL("traffic.ts", import.meta.url).pathname;
const TIMEOUT = 15_000;

/** A network namespace, by a process in it; undefined: this one. */
export type Place = number | undefined;

/** Words that run a program in a namespace. */
export function inside(place: Place, argv: readonly string[]): string[] {
  return place === undefined ? [...argv] : ["nsenter", `--net=/proc/${place}/ns/net`, "--", ...argv];
}

/** Runs a program that must succeed. */
export async function must(user: User, argv: readonly string[]): Promise<RunResult> {
  const result = await runAs(user, argv);
  if (result.code !== 0) throw new Error(`${argv.join(" ")}: ${lastLine(result.stderr || result.stdout)}`);
  return result;
}

/** Ends a process of this benchmark and waits for it. */
export async function end(child: Deno.ChildProcess, signal: Deno.Signal = "SIGTERM"): Promise<void> {
  let ended = false;
  const status = child.status.then(() => ended = true);
  try {
    child.kill(signal);
  } catch {
    // it has ended by itself
  }
  await waitFor(() => ended, TIMEOUT, () => `process ${child.pid} does not end`).catch(() =>
    child.kill("SIGKILL")
  );
  await status;
}

/** A process that keeps namespaces alive. `argv` makes them and executes `sleep`. */
export async function holder(user: User, argv: readonly string[]): Promise<Deno.ChildProcess> {
  const child = spawnAs(user, [...argv, "sleep", "infinity"], { stdout: "null", stderr: "null" });
  const sleeps = () => {
    try {
      return Deno.readTextFileSync(`/proc/${child.pid}/comm`) === "sleep\n";
    } catch {
      return false;
    }
  };
  await waitFor(sleeps, TIMEOUT, () => `${argv.join(" ")} does not start`);
  return child;
}

/** Whether the namespace of process `pid` has a default route for IPv4. */
export function hasDefaultRoute(pid: number): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/net/route`).split("\n").some((line) =>
      line.split("\t")[1] === "00000000"
    );
  } catch {
    return false;
  }
}

/** Makes and holds the namespaces, servers and clients; all of them end with it. */
export class World implements AsyncDisposable {
  readonly #processes: Deno.ChildProcess[] = [];
  readonly #agents = new Map<Place, Agent>();
  readonly #dir: string;
  #measurements = 0;
  #far: Place;
  #routed: Place;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** In a network namespace that has nothing but a loopback interface, and belongs to who calls. `dir` is for its files. */
  static async make(dir: string): Promise<World> {
    const world = new World(dir);
    try {
      await world.#make();
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  /** Another machine. */
  get far(): Place {
    return this.#far;
  }

  get routed(): { place: Place; address: string } {
    return { place: this.#routed, address: ROUTED };
  }

  async #make(): Promise<void> {
    this.#far = await this.#space();
    this.#routed = await this.#space();
    await this.#ip(undefined, "link set lo up");
    await this.#ip(undefined, `link add up0 type veth peer name up0 netns ${this.#far}`);
    await this.#ip(undefined, `address add ${HOST}/24 dev up0`);
    await this.#ip(undefined, "link set up0 up");
    await this.#ip(this.#far, `address add ${FAR}/24 dev up0`);
    await this.#ip(this.#far, `address add ${ROUTER}/24 dev up0`);
    await this.#ip(this.#far, "link set up0 up");
    await this.#ip(undefined, `route add default via ${ROUTER}`);
    await this.#ip(undefined, `link add routed0 type veth peer name eth0 netns ${this.#routed}`);
    await this.#ip(undefined, `address add ${ROUTED_GATEWAY}/24 dev routed0`);
    await this.#ip(undefined, "link set routed0 up");
    await this.#ip(this.#routed, `address add ${ROUTED}/24 dev eth0`);
    await this.#ip(this.#routed, "link set eth0 up");
    await this.#ip(this.#routed, `route add default via ${ROUTED_GATEWAY}`);
    await this.#ip(this.#far, `route add 198.18.1.0/24 via ${HOST}`);
    await this.#set(undefined, "net/ipv4/ip_forward", "1");
    // some hundred thousand connections are made from here to the same address
    await this.#set(this.#far, "net/ipv4/ip_local_port_range", "10000 65000");
  }

  async #space(): Promise<number> {
    const child = await holder(currentUser(), ["unshare", "--net"]);
    this.#processes.push(child);
    await this.#ip(child.pid, "link set lo up");
    return child.pid;
  }

  #ip(place: Place, words: string): Promise<RunResult> {
    return must(currentUser(), inside(place, ["ip", ...words.split(" ")]));
  }

  #set(place: Place, name: string, value: string): Promise<RunResult> {
    return must(currentUser(), inside(place, ["sh", "-c", `echo '${value}' > /proc/sys/${name}`]));
  }

  /** Serves in the namespace until the end; answers the file in which it counts. */
  async serve(place: Place): Promise<string> {
    const count = `${this.#dir}/count-${place ?? "host"}`;
    const child = startTraffic(place, ["serve", String(SERVER_PORT), count]);
    this.#processes.push(child);
    const reader = child.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    if (done) throw new Error("the server of the measurements does not start");
    return count;
  }

  /** Measures from the namespace. */
  measure(place: Place, what: Omit<Measurement, "number">): Promise<Result> {
    const measurement = { ...what, number: this.#measurements++ % 256 };
    let agent = this.#agents.get(place);
    if (agent === undefined) this.#agents.set(place, agent = new Agent(startTraffic(place, ["measure"])));
    return agent.measure(measurement);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents.values()) await agent[Symbol.asyncDispose]();
    for (const child of this.#processes.reverse()) await end(child, "SIGKILL");
  }
}

function startTraffic(place: Place, args: readonly string[]): Deno.ChildProcess {
  // sessions: see background() in network_peers.ts
  const argv = ["setsid", Deno.execPath(), "run", "--quiet", "--allow-all", TRAFFIC, ...args];
  const [command = "", ...rest] = inside(place, argv);
  return new Deno.Command(command, { args: rest, stdin: "piped", stdout: "piped", stderr: "inherit" })
    .spawn();
}

/** A client that is started once, because starting it takes longer than what it measures. */
class Agent implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async measure(measurement: Measurement): Promise<Result> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(measurement)}\n`));
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end !== -1) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return JSON.parse(line) as Result;
      }
      const { value, done } = await this.#reader.read();
      if (done) return { error: "the client of the measurements has ended" };
      this.#rest += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child, "SIGKILL");
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
  }
}
