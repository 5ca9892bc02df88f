/**
 * The engine's limits, statistics and freezer, in the virtual machine. `engine.js systemd|cgroupfs`. What processor time, forks and
 * disks come to when they are limited is in command_lines.ts.
 */
import { assert, check, equal, eventually, finish, settled, within } from "./checks.ts";
import { Engine, type Json } from "./engine_support.ts";
import { shownStats } from "./shown_stats.ts";
import { exists } from "../../base/exists.ts";

const MB = 1024 * 1024;
const [driver = "systemd"] = Deno.args;
const named = (name: string) => `${driver} engine: ${name}`;
/** What does not depend on the driver is tried with one of them: an engine's containers take a second each here. */
const once = (name: string, body: () => Promise<void>) =>
  driver === "systemd" ? check(named(name), body) : Promise.resolve();
const cgroupRoot = "/sys/fs/cgroup";

// Shims that come back spare the burst below the time in which Deno starts here.
const engine = await Engine.start(["--cgroup-driver", driver, "--shim-pool", "4"]);

/** Runs a shell script for as long as `use` takes. */
async function running(script: string, host: Json, use: (id: string) => Promise<void>): Promise<void> {
  const id = await engine.run(script, host);
  try {
    await use(id);
  } finally {
    await engine.remove(id);
  }
}

const usage = async (id: string) =>
  Number(/^usage_usec (\d+)/m.exec(await engine.value(id, "cpu.stat"))?.[1]);
const BUSY = "while :; do :; done";

await check(named("is chosen, and says so without warnings about limits"), async () => {
  const info = await engine.ask("GET", "/info");
  equal([info["CgroupDriver"], info["CgroupVersion"]], [driver, "2"], "driver");
  for (const key of ["MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit"]) {
    equal(info[key], true, key);
  }
  const warnings = (info["Warnings"] as string[]).filter((text) =>
    /limit|cpu|io\.|cgroup|delegat/i.test(text)
  );
  equal(warnings, [], "warnings");
});

await check(named("is not in the login session, which ends"), () => {
  const own = Deno.readTextFileSync(`/proc/${engine.enginePid()}/cgroup`);
  assert(!own.includes("/session-"), own);
});

await check(named("passes all limits on to the kernel"), async () => {
  const host = {
    Memory: 96 * MB,
    MemorySwap: 128 * MB,
    MemoryReservation: 48 * MB,
    NanoCpus: 0.5e9,
    CpuShares: 512,
    CpusetCpus: "1",
    PidsLimit: 60,
    BlkioWeight: 500,
    BlkioDeviceReadBps: [{ Path: "/dev/vda", Rate: 5 * MB }],
    Annotations: { "berth.cgroup.memory.high": "90001408" },
  };
  await running("sleep 1000", host, async (id) => {
    const values = await Promise.all(
      [
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "memory.high",
        "cpu.max",
        "cpu.weight",
        "cpuset.cpus",
        "pids.max",
        "io.weight",
      ]
        .map((file) => engine.value(id, file)),
    );
    equal(values, [
      String(96 * MB),
      String(32 * MB),
      String(48 * MB),
      "90001408",
      "50000 100000",
      "59",
      "1",
      "60",
      "default 4950",
    ], "files");
    assert((await engine.value(id, "io.max")).includes(`rbps=${5 * MB}`), "io.max");
    const path = await engine.cgroup(id);
    assert(path.endsWith(driver === "systemd" ? `/user.slice/berth-${id}.scope` : `/berth/${id}`), path);
  });
});

await check(named("kills for want of memory, and says so"), async () => {
  const id = await engine.run("exec tail /dev/zero", { Memory: 24 * MB, MemorySwap: 24 * MB });
  equal(await engine.wait(id), 137, "exit code");
  equal((await engine.state(id))["OOMKilled"], true, "OOMKilled");
  const events = await engine.events(id);
  assert(events.indexOf("oom") >= 0 && events.indexOf("oom") < events.indexOf("die"), events.join(" "));
  await engine.remove(id);
});

