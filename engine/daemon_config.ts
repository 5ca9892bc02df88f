import { type GcSettings, gcSettings } from "./build_gc.ts";
import { invalid, messageOf } from "../base/errors.ts";
import { goErrno } from "../base/go_errno.ts";
import { realPath } from "../base/real_path.ts";
import type { RegistrySettings } from "../image/registry/settings.ts";
import { type WantedDriver, wantedDriver } from "./cgroup_options.ts";
import { isDockerdDirective, RUNTIMES, withoutEffect } from "./dockerd_directives.ts";
import { isLogLevel, LOG_FORMATS, type LogFormat, type LogLevel } from "./log.ts";
import { checkLogConfig } from "./log_options.ts";
import { NETWORK_FLAGS, NETWORK_KEYS, type NetworkSettings, networkSettings } from "./network_settings.ts";
import { type ProxySettings, REGISTRY_KEYS, registrySettings } from "./registry_config.ts";
import type { EngineOptions } from "./serve_options.ts";
import { type TlsSettings, tlsSettings } from "./tls_settings.ts";
import type { ContainerDefaults } from "./context.ts";
import type { SecurityDefaults } from "./security_options.ts";
import { parseSeccompProfile } from "../runtime/seccomp/mod.ts";

/** The engine's settings: flags and daemon.json merged, nothing left to look up. */
export interface EngineSettings {
  readonly hosts: readonly string[];
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly storageDriver: string | undefined;
  readonly pidfile: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly tls: TlsSettings;
  readonly shimPool: number;
  readonly cgroupDriver: WantedDriver | undefined;
  readonly labels: readonly string[];
  readonly defaults: ContainerDefaults;
  readonly registry: RegistrySettings;
  readonly proxies: ProxySettings;
  readonly network: NetworkSettings;
  readonly buildGc: GcSettings;
  /** What the file says that has no effect here. */
  readonly warnings: readonly string[];
}

/** Options that may stand in the file and as a flag, but not in both; with the flag's name where it differs. */
const FLAG_OF: Readonly<Record<string, string>> = {
  hosts: "host",
  "data-root": "data-root",
  "exec-root": "exec-root",
  "storage-driver": "storage-driver",
  pidfile: "pidfile",
  debug: "debug",
  "log-level": "log-level",
  "log-format": "log-format",
  tls: "tls",
  tlsverify: "tlsverify",
  tlscacert: "tlscacert",
  tlscert: "tlscert",
  tlskey: "tlskey",
  "shim-pool": "shim-pool",
  "insecure-registries": "insecure-registry",
  "registry-mirrors": "registry-mirror",
  ...NETWORK_FLAGS,
  "exec-opts": "exec-opt",
  "cgroup-parent": "cgroup-parent",
  "default-cgroupns-mode": "default-cgroupns-mode",
};

const OWN_KEYS = [
  ...Object.keys(FLAG_OF),
  "default-shm-size",
  "default-ulimits",
  "init",
  "default-ipc-mode",
  "default-runtime",
  "no-new-privileges",
  "seccomp-profile",
  "log-driver",
  "log-opts",
  "labels",
  "builder",
  ...REGISTRY_KEYS,
  ...NETWORK_KEYS,
];

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the configuration file, if there is one, and merges it with the flags.
 *
 * @throws {EngineError} invalid, in dockerd's words: unknown directive, directive and flag both given, wrong type.
 */
