import { DEFAULT_REGISTRY_SETTINGS } from "../../image/registry/settings.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CgroupProbe, detectCgroups } from "../../cgroups/detect.ts";
import { kernelVersion, readHostFacts } from "../../engine/host_facts.ts";
import { countNumbers, inBothLists, isNumberList, listHolds } from "../../engine/number_list.ts";
import { infoView, parseOsRelease, versionView } from "../../engine/info.ts";
import { containerProcesses, findProcesses, parseStat, readProcesses } from "../../engine/process_list.ts";
import { cpuTime, parsePsOutput, startText, topView } from "../../engine/top.ts";
import { containerRecord, FACTS } from "../support/records.ts";

function probe(files: Record<string, string>, writable: readonly string[] = []): CgroupProbe {
  return {
    read: (path) => files[path],
    writable: (path) => writable.includes(path),
    exists: (path) => files[path] !== undefined,
  };
}

const V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

describe("detectCgroups()", () => {
  it("has nothing to delegate on version 1", () => {
    const hybrid =
      "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 x rw\n";
    expect(detectCgroups(1000, "/run/user/1000", probe({ "/proc/self/mountinfo": hybrid }))).toMatchObject({
      version: "1",
      driver: "none",
      controllers: [],
    });
  });

  it("sees the mount that covers another", () => {
    const covered = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n" + V2.replace("30 23", "31 30");
    const files = { "/proc/self/mountinfo": covered };
    expect(detectCgroups(1000, "/run/user/1000", probe(files))).toMatchObject({ version: "2" });
  });

  it("finds the user's systemd", () => {
    const service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const files = {
      "/proc/self/mountinfo": V2,
      [`${service}/cgroup.controllers`]: "cpu memory pids\n",
      "/run/user/1000/systemd/private": "",
    };
    expect(detectCgroups(1000, "/run/user/1000", probe(files))).toMatchObject({
      version: "2",
      driver: "systemd",
      controllers: ["cpu", "memory", "pids"],
      path: service,
    });
  });

  it("finds the machine's systemd for root, and a user's by the bus alone", () => {
    const root = {
      "/proc/self/mountinfo": V2,
      "/run/systemd/private": "",
      "/sys/fs/cgroup/cgroup.controllers": "cpu io\n",
    };
    expect(detectCgroups(0, undefined, probe(root))).toMatchObject({
      driver: "systemd",
      controllers: ["cpu", "io"],
      path: "/sys/fs/cgroup",
    });
    const service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const files = {
      "/proc/self/mountinfo": V2,
      [`${service}/cgroup.controllers`]: "\n",
      "/run/user/1000/bus": "",
    };
    // No controller, but a cgroup all the same: for pause, statistics and the end of what is left.
    expect(detectCgroups(1000, "/run/user/1000", probe(files))).toMatchObject({
      driver: "systemd",
      controllers: [],
    });
  });

  it("tries the wanted driver only", () => {
    const service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
    const files = {
      "/proc/self/mountinfo": V2,
      "/proc/self/cgroup": "0::/box/berth.engine\n",
      "/sys/fs/cgroup/box/cgroup.controllers": "pids\n",
      [`${service}/cgroup.controllers`]: "cpu\n",
      "/run/user/1000/systemd/private": "",
    };
    const writable = ["/sys/fs/cgroup/box/cgroup.procs", "/sys/fs/cgroup/box/cgroup.subtree_control"];
    const detect = (wanted: "systemd" | "cgroupfs", runtimeDir?: string) =>
      detectCgroups(1000, runtimeDir, probe(files, writable), wanted);
    // Where an engine before has moved to, its successor finds the directory above.
    expect(detect("cgroupfs", "/run/user/1000")).toMatchObject({
      driver: "cgroupfs",
      path: "/sys/fs/cgroup/box",
    });
    expect(detect("systemd", "/run/user/1000")).toMatchObject({ driver: "systemd", path: service });
    expect(detect("systemd")).toMatchObject({ driver: "none", reason: "systemd does not run for this user" });
  });

  it("finds a cgroup that may be written, and says when it may not", () => {
    const files = {
      "/proc/self/mountinfo": V2,
      "/proc/self/cgroup": "0::/box\n",
      "/sys/fs/cgroup/box/cgroup.controllers": "pids\n",
    };
    const writable = ["/sys/fs/cgroup/box/cgroup.procs", "/sys/fs/cgroup/box/cgroup.subtree_control"];
    expect(detectCgroups(1000, undefined, probe(files, writable))).toMatchObject({
      driver: "cgroupfs",
      controllers: ["pids"],
      path: "/sys/fs/cgroup/box",
    });
    expect(detectCgroups(1000, undefined, probe(files, writable.slice(0, 1)))).toMatchObject({
      version: "2",
      driver: "none",
      reason: "the cgroup /box is not delegated to this user",
    });
  });
});

