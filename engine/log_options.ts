/** A container's `LogConfig`: checked at create, handed to the shim at start (moby: daemon/logger/jsonfilelog). */
import { EngineError, invalid } from "../base/errors.ts";
import { hints } from "../base/hints.ts";
import type { LogSpec } from "../runtime/spec.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { ContainerDefaults } from "./context.ts";
import { ATTRIBUTE_OPTIONS, expandTag, logAttributes } from "./log_attributes.ts";
import { REMOTE_LOG_DRIVERS, remoteLogDriver } from "./log_drivers/registry.ts";
import type { HostConfig } from "./types.ts";

/** Drivers of Docker's that berth does not have; a Docker that was built without them says the same. */
const CLOUD = ["awslogs", "gcplogs"];

const OPTIONS = {
  "json-file": ["max-file", "max-size", "compress", ...ATTRIBUTE_OPTIONS],
  local: ["max-file", "max-size", "compress"],
} as const;

/** What the options default to (moby: daemon/logger/local for the second). */
const DEFAULTS = {
  "json-file": { "max-file": "1", compress: "false" },
  local: { "max-size": "20m", "max-file": "5", compress: "true" },
} as const;
/** As `info` lists them, which leaves `none` out. */
export const LOG_DRIVERS: readonly string[] = [...Object.keys(REMOTE_LOG_DRIVERS), "json-file", "local"]
  .sort();
type FileDriver = keyof typeof OPTIONS;

/** Options that every driver takes (moby: ValidateLogOpts removes them before it asks the driver). */
const COMMON_OPTIONS = [
  "mode",
  "max-buffer-size",
  "cache-disabled",
  "cache-max-size",
  "cache-max-file",
  "cache-compress",
];

/**
 * Bytes of a size in decimal units, "10m" being 10,000,000 (go-units FromHumanSize, which Docker uses for logs).
 *
 * @returns undefined when it is not a size.
 */
export function fromHumanSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text.trim());
  if (!match) return undefined;
  return Math.floor(Number(match[1]) * 1000 ** " kmgtp".indexOf((match[2] || " ").toLowerCase()));
}

function isBool(text: string): boolean {
  return ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"].includes(text);
}

interface FileOptions {
  readonly maxSize: number;
  readonly maxFile: number;
  readonly compress: boolean;
}

function fileOptions(driver: FileDriver, given: Readonly<Record<string, string>>): FileOptions {
  const options: Readonly<Record<string, string>> = { ...DEFAULTS[driver], ...given };
  const size = options["max-size"];
  const maxSize = size === undefined ? 0 : fromHumanSize(size);
  if (maxSize === undefined) throw invalid(`invalid size: '${size}'`);
  const file = options["max-file"] ?? "";
  if (!/^[+-]?\d+$/.test(file)) throw invalid(`strconv.Atoi: parsing "${file}": invalid syntax`);
  const maxFile = Number(file);
  if (maxFile < 1) throw invalid("max-file cannot be less than 1");
  const compress = options["compress"] ?? "";
  if (!isBool(compress)) throw invalid(`strconv.ParseBool: parsing "${compress}": invalid syntax`);
  // a single file of `local` has nothing to compress: only who asks for it is told
  const single = driver === "local" && maxFile === 1 && given["compress"] === undefined;
  const on = /^(1|t|true)$/i.test(compress) && !single;
  if (on && (maxFile < 2 || maxSize === 0)) {
    throw invalid("compress cannot be true when max-file is less than 2 or max-size is not set");
  }
  return { maxSize, maxFile, compress: on };
}

/** The file of a driver that hands the log on: Docker's dual logging, which `docker logs` reads, has options of its own. */
function cacheOptions(options: Readonly<Record<string, string>>): FileOptions {
  const given = Object.entries(options).filter(([key]) => key.startsWith("cache-"));
  return fileOptions(
    "local",
    Object.fromEntries(given.map(([key, value]) => [key.slice("cache-".length), value])),
  );
}

