/** Builds of images beside podman build (buildah): cold, all cached, and after a change; less what the commands themselves take. */

import { startEngine } from "../tests/support/engine.ts";
import type { User } from "../tests/support/users.ts";
import { berthTool, DEADLINE, PodmanStores, time, type Tool } from "./beside_podman.ts";
import { buildProjects, type Project } from "./build_projects.ts";
import { lastLine } from "./peers.ts";

/** At most so much of podman's overhead. */
const GOALS = { cold: 0.7, warm: 0.2, changed: 0.7 } as const;
type Kind = keyof typeof GOALS;

const best = (times: readonly number[]): number => times.length === 0 ? Number.NaN : Math.min(...times);

const TAG = "localhost/bench-built";

/** A tool and its words for what is measured. */
interface Builder {
  readonly tool: Tool;
  readonly build: readonly string[];
  /** For `run`. */
  readonly run: readonly string[];
  /** Everything that builds have left. */
  readonly forget: readonly (readonly string[])[];
}

/** Milliseconds. */
interface Times extends Record<Kind, number[]> {
  /** The commands, in one container. */
  readonly commands: number[];
}

export async function printBuilds(user: User, dir: string, rounds: number): Promise<void> {
  console.log("\nBuilds: time beyond the build's own commands, measured by running these in one container\n");
  const base = `${dir}/builds`;
  await Deno.mkdir(base);
  await Deno.chmod(base, 0o755);
  if (user.uid !== Deno.uid()) await Deno.chown(base, user.uid, user.gid);
  const { projects, missing } = await buildProjects(user, base);
  for (const reason of missing) console.log(`  left out: ${reason}`);
  await using stores = await PodmanStores.open(user, `${base}/stores`);
  await using engine = await startEngine({ user });
  const berth: Builder = {
    tool: berthTool(engine),
    build: ["build", "-q"],
    run: ["run", "--rm", "--network=none"],
    forget: [["rmi", "-f", TAG], ["builder", "prune", "-a", "-f"]],
  };
  const podman = stores === undefined ? undefined : await podmanBuilder(stores.fresh(), base);
  if (stores === undefined) console.log("  podman is not installed: berth alone");
  if (typeof podman === "string") console.log(`  podman cannot build here: ${podman}`);
  console.log("  Docker's classic builder is not measured: no dockerd runs here");
  const peer = typeof podman === "string" ? undefined : podman;
  printHead();
  for (const project of projects) await oneProject(project, berth, peer, rounds);
  console.log(
    "  (best runs in ms, for a difference of two medians is mostly noise; ratio: berth's overhead to podman's; commands: the quicker of both)",
  );
}

/** podman with a runtime and an isolation that work on this machine, or why there is none. */
async function podmanBuilder(tool: Tool, dir: string): Promise<Builder | string> {
  const probe = `${dir}/probe`;
  await Deno.mkdir(probe);
  await Deno.copyFile("/bin/busybox", `${probe}/busybox`);
  await Deno.writeTextFile(`${probe}/Dockerfile`, 'FROM scratch\nCOPY busybox /\nRUN ["/busybox", "true"]\n');
  let problem = "";
  for (
    const [runtime, isolation] of [["crun", "oci"], ["crun", "rootless"], ["runc", "rootless"], [
      "runc",
      "oci",
    ]]
  ) {
    const words = [`--runtime=${runtime}`, `--isolation=${isolation}`];
    const { code, stderr } = await tool.run(["build", "-q", ...words, "-t", TAG, probe]);
    if (code === 0) {
      console.log(`  podman: --runtime ${runtime} --isolation ${isolation}`);
      const run = (
        extra: string[],
      ) => ["--runtime", runtime ?? "", "run", "--rm", "--network=none", ...extra];
      const tried = await tool.run([...run(["--cgroups=disabled"]), TAG, "/busybox", "true"]);
      return {
        tool,
        build: ["build", "-q", "--layers", ...words],
        run: run([`--cgroups=${tried.code === 0 ? "disabled" : "enabled"}`]),
        forget: [["rmi", "-f", TAG], ["image", "prune", "-f"]],
      };
    }
    problem = lastLine(stderr);
  }
  return problem;
}