await check(
  named("knows of each kill when many are killed at once, before their shims have looked twice"),
  async () => {
    const limits = { Memory: 12 * MB, MemorySwap: 12 * MB };
    const made = await Promise.all(
      Array.from({ length: 12 }, () => engine.create(["tail", "/dev/zero"], limits)),
    );
    try {
      await Promise.all(made.map(({ Id }) => engine.ask("POST", `/containers/${Id}/start`)));
      const ends = await Promise.all(made.map(async ({ Id }) => {
        const code = await engine.wait(Id);
        return `${code} ${(await engine.state(Id))["OOMKilled"]}`;
      }));
      equal(ends, made.map(() => "137 true"), "exit codes, OOMKilled");
    } finally {
      for (const { Id } of made) await engine.remove(Id);
    }
  },
);

await once("tells of a kill inside of a container that goes on", async () => {
  await running("tail /dev/zero; sleep 1000", { Memory: 24 * MB, MemorySwap: 24 * MB }, async (id) => {
    await eventually(async () => (await engine.state(id))["OOMKilled"] === true, "OOMKilled");
    const state = await engine.state(id);
    equal([state["Running"], state["OOMKilled"]], [true, true], "state");
    assert((await engine.events(id)).includes("oom"), "no event");
  });
});

await once("shows a container its own cgroup, or the host's", async () => {
  equal(await engine.output("cat /proc/self/cgroup"), "0::/", "private");
  assert(
    (await engine.output("cat /proc/self/cgroup", { CgroupnsMode: "host" })).includes("user.slice"),
    "host",
  );
  equal(
    await engine.output("cat /sys/fs/cgroup/memory.max", { Memory: 64 * MB }),
    String(64 * MB),
    "memory.max inside",
  );
  const escape = "echo max > /sys/fs/cgroup/memory.max; cat /sys/fs/cgroup/memory.max";
  const seen = await engine.output(escape, { Memory: 64 * MB, Privileged: true });
  assert(seen.endsWith(String(64 * MB)), `privileged: ${seen}`);
});

await check(named("puts execs into the container's cgroup"), async () => {
  await running("exec sleep 1000", { PidsLimit: 50 }, async (id) => {
    const { Id } = await engine.ask("POST", `/containers/${id}/exec`, { Cmd: ["sleep", "1000"] });
    await engine.ask("POST", `/exec/${Id}/start`, { Detach: true });
    equal(await engine.value(id, "pids.current"), "2", "pids.current");
    const { Processes } = await engine.ask("GET", `/containers/${id}/top`) as { Processes: string[][] };
    equal(Processes.length, 2, "top");
  });
});

await check(named("lists only its own processes with --pid host, and ends all of them"), async () => {
  let path = "";
  await running("sleep 1001 & setsid sleep 1002 & sleep 1000", { PidMode: "host" }, async (id) => {
    path = await engine.cgroup(id);
    await eventually(async () => await engine.value(id, "pids.current") === "4", "processes");
    const { Processes } = await engine.ask("GET", `/containers/${id}/top`) as { Processes: string[][] };
    equal(Processes.length, 4, "top");
  });
  await eventually(() => !exists(path), "the cgroup is still there");
});

await once("removes what a privileged container has nested in its cgroup, processes included", async () => {
  const nest = "cd /sys/fs/cgroup; mkdir -p a/b c; sleep 1001 & echo $! >a/b/cgroup.procs; exec sleep 1000";
  let path = "";
  await running(nest, { Privileged: true }, async (id) => {
    path = await engine.cgroup(id);
    const nested = () => Deno.readTextFileSync(`${path}/a/b/cgroup.procs`) !== "";
    await eventually(() => exists(`${path}/a/b`) && exists(`${path}/c`) && nested(), "nothing is nested");
    const { Processes } = await engine.ask("GET", `/containers/${id}/top`) as { Processes: string[][] };
    equal(Processes.length, 2, "top");
    await engine.ask("POST", `/containers/${id}/pause`);
  });
  await eventually(() => !exists(path), "the cgroup is still there");
});

