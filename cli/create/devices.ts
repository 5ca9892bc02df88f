/** `--device`, rates of devices, `--gpus` and `--ulimit`. */

import { parseBytes } from "../flags/values.ts";
import { cleanPath } from "../../base/clean_path.ts";
import { csvFields } from "../flags/csv.ts";

export interface DeviceMapping {
  PathOnHost: string;
  PathInContainer: string;
  CgroupPermissions: string;
}

/** Some of r, w and m, each at most once. */
function isDeviceMode(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}

/** `host[:container][:mode]`. Throws with docker's messages. */
export function parseDevice(text: string): DeviceMapping {
  const parts = text.split(":");
  if (parts.length > 3 || parts[0] === "") throw new Error(`bad format for path: ${text}`);
  const [source = "", second = "", third] = parts;
  const secondIsMode = parts.length === 2 && isDeviceMode(second);
  const target = parts.length === 1 || secondIsMode ? source : second;
  if (third !== undefined && !isDeviceMode(third)) throw new Error(`bad mode specified: ${third}`);
  if (!target.startsWith("/")) throw new Error(`${target} is not an absolute path`);
  const clean = parts.length === 3 ? target : cleanPath(target);
  return {
    PathOnHost: parts.length === 1 || secondIsMode ? clean : source,
    PathInContainer: clean,
    CgroupPermissions: third ?? (secondIsMode ? second : "rwm"),
  };
}

/** A device in the notation of the Container Device Interface, vendor/class=name. */
export function isCdiDevice(text: string): boolean {
  return /^[a-zA-Z][\w.-]*\/[a-zA-Z][\w.-]*=[\w.:-]+$/.test(text);
}

function devicePath(text: string): [string, string] {
  const colon = text.indexOf(":");
  if (colon <= 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, colon);
  if (!path.startsWith("/dev/")) throw new Error(`bad format for device path: ${text}`);
  return [path, text.slice(colon + 1)];
}

export interface ThrottleDevice {
  Path: string;
  Rate: number;
}

/** `/dev/sda:1mb`. */
export function parseBytesRate(text: string): ThrottleDevice {
  const [path, rate] = devicePath(text);
  try {
    return { Path: path, Rate: parseBytes(rate) };
  } catch {
    throw new Error(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. ` +
        "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
    );
  }
}

/** `/dev/sda:1000`. */
export function parseOperationsRate(text: string): ThrottleDevice {
  const [path, rate] = devicePath(text);
  if (!/^\d+$/.test(rate)) {
    throw new Error(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>. Number must be a positive integer`,
    );
  }
  return { Path: path, Rate: Number(rate) };
}

/** `/dev/sda:500`. */
export function parseDeviceWeight(text: string): { Path: string; Weight: number } {
  const [path, weight] = devicePath(text);
  const value = Number(weight);
  if (!/^\d+$/.test(weight) || value > 0 && (value < 10 || value > 1000)) {
    throw new Error(`invalid weight for device: ${text}`);
  }
  return { Path: path, Weight: value };
}

export interface Ulimit {
  Name: string;
  Hard: number;
  Soft: number;
}

const ULIMITS = [
  "as",
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];

/** `nofile=1024:2048`; -1 is unlimited. Throws with go-units' messages. */
export function parseUlimit(text: string): Ulimit {
  const equals = text.indexOf("=");
  if (equals < 0) throw new Error(`invalid ulimit argument: ${text}`);
  const name = text.slice(0, equals);
  if (!ULIMITS.includes(name)) throw new Error(`invalid ulimit type: ${name}`);
  const values = text.slice(equals + 1).split(":");
  if (values.length > 2) {
    throw new Error(
      `too many limit value arguments - ${text.slice(equals + 1)}, can only have up to two, \`soft[:hard]\``,
    );
  }
  const [soft = 0, hard = soft] = values.map((value) => {
    if (!/^[+-]?\d+$/.test(value)) {
      throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
    }
    return Number(value);
  });
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new Error(
      soft === -1
        ? `ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: ${hard}`
        : `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
  return { Name: name, Hard: hard, Soft: soft };
}

/** The API's DeviceRequest of `--gpus all`, `--gpus 2`, `--gpus device=0,capabilities=…`. */
export function parseGpus(text: string): object {
  const request: {
    Driver: string;
    Count: number;
    DeviceIDs: string[] | null;
    Capabilities: string[][] | null;
    Options: Record<string, string>;
  } = { Driver: "", Count: 0, DeviceIDs: null, Capabilities: null, Options: {} };
  const seen = new Set<string>();
  for (const field of csvFields(text)) {
    const equals = field.indexOf("=");
    const key = equals < 0 ? "count" : field.slice(0, equals);
    const value = equals < 0 ? field : field.slice(equals + 1);
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    if (key === "count") request.Count = gpuCount(value);
    else if (key === "driver") request.Driver = value;
    else if (key === "device") request.DeviceIDs = value.split(",");
    else if (key === "capabilities") request.Capabilities = [[...value.split(","), "gpu"]];
    else if (key === "options") {
      request.Options = Object.fromEntries(
        csvFields(value).map((pair) => {
          const at = pair.indexOf("=");
          return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
        }),
      );
    } else throw new Error(`unexpected key '${key}' in '${field}'`);
  }
  if (!seen.has("count") && request.DeviceIDs === null) request.Count = 1;
  request.Capabilities ??= [["gpu"]];
  return request;
}

function gpuCount(text: string): number {
  if (text === "all") return -1;
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw new Error(`invalid count (${text}): value must be either "all" or an integer: invalid syntax`);
}
