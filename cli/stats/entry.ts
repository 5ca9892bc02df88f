/** What a container uses at one moment, computed from the engine's numbers as docker's command line does. */

import type { Row } from "../output/list_format.ts";
import { shortId } from "../output/names.ts";
import { bytesSize, humanSizeShort } from "../output/units.ts";

interface CpuStats {
  readonly cpu_usage?: { readonly total_usage?: number; readonly percpu_usage?: readonly number[] | null };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
}

interface MemoryStats {
  readonly usage?: number;
  readonly limit?: number;
  readonly stats?: Readonly<Record<string, number>> | null;
}

/** What `GET /containers/{id}/stats` sends, as far as it is shown. */
export interface StatsAnswer {
  readonly name?: string;
  readonly id?: string;
  readonly cpu_stats?: CpuStats;
  readonly precpu_stats?: CpuStats;
  readonly memory_stats?: MemoryStats;
  readonly pids_stats?: { readonly current?: number };
  readonly blkio_stats?: {
    readonly io_service_bytes_recursive?:
      | readonly { readonly op?: string; readonly value?: number }[]
      | null;
  };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes?: number; readonly tx_bytes?: number }>>;
}

/** One line of `berth stats`. */
export interface StatsEntry {
  /** As the user, or the list of containers, named it. */
  readonly container: string;
  /** The newest answer; absent until there is one. */
  readonly answer?: StatsAnswer;
  /** There is no answer that still counts: dashes are shown. */
  readonly isStale: boolean;
}

export const STATS_HEADERS = {
  Container: "CONTAINER",
  Name: "NAME",
  ID: "CONTAINER ID",
  CPUPerc: "CPU %",
  MemUsage: "MEM USAGE / LIMIT",
  MemPerc: "MEM %",
  NetIO: "NET I/O",
  BlockIO: "BLOCK I/O",
  PIDs: "PIDS",
};

export const STATS_COLUMNS = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

export function statsRow({ container, answer = {}, isStale }: StatsEntry, short: boolean): Row {
  const { name = "", id = "", networks = {}, pids_stats = {} } = answer;
  const memory = answer.memory_stats ?? {};
  const used = usedMemory(memory);
  const limit = memory.limit ?? 0;
  const known = (text: () => string, otherwise = "--") => () => isStale ? otherwise : text();
  const pair = (a: number, b: number) => `${humanSizeShort(a)} / ${humanSizeShort(b)}`;
  return {
    BlockIO: known(() => pair(blockBytes(answer, "r"), blockBytes(answer, "w"))),
    CPUPerc: known(() => percent(cpuPercent(answer))),
    Container: () => container,
    ID: () => short ? shortId(id) : id,
    MemPerc: known(() => percent(limit === 0 ? 0 : used / limit * 100)),
    MemUsage: known(() => `${bytesSize(used)} / ${bytesSize(limit)}`, "-- / --"),
    Name: () => name.length > 1 ? name.slice(1) : "--",
    NetIO: known(() => {
      const all = Object.values(networks);
      return pair(sum(all.map((one) => one.rx_bytes)), sum(all.map((one) => one.tx_bytes)));
    }),
    PIDs: known(() => String(pids_stats.current ?? 0)),
  };
}

const percent = (value: number): string => `${value.toFixed(2)}%`;

function sum(values: readonly (number | undefined)[]): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0);
}

/** Of one CPU: two that are busy are 200. */
function cpuPercent({ cpu_stats: now = {}, precpu_stats: before = {} }: StatsAnswer): number {
  const used = (now.cpu_usage?.total_usage ?? 0) - (before.cpu_usage?.total_usage ?? 0);
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || (now.cpu_usage?.percpu_usage?.length ?? 0);
  return used > 0 && passed > 0 ? used / passed * cpus * 100 : 0;
}

/** Without the page cache that the kernel gives back first: version 1 and version 2 of cgroups name it differently. */
function usedMemory({ usage = 0, stats }: MemoryStats): number {
  const inactive = [stats?.["total_inactive_file"], stats?.["inactive_file"] ?? 0]
    .find((bytes): bytes is number => bytes !== undefined && bytes < usage);
  return usage - (inactive ?? 0);
}

function blockBytes({ blkio_stats }: StatsAnswer, letter: "r" | "w"): number {
  const entries = blkio_stats?.io_service_bytes_recursive ?? [];
  return sum(entries.filter(({ op }) => op?.charAt(0).toLowerCase() === letter).map(({ value }) => value));
}
