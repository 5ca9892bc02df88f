/** `GET /containers/{id}/stats`: one clock for all streams, one reading of a container for all who watch it. */
import { dockerStats, emptyStats, parseNetDev, type Sample, systemCpu } from "../cgroups/docker_stats.ts";
import { type CgroupStats, CgroupStatsReader } from "../cgroups/stats.ts";
import { nowRfc3339 } from "./clock.ts";
import type { Container } from "./container.ts";
import { cgroupOf } from "./container_cgroup.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import type { StatsView } from "./types.ts";
import { findProcesses } from "./process_list.ts";

const INTERVAL_MS = 1000;

interface Watched {
  readonly container: Container;
  readonly reader: SampleReader;
  readonly listeners: Set<(view: StatsView) => void>;
  last: Sample | undefined;
}

/** What is the same for all containers at one moment. */
interface Machine {
  readonly systemCpu: number;
  readonly onlineCpus: number;
  readonly machineMemory: number;
}

export class StatsCollector {
  readonly #ctx: Pick<EngineContext, "facts">;
  readonly #watched = new Map<string, Watched>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(ctx: Pick<EngineContext, "facts">) {
    this.#ctx = ctx;
  }

  /**
   * One view, with the moment a second ago beside it for the client's percentages.
   *
   * @param oneShot only the present moment, at once.
   */
  async once(container: Container, oneShot: boolean, signal: AbortSignal): Promise<StatsView> {
    using reader = new SampleReader();
    const { record } = container;
    const first = reader.read(record, this.#machine());
    if (first === undefined) return emptyStats(record);
    if (oneShot) return dockerStats(record, first, undefined);
    await pause(INTERVAL_MS, signal);
    const second = reader.read(container.record, this.#machine());
    return second === undefined ? emptyStats(record) : dockerStats(record, second, first);
  }

  /** A view each second until the client goes or the container is removed. */
  async *stream(container: Container, signal: AbortSignal): AsyncGenerator<StatsView> {
    const queue: StatsView[] = [];
    let wake = () => {};
    const stop = this.#watch(container, (view) => {
      // A client that does not read gets the newest.
      queue.length = 0;
      queue.push(view);
      wake();
    });
    const changed = container.watch(() => wake());
    const aborted = () => wake();
    signal.addEventListener("abort", aborted);
    try {
      while (!signal.aborted && !container.removed) {
        const view = queue.shift();
        if (view !== undefined) yield view;
        else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      stop();
      changed();
      signal.removeEventListener("abort", aborted);
    }
  }

  #watch(container: Container, listener: (view: StatsView) => void): () => void {
    let watched = this.#watched.get(container.id);
    if (watched === undefined) {
      watched = { container, reader: new SampleReader(), listeners: new Set(), last: undefined };
      this.#watched.set(container.id, watched);
    }
    const { listeners, reader } = watched;
    listeners.add(listener);
    this.#timer ??= setInterval(() => this.#round(), INTERVAL_MS);
    const stop = () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      reader[Symbol.dispose]();
      this.#watched.delete(container.id);
      if (this.#watched.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
    try {
      this.#publish(watched, this.#machine());
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  #round(): void {
    try {
      const machine = this.#machine();
      for (const watched of this.#watched.values()) this.#publish(watched, machine);
    } catch {
      // No descriptors are left, most likely. Nobody else would catch it: it would be the engine's end. There is another second.
    }
  }

  #publish(watched: Watched, machine: Machine): void {
    const { record } = watched.container;
    const sample = watched.reader.read(record, machine);
    const view = sample === undefined ? emptyStats(record) : dockerStats(record, sample, watched.last);
    watched.last = sample;
    for (const listener of watched.listeners) listener(view);
  }

  #machine(): Machine {
    const { total, online } = systemCpu(Deno.readTextFileSync("/proc/stat"));
    return {
      systemCpu: total,
      onlineCpus: online,
      machineMemory: this.#ctx.facts.memTotal,
    };
  }
}

/** Reads one container again and again, through its starts and ends. */
class SampleReader implements Disposable {
  #path = "";
  #cgroup: CgroupStatsReader | undefined;

  /** undefined when it does not run. */
  read(record: ContainerRecord, machine: Machine): Sample | undefined {
    const { state } = record;
    if (state.status !== "running" || state.pid === 0) return undefined;
    const cgroup = this.#readCgroup(record);
    return {
      ...machine,
      read: nowRfc3339(),
      cgroup: cgroup ?? processStats(record),
      networks: record.hostConfig.NetworkMode === "host" ? undefined : interfaces(state.pid),
    };
  }

  #readCgroup(record: ContainerRecord): CgroupStats | undefined {
    const path = cgroupOf(record)?.path;
    if (path === undefined) return undefined;
    let stats = path === this.#path ? this.#cgroup?.read() : undefined;
    if (stats === undefined) {
      // Another run has another cgroup, be it at the same place.
      this[Symbol.dispose]();
      this.#path = path;
      this.#cgroup = new CgroupStatsReader(path);
      stats = this.#cgroup.read();
    }
    return stats;
  }

  [Symbol.dispose](): void {
    this.#cgroup?.[Symbol.dispose]();
    this.#cgroup = undefined;
  }
}

function interfaces(pid: number): Sample["networks"] {
  try {
    return parseNetDev(Deno.readTextFileSync(`/proc/${pid}/net/dev`));
  } catch {
    return undefined;
  }
}

const TICK_US = 1e6 / 100;

/** Without a cgroup: the sum over the processes that live. Processor time of those that have ended counts once they were waited for. */
function processStats(record: ContainerRecord): CgroupStats {
  const processes = findProcesses(record.state.pid, record.shim);
  let ticks = 0;
  let bytes = 0;
  for (const { pid } of processes) {
    try {
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      // From the third field on: utime, stime and those of children that were waited for are 14 to 17.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      for (const field of fields.slice(11, 15)) ticks += Number(field);
      const status = Deno.readTextFileSync(`/proc/${pid}/status`);
      bytes += Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
      bytes += Number(/^RssShmem:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
    } catch {
      // It has ended meanwhile.
    }
  }
  return {
    cpu: { usage_usec: ticks * TICK_US },
    memory: { usage: bytes, limit: Infinity, stat: {}, events: {} },
    pids: { current: processes.length, limit: Infinity },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
