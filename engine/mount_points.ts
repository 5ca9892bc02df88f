/**
 * A container's mounts as the user asks for them: `Binds` strings, `Mounts` objects and `Tmpfs` options, checked and
 * brought into one form (moby: volume/mounts/linux_parser.go, whose error texts these are).
 */
import { cleanPath } from "../base/clean_path.ts";
import { type EngineError, invalid } from "../base/errors.ts";
import type { HostConfig, MountPointSpec } from "./types.ts";
import { checkVolumeName } from "./volume_name.ts";

/** One mount asked for, checked. Targets are absolute and clean. */
export interface MountPoint {
  readonly type: "bind" | "image" | "tmpfs" | "volume";
  /** Host path of a bind; of a volume once it is known (container_volumes.ts); an image as the user names it; "" otherwise. */
  readonly source: string;
  /** Id of the image, once it is known. */
  readonly imageId?: string;
  /** Name of a volume. "" for one that is to be made with a name of its own. */
  readonly name?: string;
  /** Further wishes for a volume. */
  readonly volume?: VolumeWishes;
  readonly target: string;
  readonly readOnly: boolean;
  /** Read-only below the mount as well: default where the kernel can. "force" fails where it cannot. */
  readonly recursive: "default" | "off" | "force";
  /** The bind takes the mounts below its source along (rbind). */
  readonly rbind: boolean;
  readonly propagation: string;
  /** What stood after the second colon of a bind, shown by inspect. */
  readonly mode: string;
  /** A missing source is made as a directory. */
  readonly createSource: boolean;
  /** Mount options of a tmpfs, in order, not merged with the defaults. */
  readonly tmpfsOptions: readonly string[];
  /** Which field of the request it came from. */
  readonly from: "Binds" | "Mounts" | "Tmpfs" | "Config" | "VolumesFrom";
}

export interface VolumeWishes {
  /** "" for the container's `VolumeDriver`. */
  readonly driver: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** Stays empty although the image has files there. */
  readonly noCopy: boolean;
  /** Directory of the volume that is mounted in the place of all of it; "" for none. */
  readonly subpath: string;
}

export const NO_WISHES: VolumeWishes = { driver: "", labels: {}, options: {}, noCopy: false, subpath: "" };

const PROPAGATION = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
const DEFAULT_PROPAGATION = "rprivate";

/** Options of a bind that exclude each other: at most one of each group (moby: linuxValidMountMode). */
const MODE_GROUPS: readonly (readonly string[])[] = [
  ["rw", "ro"],
  ["z", "Z"],
  PROPAGATION,
  ["nocopy"],
  ["consistent", "cached", "delegated"],
];

function validMode(mode: string): boolean {
  if (mode === "") return true;
  const seen = new Set<readonly string[]>();
  return mode.split(",").every((option) => {
    const group = MODE_GROUPS.find((g) => g.includes(option));
    if (group === undefined || seen.has(group)) return false;
    seen.add(group);
    return true;
  });
}

function checkTarget(target: string): string | undefined {
  if (target === "") return "field Target must not be empty";
  if (cleanPath(target) === "/") return "invalid specification: destination can't be '/'";
  if (!target.startsWith("/")) return `invalid mount path: '${target}' mount path must be absolute`;
  return undefined;
}

const mountError = (type: string, problem: string): EngineError =>
  invalid(`invalid mount config for type "${type}": ${problem}`);

/**
 * Parses one entry of `Binds`: `src:dst[:options]`, or `dst` alone for an anonymous volume.
 *
 * @throws EngineError invalid, in Docker's words.
 */
export function parseBind(raw: string): MountPoint {
  const invalidSpec = (problem?: string) =>
    invalid(`invalid volume specification: '${raw}'${problem === undefined ? "" : `: ${problem}`}`);
  const parts = raw.split(":");
  const [first = "", second = "", mode = ""] = parts;
  if (first === "" || parts.length > 3 || (parts.length === 2 && validMode(second) && second !== "")) {
    throw invalidSpec();
  }
  const [source, target] = parts.length === 1 ? ["", first] : [first, second];
  if (!validMode(mode)) throw invalid(`invalid mode: ${mode}`);
  const type = source.startsWith("/") ? "bind" : "volume";
  const problem = checkTarget(target);
  if (problem !== undefined) throw invalidSpec(`invalid mount config for type "${type}": ${problem}`);
  if (type === "volume" && source !== "") checkVolumeName(source);
  const options = mode.split(",");
  if (type === "volume" && options.some((option) => PROPAGATION.includes(option))) {
    throw invalid(`invalid mode: ${mode}`);
  }
  if (type === "volume") {
    return {
      ...volumePoint(source, cleanPath(target), options.includes("ro")),
      // as the local driver's are shown (moby: setBindModeIfNull)
      mode: mode || "z",
      volume: { ...NO_WISHES, noCopy: options.includes("nocopy") },
      from: "Binds",
    };
  }
  return {
    type,
    source: cleanPath(source),
    target: cleanPath(target),
    readOnly: options.includes("ro"),
    recursive: "default",
    rbind: true,
    propagation: options.find((o) => PROPAGATION.includes(o)) ?? DEFAULT_PROPAGATION,
    mode,
    createSource: true,
    tmpfsOptions: [],
    from: "Binds",
  };
}