export function mergeSettings(options: EngineOptions): EngineSettings {
  const file = readConfigFile(options);
  const refuse = (problem: string) =>
    invalid(`unable to configure the berth engine with file ${options.configFile}: ${problem}`);
  const unknown = Object.keys(file).filter((key) => !OWN_KEYS.includes(key) && !isDockerdDirective(key));
  if (unknown.length > 0) {
    throw refuse(`the following directives don't match any configuration option: ${unknown.join(", ")}`);
  }
  const flagValues: Json = {
    hosts: options.hosts,
    "data-root": options.dataRoot,
    "exec-root": options.execRoot,
    "storage-driver": options.storageDriver,
    pidfile: options.pidfile,
    debug: options.debug,
    "log-level": options.logLevel,
    "log-format": options.logFormat,
    ...options.tls,
    "shim-pool": options.shimPool,
    "insecure-registries": options.insecureRegistries,
    "registry-mirrors": options.registryMirrors,
    ...options.network,
    "exec-opts": options.execOptions,
    "cgroup-parent": options.cgroupParent,
    "default-cgroupns-mode": options.cgroupnsMode,
  };
  const both = Object.entries(FLAG_OF)
    .filter(([key, flag]) => key in file && options.flagsGiven.includes(flag))
    .map(([key]) => `${key}: (from flag: ${show(flagValues[key])}, from file: ${show(file[key])})`);
  if (both.length > 0) {
    throw refuse(
      `the following directives are specified both as a flag and in the configuration file: ${
        both.join(", ")
      }`,
    );
  }
  const take = <T>(key: string, expected: string, test: (value: unknown) => value is T): T | undefined => {
    const value = file[key];
    if (value === undefined || value === null) return undefined;
    if (!test(value)) throw refuse(`${key}: must be ${expected}, not ${JSON.stringify(value)}`);
    return value;
  };
  const text = (key: string) => take(key, "a string", isText);
  const logLevel = text("log-level") ?? options.logLevel;
  if (!isLogLevel(logLevel)) throw invalid(`invalid logging level: ${logLevel}`);
  const logFormat = LOG_FORMATS.find((one) => one === (text("log-format") ?? options.logFormat ?? "text"));
  if (logFormat === undefined) {
    throw invalid(`invalid log format: ${text("log-format") ?? options.logFormat}`);
  }
  const switchedOn = (key: "tls" | "tlsverify") => take(key, "true or false", isBool) ?? options.tls?.[key];
  const shimPool = take("shim-pool", "a whole number from 0 to 64", isPoolSize) ?? options.shimPool ?? 1;
  if (!isPoolSize(shimPool)) throw invalid(`invalid shim pool size: ${shimPool}: must be 0 to 64`);
  const logDriver = text("log-driver") ?? "json-file";
  const logOpts = take("log-opts", "an object of strings", isTexts) ?? {};
  checkLogConfig(logDriver, logOpts);
  const cgroupnsMode = text("default-cgroupns-mode") ?? options.cgroupnsMode;
  if (!["", "host", "private", undefined].includes(cgroupnsMode)) {
    throw invalid(`default cgroup namespace mode (${cgroupnsMode}) is invalid; use "host" or "private"`);
  }
  const ipcMode = text("default-ipc-mode") ?? "";
  if (!["", "private", "shareable"].includes(ipcMode)) {
    throw invalid(`default IPC mode setting (${ipcMode}) is invalid; use "shareable" or "private"`);
  }
  const runtime = text("default-runtime") || "berth";
  if (!RUNTIMES.includes(runtime)) throw invalid(`specified default runtime '${runtime}' does not exist`);
  const labels = take("labels", "a list of strings", isTextList) ?? [];
  for (const label of labels) if (!label.includes("=")) throw refuse(`bad attribute format: ${label}`);
  const ignored = withoutEffect(file);
  return {
    hosts: take("hosts", "a list of strings", isTextList) ?? options.hosts,
    // The kernel lists mounts by paths without symbolic links: what is mounted below has to be found there.
    dataRoot: realPath(absolute(text("data-root") ?? options.dataRoot, "data-root")),
    execRoot: absolute(text("exec-root") ?? options.execRoot, "exec-root"),
    storageDriver: text("storage-driver") ?? options.storageDriver,
    pidfile: text("pidfile") ?? options.pidfile,
    logLevel: (take("debug", "true or false", isBool) ?? options.debug) ? "debug" : logLevel,
    logFormat,
    tls: tlsSettings({
      ...given("tls", switchedOn("tls")),
      ...given("tlsverify", switchedOn("tlsverify")),
      ...given("tlscacert", text("tlscacert") ?? options.tls?.tlscacert),
      ...given("tlscert", text("tlscert") ?? options.tls?.tlscert),
      ...given("tlskey", text("tlskey") ?? options.tls?.tlskey),
    }),
    shimPool,
    cgroupDriver: wantedDriver(
      options.cgroupDriver,
      take("exec-opts", "a list of strings", isTextList) ?? options.execOptions ?? [],
    ),
    ...registrySettings(take, refuse, options),
    network: networkSettings({ ...file, ...options.network }, refuse),
    labels,
    buildGc: gcSettings(file["builder"], refuse),
    defaults: {
      shmSize: sizeOf(file["default-shm-size"], refuse),
      ulimits: ulimitsOf(file["default-ulimits"], refuse),
      init: take("init", "true or false", isBool) ?? false,
      ipcMode,
      runtime,
      security: {
        noNewPrivileges: take("no-new-privileges", "true or false", isBool) ?? false,
        ...seccompDefault(text("seccomp-profile") ?? ""),
      },
      logDriver,
      logOpts,
      cgroupParent: text("cgroup-parent") ?? options.cgroupParent ?? "",
      ...(cgroupnsMode ? { cgroupnsMode } : {}),
      nofile: options.nofile,
    },
    warnings: ignored.length === 0
      ? []
      : [`no effect in this version of berth (${options.configFile}): ${ignored.join(", ")}`],
  };
}

