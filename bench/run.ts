/**
 * Measures start-up, memory, images, copies, builds, storage drivers, the API with logs and networks of dist/berth beside its peers, in one run and on one machine.
 *
 *     make bench                      all of it
 *     make bench BENCH="--runs=10 --containers=10 start memory"
 *     make bench BENCH="--seconds=2 network"
 *
 * Only ratios of one run mean something: machines differ, and so do the same machine's days.
 */

import setup from "../tests/support/global_setup.ts";
import { busyboxRootfs, hasBusybox } from "../tests/support/busybox_image.ts";
import { berthExecutable, startEngine } from "../tests/support/engine.ts";
import { currentUser, runAs, testDir, type User, usersToTest } from "../tests/support/users.ts";
import { printApi } from "./api.ts";
import { printBuilds } from "./build.ts";
import { hasCgroup2World, inCgroup2World } from "./cgroup2_world.ts";
import { printCopies } from "./copies.ts";
import { printDrivers } from "./drivers.ts";
import { printTransfers } from "./images.ts";
import { printLimits } from "./limits.ts";
import { printMemory } from "./memory.ts";
import { printNetwork } from "./network.ts";
import { preparePodman, removePodman, timeRuntimes, versionOf, writeBundle } from "./peers.ts";
import { apiStarts, coldStarts, warmStarts } from "./start.ts";
import { median, printTimes, type Row } from "./stats.ts";

const IMAGE = "localhost/bench";
const PARTS = [
  "start",
  "runtime",
  "memory",
  "images",
  "copies",
  "build",
  "drivers",
  "limits",
  "api",
  "network",
] as const;

interface Options {
  runs: number;
  containers: number;
  /** Size of the large layer. */
  megabytes: number;
  /** Number of files in the image of 20 layers. */
  files: number;
  /** Of each measurement of the network. */
  seconds: number;
  parts: readonly string[];
}

function parseOptions(args: string[]): Options {
  const options = {
    runs: 30,
    containers: 50,
    megabytes: 1000,
    files: 50_000,
    seconds: 1,
    parts: [] as string[],
  };
  for (const arg of args) {
    const [, name, value] = /^--(runs|containers|megabytes|files|seconds)=(\d+(?:\.\d+)?)$/.exec(arg) ?? [];
    if (name === "runs") options.runs = Number(value);
    else if (name === "containers") options.containers = Number(value);
    else if (name === "megabytes") options.megabytes = Number(value);
    else if (name === "files") options.files = Number(value);
    else if (name === "seconds") options.seconds = Number(value);
    else if ((PARTS as readonly string[]).includes(arg)) options.parts.push(arg);
    else {throw new Error(
        `unknown argument ${arg}: --runs=N, --containers=N, --megabytes=N, --files=N, --seconds=N, ${
          PARTS.join(", ")
        }`,
      );}
  }
  return { ...options, parts: options.parts.length === 0 ? PARTS : options.parts };
}

/** Root file system as directory and as tar, owned by the user who runs everything. */
async function makeImage(user: User, dir: string): Promise<{ rootfs: string; tar: string }> {
  const rootfs = `${dir}/bundle/rootfs`;
  await busyboxRootfs(rootfs);
  for (const mountPoint of ["proc", "sys", "dev"]) {
    await Deno.mkdir(`${rootfs}/${mountPoint}`, { recursive: true });
  }
  const tar = `${dir}/rootfs.tar`;
  await runAs(currentUser(), [
    "tar",
    "--numeric-owner",
    "--owner=0",
    "--group=0",
    "-C",
    rootfs,
    "-cf",
    tar,
    ".",
  ], {
    cwd: "/",
  });
  await runAs(currentUser(), ["chown", "-R", `${user.uid}:${user.gid}`, dir], { cwd: "/" });
  return { rootfs, tar };
}

async function bench(options: Options): Promise<void> {
  const user = usersToTest()[0] ?? currentUser();
  const dir = `${testDir()}/bench`;
  await Deno.mkdir(dir);
  const { tar } = await makeImage(user, dir);
  console.log(`As user ${user.name}, ${navigator.hardwareConcurrency} CPUs, Linux ${Deno.osRelease()}.`);
  const rounds = Math.max(1, Math.min(3, Math.floor(options.runs / 10)));
  if (options.parts.some((part) => part !== "network")) await benchEngine(options, user, dir, tar, rounds);
  if (options.parts.includes("network")) {
    await printNetwork({ user, dir, tar, rounds, seconds: options.seconds });
  }
}

