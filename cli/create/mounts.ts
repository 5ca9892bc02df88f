/** `--mount`, `--volume` and `--tmpfs` in the shapes the API takes. */

import { parseBytes } from "../flags/values.ts";
import { csvFields } from "../flags/csv.ts";
import { absolutePath } from "./paths.ts";

/** The API's Mount; groups of options appear only when one of them was given. */
export interface Mount {
  Type: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    Subpath?: string;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  ImageOptions?: { Subpath?: string };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
}

const BOOLEAN_KEYS = ["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"];

/** Parses `type=bind,src=/a,dst=/b,readonly`. Throws with docker's messages. */
export function parseMount(text: string): Mount {
  const value = text.trim();
  if (value === "") throw new Error("value is empty");
  const mount: Mount = { Type: "volume" };
  for (const field of csvFields(value)) applyField(mount, field);
  checkMount(mount);
  return mount;
}

function applyField(mount: Mount, field: string): void {
  const equals = field.indexOf("=");
  const written = equals < 0 ? field : field.slice(0, equals);
  const value = equals < 0 ? undefined : field.slice(equals + 1);
  if (written.trim() !== written) {
    throw new Error(`invalid option '${written.trim()}' in '${field}': option should not have whitespace`);
  }
  if (value !== undefined) {
    if (value.trim() === "") throw new Error(`invalid value for '${written}': value is empty`);
    if (value.trim() !== value) {
      throw new Error(`invalid value for '${written}' in '${field}': value should not have whitespace`);
    }
  }
  const key = written.toLowerCase();
  if (value === undefined && !BOOLEAN_KEYS.includes(key)) {
    throw new Error(`invalid field '${field}' must be a key=value pair`);
  }
  setOption(mount, key, value, field);
}

function setOption(mount: Mount, key: string, given: string | undefined, field: string): void {
  const value = given ?? "";
  const bind = () => mount.BindOptions ??= {};
  const volume = () => mount.VolumeOptions ??= {};
  const driver = () => volume().DriverConfig ??= {};
  const tmpfs = () => mount.TmpfsOptions ??= {};
  switch (key) {
    case "type":
      mount.Type = value.toLowerCase();
      return;
    case "source":
    case "src":
      mount.Source = value.startsWith(".") ? absolutePath(value) : value;
      return;
    case "target":
    case "dst":
    case "destination":
      mount.Target = value;
      return;
    case "readonly":
    case "ro":
      mount.ReadOnly = boolean(key, given);
      return;
    case "consistency":
      mount.Consistency = value.toLowerCase();
      return;
    case "bind-propagation":
      bind().Propagation = value.toLowerCase();
      return;
    case "bind-nonrecursive":
      bind().NonRecursive = boolean(key, given);
      return;
    case "bind-recursive":
      setRecursive(bind(), value);
      return;
    case "bind-create-src":
      bind().CreateMountpoint = boolean(key, given);
      return;
    case "volume-subpath":
      volume().Subpath = value;
      return;
    case "volume-nocopy":
      volume().NoCopy = boolean(key, given);
      return;
    case "volume-label":
      setPair(volume().Labels ??= {}, value);
      return;
    case "volume-driver":
      driver().Name = value;
      return;
    case "volume-opt":
      setPair(driver().Options ??= {}, value);
      return;
    case "image-subpath":
      (mount.ImageOptions ??= {}).Subpath = value;
      return;
    case "tmpfs-size":
      try {
        tmpfs().SizeBytes = parseBytes(value);
      } catch {
        throw new Error(`invalid value for ${key}: ${value}`);
      }
      return;
    case "tmpfs-mode":
      if (!/^[0-7]{1,10}$/.test(value)) throw new Error(`invalid value for ${key}: ${value}`);
      tmpfs().Mode = parseInt(value, 8);
      return;
    default:
      throw new Error(`unexpected key '${key}' in '${field}'`);
  }
}

function setRecursive(bind: NonNullable<Mount["BindOptions"]>, value: string): void {
  switch (value) {
    case "enabled":
      return;
    case "disabled":
      bind.NonRecursive = true;
      return;
    case "writable":
      bind.ReadOnlyNonRecursive = true;
      return;
    case "readonly":
      bind.ReadOnlyForceRecursive = true;
      return;
    default:
      throw new Error(
        `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
      );
  }
}

function boolean(key: string, value: string | undefined): boolean {
  if (value === undefined || value === "1" || value === "true") return true;
  if (value === "0" || value === "false") return false;
  throw new Error(
    `invalid value for '${key}': invalid boolean value (${JSON.stringify(value)}): ` +
      'must be one of "true", "1", "false", or "0" (default "true")',
  );
}

function setPair(target: Record<string, string>, pair: string): void {
  const equals = pair.indexOf("=");
  const key = equals < 0 ? pair : pair.slice(0, equals);
  if (key !== "") target[key] = equals < 0 ? "" : pair.slice(equals + 1);
}

const OPTION_GROUPS = [
  ["bind", "BindOptions"],
  ["volume", "VolumeOptions"],
  ["image", "ImageOptions"],
  ["tmpfs", "TmpfsOptions"],
] as const;

function checkMount(mount: Mount): void {
  if (mount.Type === "") throw new Error("type is required");
  for (const [type, group] of OPTION_GROUPS) {
    if (mount.Type !== type && mount[group] !== undefined) {
      throw new Error(`cannot mix '${type}-*' options with mount type '${mount.Type}'`);
    }
  }
  const bind = mount.BindOptions;
  if (bind?.ReadOnlyNonRecursive && !mount.ReadOnly) {
    throw new Error("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  }
  if (bind?.ReadOnlyForceRecursive && !mount.ReadOnly) {
    throw new Error("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
  }
  if (bind?.ReadOnlyForceRecursive && bind.Propagation !== "rprivate") {
    throw new Error(
      "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
    );
  }
}

/**
 * Splits `--volume` values into binds (`source:target[:options]`, a relative source made absolute) and anonymous
 * volumes (a target alone), as the API wants them. Throws with docker's messages.
 */
export function splitVolumes(
  specs: readonly string[],
): { binds: string[] | null; volumes: Record<string, object> } {
  const binds: string[] = [];
  const volumes: Record<string, object> = {};
  for (const spec of new Set(specs)) {
    if (spec === "") throw new Error("invalid empty volume spec");
    const parts = spec.length <= 2 ? [spec] : spec.split(":");
    if (parts.includes("")) throw new Error(`invalid spec: ${spec}: empty section between colons`);
    if (parts.length > 3) throw new Error(`invalid spec: ${spec}: too many colons`);
    const [source = "", ...rest] = parts;
    if (rest.length === 0) volumes[spec] = {};
    else binds.push([source.startsWith(".") ? absolutePath(source) : source, ...rest].join(":"));
  }
  return { binds: binds.length === 0 ? null : binds, volumes };
}

/** `--tmpfs /run:size=64m` by path. */
export function tmpfsMap(specs: readonly string[]): Record<string, string> {
  return Object.fromEntries(specs.map((spec) => {
    const colon = spec.indexOf(":");
    return colon < 0 ? [spec, ""] : [spec.slice(0, colon), spec.slice(colon + 1)];
  }));
}
