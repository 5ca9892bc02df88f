/** The units of systemd/ under a real user's systemd: a socket that starts the engine, and what stops, reloads and kills it. */
import { assert, check, equal, eventually, finish } from "./checks.ts";
import { type Output, run, TOOLS } from "./engine_support.ts";

const home = Deno.env.get("HOME") ?? "";
const runtimeDir = Deno.env.get("XDG_RUNTIME_DIR") ?? "";
const SERVICE = "berth.service";
const SOCKET = "berth.socket";

for (const dir of ["/.local/bin", "/.config/systemd/user"]) {
  Deno.mkdirSync(`${home}${dir}`, { recursive: true });
}
Deno.symlinkSync(`${TOOLS}/berth`, `${home}/.local/bin/berth`);
for (const unit of [SERVICE, SOCKET]) {
  Deno.copyFileSync(`${TOOLS}/units/${unit}`, `${home}/.config/systemd/user/${unit}`);
}

const systemctl = (...words: string[]): Promise<Output> => run("systemctl", ["--user", ...words]);
/** A docker of the user's who has configured nothing. */
const docker = (...words: string[]): Promise<Output> =>
  run(`${TOOLS}/docker`, ["-H", `unix://${runtimeDir}/docker.sock`, ...words]);
const berth = (...words: string[]): Promise<Output> => run(`${home}/.local/bin/berth`, words);

/** Runs what must succeed. */
async function good(running: Promise<Output>): Promise<string> {
  const { code, stdout, stderr } = await running;
  equal(code, 0, stdout + stderr);
  return stdout.trim();
}

async function property(name: string): Promise<string> {
  return await good(systemctl("show", "--value", "-p", name, SERVICE));
}

const alive = (pid: string) => {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
};

const listUnits = async (): Promise<string[]> =>
  (await good(systemctl("list-units", "--plain", "--no-legend", "berth*"))).split("\n").filter((line) =>
    line !== ""
  );
/** What other parts of the suite have left, which are not this one's to judge. */
const before = new Set((await listUnits()).map((line) => line.split(" ", 1)[0]));

await check("units: systemd finds nothing wrong with them", async () => {
  await good(systemctl("daemon-reload"));
  const words = [
    "--user",
    "verify",
    ...[SERVICE, SOCKET].map((unit) => `${home}/.config/systemd/user/${unit}`),
  ];
  const { code, stdout, stderr } = await run("systemd-analyze", words, { SYSTEMD_LOG_LEVEL: "warning" });
  // A manual page that cannot be looked up is no mistake of the unit's.
  const words_of = (stdout + stderr).split("\n").filter((line) => line !== "" && !line.includes("man "));
  equal([code, words_of], [0, []], "systemd-analyze verify");
});

await check("units: a client's connection starts the engine, which says when it is ready", async () => {
  await good(systemctl("start", SOCKET));
  equal(await property("ActiveState"), "inactive", "before a client comes");
  equal(
    await good(docker("info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}")),
    "systemd 2",
    "docker info",
  );
  equal([await property("Type"), await property("ActiveState")], ["notify", "active"], "service");
  assert((await property("StatusText")) !== "", "no status");
  // The other of the two sockets, which berth's own clients take.
  assert((await good(berth("version", "--format", "{{.Server.Version}}"))) !== "", "berth version");
});

await check("units: systemctl stop leaves containers running; the next engine has them again", async () => {
  const id = await good(docker("run", "-d", "--network", "none", "-m", "64m", "berth/host", "sleep", "1000"));
  const pid = await good(docker("inspect", "-f", "{{.State.Pid}}", id));
  const engine = await property("MainPID");
  await good(systemctl("stop", SOCKET, SERVICE));
  equal([await property("ActiveState"), await property("Result")], ["inactive", "success"], "stopped");
  assert(!alive(engine), "the engine is still there");
  assert(alive(pid), "the container has ended with the engine");
  const scope = await good(systemctl("is-active", `berth-${id}.scope`));
  equal(scope, "active", "the container's scope");
  await good(systemctl("start", SOCKET));
  equal(await good(docker("ps", "--no-trunc", "--format", "{{.ID}}")), id, "docker ps");
  equal(await good(docker("exec", id, "cat", "/sys/fs/cgroup/memory.max")), "67108864", "exec");
  await good(docker("rm", "-f", id));
  await eventually(
    async () => (await systemctl("is-active", `berth-${id}.scope`)).code !== 0,
    "the scope is left",
  );
});

await check("units: systemctl reload has the engine read its configuration again", async () => {
  Deno.mkdirSync(`${home}/.config/berth`, { recursive: true });
  Deno.writeTextFileSync(`${home}/.config/berth/daemon.json`, '{"labels": ["where=vm"]}');
  const engine = await property("MainPID");
  await good(systemctl("reload", SERVICE));
  await eventually(
    async () => await good(docker("info", "--format", "{{.Labels}}")) === "[where=vm]",
    "no label",
  );
  equal([await property("MainPID"), await property("ActiveState")], [engine, "active"], "the same engine");
});

await check("units: an engine that is killed comes back, with its containers", async () => {
  const id = await good(docker("run", "-d", "--network", "none", "berth/host", "sleep", "1000"));
  const engine = await property("MainPID");
  Deno.kill(Number(engine), "SIGKILL");
  await eventually(
    async () => {
      const pid = await property("MainPID");
      return pid !== "0" && pid !== engine && await property("ActiveState") === "active";
    },
    "no new engine",
    60,
  );
  equal(await good(docker("ps", "--no-trunc", "--format", "{{.ID}}")), id, "docker ps");
  await good(docker("rm", "-f", id));
});

await check("units: when all is stopped nothing of berth's is left", async () => {
  await good(systemctl("stop", SOCKET, SERVICE));
  let left: string[] = [];
  await eventually(async () => {
    left = (await listUnits()).filter((line) => !before.has(line.split(" ", 1)[0]));
    return left.length === 0;
  }, () => `units are left: ${left.join("; ")}`);
  const own = `${runtimeDir}/berth`;
  await eventually(() => {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        if (Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(own)) return false;
      } catch {
        // It has ended.
      }
    }
    return true;
  }, "processes are left");
});

finish();
