/**
 * Engines that are given less: without each controller in turn, without a cgroup at all, and with a systemd that goes away. To be
 * run in a delegated scope.
 */
import { Cgroup } from "../../cgroups/cgroup.ts";
import { ownCgroup } from "../../cgroups/detect.ts";
import { assert, check, equal, eventually, finish } from "./checks.ts";
import { Engine, type Json } from "./engine_support.ts";

const MB = 1024 * 1024;
const base = ownCgroup() ?? "";
let less = "";
let number = 0;

/** All limits, and the warning that each controller's absence gives, in Docker's words. */
const LIMITS: Json = {
  Memory: 64 * MB,
  MemoryReservation: 32 * MB,
  CpuShares: 100,
  CpuQuota: 50_000,
  CpusetCpus: "0",
  PidsLimit: 30,
  BlkioWeight: 100,
  BlkioDeviceReadIOps: [{ Path: "/dev/vda", Rate: 100 }],
};
const WARNINGS: Readonly<Record<string, readonly string[]>> = {
  memory: [
    "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
  ],
  pids: [
    "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
  ],
  cpu: [
    "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
  ],
  cpuset: ["Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."],
  io: [
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
  ],
};
/** A file of each controller that says that the limit is there. */
const FILES: Readonly<Record<string, readonly [string, string]>> = {
  memory: ["memory.max", String(64 * MB)],
  pids: ["pids.max", "30"],
  cpu: ["cpu.max", "50000 100000"],
  cpuset: ["cpuset.cpus", "0"],
  io: ["io.weight", "default 910"],
};

// Whoever hands controllers on may have no process of its own.
Deno.mkdirSync(`${base}/runner`);
for (const pid of Deno.readTextFileSync(`${base}/cgroup.procs`).trim().split("\n")) {
  Deno.writeTextFileSync(`${base}/runner/cgroup.procs`, pid);
}
/** A new cgroup with all controllers but these. */
async function without(missing: readonly string[]): Promise<string> {
  await discard();
  less = `${base}/less${++number}`;
  const controllers = Object.keys(WARNINGS).map((name) => (missing.includes(name) ? "-" : "+") + name);
  Deno.writeTextFileSync(`${base}/cgroup.subtree_control`, controllers.join(" "));
  Deno.mkdirSync(less);
  return less;
}

/** Words that start a program in a cgroup. */
const inside = (cgroup: string) => ["sh", "-c", `echo $$ >${cgroup}/cgroup.procs && exec "$@"`, "sh"];

/** Ends what the last engine has left to end by itself: warm shims. */
async function discard(): Promise<void> {
  if (less !== "") await new Cgroup(less).remove();
}

/** What is checked of every engine that lacks something. */
async function checkLack(engine: Engine, missing: readonly string[]): Promise<void> {
  const { Id, Warnings } = await engine.create(["sleep", "1000"], LIMITS);
  equal([...Warnings].sort(), missing.flatMap((name) => WARNINGS[name] ?? []).sort(), "warnings");
  await engine.ask("POST", `/containers/${Id}/start`);
  for (const [name, [file, value]] of Object.entries(FILES)) {
    if (!missing.includes(name)) equal(await engine.value(Id, file), value, file);
  }
  const { Warnings: told } = await engine.ask("GET", "/info") as { Warnings: string[] };
  const hint = told.find((text) => text.includes("Not delegated to you"));
  assert(
    hint?.includes(missing.toSorted().join(", ")) === true &&
      hint.includes("Delegate=cpu cpuset io memory pids"),
    told.join("\n"),
  );
  const stats = await engine.request("GET", `/containers/${Id}/stats?stream=false&one-shot=true`);
  equal(stats.status, 200, stats.text);
  await engine.remove(Id);
}

// Two engines for five controllers: each takes ten seconds to boot here.
for (const missing of [["memory", "io"], ["cpu", "cpuset", "pids"]]) {
  await check(
    `cgroupfs without ${missing.join(", ")}: runs with a warning for each limit that is not there`,
    async () => {
      await using engine = await Engine.start(
        ["--cgroup-driver", "cgroupfs"],
        inside(await without(missing)),
      );
      await checkLack(engine, missing);
    },
  );
}