/** What is measured of one engine. */
async function benchEngine(
  options: Options,
  user: User,
  dir: string,
  tar: string,
  rounds: number,
): Promise<void> {
  await using engine = await startEngine({ user });
  const imported = await engine.berth(["import", tar, IMAGE]);
  if (imported.code !== 0) throw new Error(`berth import: ${imported.stderr}`);
  const version = await engine.berth(["version", "--format", "{{.Server.Version}} ({{.Client.Version}})"]);

  console.log(
    "Files are in the page cache and both image stores are warm. Commands take turns; one run each at a time.",
  );
  console.log(`berth: ${version.stdout.trim() || "?"}, engine running, pool of warm shims at its default`);

  if (options.parts.includes("start")) {
    const podman = await preparePodman(user, dir, tar, IMAGE);
    if ("what" in podman) console.log(`podman: ${podman.what}`);
    try {
      const rows = await warmStarts(engine, podman, IMAGE, options.runs);
      rows.splice(1, 0, await coldStarts(engine, IMAGE, Math.min(options.runs, 10)));
      printTimes("run --rm --network none <image> true", "podman run", rows);
      printGoal(rows);
    } finally {
      await removePodman(user, dir);
    }
  }
  if (options.parts.includes("runtime")) {
    printTimes(
      "The runtime alone: create, start, wait, delete",
      "crun",
      await runtimeRows(user, dir, engine, options),
    );
    console.log(
      "  (berth: three API requests to a running engine, which records each step; crun, runc: one command, nothing recorded)",
    );
  }
  if (options.parts.includes("memory")) {
    const counts = [0, 1, 10, 50].filter((n) => n < options.containers).concat(options.containers);
    await printMemory(engine, IMAGE, counts);
  }
  if (options.parts.includes("images")) await printTransfers(user, dir, { ...options, rounds });
  if (options.parts.includes("copies")) {
    await printCopies(user, dir, tar, { megabytes: options.megabytes, files: options.files * 2 / 5, rounds });
  }
  if (options.parts.includes("build")) await printBuilds(user, dir, rounds);
  if (options.parts.includes("limits")) await limits(options, user, tar);
  if (options.parts.includes("drivers")) await printDrivers(user, dir, tar, rounds);
  if (options.parts.includes("api")) {
    await printApi(engine, berthExecutable(), { ...options, user, dir, tar, image: IMAGE, rounds });
  }
}

async function limits(options: Options, user: User, tar: string): Promise<void> {
  if (!hasCgroup2World()) return await printLimits(user, tar, IMAGE, options);
  console.log("\nOn cgroup version 2 without controllers, in a mount namespace of its own:");
  const { runs, containers } = options;
  const words = [`--runs=${runs}`, `--containers=${containers}`, "limits"];
  await inCgroup2World(user, [Deno.execPath(), "run", "-A", import.meta.filename ?? "", ...words]);
}

async function runtimeRows(
  user: User,
  dir: string,
  engine: Awaited<ReturnType<typeof startEngine>>,
  { runs }: Options,
): Promise<Row[]> {
  const names: string[] = [];
  const missing: Row[] = [];
  for (const name of ["crun", "runc"]) {
    const version = await versionOf(user, name);
    if (version === undefined) missing.push({ name, times: [], missing: `${name} is not installed` });
    else {
      console.log(`${name}: ${version}`);
      names.push(name);
    }
  }
  const times = new Map<string, number[]>(names.map((name) => [name, []]));
  const warm: number[] = [];
  const burst: number[] = [];
  const spec = names.includes("runc") ? "runc" : names[0];
  const problem = spec === undefined ? undefined : await writeBundle(user, `${dir}/bundle`, spec);
  if (problem !== undefined) console.log(`  ${spec} spec: ${problem}`);
  // In rounds, so that neither has the machine's better minute for itself.
  for (let round = 0; round < 3; round++) {
    const some = Math.max(1, Math.ceil(runs / 3));
    warm.push(...await apiStarts(engine, IMAGE, some, true));
    burst.push(...await apiStarts(engine, IMAGE, some, false));
    if (names.length === 0) continue;
    for (const [name, more] of await timeRuntimes(user, `${dir}/bundle`, names, some)) {
      times.get(name)?.push(...more);
    }
  }
  return [
    { name: "berth, warm shim", times: warm },
    { name: "berth, in a burst", times: burst },
    ...[...times].map(([name, t]) => ({ name, times: t })),
    ...missing,
  ];
}

function printGoal(rows: readonly Row[]): void {
  const of = (name: string) => median(rows.find((row) => row.name === name)?.times ?? []);
  const ratio = of("berth run") / of("podman run");
  if (!Number.isNaN(ratio)) {
    console.log(`  berth takes ${ratio.toFixed(2)} of podman's time (goal: at most 0.25)`);
  }
}

/** An error while cleaning up must not hide the one before it. */
function describe(error: unknown): string {
  if (error instanceof SuppressedError) {
    return `${describe(error.suppressed)}\nand then: ${describe(error.error)}`;
  }
  return error instanceof Error ? error.message : String(error);
}

if (import.meta.main) {
  if (!hasBusybox()) {
    console.error("bench: needs a static busybox: sudo apt-get install busybox-static");
    Deno.exit(1);
  }
  const cleanUp = await setup();
  try {
    await bench(parseOptions(Deno.args));
  } catch (error) {
    console.error(`bench: ${describe(error)}`);
    Deno.exitCode = 1;
  } finally {
    cleanUp?.();
  }
}
