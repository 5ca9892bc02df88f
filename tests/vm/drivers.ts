/** What every cgroup driver has to do, with the kernel of the virtual machine. `drivers.js systemd|cgroupfs`. */
import { Cgroup } from "../../cgroups/cgroup.ts";
import { CGROUP_ROOT, detectCgroups, ownCgroup } from "../../cgroups/detect.ts";
import type { CgroupLimits } from "../../cgroups/limits.ts";
import { type CgroupManager, openCgroups } from "../../cgroups/manager.ts";
import { CgroupStatsReader } from "../../cgroups/stats.ts";
import { assert, check, equal, eventually, finish, rejects, settled } from "./checks.ts";

const MB = 1024 * 1024;
const [wanted = ""] = Deno.args;
const runtimeDir = Deno.env.get("XDG_RUNTIME_DIR");
const uid = Deno.uid() ?? 0;
const facts = detectCgroups(uid, runtimeDir, undefined, wanted as "systemd" | "cgroupfs");
const before = ownCgroup() ?? "";
const opened = await openCgroups({ facts, uid, runtimeDir });
if (opened === undefined) throw new Error(`no driver: ${facts.reason}`);
const manager: CgroupManager = opened;
const named = (name: string) => `${uid === 0 ? "root, " : ""}${manager.driver}: ${name}`;

let number = 0;
const newId = () => `${(++number).toString(16).padStart(4, "0")}${crypto.randomUUID().replaceAll("-", "")}`;

interface Running extends AsyncDisposable {
  readonly id: string;
  readonly cgroup: Cgroup;
  readonly child: Deno.ChildProcess;
  readonly warnings: readonly string[];
  value(file: string): string;
}

/** A shell in a cgroup of its own. It begins when it is inside. */
async function run(
  limits: CgroupLimits,
  script = "sleep 1000",
  parent = "",
  by: CgroupManager = manager,
): Promise<Running> {
  const child = new Deno.Command("sh", {
    args: ["-c", `read go; ${script}`],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const id = newId();
  const end = () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  };
  try {
    const stop = { signal: 15, seconds: 10 };
    const { cgroup, warnings } = await by.create({ id, limits, parent, pid: child.pid, stop });
    // As init does.
    Deno.writeTextFileSync(`${cgroup.path}/cgroup.procs`, String(child.pid));
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("go\n"));
    await writer.close();
    return {
      id,
      cgroup,
      child,
      warnings,
      value: (file) => Deno.readTextFileSync(`${cgroup.path}/${file}`).trim(),
      async [Symbol.asyncDispose]() {
        await by.remove(id, cgroup);
        end();
        await child.status;
        assert(!cgroup.exists, `${cgroup.path} is still there`);
      },
    };
  } catch (error) {
    end();
    await child.status;
    throw error;
  }
}

await check(named("is chosen, with all controllers"), () => {
  equal(facts.driver, wanted, "driver");
  for (const name of ["cpu", "cpuset", "io", "memory", "pids"]) {
    assert(manager.controllers.includes(name), `${name} is not in ${manager.controllers.join(" ")}`);
  }
  assert(manager.swap, "memory.swap.max is not seen");
});

await check(named("has this process where it can start members of any container's cgroup"), () => {
  const now = ownCgroup() ?? "";
  assert(now.startsWith(manager.driver === "systemd" ? `${facts.path}/` : `${facts.path}/berth.engine`), now);
  if (manager.driver === "systemd") assert(before.includes("/session-"), `started in ${before}`);
});