/**
 * Parses one entry of `Mounts`. Whether the source exists is not looked at here.
 *
 * @throws EngineError invalid, in Docker's words.
 */
export function parseMount(mount: MountPointSpec): MountPoint {
  const { Type: type, Source: source = "", Target: target } = mount;
  if (type !== "bind" && type !== "tmpfs" && type !== "volume" && type !== "image") {
    if (["cluster", "npipe"].includes(type)) {
      throw mountError(type, "not available in this version of berth");
    }
    throw mountError(type, "mount type unknown");
  }
  const problem = checkTarget(target);
  if (problem !== undefined) throw mountError(type, problem);
  const base = {
    target: cleanPath(target),
    readOnly: mount.ReadOnly ?? false,
    mode: "",
    from: "Mounts",
  } as const;
  if (type === "image") return imagePoint(mount, base);
  if (type === "tmpfs") {
    if (mount.BindOptions) throw mountError(type, "field BindOptions must not be specified");
    if (mount.VolumeOptions) throw mountError(type, "field VolumeOptions must not be specified");
    if (source !== "") throw mountError(type, "field Source must not be specified");
    return {
      ...base,
      type,
      source: "",
      recursive: "off",
      rbind: false,
      propagation: "",
      createSource: false,
      tmpfsOptions: tmpfsMountOptions(mount),
    };
  }
  if (mount.TmpfsOptions) throw mountError(type, "field TmpfsOptions must not be specified");
  if (type === "volume") {
    if (mount.BindOptions) throw mountError(type, "field BindOptions must not be specified");
    if (source !== "") checkVolumeName(source);
    const { NoCopy: noCopy = false, Labels: labels, Subpath: subpath = "", DriverConfig: driver } =
      mount.VolumeOptions ?? {};
    if (subpath !== "" && (subpath.startsWith("/") || subpath.split("/").includes(".."))) {
      throw mountError(type, "subpath must be a relative path within the volume");
    }
    return {
      ...volumePoint(source, base.target, base.readOnly),
      mode: "z",
      volume: {
        driver: driver?.Name ?? "",
        labels: labels ?? {},
        options: driver?.Options ?? {},
        noCopy,
        subpath,
      },
    };
  }
  if (mount.VolumeOptions) throw mountError(type, "field VolumeOptions must not be specified");
  if (source === "") throw mountError(type, "field Source must not be empty");
  if (!source.startsWith("/")) {
    throw mountError(type, `invalid mount path: '${source}' mount path must be absolute`);
  }
  const options = mount.BindOptions ?? {};
  const propagation = options.Propagation || DEFAULT_PROPAGATION;
  if (!PROPAGATION.includes(propagation)) {
    throw mountError(type, `invalid propagation mode: ${propagation}`);
  }
  if (options.ReadOnlyNonRecursive && options.ReadOnlyForceRecursive) {
    throw mountError(type, "ReadOnlyForceRecursive and ReadOnlyNonRecursive are mutually exclusive");
  }
  if (!base.readOnly && (options.ReadOnlyNonRecursive || options.ReadOnlyForceRecursive)) {
    const field = options.ReadOnlyNonRecursive ? "ReadOnlyNonRecursive" : "ReadOnlyForceRecursive";
    throw mountError(type, `mount source is not read-only: ${field} needs ReadOnly`);
  }
  return {
    ...base,
    type,
    source: cleanPath(source),
    recursive: options.ReadOnlyForceRecursive ? "force" : options.ReadOnlyNonRecursive ? "off" : "default",
    rbind: !options.NonRecursive,
    propagation,
    createSource: options.CreateMountpoint ?? false,
    tmpfsOptions: [],
  };
}

/** A volume at `target`, its source not known yet. */
export function volumePoint(name: string, target: string, readOnly: boolean): MountPoint {
  return {
    type: "volume",
    source: "",
    name,
    volume: NO_WISHES,
    target,
    readOnly,
    recursive: "off",
    rbind: true,
    propagation: "",
    mode: "",
    createSource: false,
    tmpfsOptions: [],
    from: "Mounts",
  };
}

