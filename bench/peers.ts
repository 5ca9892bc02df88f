/** The programs that berth is measured beside. All of them run as the same ordinary user as berth's engine. */

import { runAs, type RunResult, type User } from "../tests/support/users.ts";

/** podman, made to work on this machine; or why that is not possible. */
export type Podman =
  | {
    run(args: string[]): Promise<RunResult>;
    /** The words that {@link run} runs, with another `--network` than none where it is named. */
    runArgv(args: string[], network?: string): string[];
    /** The words of any other command. */
    argv(args: string[]): string[];
    what: string;
  }
  | { missing: string };

/** First line of `program --version`, or undefined when it is not installed. */
export async function versionOf(user: User, program: string): Promise<string | undefined> {
  const { code, stdout } = await runAs(user, ["sh", "-c", `${program} --version 2>/dev/null`]);
  return code === 0 ? stdout.split("\n")[0] : undefined;
}

/**
 * Loads the image into a podman store of its own in `dir` and finds the runtime that works: crun is podman's own
 * choice, and refuses machines with both versions of cgroups mounted; there runc stands in.
 */
export async function preparePodman(
  user: User,
  dir: string,
  rootfsTar: string,
  image: string,
): Promise<Podman> {
  const version = await versionOf(user, "podman");
  if (version === undefined) return { missing: "podman is not installed" };
  const store = ["--root", `${dir}/podman`, "--runroot", `${dir}/podman-run`, "--storage-driver", "overlay"];
  const common = [
    "podman",
    ...store,
    "--cgroup-manager=cgroupfs",
    "--events-backend=file",
    "--log-level=error",
  ];
  const imported = await runAs(user, [...common, "import", rootfsTar, image]);
  if (imported.code !== 0) return { missing: `podman import: ${lastLine(imported.stderr)}` };
  let problem = "";
  for (
    const [runtime, cgroups] of [["crun", "disabled"], ["crun", "enabled"], ["runc", "enabled"]] as const
  ) {
    const runArgv = (args: string[], network = "none"): string[] => [
      ...common,
      "--runtime",
      runtime,
      "run",
      "--rm",
      `--cgroups=${cgroups}`,
      "--network",
      network,
      ...args,
    ];
    const argv = (args: string[]): string[] => [...common, ...args];
    const run = (args: string[]) => runAs(user, runArgv(args));
    const { code, stderr } = await run([image, "true"]);
    if (code === 0) {
      return { run, runArgv, argv, what: `${version}, rootless, overlay, ${runtime}, cgroups ${cgroups}` };
    }
    problem = lastLine(stderr);
  }
  return { missing: `podman run: ${problem}` };
}

/** Removes podman's store: its files belong to subordinate ids, its mounts to its own namespace. */
export async function removePodman(user: User, dir: string): Promise<void> {
  const store = ["--root", `${dir}/podman`, "--runroot", `${dir}/podman-run`];
  await runAs(user, ["podman", ...store, "system", "reset", "--force"]).catch(() => {});
  await runAs(user, ["podman", ...store, "system", "migrate"]).catch(() => {});
}

/** Options of `unshare` for what a rootless runtime needs around it. */
const NAMESPACES = ["--user", "--map-root-user", "--map-auto", "--mount", "--cgroup"];

/**
 * Milliseconds of `runs` times `<runtime> run <bundle>` (create, start, wait, delete in one command) in a user
 * namespace, for each runtime that is installed, interleaved. bash takes the times: its clock needs no process.
 */
export async function timeRuntimes(
  user: User,
  bundle: string,
  runtimes: readonly string[],
  runs: number,
): Promise<Map<string, number[]>> {
  const script = `
mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
cd ${bundle}
for i in $(seq ${runs}); do
  for runtime in ${runtimes.join(" ")}; do
    case $runtime in crun) flags=--cgroup-manager=disabled ;; *) flags= ;; esac
    start=$EPOCHREALTIME
    $runtime --root ${bundle}/state-$runtime $flags run bench-$i >/dev/null 2>${bundle}/error || {
      echo "$runtime failed $(tail -n 1 ${bundle}/error)"
      continue
    }
    end=$EPOCHREALTIME
    echo "$runtime \${start/[.,]/} \${end/[.,]/}"
  done
done`;
  const { stdout, stderr } = await runAs(user, ["unshare", ...NAMESPACES, "bash", "-c", script], {
    timeout: 300_000,
  });
  const times = new Map<string, number[]>(runtimes.map((name) => [name, []]));
  for (const line of stdout.trim().split("\n")) {
    const [name = "", start, end] = line.split(" ");
    if (start === "failed") console.log(`  ${line}`);
    else if (end !== undefined) times.get(name)?.push((Number(end) - Number(start)) / 1000);
  }
  if (stderr !== "" && stdout === "") console.log(`  ${lastLine(stderr)}`);
  return times;
}

/** Writes a bundle that runs /bin/true of `rootfs`, as `runc spec --rootless` describes it. */
export async function writeBundle(user: User, bundle: string, spec: string): Promise<string | undefined> {
  const made = await runAs(user, [
    "sh",
    "-c",
    `cd '${bundle}' && rm -f config.json && ${spec} spec --rootless`,
  ]);
  if (made.code !== 0) return lastLine(made.stderr);
  const path = `${bundle}/config.json`;
  const config = JSON.parse(await Deno.readTextFile(path)) as {
    process: { terminal: boolean; args: string[] };
  };
  config.process.terminal = false;
  config.process.args = ["true"];
  await Deno.writeTextFile(path, JSON.stringify(config));
  return undefined;
}

export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
