import { exists } from "../base/exists.ts";
import { TAR_END, type TarEntryInput, tarHeader, tarPadding } from "../fs/tar/mod.ts";
import { hostEtc } from "./host_etc.ts";
import { HOST_PLATFORM } from "./platform.ts";
import type { ContainerDefaults } from "./types.ts";
import { concat } from "../base/concat.ts";

/**
 * `berth/host`: this machine's own system directories as an image. Its one layer holds an empty machine (directories, links and
 * a private copy of /etc); usr and the like are mounted into each container and never copied.
 */
export const HOST_IMAGE = "berth/host:latest";
export const HOST_LABEL = "org.berth.host";

/** Directories of the host that are shown in containers, where they are real ones and not links into usr. */
const SYSTEM_DIRS = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

const FRESH_DIRS: readonly (readonly [path: string, mode: number])[] = [
  ["dev", 0o755],
  ["etc", 0o755],
  ["home", 0o755],
  ["media", 0o755],
  ["mnt", 0o755],
  ["opt", 0o755],
  ["proc", 0o555],
  ["root", 0o700],
  ["run", 0o755],
  ["srv", 0o755],
  ["sys", 0o555],
  ["tmp", 0o1777],
  ["var", 0o755],
  ["var/cache", 0o755],
  ["var/lib", 0o755],
  ["var/local", 0o755],
  ["var/log", 0o755],
  ["var/spool", 0o755],
  ["var/tmp", 0o1777],
];

/** Where things are on this machine; another one in tests. */
export interface HostLayout {
  /** Absolute: ["/usr", "/bin", …] */
  readonly dirs: readonly string[];
  /** [name, target] of links like bin → usr/bin. */
  readonly links: readonly (readonly [string, string])[];
}

export function hostLayout(): HostLayout {
  const dirs: string[] = [];
  const links: [string, string][] = [];
  for (const name of SYSTEM_DIRS) {
    try {
      const info = Deno.lstatSync(`/${name}`);
      if (info.isDirectory) dirs.push(`/${name}`);
      else if (info.isSymlink) links.push([name, Deno.readLinkSync(`/${name}`)]);
    } catch {
      // not every machine has all of them
    }
  }
  return { dirs, links };
}

/** How much of the archive is handed on at once: each piece is a write(2) by another thread. */
const PIECE = 256 * 1024;

/** The layer as a tar archive, in pieces of {@link PIECE} or little more. */
export async function* hostLayer(layout: HostLayout): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for (const part of layerParts(layout)) {
    parts.push(part);
    length += part.length;
    if (length < PIECE) continue;
    yield concat(parts);
    parts = [];
    length = 0;
  }
  yield concat(parts);
}

function* layerParts(layout: HostLayout): Generator<Uint8Array, void, undefined> {
  const now = [Math.floor(Date.now() / 1000), 0] as const;
  const header = (entry: TarEntryInput) => tarHeader({ mtime: now, ...entry });
  for (const [name, mode] of FRESH_DIRS) yield header({ name, type: "directory", mode });
  for (const dir of layout.dirs) yield header({ name: dir.slice(1), type: "directory", mode: 0o755 });
  for (const [name, linkName] of layout.links) yield header({ name, type: "symlink", linkName, mode: 0o777 });
  yield header({ name: "var/run", type: "symlink", linkName: "/run", mode: 0o777 });
  yield header({ name: "var/lock", type: "symlink", linkName: "/run/lock", mode: 0o777 });
  for (const { entry, data } of hostEtc()) {
    yield header(entry);
    if (data) {
      yield data;
      yield tarPadding(data.length);
    }
  }
  yield TAR_END;
}

/** The image's configuration but for its layers. */
export function hostDefaults(): ContainerDefaults {
  return {
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    Cmd: [exists("/bin/bash") ? "/bin/bash" : "/bin/sh"],
    WorkingDir: "/",
    Labels: { [HOST_LABEL]: "true" },
  };
}

export function hostConfig(diffId: string, created: string, fingerprint: string): Record<string, unknown> {
  return {
    ...HOST_PLATFORM,
    created,
    config: hostDefaults(),
    [FINGERPRINT]: fingerprint,
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{
      created,
      created_by: "berth/host",
      comment: "this machine's system directories, and a copy of its /etc",
    }],
  };
}

/** Tells whether the copy of /etc is still a fair one. Not a label: labels are shown, and inherited by what is built on the image. */
const FINGERPRINT = "org.berth.host.fingerprint";

/** {@link hostFingerprint} at the time when the image of this configuration was made; undefined for other images. */
export function fingerprintOf(configJson: string): unknown {
  return (JSON.parse(configJson) as Record<string, unknown>)[FINGERPRINT];
}

/** Changes with the system's release and its users. */
export function hostFingerprint(): string {
  return ["/etc/os-release", "/etc/passwd", "/etc/group"].map((path) => {
    try {
      const { mtime, size } = Deno.statSync(path);
      return `${mtime?.getTime() ?? 0}.${size}`;
    } catch {
      return "-";
    }
  }).join(" ");
}

/**
 * Whether the owners of the host's files are known in this user namespace: only then can a file be copied up. An id
 * that is not mapped reads as the overflow id.
 */
export function hostOwnersMapped(): boolean {
  try {
    const overflow = Number(Deno.readTextFileSync("/proc/sys/kernel/overflowuid"));
    const { uid } = Deno.statSync("/usr");
    return uid === 0 && uid !== overflow;
  } catch {
    return false;
  }
}