await check("without any cgroup: runs all the same", async () => {
  await using engine = await Engine.start(["--exec-opt", "native.cgroupdriver=none"]);
  const { Id, Warnings } = await engine.create(["sh", "-c", "while :; do :; done"], LIMITS);
  equal([...Warnings].sort(), Object.values(WARNINGS).flat().sort(), "warnings");
  await engine.ask("POST", `/containers/${Id}/start`);
  const info = await engine.ask("GET", "/info") as { CgroupDriver: string; Warnings: string[] };
  equal(info.CgroupDriver, "none", "driver");
  assert(info.Warnings.some((text) => text.includes("without cgroups")), info.Warnings.join("\n"));
  const total = async () => {
    const stats = await engine.ask("GET", `/containers/${Id}/stats?stream=false&one-shot=1`) as Record<
      string,
      Json
    >;
    return Number((stats["cpu_stats"]?.["cpu_usage"] as Json)["total_usage"]);
  };
  await eventually(async () => await total() > 0, "no time passes");
  const refused = await engine.request("POST", `/containers/${Id}/pause`);
  equal(refused.status, 501, refused.text);
  const nano = await engine.request("POST", "/containers/create", {
    Image: "berth/host",
    Cmd: ["true"],
    HostConfig: { NanoCpus: 5e8 },
  });
  equal(nano.status, 400, nano.text);
});

await check("systemd that may give less, and goes away", async () => {
  const root = await without(["memory"]);
  Deno.mkdirSync(`${root}/engine`);
  const runtimeDir = `${Deno.env.get("HOME")}/run`;
  Deno.mkdirSync(runtimeDir, { mode: 0o700 });
  const [shell = "", ...words] = inside(root);
  const systemd = new Deno.Command(shell, {
    args: [...words, "/lib/systemd/systemd", "--user", "--unit=basic.target"],
    env: { XDG_RUNTIME_DIR: runtimeDir, DBUS_SESSION_BUS_ADDRESS: `unix:path=${runtimeDir}/none` },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await eventually(() => {
      try {
        return Deno.statSync(`${runtimeDir}/systemd/private`).isSocket === true;
      } catch {
        return false;
      }
    }, "systemd does not listen");
    const env = [
      "env",
      `XDG_RUNTIME_DIR=${runtimeDir}`,
      `DBUS_SESSION_BUS_ADDRESS=unix:path=${runtimeDir}/none`,
    ];
    await using engine = await Engine.start(["--cgroup-driver", "systemd"], [
      ...inside(`${root}/engine`),
      ...env,
    ]);
    await checkLack(engine, ["memory"]);
    const id = await engine.run("sleep 1000", { PidsLimit: 30 });
    const path = await engine.cgroup(id);
    assert(path.includes(`${root}/user.slice/berth-`), path);
    systemd.kill("SIGKILL");
    await systemd.status;
    // What runs goes on, can be paused, asked and ended; what needs no limit starts.
    await engine.ask("POST", `/containers/${id}/pause`);
    await engine.ask("POST", `/containers/${id}/unpause`);
    equal(await engine.value(id, "pids.max"), "30", "pids.max");
    const other = await engine.run("sleep 1000");
    equal((await engine.state(other))["Running"], true, "without limits");
    const { Id } = await engine.create(["true"], { CpuShares: 100 });
    const refused = await engine.request("POST", `/containers/${Id}/start`);
    assert(refused.status === 500 && /cannot limit the container/.test(refused.text), refused.text);
    await engine.remove(id);
    await engine.remove(other);
    await eventually(() => {
      try {
        return Deno.readTextFileSync(`${path}/cgroup.events`) === "";
      } catch {
        return true;
      }
    }, "the cgroup is left");
  } finally {
    try {
      systemd.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }
});

finish();
