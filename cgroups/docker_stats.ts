/** Docker's statistics (`GET /containers/{id}/stats`) from what was read. Pure. */
import type { CgroupStats } from "./stats.ts";

/** One interface of a container's network namespace. */
export interface InterfaceStats {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** What is measured of a container at one moment. */
export interface Sample {
  /** RFC 3339 with nanoseconds. */
  readonly read: string;
  readonly cgroup: CgroupStats;
  /** Processor time of the whole machine, idle time included, in nanoseconds. */
  readonly systemCpu: number;
  readonly onlineCpus: number;
  /** Bytes of memory of the machine: the limit of a container that has none. */
  readonly machineMemory: number;
  /** undefined: the container has no network of its own. */
  readonly networks: readonly InterfaceStats[] | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/** Docker's moment that never was. */
const ZERO_TIME = "0001-01-01T00:00:00Z";

const MICRO = 1000;

/**
 * One answer of Docker's. The client makes percentages of it: CPU from the difference of two totals, memory from the usage
 * without `inactive_file`.
 *
 * @param before the sample before, for `precpu_stats`; undefined for the first one.
 */
export function dockerStats(
  container: { readonly id: string; readonly name: string },
  now: Sample,
  before: Sample | undefined,
): Json {
  const { memory, pids, io, pressure } = now.cgroup;
  return {
    name: `/${container.name}`,
    id: container.id,
    read: now.read,
    preread: before?.read ?? ZERO_TIME,
    pids_stats: pids === undefined ? {} : {
      current: pids.current,
      // Beyond what JSON's numbers can say, as Docker has it, and left out for that.
      ...(Number.isFinite(pids.limit) ? { limit: pids.limit } : {}),
    },
    blkio_stats: blkioStats(io),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuStats(now),
    precpu_stats: before === undefined ? EMPTY_CPU : cpuStats(before),
    memory_stats: memory === undefined ? {} : {
      usage: memory.usage,
      stats: memory.stat,
      ...((memory.events["oom_kill"] ?? 0) > 0 ? { failcnt: memory.events["oom"] ?? 0 } : {}),
      limit: Math.min(memory.limit, now.machineMemory),
    },
    ...(pressure === undefined ? {} : { pressure_stats: pressure }),
    ...(now.networks === undefined ? {} : {
      networks: Object.fromEntries(now.networks.map((network) => [network.name, networkStats(network)])),
    }),
  };
}

/** Of a container that does not run. */
export function emptyStats(container: { readonly id: string; readonly name: string }): Json {
  return {
    name: `/${container.name}`,
    id: container.id,
    read: ZERO_TIME,
    preread: ZERO_TIME,
    pids_stats: {},
    blkio_stats: blkioStats(undefined),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: EMPTY_CPU,
    precpu_stats: EMPTY_CPU,
    memory_stats: {},
  };
}

const EMPTY_CPU: Json = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

function cpuStats({ cgroup: { cpu = {} }, systemCpu, onlineCpus }: Sample): Json {
  return {
    cpu_usage: {
      total_usage: (cpu["usage_usec"] ?? 0) * MICRO,
      usage_in_kernelmode: (cpu["system_usec"] ?? 0) * MICRO,
      usage_in_usermode: (cpu["user_usec"] ?? 0) * MICRO,
    },
    system_cpu_usage: systemCpu,
    online_cpus: onlineCpus,
    throttling_data: {
      periods: cpu["nr_periods"] ?? 0,
      throttled_periods: cpu["nr_throttled"] ?? 0,
      throttled_time: (cpu["throttled_usec"] ?? 0) * MICRO,
    },
  };
}

function blkioStats(io: CgroupStats["io"]): Json {
  const entries = Object.entries(io ?? {}).flatMap(([device, { rbytes = 0, wbytes = 0 }]) => {
    const [major, minor] = device.split(":").map(Number);
    return [
      { major, minor, op: "read", value: rbytes },
      { major, minor, op: "write", value: wbytes },
    ];
  });
  return {
    io_service_bytes_recursive: entries.length === 0 ? null : entries,
    io_serviced_recursive: null,
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}

function networkStats(network: InterfaceStats): Json {
  return {
    rx_bytes: network.rxBytes,
    rx_packets: network.rxPackets,
    rx_errors: network.rxErrors,
    rx_dropped: network.rxDropped,
    tx_bytes: network.txBytes,
    tx_packets: network.txPackets,
    tx_errors: network.txErrors,
    tx_dropped: network.txDropped,
  };
}

/** USER_HZ: Linux gives times in /proc/stat in this unit on every architecture berth runs on. */
const TICK_NS = 1e9 / 100;

/** Time of all processors together (user, nice, system, idle, iowait, irq, softirq) and their number, from /proc/stat. */
export function systemCpu(stat: string): { total: number; online: number } {
  const [, all = ""] = /^cpu +(.*)$/m.exec(stat) ?? [];
  const total = all.split(" ").slice(0, 7).reduce((sum, ticks) => sum + Number(ticks), 0);
  return { total: total * TICK_NS, online: stat.match(/^cpu\d+ /gm)?.length ?? 0 };
}

/** Interfaces but the loopback, from /proc/PID/net/dev. */
export function parseNetDev(text: string): InterfaceStats[] {
  const interfaces: InterfaceStats[] = [];
  for (const [, name = "", values = ""] of text.matchAll(/^ *([^\s:]+): *(.*)$/gm)) {
    if (name === "lo") continue;
    const n = values.split(/ +/).map(Number);
    interfaces.push({
      name,
      rxBytes: n[0] ?? 0,
      rxPackets: n[1] ?? 0,
      rxErrors: n[2] ?? 0,
      rxDropped: n[3] ?? 0,
      txBytes: n[8] ?? 0,
      txPackets: n[9] ?? 0,
      txErrors: n[10] ?? 0,
      txDropped: n[11] ?? 0,
    });
  }
  return interfaces;
}