await check(named("sets every limit"), async () => {
  const [disk] = Deno.readTextFileSync("/sys/block/vda/dev").trim().split("\n");
  const device = disk ?? "";
  await using c = await run({
    memory: 64 * MB,
    memorySwap: 96 * MB,
    memoryReservation: 32 * MB,
    cpuShares: 2000,
    cpuQuota: 25_000,
    cpuPeriod: 50_000,
    cpusetCpus: "1",
    cpusetMems: "0",
    pids: 77,
    blkioWeight: 300,
    readBps: [{ device, value: 1_048_576 }],
    writeIops: [{ device, value: 100 }],
    unified: { "memory.high": "60M" },
  });
  equal(c.warnings, [], "warnings");
  equal(c.value("memory.max"), String(64 * MB), "memory.max");
  equal(c.value("memory.swap.max"), String(32 * MB), "memory.swap.max");
  equal(c.value("memory.low"), String(32 * MB), "memory.low");
  equal(c.value("memory.high"), String(60 * MB), "memory.high");
  equal(c.value("cpu.weight"), "170", "cpu.weight");
  equal(c.value("cpu.max"), "25000 50000", "cpu.max");
  equal(c.value("cpuset.cpus"), "1", "cpuset.cpus");
  equal(c.value("cpuset.mems"), "0", "cpuset.mems");
  equal(c.value("pids.max"), "77", "pids.max");
  equal(c.value("io.weight"), "default 2930", "io.weight");
  equal(c.value("io.max"), `${device} rbps=1048576 wbps=max riops=max wiops=100`, "io.max");
  equal(
    Deno.readTextFileSync(`/proc/${c.child.pid}/cgroup`).trim(),
    `0::${c.cgroup.path.slice(CGROUP_ROOT.length)}`,
    "member",
  );
});

await check(named("leaves everything unlimited when nothing is asked"), async () => {
  await using c = await run({});
  equal(c.value("memory.max"), "max", "memory.max");
  equal(c.value("pids.max"), "max", "pids.max");
  equal(c.value("cpu.max"), "max 100000", "cpu.max");
  equal(c.value("cpu.weight"), "100", "cpu.weight");
});

await check(named("changes limits of what runs, and takes them back"), async () => {
  await using c = await run({ memory: 64 * MB, pids: 10 });
  const warnings = await manager.update(c.id, c.cgroup, {
    memory: 128 * MB,
    memorySwap: -1,
    pids: 20,
    cpuQuota: 150_000,
  });
  equal(warnings, [], "warnings");
  equal([c.value("memory.max"), c.value("memory.swap.max"), c.value("pids.max"), c.value("cpu.max")], [
    String(128 * MB),
    "max",
    "20",
    "150000 100000",
  ], "limits");
  await manager.update(c.id, c.cgroup, { memory: -1, pids: -1, cpuQuota: -1 });
  equal(
    [c.value("memory.max"), c.value("pids.max"), c.value("cpu.max")],
    ["max", "max", "max 100000"],
    "no limits",
  );
});

await check(named("refuses a value that the kernel refuses"), async () => {
  await rejects(
    run({ cpusetCpus: "63" }).then((c) => c[Symbol.asyncDispose]()),
    /invalid argument|numerical result|cpuset/,
  );
});

await check(named("warns of a file that is not there"), async () => {
  await using c = await run({ unified: { "nothing.max": "1" } });
  equal(c.warnings.length, 1, "warnings");
});

await check(named("puts it below --cgroup-parent"), async () => {
  const parent = manager.driver === "systemd" ? "berth-test.slice" : "/some/where";
  await using c = await run({ pids: 5 }, undefined, parent);
  assert(
    c.cgroup.path.includes(
      manager.driver === "systemd" ? "/berth.slice/berth-test.slice/berth-" : "/some/where/",
    ),
    c.cgroup.path,
  );
  equal(c.value("pids.max"), "5", "pids.max");
});
await check(named("refuses a bad --cgroup-parent"), async () => {
  await rejects(run({}, undefined, manager.driver === "systemd" ? "some/where" : "../x"), /cgroup.parent/);
});

await check(named("freezes and thaws, nested cgroups included"), async () => {
  await using c = await run({}, "while :; do :; done");
  Deno.mkdirSync(`${c.cgroup.path}/nested`);
  const used = () => Number(/^usage_usec (\d+)/m.exec(c.value("cpu.stat"))?.[1]);
  await eventually(() => used() > 0, "it runs");
  await c.cgroup.freeze(true);
  assert(c.cgroup.frozen, "it says that it is not frozen");
  await settled(used, "it uses time while frozen");
  const stopped = used();
  await c.cgroup.freeze(false);
  await eventually(() => used() > stopped, "it goes on");
});

await check(named("ends a frozen one, with what it has nested"), async () => {
  const c = await run({}, "mkdir -p $D/a/b; while :; do sleep 1000; done");
  Deno.mkdirSync(`${c.cgroup.path}/x/y`, { recursive: true });
  await c.cgroup.freeze(true);
  await c[Symbol.asyncDispose]();
});