describe("host facts", () => {
  it("reads this machine", () => {
    const facts = readHostFacts({ uid: 0, idMap: "root" });
    expect(facts.ncpu).toBeGreaterThan(0);
    expect(countNumbers(facts.cpus)).toBe(facts.ncpu);
    expect(isNumberList(facts.memoryNodes)).toBe(true);
    expect(facts.memTotal).toBeGreaterThan(1e8);
    expect(facts.kernel).toMatch(/^\d+\.\d+/);
    expect(facts).toMatchObject({ cgroupControllers: [], swapLimit: false });
  });

  it("counts CPUs and reads versions", () => {
    expect(countNumbers("0-3,8\n")).toBe(5);
    expect(countNumbers("0")).toBe(1);
    expect(countNumbers("")).toBe(0);
    // Places for 128, of which 4 are there; and a process that may use some of these.
    expect(inBothLists("0-127", "0-3")).toBe("0-3");
    expect(inBothLists("0,2-3,9", "1-2,8-9\n")).toBe("2,9");
    expect(inBothLists("4-7", "0-3")).toBe("");
    expect([listHolds("0-3,8", "1-2,8"), listHolds("0-3,8", "3-8"), listHolds("0", "")])
      .toEqual([true, false, true]);
    expect(["0-3,8", "3-1", "", "a", "1,"].map(isNumberList)).toEqual([true, false, false, false, false]);
    expect(kernelVersion("6.18.1-generic")).toEqual([6, 18]);
  });

  it("parseOsRelease() removes quotes", () => {
    expect(parseOsRelease("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nX='a b'\n")).toEqual({
      PRETTY_NAME: "Debian GNU/Linux 12 (bookworm)",
      ID: "debian",
      X: "a b",
    });
  });
});

describe("infoView()", () => {
  const view = infoView({
    facts: FACTS,
    id: "engine-1",
    driver: { name: "overlay", reason: "works", status: [["Backing Filesystem", "ext4"]] },
    dataRoot: "/data",
    containers: { running: 1, paused: 0, stopped: 2 },
    images: 3,
    debug: false,
    logDriver: "json-file",
    eventListeners: 0,
    registry: {
      ...DEFAULT_REGISTRY_SETTINGS,
      mirrors: ["https://m/"],
      insecure: ["10.0.0.0/8", "plain:5000"],
    },
    warnings: ["only your own id is mapped"],
    networks: { problem: undefined, hello: undefined },
  });

  it("has what clients look for", () => {
    expect(view).toMatchObject({
      ID: "engine-1",
      Containers: 3,
      ContainersRunning: 1,
      ContainersStopped: 2,
      Images: 3,
      Driver: "overlay",
      DriverStatus: [["Backing Filesystem", "ext4"], ["Chosen because", "works"]],
      CgroupDriver: "none",
      CgroupVersion: "2",
      MemoryLimit: false,
      OSType: "linux",
      Architecture: "x86_64",
      NCPU: 2,
      IndexServerAddress: "https://index.docker.io/v1/",
      RegistryConfig: {
        InsecureRegistryCIDRs: ["::1/128", "127.0.0.0/8", "10.0.0.0/8"],
        IndexConfigs: {
          "docker.io": { Name: "docker.io", Mirrors: ["https://m/"], Secure: true, Official: true },
          "plain:5000": { Name: "plain:5000", Mirrors: [], Secure: false, Official: false },
        },
        Mirrors: ["https://m/"],
      },
      SecurityOptions: ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
      DefaultRuntime: "berth",
      Swarm: { LocalNodeState: "inactive" },
      DockerRootDir: "/data",
    });
    expect(view["Warnings"]).toContain("WARNING: only your own id is mapped");
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
  });

  it("versionView() has Docker's fields", () => {
    expect(versionView(FACTS)).toMatchObject({
      Platform: { Name: "berth" },
      ApiVersion: "1.51",
      MinAPIVersion: "1.24",
      Os: "linux",
      Arch: "amd64",
      KernelVersion: FACTS.kernel,
      Components: [{ Name: "Engine" }, { Name: "Deno" }],
    });
  });
});

