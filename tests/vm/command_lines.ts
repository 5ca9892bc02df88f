/** What a user of limits types, with docker's command line and with berth's own: both must have the same effect in the kernel. */
import { assert, check, equal, eventually, finish, settled, within } from "./checks.ts";
import { Engine, IMAGE, type Json, type Output } from "./engine_support.ts";
import { shownStats } from "./shown_stats.ts";

const MB = 1024 * 1024;
const engine = await Engine.start(["--cgroup-driver", "systemd", "--shim-pool", "2"]);
const clients = {
  docker: (...words: string[]) => engine.docker(...words),
  berth: (...words: string[]) => engine.berth(...words),
};

async function good(running: Promise<Output>): Promise<string> {
  const { code, stdout, stderr } = await running;
  equal(code, 0, stdout + stderr);
  equal(stderr, "", "standard error");
  return stdout.trim();
}

const usage = async (id: string) =>
  Number(/^usage_usec (\d+)/m.exec(await engine.value(id, "cpu.stat"))?.[1]);
const alone = ["--network", "none"];

for (const [name, client] of Object.entries(clients)) {
  await check(`${name}: run sets every limit, update changes them, inspect tells them`, async () => {
    const flags = [
      ...["--memory", "96m", "--memory-swap", "128m", "--memory-reservation", "48m"],
      ...["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "1", "--cpuset-mems", "0"],
      ...["--pids-limit", "60", "--blkio-weight", "500", "--device-read-bps", "/dev/vda:5mb"],
      ...["--device-write-iops", "/dev/vda:100", "--oom-score-adj", "500", "--ulimit", "nofile=100:200"],
      ...["--annotation", "berth.cgroup.memory.high=90001408"],
    ];
    const id = await good(client("run", "-d", ...alone, ...flags, IMAGE, "sleep", "1000"));
    try {
      const files = async (...names: string[]) =>
        await Promise.all(names.map((file) => engine.value(id, file)));
      equal(
        await files("memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max", "cpu.weight"),
        [`${96 * MB}`, `${32 * MB}`, `${48 * MB}`, "90001408", "50000 100000", "59"],
        "memory and cpu",
      );
      equal(
        await files("cpuset.cpus", "cpuset.mems", "pids.max", "io.weight"),
        ["1", "0", "60", "default 4950"],
        "cpuset, pids and io",
      );
      const io = await engine.value(id, "io.max");
      assert(io.includes(`rbps=${5 * MB}`) && io.includes("wiops=100"), io);
      const { Pid: pid } = await engine.state(id);
      equal(Deno.readTextFileSync(`/proc/${pid}/oom_score_adj`).trim(), "500", "oom_score_adj");
      assert(/open files +100 +200/.test(Deno.readTextFileSync(`/proc/${pid}/limits`)), "ulimit");
      const update = [
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        "--memory-reservation",
        "16m",
        "--cpus",
        "0.25",
      ];
      equal(
        await good(client("update", ...update, "--pids-limit", "30", "--cpuset-cpus", "0-1", id)),
        id,
        "update",
      );
      equal(
        await files("memory.max", "memory.swap.max", "memory.low", "cpu.max", "pids.max", "cpuset.cpus"),
        [`${64 * MB}`, "0", `${16 * MB}`, "25000 100000", "30", "0-1"],
        "after update",
      );
      const [shown] = JSON.parse(await good(client("inspect", id))) as [{ HostConfig: Json }];
      const { Memory, NanoCpus, PidsLimit } = shown.HostConfig;
      equal([Memory, NanoCpus, PidsLimit], [64 * MB, 25e7, 30], "inspect");
    } finally {
      await engine.remove(id);
    }
  });

  await check(`${name}: a container that wants too much memory ends with 137`, async () => {
    const container = `greedy-${name}`;
    const flags = ["--name", container, ...alone, "-m", "24m", "--memory-swap", "24m"];
    try {
      const { code, stderr } = await client("run", ...flags, IMAGE, "tail", "/dev/zero");
      equal(code, 137, `exit code (${stderr.trim()})`);
      equal(await good(client("inspect", "-f", "{{.State.OOMKilled}}", container)), "true", "OOMKilled");
    } finally {
      await engine.remove(container);
    }
  });

  await check(`${name}: --cpus is kept within 5 %, pause stops, stats, top and ps tell`, async () => {
    const busy = ["sh", "-c", "while :; do :; done"];
    const id = await good(client("run", "-d", ...alone, "--cpus", "0.4", "-m", "64m", IMAGE, ...busy));
    try {
      await eventually(async () => await usage(id) > 200_000, "it does not run");
      let used = 0;
      // Never more than the quota; less only when the machine below has no time for this one.
      for (let tries = 0; tries < 5 && used < 0.38; tries++) {
        const [from, at] = [await usage(id), performance.now()];
        await new Promise((resolve) => setTimeout(resolve, 3000));
        used = (await usage(id) - from) / 1000 / (performance.now() - at);
        within(used, 0, 0.42, "processors used");
      }
      within(used, 0.38, 0.42, "processors used");
      const told = await shownStats(engine, name, id);
      assert(/ \/ 64MiB 1$/.test(told), told);
      assert((await good(client("top", id))).includes("while :"), "top");
      equal(await good(client("pause", id)), id, "pause");
      equal(await engine.value(id, "cgroup.freeze"), "1", "cgroup.freeze");
      await settled(() => usage(id), "it uses time while paused");
      assert(/\(Paused\)/.test(await good(client("ps", "--format", "{{.Status}}"))), "ps");
      equal(await good(client("unpause", id)), id, "unpause");
      const before = await usage(id);
      await eventually(async () => await usage(id) > before, "it does not go on");
    } finally {
      await engine.remove(id);
    }
  });

  await check(
    `${name}: a fork bomb stays below --pids-limit, and ps, stats and rm work beside it`,
    async () => {
      const bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null & exec sleep 1000";
      const flags = ["--pids-limit", "40", "--cpus", "0.5"];
      const id = await good(client("run", "-d", ...alone, ...flags, IMAGE, "sh", "-c", bomb));
      await eventually(
        async () => Number(/max (\d+)/.exec(await engine.value(id, "pids.events"))?.[1]) > 0,
        "no limit is hit",
      );
      within(Number(await engine.value(id, "pids.current")), 1, 40, "pids.current");
      assert((await good(client("ps", "--format", "{{.Status}}"))).startsWith("Up "), "ps");
      const told = await good(client("stats", "--no-stream", "--format", "{{.PIDs}}", id));
      within(Number(told), 1, 40, "stats");
      const path = await engine.cgroup(id);
      equal(await good(client("rm", "-f", id)), id, "rm");
      await eventually(() => {
        try {
          return !Deno.statSync(path).isDirectory;
        } catch {
          return true;
        }
      }, "the cgroup is left");
    },
  );

  await check(`${name}: --cpuset-cpus and --device-write-bps hold inside`, async () => {
    const cpus = await good(client("run", "--rm", ...alone, "--cpuset-cpus", "1", IMAGE, "nproc"));
    equal(cpus, "1", "nproc");
    const write = ["dd", "if=/dev/zero", "of=/x", "bs=256k", "count=12", "oflag=direct", "status=none"];
    const started = performance.now();
    await good(client("run", "--rm", ...alone, "--device-write-bps", "/dev/vda:1mb", IMAGE, ...write));
    within((performance.now() - started) / 1000, 2, 60, "seconds for 3 MB at 1 MB/s");
  });
}

await check("both: info and doctor tell what there is", async () => {
  const format = "{{.CgroupDriver}} {{.CgroupVersion}} {{.MemoryLimit}} {{.PidsLimit}} {{.CPUSet}}";
  for (const client of Object.values(clients)) {
    equal(await good(client("info", "--format", format)), "systemd 2 true true true", "info");
  }
  const { stdout } = await engine.berth("doctor");
  assert(/cgroups.*version 2 by systemd/.test(stdout), stdout);
  assert(/linger.*containers go on after logout/.test(stdout), stdout);
});

await engine[Symbol.asyncDispose]();
finish();
