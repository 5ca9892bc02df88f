/** The API beside podman's service: requests in a second and how long the slow ones take, the time of an exec, and what a log takes. */
import { messageOf } from "../base/errors.ts";
import type { Engine } from "../tests/support/engine.ts";
import { waitFor } from "../tests/support/processes.ts";
import { runAs, spawnAs, type User } from "../tests/support/users.ts";
import { ApiConnection } from "../tests/support/api_client.ts";
import { lastLine, type Podman, preparePodman, removePodman } from "./peers.ts";
import { median, percentile, printTimes, timed } from "./stats.ts";
import { timeCommands } from "./stopwatch.ts";
import { printLogs } from "./logs.ts";

export interface ApiBench {
  readonly user: User;
  readonly dir: string;
  readonly tar: string;
  readonly image: string;
  /** Of each measurement. */
  readonly seconds: number;
  readonly rounds: number;
  /** Of the log's lines. */
  readonly megabytes: number;
}

const CONTAINERS = 100;
/** Clients that ask at the same time. */
const CONNECTIONS = 4;
const EXECS = 20;
const NAME = "bench-running";

/** One engine that is asked. */
interface Side {
  readonly name: string;
  readonly socket: string;
  /** A command line that works on the same containers. */
  readonly cli: readonly string[];
}

export async function printApi(engine: Engine, executable: string, options: ApiBench): Promise<void> {
  const { user, dir, tar, image } = options;
  const podman = await preparePodman(user, dir, tar, image);
  const berth: Side = { name: "berth", socket: engine.socket, cli: [executable, "-H", engine.host] };
  const sides = [berth];
  let service: Deno.ChildProcess | undefined;
  try {
    if ("missing" in podman) console.log(`podman: ${podman.missing}`);
    else {
      console.log(`podman: ${podman.what}`);
      const socket = `${dir}/podman.sock`;
      service = await startService(user, podman, socket);
      sides.push({ name: "podman", socket, cli: podman.argv([]) });
    }
    await must(engine.berth(["run", "-d", "--network", "none", "--name", NAME, image, "sleep", "infinity"]));
    if (!("missing" in podman)) {
      await must(podman.run(["-d", "--name", NAME, image, "sleep", "infinity"]));
    }
    await printRequests(sides, options);
    await printExecs(user, sides);
    await printLogs(engine, podman, options);
  } finally {
    if (!("missing" in podman)) await runAs(user, podman.argv(["rm", "-f", "-t", "0", NAME])).catch(() => {});
    if (service !== undefined) {
      service.kill("SIGTERM");
      await service.status;
    }
    await removePodman(user, dir);
  }
}

async function must(result: Promise<{ code: number; stdout: string; stderr: string }>): Promise<void> {
  const { code, stdout, stderr } = await result;
  if (code !== 0) throw new Error(lastLine(stderr || stdout));
}

async function startService(
  user: User,
  podman: Exclude<Podman, { missing: string }>,
  socket: string,
): Promise<Deno.ChildProcess> {
  const argv = podman.argv(["system", "service", "--time=0", `unix://${socket}`]);
  const child = spawnAs(user, argv, { stdout: "null", stderr: "null" });
  const answers = async () => {
    try {
      using api = await ApiConnection.open(socket);
      return (await api.send(ApiConnection.request("GET", "/_ping"))).status === 200;
    } catch {
      return false;
    }
  };
  await waitFor(answers, 20_000, () => "podman's service does not answer");
  return child;
}