async function oneProject(
  project: Project,
  berth: Builder,
  podman: Builder | undefined,
  rounds: number,
): Promise<void> {
  const builders = podman === undefined ? [berth] : [berth, podman];
  const all = new Map<Builder, Times>();
  for (const builder of builders) {
    all.set(builder, { cold: [], warm: [], changed: [], commands: [] });
    for (const [name, archive] of project.bases) await time(builder.tool, ["import", archive, name]);
    // the first to read an image's files waits for the disk
    if (project.commands !== undefined) await commandsAlone(builder, project);
  }
  const source = `${project.dir}/${project.source}`;
  const original = await Deno.readTextFile(source);
  for (let round = 0; round < rounds; round++) {
    for (const builder of builders) {
      const times = all.get(builder);
      if (times === undefined) continue;
      if (project.commands !== undefined) times.commands.push(await commandsAlone(builder, project));
      await Deno.writeTextFile(source, original);
      await forget(builder);
      const build = () => time(builder.tool, [...builder.build, "-t", TAG, project.dir]);
      times.cold.push(await build());
      times.warm.push(await build());
      await Deno.writeTextFile(source, `${original}\n`);
      times.changed.push(await build());
    }
  }
  await Deno.writeTextFile(source, original);
  for (const builder of builders) {
    await forget(builder);
    for (const name of project.bases.keys()) await builder.tool.run(["rmi", "-f", name]);
  }
  print(project, all.get(berth), podman && all.get(podman));
}

async function forget({ tool, forget }: Builder): Promise<void> {
  for (const args of forget) await tool.run([...args]);
}

/** Milliseconds by the clock inside: to start the container is not part of it. */
async function commandsAlone({ tool, run }: Builder, { dir, commands }: Project): Promise<number> {
  if (commands === undefined) return 0;
  const script = `set -e; start=$(date +%s%N); { ${commands.script}
} >/dev/null 2>&1; end=$(date +%s%N); echo $((end - start))`;
  const args = [...run, "-v", `${dir}:/context:ro`, commands.image, "sh", "-c", script];
  const { code, stdout, stderr } = await tool.run(args);
  if (code !== 0) throw new Error(`${tool.name} ${args.join(" ")}: ${lastLine(stderr)} (${DEADLINE} ms)`);
  return Number(stdout.trim()) / 1e6;
}

function printHead(): void {
  const columns = ["commands", "berth", "overhead", "podman", "overhead", "ratio"].map((word) =>
    word.padStart(10)
  ).join("");
  console.log(`\n  ${"".padEnd(40)}${columns}   goal`);
}

function print({ name }: Project, ours: Times | undefined, theirs: Times | undefined): void {
  if (ours === undefined) return;
  const alone = [ours, theirs].flatMap((times) =>
    times === undefined || times.commands.length === 0 ? [] : [best(times.commands)]
  );
  const commands = alone.length === 0 ? 0 : Math.min(...alone);
  for (const kind of ["cold", "warm", "changed"] as const) {
    // what is repeated after a change is less than all: whole times are compared
    const own = kind === "cold" ? commands : 0;
    const [a, b] = [ours, theirs].map((times) => times === undefined ? Number.NaN : best(times[kind]));
    const [over, peer] = [(a ?? Number.NaN) - own, (b ?? Number.NaN) - own];
    const cells = [own, a, over, b, peer].map((ms) =>
      (ms === undefined || Number.isNaN(ms) ? "-" : ms.toFixed(0)).padStart(10)
    );
    // below nothing: the machine was busier while the commands ran alone
    const ratio = peer > 0 ? Math.max(0, over) / peer : Number.NaN;
    const verdict = Number.isNaN(ratio) ? "not to be told" : ratio <= GOALS[kind] ? "met" : "missed";
    const goal = kind === "changed" ? "" : `at most ${GOALS[kind]}: ${verdict}`;
    const shown = Number.isNaN(ratio) ? "-" : ratio.toFixed(2);
    console.log(`  ${`${name}, ${kind}`.padEnd(40)}${cells.join("")}${shown.padStart(10)}   ${goal}`);
  }
}
