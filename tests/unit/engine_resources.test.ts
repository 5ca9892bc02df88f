import { describe, expect, it } from "vitest";
import { parsePsOutput } from "../../engine/top.ts";
import { Cgroup } from "../../cgroups/cgroup.ts";
import { parentPath } from "../../cgroups/cgroupfs.ts";
import type { CgroupManager, CgroupRequest } from "../../cgroups/manager.ts";
import { scopeName, sliceName } from "../../cgroups/systemd.ts";
import { SysError } from "../../ffi/errno.ts";
import { wantedDriver } from "../../engine/cgroup_options.ts";
import { acquireCgroup, cgroupOf, findCgroup, limitsOf } from "../../engine/container_cgroup.ts";
import { Container } from "../../engine/container.ts";
import { ContainerTable } from "../../engine/container_table.ts";
import type { EngineContext } from "../../engine/context.ts";
import { EventLog } from "../../engine/events.ts";
import { createLogger } from "../../engine/log.ts";
import { pauseContainer, unpauseContainer } from "../../engine/pause.ts";
import { containerProcesses } from "../../engine/process_list.ts";
import { Store } from "../../engine/store.ts";
import type { HostConfig } from "../../engine/types.ts";
import { updateContainer } from "../../engine/update.ts";
import { validateResources } from "../../engine/validate_resources.ts";
import { inspectView, listView } from "../../engine/views.ts";
import { containerRecord, FACTS } from "../support/records.ts";

const MB = 1024 * 1024;

/** A driver on paper that writes down what it is asked. */
class PaperCgroups implements CgroupManager {
  readonly driver = "cgroupfs";
  readonly controllers = ["cpu", "cpuset", "io", "memory", "pids"];
  readonly swap = true;
  readonly devices = false;
  readonly asked: unknown[] = [];
  fails: Error | undefined;

  pathFor = ({ id }: { id: string }) => `/nowhere/${id}`;
  create(request: CgroupRequest) {
    this.asked.push(request);
    if (this.fails) return Promise.reject(this.fails);
    return Promise.resolve({ cgroup: new Cgroup(this.pathFor(request)), warnings: [] });
  }
  update(_id: string, _cgroup: Cgroup, limits: unknown) {
    this.asked.push(limits);
    return this.fails ? Promise.reject(this.fails) : Promise.resolve([]);
  }
  remove = () => Promise.resolve();
  close() {}
}

/** An engine with one container, running or not. */
function engineWith(parts: NonNullable<Parameters<typeof containerRecord>[0]> = {}, cgroups?: PaperCgroups) {
  const store = new Store(":memory:");
  const containers = new ContainerTable(store);
  // As written down by an engine that could limit it.
  const { hostConfig = {}, ...rest } = parts;
  const record = containerRecord(rest);
  const limited = { ...record, hostConfig: { ...record.hostConfig, ...hostConfig } };
  const container = containers.add(limited, "process");
  const facts = cgroups === undefined
    ? FACTS
    : { ...FACTS, cgroupControllers: cgroups.controllers, swapLimit: true };
  const ctx = { containers, cgroups, facts, events: new EventLog(), log: createLogger(() => "fatal") };
  return { ctx: ctx as unknown as EngineContext, container };
}

const RUNNING = { status: "running", pid: 4_000_000, startedAt: "2026-01-01T00:00:00Z" } as const;