await check(named("changes limits of what runs"), async () => {
  await running("sleep 1000", { Memory: 64 * MB, MemorySwap: 64 * MB, PidsLimit: 10 }, async (id) => {
    const { code, stderr } = await engine.docker(
      "update",
      "--memory",
      "128m",
      "--memory-swap",
      "192m",
      "--pids-limit",
      "20",
      "--cpus",
      "0.3",
      id,
    );
    equal(code, 0, stderr);
    const values = await Promise.all(
      ["memory.max", "memory.swap.max", "pids.max", "cpu.max"].map((file) => engine.value(id, file)),
    );
    equal(values, [String(128 * MB), String(64 * MB), "20", "30000 100000"], "files");
    const { HostConfig: host } = await engine.ask("GET", `/containers/${id}/json`) as { HostConfig: Json };
    equal([host["Memory"], host["NanoCpus"], host["PidsLimit"]], [128 * MB, 3e8, 20], "inspect");
    const refused = await engine.request("POST", `/containers/${id}/update`, { Memory: 256 * MB });
    equal(refused.status, 409, refused.text);
    const bad = await engine.request("POST", `/containers/${id}/update`, { CpusetMems: "7" });
    equal(bad.status, 400, bad.text);
    // More processes than the kernel has numbers for.
    const more = await engine.request("POST", `/containers/${id}/update`, { PidsLimit: 10_000_000 });
    assert(more.status >= 400, more.text);
    equal(await engine.value(id, "pids.max"), "20", "pids.max after a refusal");
    assert((await engine.events(id)).includes("update"), "no event");
  });
});

await check(named("pauses and goes on"), async () => {
  await running(BUSY, {}, async (id) => {
    await eventually(async () => await usage(id) > 0, "it does not run");
    equal((await engine.docker("pause", id)).code, 0, "docker pause");
    await settled(() => usage(id), "it uses time while paused");
    const before = await usage(id);
    const state = await engine.state(id);
    equal([state["Status"], state["Running"], state["Paused"]], ["paused", true, true], "state");
    const { stdout } = await engine.docker("ps", "--filter", "status=paused", "--format", "{{.Status}}");
    assert(/^Up .* \(Paused\)/.test(stdout), stdout);
    equal((await engine.ask("GET", "/info"))["ContainersPaused"], 1, "info");
    const exec = await engine.request("POST", `/containers/${id}/exec`, { Cmd: ["true"] });
    equal(exec.status, 409, exec.text);
    equal((await engine.request("POST", `/containers/${id}/pause`)).status, 409, "paused twice");
    equal((await engine.docker("unpause", id)).code, 0, "docker unpause");
    await eventually(async () => await usage(id) > before, "it does not go on");
    equal((await engine.request("POST", `/containers/${id}/unpause`)).status, 409, "unpaused twice");
  });
});