function readConfigFile(options: EngineOptions): Json {
  let text: string;
  try {
    text = Deno.readTextFileSync(options.configFile);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && !options.configFileGiven) return {};
    const { configFile } = options;
    throw invalid(
      `unable to configure the berth engine with file ${configFile}: open ${configFile}: ${goErrno(error)}`,
      error,
    );
  }
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Error("must be a JSON object");
    }
    return value as Json;
  } catch (error) {
    throw invalid(
      `unable to configure the berth engine with file ${options.configFile}: ${messageOf(error)}`,
      error,
    );
  }
}

function given<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { readonly [P in K]?: V };
}

function show(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(" ")}]` : String(value);
}

function absolute(path: string, name: string): string {
  if (!path.startsWith("/")) throw invalid(`${name} must be an absolute path: ${path}`);
  return path.replace(/\/+$/, "") || "/";
}

const isText = (value: unknown): value is string => typeof value === "string";
const isBool = (value: unknown): value is boolean => typeof value === "boolean";
const isTextList = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isTexts = (value: unknown): value is Record<string, string> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isText);
const isPoolSize = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 64;

/** The profile of containers that do not name one: a file's, none at all, or the engine's own. */
function seccompDefault(named: string): Pick<SecurityDefaults, "seccomp" | "seccompName"> {
  if (named === "" || named === "builtin" || named === "default") {
    return { seccomp: undefined, seccompName: "builtin" };
  }
  if (named === "unconfined") return { seccomp: named, seccompName: named };
  let profile: string;
  try {
    profile = Deno.readTextFileSync(named);
  } catch (error) {
    throw invalid(`opening seccomp profile (${named}) failed: open ${named}: ${goErrno(error)}`, error);
  }
  try {
    parseSeccompProfile(profile);
  } catch (error) {
    throw invalid(`seccomp profile ${named}: ${messageOf(error)}`, error);
  }
  return { seccomp: profile, seccompName: named };
}

/** Docker's /dev/shm. */
const DEFAULT_SHM = 64 * 1024 * 1024;

/** Bytes of "64M", "1gb", 1048576 (binary units, as dockerd's MemBytes). */
function sizeOf(value: unknown, refuse: (problem: string) => Error): number {
  if (value === undefined || value === null) return DEFAULT_SHM;
  const match = /^(\d+)\s*([kmgt]?)(i?b)?$/i.exec(String(value).trim());
  const power = " kmgt".indexOf((match?.[2] || " ").toLowerCase());
  const bytes = Number(match?.[1]) * 1024 ** power;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw refuse(`default-shm-size: invalid size: '${value}'`);
  }
  return bytes;
}

function ulimitsOf(value: unknown, refuse: (problem: string) => Error): ContainerDefaults["ulimits"] {
  if (value === undefined || value === null) return [];
  if (typeof value !== "object" || Array.isArray(value)) throw refuse("default-ulimits: must be an object");
  return Object.entries(value).map(([name, limit]) => {
    const { Soft, Hard } = (limit ?? {}) as { Soft?: unknown; Hard?: unknown };
    if (typeof Soft !== "number" || typeof Hard !== "number") {
      throw refuse(`default-ulimits: ${name}: needs numbers Soft and Hard`);
    }
    return { Name: name, Soft, Hard };
  });
}