describe("limitsOf()", () => {
  it("turns Docker's fields into limits", () => {
    expect(limitsOf({ Memory: 64 * MB, MemorySwap: -1, NanoCpus: 1.5e9, PidsLimit: 7, CpusetCpus: "0" }))
      .toMatchObject({
        memory: 64 * MB,
        memorySwap: -1,
        cpuQuota: 150_000,
        cpuPeriod: 100_000,
        pids: 7,
        cpusetCpus: "0",
      });
    expect(limitsOf({})).not.toHaveProperty("pids");
    expect(limitsOf({ PidsLimit: null })).not.toHaveProperty("pids");
    // What was limited before is unlimited then.
    expect(limitsOf({ PidsLimit: 0 }).pids).toBe(0);
  });

  it("takes raw files from annotations", () => {
    const Annotations = { "berth.cgroup.memory.high": "1G", other: "x" };
    expect(limitsOf({ Annotations }).unified).toEqual({ "memory.high": "1G" });
  });

  it("refuses a throttle of what is no block device", () => {
    const of = (Path: string) => () => limitsOf({ BlkioDeviceReadBps: [{ Path, Rate: 1 }] });
    expect(of("/dev/null")).toThrow("/dev/null: not a block device");
    expect(of("/nowhere")).toThrow("/nowhere");
  });
});

describe("validateResources()", () => {
  it("tells that devices are not filtered", () => {
    const device = (CgroupPermissions: string) => ({ PathOnHost: "/dev/x", CgroupPermissions });
    const warnings = (hostConfig: HostConfig) => validateResources(hostConfig, FACTS).warnings;
    expect(warnings({ Devices: [device("rwm"), device("")] })).toEqual([]);
    expect(warnings({ Devices: [device("r")] })).toEqual([
      "Your kernel does not support device permissions in a user namespace. /dev/x may be used as its file mode says.",
    ]);
    expect(warnings({ DeviceCgroupRules: ["c 1:3 r"] })).toHaveLength(1);
    const filtered = { ...FACTS, deviceFilter: true };
    expect(validateResources({ Devices: [device("r")], DeviceCgroupRules: ["c 1:3 r"] }, filtered).warnings)
      .toEqual([]);
  });

  it("takes the CPUs and memory nodes that there are, wherever they begin", () => {
    const facts = { ...FACTS, ncpu: 3, cpus: "4-5,9", memoryNodes: "1", cgroupControllers: ["cpuset"] };
    const check = (CpusetCpus: string, CpusetMems = "") => () =>
      validateResources({ CpusetCpus, CpusetMems }, facts).resources;
    expect(check("5,9", "1")()).toMatchObject({ CpusetCpus: "5,9", CpusetMems: "1" });
    for (const cpus of ["0", "3-4", "5-9"]) {
      expect(check(cpus)).toThrow(`Requested CPUs are not available - requested ${cpus}, available: 4-5,9`);
    }
    // So many numbers would not fit into memory.
    expect(check("", "1-4294967295")).toThrow(
      "Requested memory nodes are not available - requested 1-4294967295, available: 1",
    );
    expect(check("5-4")).toThrow("Invalid value 5-4 for cpuset cpus");
  });

  it("warns of each raw file whose controller is not there", () => {
    const keys = ["hugetlb.2MB.max", "memory.high", "rdma.max", "cgroup.max.depth", "io.pressure"];
    const Annotations = Object.fromEntries(keys.map((key) => [`berth.cgroup.${key}`, "1"]));
    const facts = { ...FACTS, cgroupControllers: ["memory"] };
    expect(validateResources({ Annotations }, facts).warnings).toEqual([
      "Your kernel does not support the cgroup controller hugetlb or it is not delegated. hugetlb.2MB.max discarded.",
      "Your kernel does not support the cgroup controller rdma or it is not delegated. rdma.max discarded.",
    ]);
  });
});