await check(named("stops and kills what is paused"), async () => {
  for (const how of ["stop?t=60", "kill"]) {
    const id = await engine.run("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    // The first process of a PID namespace does not hear a signal that it has not trapped.
    const ready = async () =>
      (await engine.request("GET", `/containers/${id}/logs?stdout=1`)).text.includes("ready");
    await eventually(ready, "it does not run");
    await engine.ask("POST", `/containers/${id}/pause`);
    await engine.ask("POST", `/containers/${id}/${how}`);
    const state = await engine.state(id);
    equal([state["Status"], state["Paused"]], ["exited", false], how);
    equal(state["ExitCode"], how === "kill" ? 137 : 3, how);
    await engine.remove(id);
  }
});

await once("commits what runs, which goes on", async () => {
  await running(`echo one >/kept; ${BUSY}`, {}, async (id) => {
    await eventually(async () => await usage(id) > 0, "it does not run");
    const answer = await engine.request("POST", `/commit?container=${id}&repo=committed`, {});
    equal(answer.status, 201, answer.text);
    equal((await engine.state(id))["Paused"], false, "paused");
    const before = await usage(id);
    await eventually(async () => await usage(id) > before, "it does not go on");
  });
});

await once("gives statistics that are the kernel's", async () => {
  await running(`${BUSY} & exec sleep 1000`, { Memory: 64 * MB, PidsLimit: 33 }, async (id) => {
    await eventually(async () => await usage(id) > 100_000, "it does not run");
    const before = await usage(id);
    const stats = await engine.ask("GET", `/containers/${id}/stats?stream=false`) as Record<string, Json>;
    const after = await usage(id);
    const total = (of: string) => Number((stats[of]?.["cpu_usage"] as Json)["total_usage"]) / 1000;
    within(total("precpu_stats"), before, after, "precpu");
    within(total("cpu_stats"), total("precpu_stats") + 500_000, after, "cpu");
    equal(stats["memory_stats"]?.["limit"], 64 * MB, "limit");
    equal(stats["pids_stats"], { current: 2, limit: 33 }, "pids");
    equal(stats["cpu_stats"]?.["online_cpus"], 2, "CPUs");
    const shown = await shownStats(engine, "docker", id);
    assert(/ \/ 64MiB 2$/.test(shown), shown);
  });
});

await once("warns of what the kernel does not have", async () => {
  const { Id, Warnings } = await engine.create(["true"], {
    OomKillDisable: true,
    MemorySwappiness: 10,
    DeviceCgroupRules: ["c 1:3 mr"],
    // Controllers that systemd does not know, so nobody has them delegated by it.
    Annotations: { "berth.cgroup.hugetlb.2MB.max": "0", "berth.cgroup.rdma.max": "mlx5_0 hca_handle=2" },
  });
  equal(Warnings.length, 5, Warnings.join(" "));
  await engine.ask("POST", `/containers/${Id}/start`);
  await engine.wait(Id);
  await engine.remove(Id);
});

await check(named("refuses at the start what the kernel refuses, and leaves nothing"), async () => {
  const { Id } = await engine.create(["true"], { Annotations: { "berth.cgroup.cpuset.mems": "9" } });
  const { status, text } = await engine.request("POST", `/containers/${Id}/start`);
  assert(status >= 400 && /cpuset/.test(text), `${status} ${text}`);
  equal((await engine.state(Id))["Status"], "created", "status");
  await engine.remove(Id);
});

await check(named("finds everything again after kill -9"), async () => {
  const [paused, limited] = await Promise.all([
    engine.run(BUSY),
    engine.run("sleep 1000", { Memory: 64 * MB, MemorySwap: 64 * MB }),
  ]);
  await engine.ask("POST", `/containers/${paused}/pause`);
  // As in the middle of a commit.
  Deno.writeTextFileSync(`${await engine.cgroup(limited)}/cgroup.freeze`, "1");
  await engine.kill9();
  await engine.boot();
  equal((await engine.state(paused))["Paused"], true, "paused");
  equal((await engine.state(limited))["Paused"], false, "paused by nobody");
  equal(await engine.value(limited, "cgroup.freeze"), "0", "frozen by nobody");
  await engine.ask("POST", `/containers/${paused}/unpause`);
  await engine.ask("POST", `/containers/${limited}/update`, { Memory: 32 * MB });
  equal(await engine.value(limited, "memory.max"), String(32 * MB), "memory.max");
  const paths = [await engine.cgroup(paused), await engine.cgroup(limited)];
  await engine.remove(paused);
  await engine.remove(limited);
  await eventually(() => !paths.some(exists), "cgroups are left");
});

await check(named("takes --cgroup-parent"), async () => {
  const parent = driver === "systemd" ? "team-a.slice" : "/team/a";
  await running("sleep 1000", { CgroupParent: parent }, async (id) => {
    const path = await engine.cgroup(id);
    assert(path.includes(driver === "systemd" ? "/team.slice/team-a.slice/" : "/team/a/"), path);
  });
});

const many = driver === "systemd" ? 100 : Number(Deno.env.get("BERTH_VM_CONTAINERS") || "20");
await check(named(`starts and removes ${many} containers with limits, and leaves nothing`), async () => {
  const before = leftovers();
  const wait = Array.from({ length: many }, (_, number) => number);
  const worker = async () => {
    while (wait.pop() !== undefined) {
      const id = await engine.run("exit 0", {
        Memory: 32 * MB,
        PidsLimit: 20,
        CpuShares: 100,
        NanoCpus: 1e9,
      });
      equal(await engine.wait(id), 0, "exit code");
      await engine.remove(id);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  await eventually(() => leftovers() <= before, () => `${leftovers()} cgroups, ${before} before`);
  if (driver === "systemd") {
    const { stdout } = await new Deno.Command("systemctl", {
      args: ["--user", "list-units", "--all", "--plain", "--no-legend", "berth-[0-9a-f]*.scope"],
    }).output();
    const units = new TextDecoder().decode(stdout).split("\n").filter((line) =>
      /berth-[0-9a-f]{64}/.test(line)
    );
    equal(units, [], "units");
  }
});

/** Cgroups of containers. */
function leftovers(dir = `${cgroupRoot}/user.slice/user-${Deno.uid()}.slice`): number {
  let count = 0;
  for (const entry of Deno.readDirSync(dir)) {
    if (!entry.isDirectory) continue;
    if (/[0-9a-f]{64}/.test(entry.name)) count++;
    try {
      count += leftovers(`${dir}/${entry.name}`);
    } catch {
      // Removed meanwhile.
    }
  }
  return count;
}

await engine[Symbol.asyncDispose]();
finish();
