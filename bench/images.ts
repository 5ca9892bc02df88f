/** Taking in images (load, pull) beside podman, and what the graph drivers cost containers that work with files. */

import { type Engine, startEngine } from "../tests/support/engine.ts";
import { runAs, type RunResult, spawnAs, type User } from "../tests/support/users.ts";
import { type BenchImage, manyFiles, oneLayer } from "./archives.ts";
import { lastLine, versionOf } from "./peers.ts";
import { median, timed } from "./stats.ts";

const DEADLINE = 600_000;

interface Tool {
  readonly name: string;
  run(args: string[]): Promise<RunResult>;
}

/** Runs a command that must succeed, and answers its milliseconds. */
async function time(tool: Tool, args: string[]): Promise<number> {
  let result: RunResult | undefined;
  const ms = await timed(async () => result = await tool.run(args));
  if (result?.code !== 0) {
    throw new Error(`${tool.name} ${args.join(" ")}: ${lastLine(result?.stderr || result?.stdout || "")}`);
  }
  return ms;
}

/** The most memory that a process had at once, in MiB; the kernel forgets it when `reset`. */
function peakOf(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1]) / 1024;
}

function forgetPeak(pid: number): void {
  Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
}

function printRow(what: string, tool: string, times: readonly number[], bytes: number, more: string): void {
  const ms = median(times);
  console.log(
    `  ${what.padEnd(34)}${tool.padEnd(8)}${(ms / 1000).toFixed(2).padStart(8)} s${
      (bytes / 1000 / ms).toFixed(0).padStart(7)
    } MB/s   ${more}`,
  );
}

/** Takes in images, in turns with podman. */
async function compare(
  what: string,
  image: BenchImage,
  tools: { berth: Tool; podman: Tool | undefined; engine: Engine },
  take: string[],
  rounds: number,
): Promise<void> {
  const { berth, podman, engine } = tools;
  const ours: number[] = [], theirs: number[] = [];
  let peak = 0;
  for (let round = 0; round < rounds; round++) {
    forgetPeak(engine.pid);
    ours.push(await time(berth, take));
    peak = Math.max(peak, peakOf(engine.pid));
    await berth.run(["rmi", "-f", take.at(-1) ?? "", image.reference]);
    if (podman) {
      theirs.push(await time(podman, take));
      await podman.run(["rmi", "-f", take.at(-1) ?? "", image.reference]);
    }
  }
  const ratio = median(theirs) / median(ours);
  const compared = Number.isNaN(ratio)
    ? ""
    : `, ${ratio.toFixed(2)} times podman's speed (goal: at least 1.5)`;
  printRow(
    what,
    "berth",
    ours,
    image.bytes,
    `engine's peak ${peak.toFixed(0)} MiB (goal: below 250)${compared}`,
  );
  if (theirs.length > 0) printRow("", "podman", theirs, image.bytes, "");
}

