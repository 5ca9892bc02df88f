/**
 * Published ports and outbound connections beside those of others, in namespaces that are made for it: nothing of the machine's own network
 * is touched or used. Started by run.ts, once more as a program, in a network namespace of its own.
 */
import { messageOf } from "../base/errors.ts";
import { type Engine, startEngine } from "../tests/support/engine.ts";
import { currentUser, type User } from "../tests/support/users.ts";
import { printFootprint } from "./network_footprint.ts";
import {
  BERTH,
  BERTH_65520,
  DIRECT,
  networkPeers,
  type Peer,
  programVersions,
  type Route,
  ROUTED,
  SLIRP_1500,
  SLIRP_65520,
} from "./network_peers.ts";
import { FAR, type Place, SERVER_PORT, World } from "./network_world.ts";
import { lastLine, type Podman, preparePodman, removePodman } from "./peers.ts";
import { median, verdict } from "./stats.ts";
import type { Kind, Measurement } from "./traffic.ts";

/** What `network.ts` is given as its argument, in JSON. */
export interface NetworkOptions {
  readonly user: User;
  readonly dir: string;
  /** Root file system with a shell. */
  readonly tar: string;
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
}

interface Column {
  readonly title: string;
  readonly kind: Kind;
  readonly streams: number;
  readonly unit: number;
  readonly digits: number;
  /** Times are better when they are shorter. */
  readonly less?: boolean;
}

const GBIT = 1e9 / 8;

const COLUMNS: readonly Column[] = [
  { title: "1 to server", kind: "up", streams: 1, unit: GBIT, digits: 2 },
  { title: "1 from server", kind: "down", streams: 1, unit: GBIT, digits: 2 },
  { title: "16 to server", kind: "up", streams: 16, unit: GBIT, digits: 2 },
  { title: "16 from server", kind: "down", streams: 16, unit: GBIT, digits: 2 },
  { title: "round trip", kind: "latency", streams: 1, unit: 1, digits: 1, less: true },
  { title: "connections/s", kind: "connections", streams: 16, unit: 1, digits: 0 },
];

const ALL = COLUMNS.map((_, i) => i);
const THROUGHPUT = ALL.filter((i) => COLUMNS[i]?.unit === GBIT);

/** A row of a table: one way, measured again and again. */
class Line {
  readonly name: string;
  /** Of each column, as many as there were rounds that went well. */
  readonly values: readonly number[][] = COLUMNS.map(() => []);
  /** The first thing that went wrong. */
  problem: string | undefined;
  readonly #world: World;
  readonly #from: Place;
  readonly #to: Pick<Measurement, "host" | "port" | "count">;

  constructor(name: string, world: World, from: Place, to: Pick<Measurement, "host" | "port" | "count">) {
    this.name = name;
    this.#world = world;
    this.#from = from;
    this.#to = to;
  }

  async measure(index: number, seconds: number): Promise<void> {
    const column = COLUMNS[index];
    if (column === undefined) return;
    const { kind, streams } = column;
    const result = await this.#world.measure(this.#from, { kind, ...this.#to, streams, seconds });
    if ("error" in result) this.problem ??= `${column.title}: ${result.error}`;
    else this.values[index]?.push(result.value);
  }
}