/** Whether clients may read the log: not with `none`, nor when the cache of a remote driver is switched off. */
export function isReadable({ hostConfig }: Pick<ContainerRecord, "hostConfig">): boolean {
  const { Type: type, Config: config } = hostConfig.LogConfig ?? {};
  if (type === "none") return false;
  return remoteLogDriver(type) === undefined || !/^(1|t|true)$/i.test(config?.["cache-disabled"] ?? "");
}

/**
 * The engine's defaults where the request says nothing. Options belong to a driver and hold for who names the same one, too; those of the cache hold for
 * every driver that has one (moby: mergeAndVerifyLogConfig).
 */
export function withLogDefaults(
  given: HostConfig["LogConfig"],
  { logDriver, logOpts }: Pick<ContainerDefaults, "logDriver" | "logOpts">,
): { Type: string; Config: Record<string, string> } {
  const type = given?.Type || logDriver;
  const defaults = Object.entries(logOpts).filter(([key]) => type === logDriver || key.startsWith("cache-"));
  return { Type: type, Config: { ...Object.fromEntries(defaults), ...given?.Config } };
}

/**
 * Checks driver and options.
 *
 * @throws EngineError invalid, in Docker's words.
 */
export function checkLogConfig(type: string, options: Readonly<Record<string, string>>): void {
  if (type !== "none" && !LOG_DRIVERS.includes(type)) {
    throw new EngineError(
      "invalid",
      `error looking up logging plugin ${type}: plugin ${JSON.stringify(type)} not found`,
      CLOUD.includes(type) ? { hint: hints.logDriver(LOG_DRIVERS) } : {},
    );
  }
  const mode = options["mode"] ?? "";
  if (!["", "blocking", "non-blocking"].includes(mode)) {
    throw invalid(`logger: logging mode not supported: ${mode}`);
  }
  const buffer = options["max-buffer-size"];
  if (buffer !== undefined) {
    if (mode !== "non-blocking") {
      throw invalid(
        `logger: max-buffer-size option is only supported with 'mode=non-blocking'`,
      );
    }
    if (fromHumanSize(buffer) === undefined) {
      throw invalid(`error parsing option max-buffer-size: invalid size: '${buffer}'`);
    }
  }
  if (type === "none") return;
  const remote = remoteLogDriver(type);
  const driver: FileDriver = type === "local" ? "local" : "json-file";
  const known: readonly string[] = [...(remote?.options ?? OPTIONS[driver]), ...COMMON_OPTIONS];
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw invalid(`unknown log opt '${key}' for ${remote ? type : driver} log driver`);
    }
  }
  if (remote === undefined) fileOptions(driver, options);
  else {
    cacheOptions(options);
    remote.check(options);
  }
}

/**
 * The file that a container's output goes to; "" for none. Both drivers write the same lines: the format of `local` is nobody's but the
 * engine's own, also in Docker, whose clients see no path of it.
 */
export function logFile({ hostConfig, dir, id }: Pick<ContainerRecord, "hostConfig" | "dir" | "id">): string {
  switch (hostConfig.LogConfig?.Type) {
    case "none":
      return "";
    case "local":
      return `${dir}/local-logs/container.log`;
    default:
      return remoteLogDriver(hostConfig.LogConfig?.Type) === undefined
        ? `${dir}/${id}-json.log`
        : `${dir}/container-cached.log`;
  }
}

/** How the shim has to log for this container. */
export function buildLogSpec(record: ContainerRecord): LogSpec {
  const { Type: type, Config: config } = record.hostConfig.LogConfig ?? {};
  if (type === "none") return { driver: "none", path: "", maxSize: 0, maxFile: 1, compress: false };
  const options = config ?? {};
  const remote = remoteLogDriver(type);
  if (remote !== undefined) return { driver: "json-file", path: logFile(record), ...cacheOptions(options) };
  const driver: FileDriver = type === "local" ? "local" : "json-file";
  const attrs = driver === "local" ? {} : {
    ...logAttributes(record, options),
    ...(options["tag"] ? { tag: expandTag(options["tag"], record) } : {}),
  };
  const path = logFile(record);
  if (driver === "local") {
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: 0o700 });
  }
  return {
    driver: "json-file",
    path,
    ...fileOptions(driver, options),
    ...(Object.keys(attrs).length > 0 ? { attrs } : {}),
  };
}