/** A registry of Debian's on a free port of loopback, with its files in `dir`; undefined when there is none here. */
async function startRegistry(
  user: User,
  dir: string,
): Promise<{ host: string; stop(): Promise<void> } | undefined> {
  if ((await runAs(user, ["sh", "-c", "command -v docker-registry"])).code !== 0) return undefined;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const host = `127.0.0.1:${port}`;
  await runAs(user, ["mkdir", "-p", `${dir}/registry`]);
  const config = `${dir}/registry.yml`;
  await Deno.writeTextFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${dir}/registry}, delete: {enabled: true}}\nhttp: {addr: "${host}"}\n`,
  );
  const child = spawnAs(user, ["docker-registry", "serve", config], { stdout: "null", stderr: "null" });
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      const answer = await fetch(`http://${host}/v2/`);
      await answer.body?.cancel();
      if (answer.ok) break;
    } catch {
      // not listening yet
    }
    if (performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error("the registry does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    host,
    stop: async () => {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** `load` and `pull` of large images. */
export async function printTransfers(
  user: User,
  dir: string,
  options: { megabytes: number; files: number; rounds: number },
): Promise<void> {
  console.log("\nTaking in images: from an archive, and from a registry on loopback (layers in gzip)\n");
  const version = await versionOf(user, "podman");
  const store = ["--root", `${dir}/podman`, "--runroot", `${dir}/podman-run`, "--storage-driver", "overlay"];
  const common = [
    "podman",
    ...store,
    "--cgroup-manager=cgroupfs",
    "--events-backend=file",
    "--log-level=error",
  ];
  const podman: Tool | undefined = version === undefined
    ? undefined
    : { name: "podman", run: (args) => runAs(user, [...common, ...args], { timeout: DEADLINE }) };
  if (version === undefined) console.log("  podman is not installed: berth alone");
  const registry = podman && await startRegistry(user, dir);
  if (!registry) console.log("  no pulls: they need docker-registry, and podman to fill it");
  try {
    await using engine = await startEngine({ user });
    const berth: Tool = { name: "berth", run: (args) => engine.berth(args, { timeout: DEADLINE }) };
    const tools = { berth, podman, engine };
    for (
      const make of [() => oneLayer(dir, options.megabytes), () => manyFiles(dir, options.files)]
    ) {
      const image = await make();
      await compare(`load: ${image.name}`, image, tools, ["load", "-q", "-i", image.archive], options.rounds);
      if (registry && podman) {
        const remote = `${registry.host}/${image.reference.replace(/^localhost\//, "")}`;
        await time(podman, ["load", "-q", "-i", image.archive]);
        await time(podman, ["push", "-q", "--tls-verify=false", image.reference, `docker://${remote}`]);
        await podman.run(["rmi", "-f", image.reference]);
        const insecure: Tool = {
          name: "podman",
          run: (args) =>
            podman.run(args[0] === "pull" ? ["pull", "--tls-verify=false", ...args.slice(1)] : args),
        };
        await compare(
          `pull: ${image.name}`,
          { ...image, reference: remote },
          { ...tools, podman: insecure },
          ["pull", "-q", remote],
          options.rounds,
        );
      }
      await Deno.remove(image.archive);
    }
  } finally {
    await registry?.stop();
    if (podman) {
      await podman.run(["system", "reset", "--force"]).catch(() => {});
      await podman.run(["system", "migrate"]).catch(() => {});
    }
  }
}

/** Hundredths of a second by label, as the script in the container takes them from the kernel's uptime. */
const WORK = `
now() { read -r up _ </proc/uptime; echo "\${up%.*}\${up#*.}"; }
t() { label=$1; shift; s=$(now); "$@" >/dev/null 2>&1; e=$(now); echo "$label $(( e - s ))"; }
read_all() { for i in 1 2 3 4 5 6 7 8; do dd if=big of=/dev/null bs=1M; done; }
make() { mkdir -p small; i=0; while [ $i -lt 10000 ]; do : >small/$i; i=$((i+1)); done; }
look() { for i in 1 2 3 4; do ls -l small; done; }
gone() { rm -r small; }
cd "$1" || exit 1
t write dd if=/dev/zero of=big bs=1M count=256 conv=fsync
t read read_all
t create make
t list look
t remove gone
rm big`;

/** What file work costs in a container's root on each driver, against the same file system bare (a bind mount). */
export async function printDrivers(user: User, dir: string, imageTar: string, rounds: number): Promise<void> {
  console.log(
    "\nFile work in a container, as ratios to the bare file system (a bind mount in the same container)\n",
  );
  const labels = ["write", "read", "create", "list", "remove"];
  console.log(`  ${"".padEnd(16)}${labels.map((label) => label.padStart(9)).join("")}`);
  for (const driver of ["overlay", "fuse-overlayfs", "vfs"]) {
    const bare = `${dir}/bare-${driver}`;
    await runAs(user, ["mkdir", "-p", bare]);
    await using engine = await startEngine({ user, storageDriver: driver }).catch(() => undefined);
    if (engine === undefined) {
      console.log(`  ${driver.padEnd(16)} does not work here`);
      continue;
    }
    await engine.berth(["import", imageTar, "bench"]);
    const measured = new Map<string, number[]>();
    for (let round = 0; round < rounds; round++) {
      for (const place of ["/bare", "/work"]) {
        const args = [
          "run",
          "--rm",
          "--network",
          "none",
          "-v",
          `${bare}:/bare`,
          "--workdir",
          "/work",
          "bench",
        ];
        const run = await engine.berth([...args, "sh", "-c", WORK, "sh", place], { timeout: DEADLINE });
        if (run.code !== 0) throw new Error(`${driver}: ${lastLine(run.stderr)}`);
        for (const line of run.stdout.trim().split("\n")) {
          const [label = "", hundredths] = line.split(" ");
          const key = `${place} ${label}`;
          measured.set(key, [...measured.get(key) ?? [], Math.max(1, Number(hundredths))]);
        }
      }
    }
    const ratios = labels.map((label) => {
      const of = (place: string) => median(measured.get(`${place} ${label}`) ?? []);
      return (of("/work") / of("/bare")).toFixed(2).padStart(9);
    });
    console.log(`  ${driver.padEnd(16)}${ratios.join("")}`);
    await runAs(user, ["rm", "-rf", bare]);
  }
  console.log("  (256 MB in pieces of 1 MB, with fsync; 10,000 empty files; more than 1 is slower)");
}
