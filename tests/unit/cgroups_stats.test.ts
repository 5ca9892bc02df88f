import { describe, expect, it } from "vitest";
import { dockerStats, emptyStats, parseNetDev, type Sample, systemCpu } from "../../cgroups/docker_stats.ts";
import { flatKeyed, nestedKeyed } from "../../cgroups/control_file.ts";
import { CgroupStatsReader, parseStats } from "../../cgroups/stats.ts";

const FILES: Readonly<Record<string, string>> = {
  "cpu.stat":
    "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 77\n",
  "memory.current": "104857600\n",
  "memory.max": "max\n",
  "memory.stat": "anon 60000000\nfile 40000000\ninactive_file 4857600\nsec_pagetables 5\n",
  "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
  "pids.current": "12\n",
  "pids.max": "max\n",
  "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0 \n",
  "cpu.pressure": "some avg10=1.50 avg60=0.20 avg300=0.00 total=12345\n",
  "memory.pressure":
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
};
const stats = parseStats((file) => FILES[file]);

const sample: Sample = {
  read: "2026-01-01T00:00:01Z",
  cgroup: stats,
  systemCpu: 9e9,
  onlineCpus: 2,
  machineMemory: 2 ** 33,
  networks: undefined,
};

describe("flatKeyed() and nestedKeyed()", () => {
  it("read the kernel's files, cut short or not", () => {
    expect(flatKeyed("a 1\nb max\nc")).toEqual({ a: 1, b: Infinity });
    expect(nestedKeyed("8:0 x=1 y=max\n8:16\n")).toEqual({ "8:0": { x: 1, y: Infinity }, "8:16": {} });
  });
});

describe("parseStats()", () => {
  it("reads all controllers", () => {
    expect(stats.memory).toMatchObject({ usage: 104857600, limit: Infinity });
    expect(stats.pids).toEqual({ current: 12, limit: Infinity });
    expect(stats.io).toEqual({
      "254:0": { rbytes: 4096, wbytes: 8192, rios: 1, wios: 2, dbytes: 0, dios: 0 },
      "8:0": {},
    });
    expect(stats.pressure?.cpu.some).toEqual({ avg10: 1.5, avg60: 0.2, avg300: 0, total: 12345 });
    expect(stats.pressure?.memory.full?.total).toBe(9);
  });

  it("has nothing of a controller that is not there", () => {
    expect(parseStats((file) => file === "cpu.stat" ? "usage_usec 1\n" : undefined)).toEqual({
      cpu: { usage_usec: 1 },
    });
  });
});

describe("dockerStats()", () => {
  const view = dockerStats({ id: "abc", name: "web" }, sample, undefined);

  it("is Docker's, field for field", () => {
    expect(view).toMatchObject({
      name: "/web",
      id: "abc",
      preread: "0001-01-01T00:00:00Z",
      pids_stats: { current: 12 },
      num_procs: 0,
      storage_stats: {},
      cpu_stats: {
        cpu_usage: { total_usage: 5e9, usage_in_kernelmode: 2e9, usage_in_usermode: 3e9 },
        system_cpu_usage: 9e9,
        online_cpus: 2,
        throttling_data: { periods: 10, throttled_periods: 4, throttled_time: 77_000 },
      },
      memory_stats: { usage: 104857600, failcnt: 2, limit: 2 ** 33 },
    });
    expect(view["memory_stats"]).toMatchObject({ stats: { anon: 60000000, inactive_file: 4857600 } });
    expect((view["memory_stats"] as { stats: object }).stats).not.toHaveProperty("sec_pagetables");
    expect((view["blkio_stats"] as Record<string, unknown>)["io_service_bytes_recursive"]).toEqual([
      { major: 254, minor: 0, op: "read", value: 4096 },
      { major: 254, minor: 0, op: "write", value: 8192 },
      { major: 8, minor: 0, op: "read", value: 0 },
      { major: 8, minor: 0, op: "write", value: 0 },
    ]);
  });

  it("gives docker's command line the percentage that it computes", () => {
    const later = {
      ...sample,
      read: "2026-01-01T00:00:02Z",
      systemCpu: 11e9,
      cgroup: { ...stats, cpu: { usage_usec: 5_500_000 } },
    };
    const next = dockerStats({ id: "abc", name: "web" }, later, sample) as {
      cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage: number; online_cpus: number };
      precpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage: number };
    };
    const cpu = next.cpu_stats.cpu_usage.total_usage - next.precpu_stats.cpu_usage.total_usage;
    const system = next.cpu_stats.system_cpu_usage - next.precpu_stats.system_cpu_usage;
    expect(cpu / system * next.cpu_stats.online_cpus * 100).toBe(50);
  });

  it("has no number that JSON cannot carry", () => {
    expect(JSON.stringify(view)).not.toContain('null,"limit');
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
  });

  it("shows networks by interface", () => {
    const dev = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n" +
      "  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n";
    const shown = dockerStats({ id: "a", name: "b" }, { ...sample, networks: parseNetDev(dev) }, undefined);
    expect(shown["networks"]).toEqual({
      eth0: {
        rx_bytes: 10,
        rx_packets: 2,
        rx_errors: 3,
        rx_dropped: 4,
        tx_bytes: 20,
        tx_packets: 5,
        tx_errors: 6,
        tx_dropped: 7,
      },
    });
  });

  it("is empty for a container that does not run", () => {
    expect(emptyStats({ id: "a", name: "b" })).toMatchObject({ id: "a", name: "/b", memory_stats: {} });
  });
});

describe("systemCpu()", () => {
  it("counts the time of all processors in nanoseconds, and the processors", () => {
    const text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n";
    expect(systemCpu(text)).toEqual({ total: 28e7, online: 2 });
    expect(systemCpu(Deno.readTextFileSync("/proc/stat")).online).toBeGreaterThan(0);
  });
});

describe("CgroupStatsReader", () => {
  it("sees what changes in files that stay open, and leaves out what is not there", async () => {
    const dir = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${dir}/memory.current`, "4096\n");
      // Longer than one read.
      const long = Array.from({ length: 2000 }, (_, i) => `key_${i} ${i}`).join("\n") + "\npgfault 7\n";
      await Deno.writeTextFile(`${dir}/memory.stat`, long);
      using reader = new CgroupStatsReader(dir);
      expect(reader.read()?.memory?.usage).toBe(4096);
      expect(reader.read()?.memory?.stat).toEqual({ pgfault: 7 });
      await Deno.writeTextFile(`${dir}/memory.current`, "8192\n");
      expect(reader.read()).toMatchObject({ memory: { usage: 8192 } });
      expect(reader.read()).not.toHaveProperty("cpu");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
});
