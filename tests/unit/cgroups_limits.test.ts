import { describe, expect, it } from "vitest";
import {
  type CgroupLimits,
  cgroupWrites,
  cpuMask,
  cpuWeight,
  INFINITY,
  ioWeight,
  unitProperties,
} from "../../cgroups/limits.ts";

const MB = 1024 * 1024;

const written = (limits: CgroupLimits) => cgroupWrites(limits).map(({ file, value }) => `${file} ${value}`);
const property = (limits: CgroupLimits, name: string, version = 252) =>
  unitProperties(limits, version).find(([n]) => n === name)?.[2];

describe("cpuWeight()", () => {
  it("goes through the smallest, the normal and the largest value, as in runc", () => {
    expect([0, 1, 2, 1024, 262_144, 1e9].map(cpuWeight)).toEqual([1, 1, 1, 100, 10_000, 10_000]);
  });

  it("is runc's in between", () => {
    expect([10, 100, 2000].map(cpuWeight)).toEqual([4, 17, 170]);
  });
});

describe("ioWeight()", () => {
  it("maps Docker's range to the kernel's", () => {
    expect([10, 500, 1000].map(ioWeight)).toEqual([1, 4950, 10_000]);
  });
});

describe("cgroupWrites()", () => {
  it("writes nothing when nothing is asked", () => {
    expect(written({})).toEqual([]);
    expect(written({ memory: 0, cpuShares: 0, cpuQuota: 0, cpusetCpus: "", blkioWeight: 0 })).toEqual([]);
  });

  it("takes memory out of Docker's sum of memory and swap", () => {
    expect(written({ memory: 64 * MB, memorySwap: 96 * MB })).toEqual([
      `memory.swap.max ${32 * MB}`,
      `memory.max ${64 * MB}`,
    ]);
    expect(written({ memory: 64 * MB, memorySwap: 64 * MB })).toContain("memory.swap.max 0");
    expect(written({ memory: 64 * MB, memorySwap: -1 })).toContain("memory.swap.max max");
    expect(written({ memory: -1, memorySwap: -1 })).toEqual(["memory.swap.max max", "memory.max max"]);
  });

  it("makes one value of quota and period", () => {
    expect(written({ cpuQuota: 50_000 })).toEqual(["cpu.max 50000 100000"]);
    expect(written({ cpuPeriod: 20_000 })).toEqual(["cpu.max max 20000"]);
    expect(written({ cpuQuota: -1 })).toEqual(["cpu.max max 100000"]);
  });

  it("takes 0 and -1 for no limit of processes", () => {
    expect(written({ pids: 5 })).toEqual(["pids.max 5"]);
    expect(written({ pids: 0 })).toEqual(["pids.max max"]);
    expect(written({ pids: -1 })).toEqual(["pids.max max"]);
  });

  it("throttles devices one by one, and writes raw keys last", () => {
    const limits = {
      unified: { "memory.high": "1G" },
      readBps: [{ device: "8:0", value: 1024 }],
      writeIops: [{ device: "8:16", value: 0 }],
    };
    expect(written(limits)).toEqual(["io.max 8:0 rbps=1024", "io.max 8:16 wiops=max", "memory.high 1G"]);
  });

  it("has another file for the weight where the scheduler is not BFQ", () => {
    const [weight] = cgroupWrites({ blkioWeight: 1000 });
    expect(weight).toMatchObject({ file: "io.bfq.weight", value: "1000" });
    expect(weight?.otherwise).toMatchObject({ file: "io.weight", value: "default 10000" });
  });
});

describe("unitProperties()", () => {
  it("always says how many tasks: systemd has a limit of its own", () => {
    expect(property({}, "TasksMax")).toBe(INFINITY);
    expect(property({ pids: 7 }, "TasksMax")).toBe(7n);
  });

  it("rounds the quota up to systemd's hundredths", () => {
    expect(property({ cpuQuota: 50_000 }, "CPUQuotaPerSecUSec")).toBe(500_000n);
    expect(property({ cpuQuota: 12_345 }, "CPUQuotaPerSecUSec")).toBe(130_000n);
    expect(property({ cpuQuota: -1 }, "CPUQuotaPerSecUSec")).toBe(INFINITY);
  });

  it("leaves out what an older systemd does not have", () => {
    const limits = { cpuQuota: 1000, cpuPeriod: 10_000, cpusetCpus: "0-1" };
    expect(property(limits, "AllowedCPUs", 244)).toEqual(new Uint8Array([3]));
    expect(property(limits, "AllowedCPUs", 243)).toBeUndefined();
    expect(property(limits, "CPUQuotaPeriodUSec", 242)).toBe(10_000n);
    expect(property(limits, "CPUQuotaPeriodUSec", 241)).toBeUndefined();
  });
});

describe("cpuMask()", () => {
  it("has the lowest CPU first", () => {
    expect([...cpuMask("0-2,9")]).toEqual([0b111, 0b10]);
    expect([...cpuMask("15")]).toEqual([0, 0x80]);
  });
});