/** The files of an image; what is written there goes with the container. */
function imagePoint(
  { Source: source = "", ImageOptions: options }: MountPointSpec,
  base: Pick<MountPoint, "target" | "readOnly" | "mode" | "from">,
): MountPoint {
  if (source === "") throw mountError("image", "field Source must not be empty");
  if (options?.Subpath) {
    throw mountError("image", "a subpath is not available in this version of berth: mount the whole image");
  }
  return {
    ...base,
    type: "image",
    source,
    recursive: "off",
    rbind: false,
    propagation: DEFAULT_PROPAGATION,
    createSource: false,
    tmpfsOptions: [],
  };
}

function tmpfsMountOptions(mount: MountPointSpec): string[] {
  const { SizeBytes: size = 0, Mode: mode = 0, Options: options = [] } = mount.TmpfsOptions ?? {};
  const result: string[] = [];
  if (mount.ReadOnly) result.push("ro");
  if (mode !== 0) result.push(`mode=${mode.toString(8)}`);
  if (size < 0) throw mountError("tmpfs", "invalid tmpfs size: must not be negative");
  if (size !== 0) result.push(`size=${size}`);
  for (const [key = "", value] of options) result.push(value === undefined ? key : `${key}=${value}`);
  return result;
}

/** Flags of mount(8) that a tmpfs may be given: what each sets, or clears when it starts with "-". */
const TMPFS_FLAGS: Readonly<Record<string, string>> = {
  defaults: "",
  ro: "ro",
  rw: "-ro",
  suid: "-nosuid",
  nosuid: "nosuid",
  dev: "-nodev",
  nodev: "nodev",
  exec: "-noexec",
  noexec: "noexec",
  sync: "sync",
  async: "-sync",
  dirsync: "dirsync",
  atime: "-noatime",
  noatime: "noatime",
  diratime: "-nodiratime",
  nodiratime: "nodiratime",
  relatime: "relatime",
  norelatime: "-relatime",
  strictatime: "strictatime",
  nostrictatime: "-strictatime",
  mand: "",
  nomand: "",
  ...Object.fromEntries(PROPAGATION.map((mode) => [mode, ""])),
};

/** Options with a value, which go into the file system's data string. */
const TMPFS_DATA = ["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol", "inode64", "inode32"];

/**
 * Merges a tmpfs's options with Docker's defaults (noexec, nosuid, nodev); the last word on a thing wins.
 *
 * @throws EngineError invalid for an option that a tmpfs does not have.
 */
export function mergeTmpfsOptions(
  options: readonly string[],
): { flags: string[]; data: string; propagation: string | undefined } {
  const flags = new Set(["noexec", "nosuid", "nodev"]);
  const data = new Map<string, string>();
  let propagation: string | undefined;
  for (const option of options) {
    if (option === "") continue;
    const equals = option.indexOf("=");
    const key = equals < 0 ? option : option.slice(0, equals);
    const flag = Object.hasOwn(TMPFS_FLAGS, option) ? TMPFS_FLAGS[option] : undefined;
    if (flag !== undefined) {
      if (PROPAGATION.includes(option)) propagation = option;
      if (flag.startsWith("-")) flags.delete(flag.slice(1));
      else if (flag !== "") flags.add(flag);
    } else if (TMPFS_DATA.includes(key)) {
      data.set(key, option);
    } else {
      throw invalid(`invalid tmpfs option "${option}"`);
    }
  }
  return { flags: [...flags], data: [...data.values()].join(","), propagation };
}

/**
 * All mounts that a container's host configuration asks for, each target once, sorted so that a mount comes
 * before those below it.
 *
 * @throws EngineError invalid.
 */
export function mountPoints(hostConfig: HostConfig): MountPoint[] {
  const points: MountPoint[] = [];
  const add = (point: MountPoint) => {
    if (points.some((p) => p.target === point.target)) {
      throw invalid(`Duplicate mount point: ${point.target}`);
    }
    points.push(point);
  };
  for (const bind of hostConfig.Binds ?? []) add(parseBind(bind));
  for (const mount of hostConfig.Mounts ?? []) add(parseMount(mount));
  for (const [target, options] of Object.entries(hostConfig.Tmpfs ?? {})) {
    const problem = checkTarget(target);
    if (problem !== undefined) throw invalid(`invalid tmpfs destination '${target}': ${problem}`);
    add({
      type: "tmpfs",
      source: "",
      target: cleanPath(target),
      readOnly: false,
      recursive: "off",
      rbind: false,
      propagation: "",
      mode: "",
      createSource: false,
      tmpfsOptions: options.split(","),
      from: "Tmpfs",
    });
  }
  for (const point of points) if (point.type === "tmpfs") mergeTmpfsOptions(point.tmpfsOptions);
  return parentsFirst(points);
}

/** Sorted so that a mount comes before those below it. */
export function parentsFirst(points: readonly MountPoint[]): MountPoint[] {
  const depth = (path: string) => path.split("/").length;
  return [...points].sort((a, b) => depth(a.target) - depth(b.target));
}