/** Runs the benchmark in a network namespace of its own; the process that calls stays where it is. */
export async function printNetwork(options: NetworkOptions): Promise<void> {
  const privileged = currentUser().uid === 0;
  const own = privileged ? ["--net"] : ["--user", "--map-root-user", "--map-auto", "--net"];
  // an ordinary user is root there, of namespaces only
  const user = privileged ? options.user : { name: "root", uid: 0, gid: 0 };
  const program = [Deno.execPath(), "run", "--quiet", "--allow-all", new URL(import.meta.url).pathname];
  const { code } = await new Deno.Command("unshare", {
    args: [...own, "--", ...program, JSON.stringify({ ...options, user })],
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error("the network could not be measured");
}

async function bench(options: NetworkOptions): Promise<void> {
  const { user, dir, tar } = options;
  const image = "localhost/bench";
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await World.make(dir));
  const podman = await preparePodman(user, dir, tar, image);
  stack.defer(() => removePodman(user, dir));
  const engine = await prepareEngine(user, tar, image);
  if (typeof engine !== "string") stack.use(engine);

  const peers = networkPeers({ user, dir, world, image, engine, podman });
  await printPrograms(peers, user, podman);
  const routes = await startAll(peers, world, stack);

  const published: Line[] = [];
  const outbound: Line[] = [];
  const far = { host: FAR, port: SERVER_PORT, count: await world.serve(world.far) };
  for (const { name, route, count } of routes) {
    const { published: to, outbound: out, place } = route;
    if (to !== undefined) published.push(new Line(name, world, world.far, { ...to, count }));
    if (out) outbound.push(new Line(name, world, place, far));
  }
  await measureAll(published, options);
  printTable("Published port: another machine connects to the host", published);
  printPublishedGoals(published);
  await measureAll(outbound, options);
  printTable("Outbound: a container connects to another machine", outbound);
  printOutboundGoals(outbound);
  if (typeof engine !== "string") await printFootprint(engine, image);
}

/** berth's engine in this network namespace, or why there is none. */
async function prepareEngine(user: User, tar: string, image: string): Promise<Engine | string> {
  try {
    const engine = await startEngine({ user });
    const imported = await engine.berth(["import", tar, image]);
    if (imported.code === 0) return engine;
    await engine[Symbol.asyncDispose]();
    return lastLine(imported.stderr);
  } catch (error) {
    return messageOf(error);
  }
}

async function printPrograms(peers: readonly Peer[], user: User, podman: Podman): Promise<void> {
  console.log("\nNetwork: all containers are there at once, and take turns\n");
  for (const [program, version] of await programVersions(peers, user)) {
    const more = program === "podman" && "what" in podman ? podman.what : version;
    console.log(`  ${program.padEnd(14)} ${more ?? "is not installed"}`);
  }
}

/** Makes every way ready, with a server behind it. What cannot be had is told, and left out. */
async function startAll(
  peers: readonly Peer[],
  world: World,
  stack: AsyncDisposableStack,
): Promise<{ name: string; route: Route; count: string }[]> {
  const routes: { name: string; route: Route; count: string }[] = [];
  const served = new Map<Place, string>();
  for (const [index, { name, start }] of peers.entries()) {
    try {
      const route = await start(stack, 7001 + index);
      // a server in a way that only leads out is of no use; some share a container
      let count = served.get(route.place) ?? "";
      if (route.published !== undefined && count === "") {
        count = await world.serve(route.place);
        served.set(route.place, count);
      }
      routes.push({ name, route, count });
    } catch (error) {
      console.log(`  (${name}: ${messageOf(error)})`);
    }
  }
  return routes;
}

/** In rounds, and in another order in each, so that nobody has the machine's better minute or the place after the busiest. */
async function measureAll(lines: readonly Line[], { rounds, seconds }: NetworkOptions): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? lines : lines.toReversed();
    for (const index of ALL) {
      for (const line of order) await line.measure(index, seconds);
    }
  }
}

function valueOf(lines: readonly Line[], name: string, column: number): number {
  return median(lines.find((line) => line.name === name)?.values[column] ?? []);
}

/** How many times better `a` is than `b`. */
function ratio({ less }: Column, a: number, b: number): number {
  return less === true ? b / a : a / b;
}