describe("top", () => {
  let child: Deno.ChildProcess;
  beforeAll(async () => {
    // A PID namespace with a shell that has a child, as a container is.
    child = new Deno.Command("unshare", {
      args: [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "sleep 300 & echo; wait",
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    reader.releaseLock();
  });
  afterAll(async () => {
    child.kill("SIGKILL");
    await child.stdout.cancel();
    await child.status;
  });

  /** Pid of the shell, the first process of the namespace. */
  const shell = () => readProcesses().find(({ ppid }) => ppid === child.pid)?.pid ?? 0;
  const running = () => containerRecord({ state: { status: "running", pid: shell(), hasBeenStarted: true } });

  it("parseStat() copes with any name", () => {
    const text = "7 (a) b (c) S 3 7 7 34817 7 0 0 0 0 0 11 22 0 0 20 0 1 0 999 0 0";
    expect(parseStat(text)).toEqual({
      pid: 7,
      ppid: 3,
      tty: 34817,
      cpuTicks: 33,
      startTicks: 999,
      name: "a) b (c",
      state: "S",
    });
  });

  it("containerProcesses() finds what is below the first process", () => {
    const names = containerProcesses(shell()).map(({ name }) => name);
    expect(names).toEqual(["sh", "sleep"]);
    expect(findProcesses(shell())).toEqual(containerProcesses(shell()));
    const { startTicks = 0 } = readProcesses().find(({ pid }) => pid === child.pid) ?? {};
    const shim = { pid: child.pid, startTime: String(startTicks) };
    expect(findProcesses(1 << 30, shim).map(({ name }) => name)).toEqual(["sh", "sleep"]);
    expect(findProcesses(1 << 30, { ...shim, startTime: "1" })).toEqual([]);
    expect(findProcesses(1, null, [shell()]).map(({ name }) => name)).toEqual(["sh"]);
  });

  it("containerProcesses() finds what is below the shim, but not the shim or who came after it", () => {
    const process = (pid: number, ppid: number) => ({
      pid,
      ppid,
      tty: 0,
      cpuTicks: 0,
      startTicks: pid * 10,
      name: `p${pid}`,
      state: "S",
    });
    const all = [process(9, 8), process(8, 5), process(7, 6), process(6, 5), process(5, 1), process(4, 1)];
    const pids = (shim: { pid: number; startTime: string } | null) =>
      containerProcesses(6, shim, all).map(({ pid }) => pid);
    expect(pids({ pid: 5, startTime: "50" })).toEqual([6, 7, 8, 9]);
    expect(pids({ pid: 5, startTime: "51" })).toEqual([6, 7]);
    expect(pids(null)).toEqual([6, 7]);
  });

  it("shows ps's columns", async () => {
    const view = await topView(running(), undefined);
    expect(view.Titles).toEqual(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    expect(view.Processes.map((row) => row.at(-1))).toEqual(["sh -c sleep 300 & echo; wait", "sleep 300"]);
    const own = await topView(running(), "-o pid,args");
    expect(own.Titles).toEqual(["PID", "COMMAND"]);
  });

  it("says by itself what ps -ef says", async () => {
    const ps = await new Deno.Command("ps", { args: ["-ef"], env: { LC_ALL: "C", COLUMNS: "100000" } })
      .output();
    const pids = new Set(findProcesses(shell()).map(({ pid }) => pid));
    // the share of the processor changes meanwhile
    const steady = ({ Processes }: { Processes: string[][] }) =>
      Processes.map((row) => row.filter((_, column) => column !== 3));
    const theirs = parsePsOutput(new TextDecoder().decode(ps.stdout), pids);
    const own = await topView(running(), undefined);
    expect(own.Titles).toEqual(theirs.Titles);
    expect(steady(own)).toEqual(steady(theirs));
    await expect(topView(running(), "aux", "/nonexistent/ps")).rejects.toThrow(
      "ps: executable file not found",
    );
  });

  it("startText() and cpuTime() are as long as they have to be", () => {
    const now = new Date(2026, 4, 10, 12, 0);
    expect(startText(new Date(2026, 4, 10, 0, 5), now)).toBe("00:05");
    expect(startText(new Date(2026, 4, 9, 23, 0), now)).toBe("May09");
    expect(startText(new Date(2025, 11, 31), now)).toBe("2025");
    expect([59, 3_600, 90_061].map(cpuTime)).toEqual(["00:00:59", "01:00:00", "1-01:01:01"]);
  });

  it("refuses what it cannot show", async () => {
    await expect(topView(containerRecord(), undefined)).rejects.toMatchObject({ kind: "conflict" });
    await expect(topView(running(), "-o comm")).rejects.toThrow("Couldn't find PID field in ps output");
    await expect(topView(running(), "-o args=PID,pid")).rejects.toThrow(
      'specifying "args=PID,pid" is not allowed',
    );
    await expect(topView(running(), "-o pid,args=PID")).rejects.toThrow(
      'specifying "pid,args=PID" is not allowed',
    );
    await expect(topView(running(), "--nonsense")).rejects.toThrow(/^ps: error: unknown gnu long option/);
  });

  it("parsePsOutput() keeps the last column whole and threads with their process", () => {
    const output = "PID TTY CMD\n  1 ?   a b  c\n  - -   -\n  2 ?   x\n  - -   -\n";
    expect(parsePsOutput(output, new Set([1]))).toEqual({
      Titles: ["PID", "TTY", "CMD"],
      Processes: [["1", "?", "a b c"], ["-", "-", "-"]],
    });
  });
});
