/**
 * A real Debian root file system, made by mmdebstrap (or debootstrap) and kept in `.cache/` for the next run: a tar archive
 * with device nodes, set-user-ID programs, system users and package databases, which no archive made by hand has.
 */
import { createHash } from "node:crypto";
import { HOST_ARCHITECTURE } from "./image_archive.ts";

const CACHE = new URL("../../.cache/debian", import.meta.url).pathname;
/** As long as a slow mirror may take. */
const DEADLINE_MS = 240_000;

/** The archive's path, or why there is none. */
export type DebianRootfs = { readonly tar: string } | { readonly missing: string };

/**
 * The archive of this machine's own Debian release. It is made once; two test runs that want it at the same time each make one, and
 * the last rename wins. BERTH_DEBIAN_MIRROR names a mirror other than the tool's default.
 */
export async function debianRootfs(): Promise<DebianRootfs> {
  const release = Deno.readTextFileSync("/etc/os-release");
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (suite === undefined || !/^ID=debian$/m.test(release)) return { missing: "this machine is no Debian" };
  const tar = `${CACHE}/${suite}-${HOST_ARCHITECTURE}.tar`;
  if (exists(tar)) return { tar };
  const mirror = Deno.env.get("BERTH_DEBIAN_MIRROR");
  await Deno.mkdir(CACHE, { recursive: true });
  const temporary = `${CACHE}/tmp-${crypto.randomUUID()}.tar`;
  const commands: string[][] = [
    ["mmdebstrap", "--variant=minbase", suite, temporary, ...(mirror ? [mirror] : [])],
  ];
  // debootstrap makes device nodes and a directory only: root's
  if (Deno.uid() === 0) {
    const script =
      'debootstrap --variant=minbase "$0" "$1" ${3:+"$3"} && tar --numeric-owner -C "$1" -cf "$2" .; ' +
      'status=$?; rm -rf --one-file-system "$1"; exit $status';
    commands.push(["sh", "-c", script, suite, `${temporary}.d`, temporary, ...(mirror ? [mirror] : [])]);
  }
  const problems: string[] = [];
  for (const [program = "", ...args] of commands) {
    const problem = await run(program, args);
    if (problem === undefined) {
      await Deno.chmod(temporary, 0o644);
      await Deno.rename(temporary, tar);
      return { tar };
    }
    problems.push(problem);
    await Deno.remove(temporary).catch(() => {});
  }
  return { missing: problems.join("; ") };
}

/** Undefined when it worked, else its last words. */
async function run(program: string, args: string[]): Promise<string | undefined> {
  try {
    const { success, stderr } = await new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(DEADLINE_MS),
    }).output();
    return success ? undefined : `${program}: ${new TextDecoder().decode(stderr).trim().split("\n").at(-1)}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `${program} is not installed`;
    throw error;
  }
}

/** Packs a root file system's archive as `docker save` would, without unpacking it; answers the new archive's path. */
export async function asDockerArchive(tar: string, directory: string, reference: string): Promise<string> {
  const stage = await Deno.makeTempDir({ dir: directory, prefix: "save-" });
  const hash = createHash("sha256");
  using file = await Deno.open(tar);
  for await (const chunk of file.readable) hash.update(chunk);
  const diffId = hash.digest("hex");
  await Deno.mkdir(`${stage}/${diffId}`);
  await Deno.symlink(tar, `${stage}/${diffId}/layer.tar`);
  const config = JSON.stringify({
    architecture: HOST_ARCHITECTURE,
    os: "linux",
    created: "2024-05-06T07:08:09Z",
    config: { Cmd: ["bash"], Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
    history: [{ created: "2024-05-06T07:08:09Z", created_by: "debootstrap" }],
  });
  const Config = `${createHash("sha256").update(config).digest("hex")}.json`;
  await Deno.writeTextFile(`${stage}/${Config}`, config);
  const Layers = [`${diffId}/layer.tar`];
  await Deno.writeTextFile(
    `${stage}/manifest.json`,
    JSON.stringify([{ Config, RepoTags: [reference], Layers }]),
  );
  const archive = `${stage}.tar`;
  const problem = await run("tar", ["-C", stage, "-chf", archive, "manifest.json", Config, ...Layers]);
  if (problem !== undefined) throw new Error(problem);
  await Deno.remove(stage, { recursive: true });
  await Deno.chmod(archive, 0o644);
  return archive;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