function printTable(title: string, lines: readonly Line[]): void {
  console.log(`\n${title}\n`);
  const width = Math.max(...lines.map(({ name }) => name.length));
  console.log(`  ${"".padEnd(width)}${COLUMNS.map(({ title }) => title.padStart(17)).join("")}`);
  const units = COLUMNS.map(({ kind }) => kind === "latency" ? "µs" : kind === "connections" ? "" : "Gbit/s");
  console.log(`  ${"".padEnd(width)}${units.map((unit) => unit.padStart(17)).join("")}`);
  for (const { name, values, problem } of lines) {
    const cells = COLUMNS.map((column, i) => {
      const value = median(values[i] ?? []);
      if (Number.isNaN(value)) return "-";
      const times = ratio(column, value, valueOf(lines, DIRECT, i));
      return `${(value / column.unit).toFixed(column.digits)} (${times.toFixed(2)})`;
    });
    console.log(`  ${name.padEnd(width)}${cells.map((cell) => cell.padStart(17)).join("")}`);
    if (problem !== undefined) console.log(`  ${"".padEnd(width)}  ${problem}`);
  }
  const load = Deno.readTextFileSync("/proc/loadavg").split(" ")[0];
  console.log(
    `  (medians; in parentheses how good that is beside ${DIRECT}: 1 is equal, more is better; the machine's load is ${load} now)`,
  );
}

/** A row of the comparison: one of berth's ways beside one of another's. The goal is for each throughput. */
interface Comparison {
  readonly own: string;
  readonly other: string;
  readonly goal: number;
}

function printComparisons(lines: readonly Line[], comparisons: readonly Comparison[]): void {
  const there = comparisons.filter(({ own, other }) =>
    [own, other].every((name) => lines.some((line) => line.name === name))
  );
  if (there.length === 0) return;
  const labels = there.map(({ own, other }) => `${own} : ${other}`);
  const width = Math.max(...labels.map((label) => label.length));
  const titles = COLUMNS.map(({ title }) => title.padStart(20)).join("");
  console.log(`\n  ${"how many times better (goal)".padEnd(width)}${titles}`);
  const missed: string[] = [];
  for (const [index, { own, other, goal }] of there.entries()) {
    const label = labels[index] ?? "";
    const cells = COLUMNS.map((column, i) => {
      const [ours, theirs] = [valueOf(lines, own, i), valueOf(lines, other, i)];
      const times = ratio(column, ours, theirs);
      const text = Number.isNaN(times) ? "-" : times.toFixed(2);
      if (!THROUGHPUT.includes(i)) return text;
      if (!Number.isNaN(ours) && Number.isNaN(theirs)) return "peer failed";
      // what could not be measured is not met either
      const met = times >= goal;
      if (!met) missed.push(`${label}, ${column.title}`);
      return `${text} (${goal}) ${verdict(met)}`;
    });
    console.log(`  ${label.padEnd(width)}${cells.map((cell) => cell.padStart(20)).join("")}`);
  }
  console.log(missed.length === 0 ? "  all goals met" : `  missed: ${missed.join("; ")}`);
}

/** Rows that are no peers: nothing stands between the ends, or it takes root. */
const NO_PEERS: ReadonlySet<string> = new Set([DIRECT, ROUTED, BERTH, BERTH_65520]);

function printPublishedGoals(lines: readonly Line[]): void {
  const peers = lines.map(({ name }) => name).filter((name) => !NO_PEERS.has(name));
  printComparisons(lines, [
    { own: BERTH, other: DIRECT, goal: 0.75 },
    ...peers.map((other) => ({ own: BERTH, other, goal: 1 })),
  ]);
}

function printOutboundGoals(lines: readonly Line[]): void {
  printComparisons(lines, [
    { own: BERTH, other: SLIRP_1500, goal: 5 },
    { own: BERTH_65520, other: SLIRP_65520, goal: 1.3 },
  ]);
}

if (import.meta.main) {
  try {
    await bench(JSON.parse(Deno.args[0] ?? "") as NetworkOptions);
  } catch (error) {
    console.error(`bench: ${messageOf(error)}`);
    Deno.exitCode = 1;
  }
}
