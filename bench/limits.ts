/** What cgroups cost: a start with limits beside one without a cgroup, and a second of statistics of many containers. */

import { Cgroup } from "../cgroups/cgroup.ts";
import { CgroupStatsReader } from "../cgroups/stats.ts";
import { dockerStats } from "../cgroups/docker_stats.ts";
import { type Engine, startEngine } from "../tests/support/engine.ts";
import type { User } from "../tests/support/users.ts";
import { Api, apiExecs, apiStarts } from "./start.ts";
import { printTimes, type Row } from "./stats.ts";

/** By the field of `/info` that says whether they can be had. */
const LIMITS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  MemoryLimit: { Memory: 256 * 1024 * 1024 },
  CpuCfsQuota: { NanoCpus: 1e9 },
  CPUShares: { CpuShares: 512 },
  PidsLimit: { PidsLimit: 100 },
  CPUSet: { CpusetCpus: "0" },
};
const NOTHING_DELEGATED =
  "nothing is delegated here (berth info says why); make test-vm PARTS=bench measures it in the virtual machine";
/** Seconds for which statistics are streamed. */
const SECONDS = 5;

export async function printLimits(
  user: User,
  tar: string,
  image: string,
  options: { runs: number; containers: number },
): Promise<void> {
  await using engine = await imported(user, tar, image, []);
  await using bare = await imported(user, tar, image, ["--cgroup-driver", "none"]);
  using api = new Api(engine);
  const info = await api.call("GET", "/info") as { CgroupDriver: string } & Record<string, unknown>;
  const driver = info.CgroupDriver;
  const limits = Object.entries(LIMITS).filter(([name]) => info[name] === true).map(([, limit]) => limit);
  const times = { bare: [] as number[], unlimited: [] as number[], limited: [] as number[] };
  const execs = { bare: [] as number[], cgroup: [] as number[] };
  // In rounds, so that none has the machine's better minute for itself.
  const rounds = Math.min(4, options.runs);
  for (let round = 0; round < rounds; round++) {
    const some = Math.ceil(options.runs / rounds);
    times.bare.push(...await apiStarts(bare, image, some, true));
    execs.bare.push(...await apiExecs(bare, image, some));
    if (driver === "none") continue;
    execs.cgroup.push(...await apiExecs(engine, image, some));
    times.unlimited.push(...await apiStarts(engine, image, some, true));
    if (limits.length === 0) continue;
    times.limited.push(...await apiStarts(engine, image, some, true, Object.assign({}, ...limits)));
  }
  const rows: Row[] = [{ name: "no cgroup", times: times.bare }];
  if (driver === "none") rows.push({ name: "with limits", times: [], missing: NOTHING_DELEGATED });
  else {
    rows.push(
      { name: `a cgroup by ${driver}`, times: times.unlimited },
      {
        name: `  and ${limits.length} limits`,
        times: times.limited,
        missing: "no controller is delegated here",
      },
    );
  }
  printTimes("Limits: start, wait, remove by the API, a warm shim ready", "no cgroup", rows);
  printTimes("Exec of a program that ends at once", "no cgroup", [
    { name: "no cgroup", times: execs.bare },
    { name: "in a cgroup", times: execs.cgroup, missing: NOTHING_DELEGATED },
  ]);
  await printStats(engine, image, options.containers);
}

async function imported(user: User, tar: string, image: string, args: string[]): Promise<Engine> {
  const engine = await startEngine({ user, args });
  const { code, stderr } = await engine.berth(["import", tar, image]);
  if (code !== 0) throw new Error(`berth import: ${stderr}`);
  return engine;
}

/** Processor time of the engine for each second in which it tells everything of all containers. */
async function printStats(engine: Engine, image: string, count: number): Promise<void> {
  using api = new Api(engine);
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const body = { Image: image, Cmd: ["sleep", "infinity"], HostConfig: { NetworkMode: "none" } };
    const { Id } = await api.call("POST", "/containers/create", body) as { Id: string };
    await api.call("POST", `/containers/${Id}/start`);
    ids.push(Id);
  }
  const idle = await cpuOver(engine.pid, SECONDS);
  const streams = ids.map((id) => api.drain(`/containers/${id}/stats`));
  const busy = await cpuOver(engine.pid, SECONDS);
  for (const end of streams) await end();
  const cost = Math.max(0, busy - idle) / SECONDS;
  console.log(`\nStatistics of ${count} containers, streamed to as many clients\n`);
  console.log(
    `  engine: ${cost.toFixed(1)} ms of processor time each second, ${
      (cost / count).toFixed(2)
    } ms a container`,
  );
  const path = cgroupPath(await pidOf(api, ids[0] ?? ""));
  if (path !== undefined) {
    console.log(`  of which reading a cgroup and making Docker's answer: ${readingMs(path).toFixed(3)} ms`);
  }
  for (const id of ids) await api.call("DELETE", `/containers/${id}?force=1`);
}

async function pidOf(api: Api, id: string): Promise<number> {
  const { State } = await api.call("GET", `/containers/${id}/json`) as { State: { Pid: number } };
  return State.Pid;
}

function cgroupPath(pid: number): string | undefined {
  const [, path = "/"] = /^0::(\/.*)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/cgroup`)) ?? [];
  const cgroup = new Cgroup(`/sys/fs/cgroup${path}`);
  return path !== "/" && cgroup.exists ? cgroup.path : undefined;
}

function readingMs(path: string): number {
  using reader = new CgroupStatsReader(path);
  const rounds = 200;
  const container = { id: "0".repeat(64), name: "bench" };
  const started = performance.now();
  for (let i = 0; i < rounds; i++) {
    const sample = { read: "", systemCpu: 0, onlineCpus: 1, machineMemory: 1, networks: undefined };
    JSON.stringify(dockerStats(container, { ...sample, cgroup: reader.read() ?? {} }, undefined));
  }
  return (performance.now() - started) / rounds;
}

const TICK_MS = 10;

/** Milliseconds of processor time that a process takes in so many seconds. */
async function cpuOver(pid: number, seconds: number): Promise<number> {
  const ticks = () => {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const before = ticks();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return (ticks() - before) * TICK_MS;
}