describe("acquireCgroup()", () => {
  it("asks for the process, the parent and the limits", async () => {
    const cgroups = new PaperCgroups();
    const { ctx, container } = engineWith({ hostConfig: { Memory: 8 * MB, CgroupParent: "/x" } }, cgroups);
    expect(await acquireCgroup(ctx, container, 42)).toBe(`/nowhere/${container.id}`);
    expect(cgroups.asked).toMatchObject([{ pid: 42, parent: "/x", limits: { memory: 8 * MB } }]);
  });

  it("goes without when systemd does not answer and nothing is limited", async () => {
    const cgroups = new PaperCgroups();
    cgroups.fails = new Error("no answer");
    const { ctx, container } = engineWith({}, cgroups);
    expect(await acquireCgroup(ctx, container, 42)).toBeUndefined();
  });

  it("fails when a limit cannot be kept, and when the kernel refuses a value", async () => {
    const cgroups = new PaperCgroups();
    cgroups.fails = new Error("no answer");
    const { ctx, container } = engineWith({ hostConfig: { PidsLimit: 5, CpuShares: 5 } }, cgroups);
    await expect(acquireCgroup(ctx, container, 42)).rejects.toThrow("cannot limit the container: no answer");
    cgroups.fails = new SysError("write", 22, "/x/cpuset.mems");
    await expect(acquireCgroup(ctx, container, 42)).rejects.toMatchObject({
      kind: "invalid",
      message: "failed to write: write /x/cpuset.mems: invalid argument",
    });
  });

  it("does nothing without delegation", async () => {
    const { ctx, container } = engineWith({ hostConfig: { PidsLimit: 5 } });
    expect(await acquireCgroup(ctx, container, 42)).toBeUndefined();
  });
});

describe("findCgroup()", () => {
  it("answers nothing for a process that is elsewhere or gone", () => {
    expect(findCgroup("ab".repeat(32), Deno.pid)).toBe("");
    expect(findCgroup("ab".repeat(32), 4_000_000)).toBe("");
  });
});