await check(named("counts what is killed for want of memory"), async () => {
  await using c = await run(
    { memory: 16 * MB, memorySwap: 16 * MB },
    "head -c 64M /dev/zero | tail; sleep 1000",
  );
  await eventually(() => c.cgroup.oomKills > 0, "nothing was killed");
});

await check(named("reads statistics again and again"), async () => {
  await using c = await run({ memory: 64 * MB, pids: 50 }, "while :; do :; done");
  using reader = new CgroupStatsReader(c.cgroup.path);
  const first = reader.read();
  equal(first?.memory?.limit, 64 * MB, "limit");
  equal(first?.pids, { current: 1, limit: 50 }, "pids");
  await eventually(
    () => (reader.read()?.cpu?.["usage_usec"] ?? 0) > (first?.cpu?.["usage_usec"] ?? 0),
    "no time passes",
  );
  const now = reader.read();
  const [usage, file] = [now?.memory?.usage ?? 0, Number(c.value("memory.current"))];
  assert(Math.abs(usage - file) < MB, `memory ${usage}, ${file}`);
  assert(now?.pressure?.cpu.some !== undefined, "no pressure");
});

if (manager.driver === "systemd" && uid !== 0) {
  const busDaemon = async (): Promise<number> => {
    const words = ["--user", "show", "--value", "-p", "MainPID", "dbus.service"];
    const { stdout } = await new Deno.Command("systemctl", { args: words }).output();
    return Number(new TextDecoder().decode(stdout));
  };

  await check(
    named("goes by the message bus where there is nothing else, however slow, and after its end"),
    async () => {
      // Where systemd's own socket is not.
      const dir = Deno.makeTempDirSync();
      Deno.symlinkSync(`${runtimeDir}/bus`, `${dir}/bus`);
      const other = await openCgroups({ facts, uid, runtimeDir: dir });
      if (other === undefined) throw new Error("no manager");
      try {
        {
          await using c = await run({ pids: 5 }, undefined, "", other);
          equal(c.value("pids.max"), "5", "pids.max");
          const slow = await busDaemon();
          Deno.kill(slow, "SIGSTOP");
          const later = run({ pids: 6 }, undefined, "", other);
          const first = await Promise.race([later, new Promise((resolve) => setTimeout(resolve, 1000))]);
          Deno.kill(slow, "SIGCONT");
          equal(first, undefined, "the bus had stopped");
          await using d = await later;
          equal(d.value("pids.max"), "6", "pids.max");
          Deno.kill(slow, "SIGKILL");
          // What there is can be changed, or says why not; it goes on in any case.
          await other.update(c.id, c.cgroup, { pids: 7 }).catch(() => {});
          equal(c.value("pids.max"), "7", "pids.max");
          let made: Running | undefined;
          await eventually(
            async () => {
              made = await run({ pids: 8 }, undefined, "", other).catch(() => undefined);
              return made !== undefined;
            },
            "no scope by the new bus",
            60,
          );
          await made?.[Symbol.asyncDispose]();
        }
      } finally {
        other.close();
        Deno.removeSync(dir, { recursive: true });
      }
    },
  );

  await check(named("does without the message bus"), async () => {
    const stop = new Deno.Command("systemctl", { args: ["--user", "stop", "dbus.socket", "dbus.service"] });
    equal((await stop.output()).success, true, "systemctl stop");
    try {
      await using c = await run({ pids: 9 });
      equal(c.value("pids.max"), "9", "pids.max");
    } finally {
      await new Deno.Command("systemctl", { args: ["--user", "start", "dbus.socket"] }).output();
    }
  });
}

await check(named("makes 50 at once and leaves none behind"), async () => {
  const list = () => [...Deno.readDirSync(facts.path)].length;
  const all = await Promise.all(Array.from({ length: 50 }, () => run({ memory: 32 * MB, pids: 9 })));
  for (const c of all) equal(c.value("pids.max"), "9", "pids.max");
  assert(list() > 0, "nothing there");
  await Promise.all(all.map((c) => c[Symbol.asyncDispose]()));
  if (manager.driver === "systemd") {
    const { stdout } = await new Deno.Command("systemctl", {
      args: [
        ...(uid === 0 ? [] : ["--user"]),
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "berth-0*.scope",
      ],
    }).output();
    equal(new TextDecoder().decode(stdout).trim(), "", "units");
  }
});

manager.close();
finish();