async function printRequests(sides: readonly Side[], { image, seconds, rounds }: ApiBench): Promise<void> {
  const ids = new Map<Side, string>();
  for (const side of sides) {
    using api = await ApiConnection.open(side.socket);
    for (let i = 0; i < CONTAINERS; i++) {
      const body = { Image: image, Cmd: ["true"], HostConfig: { NetworkMode: "none" } };
      const { Id } = await api.call("POST", "/v1.41/containers/create", body) as { Id: string };
      ids.set(side, Id);
    }
  }
  console.log(
    `\nThe API, ${CONNECTIONS} clients on unix sockets, ${CONTAINERS} containers that are created and 1 that runs; ${rounds} × ${seconds} s in turns\n`,
  );
  console.log(`  ${"".padEnd(22)}${sides.map(({ name }) => name.padStart(30)).join("")}     rate      p99`);
  const kinds: [string, (side: Side) => string][] = [
    ["_ping", () => "/_ping"],
    [`list of ${CONTAINERS + 1}`, () => "/v1.41/containers/json?all=1"],
    ["inspect", (side) => `/v1.41/containers/${ids.get(side)}/json`],
  ];
  for (const [what, path] of kinds) {
    const results = sides.map(() => ({ rates: [] as number[], times: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      for (const [s, side] of sides.entries()) {
        const { rate, times } = await hammer(side.socket, path(side), seconds);
        results[s]?.rates.push(rate);
        results[s]?.times.push(...times);
      }
    }
    const cells = results.map(({ rates, times }) =>
      `${median(rates).toFixed(0)}/s, p99 ${percentile(times, 0.99).toFixed(1)} ms`.padStart(30)
    );
    const [ours, theirs] = results;
    const better = ours === undefined || theirs === undefined
      ? ""
      : `${(median(ours.rates) / median(theirs.rates)).toFixed(1)}×`.padStart(9) +
        `${(percentile(theirs.times, 0.99) / percentile(ours.times, 0.99)).toFixed(1)}×`.padStart(9);
    console.log(`  ${what.padEnd(22)}${cells.join("")}${better}`);
  }
  console.log("  (rate, p99: how much better than podman; goal: above 1 in each)");
}

/** Asks the same again and again on {@link CONNECTIONS} connections: answers in a second, and the milliseconds of each. */
async function hammer(
  socket: string,
  path: string,
  seconds: number,
): Promise<{ rate: number; times: number[] }> {
  const request = ApiConnection.request("GET", path);
  const times: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    using api = await ApiConnection.open(socket);
    for (let now = performance.now(); now < end;) {
      const { status } = await api.send(request);
      if (status !== 200) throw new Error(`${path}: ${status}`);
      const done = performance.now();
      times.push(done - now);
      now = done;
    }
  }));
  return { rate: times.length / (performance.now() - start) * 1000, times };
}

async function printExecs(user: User, sides: readonly Side[]): Promise<void> {
  const rows = sides.map(({ name }) => ({ name: `${name}, by the API`, times: [] as number[] }));
  for (let i = 0; i <= EXECS; i++) {
    for (const [s, side] of sides.entries()) {
      const ms = await timed(() => exec(side.socket));
      if (i > 0) rows[s]?.times.push(ms);
    }
  }
  const commands = sides.map(({ name, cli }) => ({
    name: `${name} exec`,
    argv: [...cli, "exec", NAME, "true"],
  }));
  const times = await timeCommands(user, commands, EXECS).catch((error: unknown) => {
    console.log(`  ${messageOf(error)}`);
    return new Map<string, number[]>();
  });
  printTimes("exec <container> true: created, started, its output read to the end", "podman, by the API", [
    ...rows,
    ...commands.map(({ name }) => ({ name, times: times.get(name) ?? [] })),
  ]);
}

async function exec(socket: string): Promise<void> {
  let id: string;
  {
    using api = await ApiConnection.open(socket);
    const body = { Cmd: ["true"], AttachStdout: true, AttachStderr: true };
    id = (await api.call("POST", `/v1.41/containers/${NAME}/exec`, body) as { Id: string }).Id;
  }
  using api = await ApiConnection.open(socket);
  const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
  await api.stream(
    ApiConnection.request("POST", `/v1.41/exec/${id}/start`, { Detach: false, Tty: false }, upgrade),
  );
}
