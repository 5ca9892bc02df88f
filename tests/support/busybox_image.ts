/**
 * A real `docker save` archive made of Debian's busybox-static: the smallest image that has a shell.
 */
import { createHash } from "node:crypto";

/** What an archive of {@link busyboxArchive} holds besides busybox. */
export interface BusyboxImage {
  /** "name:tag" in the archive's manifest. */
  readonly reference?: string;
  /** `config` of the image configuration. */
  readonly config?: Record<string, unknown>;
  /** Further files of the layer: path → content. */
  readonly files?: Readonly<Record<string, string>>;
  /** Symbolic links of the layer: path → target. They may replace directories. */
  readonly links?: Readonly<Record<string, string>>;
  /** Leave the shell out: the image holds `files` only. */
  readonly empty?: boolean;
}

const PASSWD =
  "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000:app:/home/app:/bin/sh\n";
const GROUP = "root:x:0:\nnogroup:x:65534:\napp:x:1000:\nextra:x:2000:app\nmore:x:2001:app\n";

/** Whether busybox-static is installed; the archive cannot be made without it. */
export function hasBusybox(): boolean {
  try {
    return Deno.statSync("/bin/busybox").isFile;
  } catch {
    return false;
  }
}

/** Makes a root file system with busybox and its applets in `directory`. */
export async function busyboxRootfs(directory: string, image: BusyboxImage = {}): Promise<void> {
  await Deno.mkdir(directory, { recursive: true });
  if (image.empty !== true) {
    for (
      const path of [
        "bin",
        "etc",
        "root",
        "home/app",
        "usr/bin",
        "usr/sbin",
        "sbin",
        "var",
        "dev",
        "proc",
        "sys",
      ]
    ) {
      await Deno.mkdir(`${directory}/${path}`, { recursive: true });
    }
    await Deno.mkdir(`${directory}/tmp`);
    await Deno.chmod(`${directory}/tmp`, 0o1777);
    await Deno.copyFile("/bin/busybox", `${directory}/bin/busybox`);
    await Deno.chmod(`${directory}/bin/busybox`, 0o755);
    await Deno.writeTextFile(`${directory}/etc/passwd`, PASSWD);
    await Deno.writeTextFile(`${directory}/etc/group`, GROUP);
    const { stdout } = await new Deno.Command("/bin/busybox", { args: ["--list"] }).output();
    for (const applet of new TextDecoder().decode(stdout).trim().split("\n")) {
      if (applet !== "busybox") await Deno.symlink("/bin/busybox", `${directory}/bin/${applet}`);
    }
  }
  for (const [path, content] of Object.entries(image.files ?? {})) {
    await Deno.mkdir(`${directory}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${directory}/${path}`, content);
    await Deno.chmod(`${directory}/${path}`, 0o755);
  }
  for (const [path, target] of Object.entries(image.links ?? {})) {
    await Deno.remove(`${directory}/${path}`, { recursive: true }).catch(() => {});
    await Deno.symlink(target, `${directory}/${path}`);
  }
}

/** Packs a root file system as `docker save` does; answers the path of the archive below `directory`. */
export async function packDockerArchive(
  rootfs: string,
  directory: string,
  image: BusyboxImage = {},
): Promise<string> {
  const stage = await Deno.makeTempDir({ dir: directory, prefix: "save-" });
  await run("tar", [
    "--numeric-owner",
    "--owner=0",
    "--group=0",
    "--sort=name",
    "-C",
    rootfs,
    "-cf",
    `${stage}/layer.tar`,
    ".",
  ]);
  const diffId = await sha256File(`${stage}/layer.tar`);
  await Deno.mkdir(`${stage}/${diffId}`);
  await Deno.rename(`${stage}/layer.tar`, `${stage}/${diffId}/layer.tar`);
  const config = JSON.stringify({
    architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
    os: "linux",
    created: "2024-05-06T07:08:09Z",
    config: { Cmd: ["/bin/sh"], Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], ...image.config },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
    history: [{ created: "2024-05-06T07:08:09Z", created_by: "ADD rootfs /" }],
  });
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  await Deno.writeTextFile(`${stage}/${configName}`, config);
  await Deno.writeTextFile(
    `${stage}/manifest.json`,
    JSON.stringify([{
      Config: configName,
      RepoTags: [image.reference ?? "busybox:latest"],
      Layers: [`${diffId}/layer.tar`],
    }]),
  );
  const archive = `${stage}.tar`;
  await run("tar", ["-C", stage, "-cf", archive, "manifest.json", configName, `${diffId}/layer.tar`]);
  await Deno.remove(stage, { recursive: true });
  return archive;
}

/** A `docker save` archive of busybox below `directory`, readable by everybody. */
export async function busyboxArchive(directory: string, image: BusyboxImage = {}): Promise<string> {
  const rootfs = await Deno.makeTempDir({ dir: directory, prefix: "rootfs-" });
  await Deno.chmod(rootfs, 0o755);
  await busyboxRootfs(rootfs, image);
  const archive = await packDockerArchive(rootfs, directory, image);
  await Deno.remove(rootfs, { recursive: true });
  await Deno.chmod(archive, 0o644);
  return archive;
}

async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}

async function run(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}