describe("update", () => {
  const update = async (own: HostConfig, wanted: HostConfig) => {
    const cgroups = new PaperCgroups();
    const state = { ...RUNNING, cgroupPath: "/nowhere/x" };
    const { ctx, container } = engineWith({ hostConfig: own, state }, cgroups);
    const answer = await updateContainer(ctx, container, wanted);
    return { answer, hostConfig: container.record.hostConfig, asked: cgroups.asked };
  };

  it("changes what is said and leaves the rest", async () => {
    const own = { Memory: 64 * MB, MemorySwap: 128 * MB, CpuShares: 7 };
    const { answer, hostConfig, asked } = await update(own, { PidsLimit: 9, CpuShares: 0, Memory: 32 * MB });
    expect(answer).toEqual({ Warnings: [] });
    expect(hostConfig).toMatchObject({ Memory: 32 * MB, MemorySwap: 128 * MB, CpuShares: 7, PidsLimit: 9 });
    expect(asked).toMatchObject([{ memory: 32 * MB, memorySwap: 128 * MB, cpuShares: 7, pids: 9 }]);
  });

  it("refuses what contradicts the rest, in Docker's words", async () => {
    await expect(update({ NanoCpus: 1e9 }, { CpuQuota: 5000 })).rejects.toThrow(
      "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
    );
    await expect(update({ CpuPeriod: 5000 }, { NanoCpus: 1e9 })).rejects.toThrow(
      "Nano CPUs cannot be updated as CPU Period has already been set",
    );
    await expect(update({ Memory: 8 * MB, MemorySwap: 16 * MB }, { Memory: 32 * MB })).rejects.toThrow(
      "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    );
    await expect(update({ AutoRemove: true }, { RestartPolicy: { Name: "always" } })).rejects.toThrow(
      "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
  });

  it("changes the restart policy of what does not run", async () => {
    const { ctx, container } = engineWith();
    await updateContainer(ctx, container, { RestartPolicy: { Name: "always", MaximumRetryCount: 0 } });
    expect(container.record.hostConfig.RestartPolicy).toEqual({ Name: "always", MaximumRetryCount: 0 });
  });

  it("leaves the record alone when the kernel refuses", async () => {
    const cgroups = new PaperCgroups();
    const state = { ...RUNNING, cgroupPath: "/nowhere/x" };
    const { ctx, container } = engineWith({ state, hostConfig: { CpuShares: 7 } }, cgroups);
    cgroups.fails = new SysError("write", 34, "/x/cpuset.mems");
    await expect(updateContainer(ctx, container, { CpusetMems: "0", CpuShares: 8 })).rejects.toMatchObject({
      kind: "conflict",
    });
    expect(container.record.hostConfig.CpuShares).toBe(7);
  });
});

describe("pause", () => {
  it("says why it cannot, in Docker's words", async () => {
    const stopped = engineWith();
    await expect(pauseContainer(stopped.ctx, stopped.container)).rejects.toThrow(/is not running/);
    await expect(unpauseContainer(stopped.ctx, stopped.container)).rejects.toThrow(/is not paused/);
    const paused = engineWith({ state: { ...RUNNING, paused: true } });
    await expect(pauseContainer(paused.ctx, paused.container)).rejects.toThrow(/is already paused/);
    const without = engineWith({ state: RUNNING });
    await expect(pauseContainer(without.ctx, without.container)).rejects.toMatchObject({
      kind: "not-implemented",
      hint: expect.stringContaining("Delegate=cpu cpuset io memory pids"),
    });
  });

  it("shows in inspect and ps", () => {
    const record = containerRecord({ state: { ...RUNNING, paused: true } });
    expect(inspectView(record)["State"]).toMatchObject({ Status: "paused", Paused: true, Running: true });
    const now = Date.parse("2026-01-01T00:05:00Z");
    expect(listView(record, { now })).toMatchObject({ State: "paused", Status: "Up 5 minutes (Paused)" });
  });
});

describe("names of cgroups", () => {
  it("come from the id and the parent", () => {
    expect(scopeName("abc")).toBe("berth-abc.scope");
    expect([sliceName("", 1000), sliceName("", 0), sliceName("a-b.slice", 0)]).toEqual([
      "user.slice",
      "system.slice",
      "a-b.slice",
    ]);
    expect(() => sliceName("/a", 0)).toThrow('should be a valid slice named as "xxx.slice"');
    expect([parentPath(""), parentPath("/a//b/")]).toEqual(["berth", "a/b"]);
    for (const bad of ["..", "a/../b", "/./x", "berth.engine"]) expect(() => parentPath(bad)).toThrow();
  });

  it("lead to no cgroup where there is none", () => {
    expect(cgroupOf(containerRecord())).toBeUndefined();
    expect(new Container(containerRecord({ state: { cgroupPath: "/x" } })).record.state.cgroupPath).toBe(
      "/x",
    );
  });
});

describe("wantedDriver()", () => {
  it("reads dockerd's option and berth's own", () => {
    expect(wantedDriver(undefined, [])).toBeUndefined();
    expect(wantedDriver(undefined, ["native.cgroupdriver=cgroupfs"])).toBe("cgroupfs");
    expect(wantedDriver("systemd", ["native.cgroupdriver=cgroupfs"])).toBe("systemd");
    expect(() => wantedDriver("docker", [])).toThrow("invalid cgroup driver: docker");
    expect(() => wantedDriver(undefined, ["x=y"])).toThrow("invalid exec-opt: x=y");
  });
});

describe("containerProcesses()", () => {
  const process = (pid: number, ppid: number) => ({
    pid,
    ppid,
    tty: 0,
    cpuTicks: 0,
    startTicks: 1,
    name: "x",
    state: "S",
  });
  const all = [process(1, 0), process(10, 1), process(11, 10), process(20, 1)];

  it("believes the cgroup where there is one", () => {
    expect(containerProcesses(10, null, all, [20, 11]).map(({ pid }) => pid)).toEqual([11, 20]);
    expect(containerProcesses(10, null, all, []).map(({ pid }) => pid)).toEqual([10, 11]);
    expect(parsePsOutput("PID CMD\n20 a b\n", new Set([20])).Processes).toEqual([["20", "a b"]]);
  });
});
