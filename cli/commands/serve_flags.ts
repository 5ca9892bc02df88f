/** Flags of `berth serve`, with dockerd's names. The engine's bootstrap parses them; the command line shows their help. */

import { flagUsages, helpWidth } from "../flags/help.ts";
import { FlagError, parseFlags } from "../flags/parse.ts";
import { bool, list, text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";
import { TLS_FLAGS, type TlsFlagValues, tlsFlagValues } from "../tls_flags.ts";
import { NETWORK_SERVE_FLAGS, networkOptions } from "./serve_network_flags.ts";

export const SERVE_FLAGS = {
  "cgroup-driver": text("Who makes containers' cgroups (default: whoever can)", {
    completes: ["systemd", "cgroupfs", "none"],
  }),
  "cgroup-parent": text("Set parent cgroup for all containers"),
  "config-file": text("Daemon configuration file", { completes: "file" }),
  "data-root": text("Root directory of persistent state", { completes: "dir" }),
  "default-cgroupns-mode": text(`Default mode for containers cgroup namespace ("host" | "private")`, {
    completes: ["host", "private"],
  }),
  "debug": bool("Enable debug mode", { short: "D" }),
  "ephemeral": text("A new directory for everything; gone when standard input ends", {
    hidden: true,
    completes: "dir",
  }),
  "exec-opt": list("Runtime execution options"),
  "exec-root": text("Root directory for execution state files", { completes: "dir" }),
  "host": list("Daemon socket(s) to connect to", { short: "H" }),
  "insecure-registry": list("Enable insecure registry communication"),
  "log-level": text(`Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")`, {
    short: "l",
    default: "info",
    completes: ["debug", "info", "warn", "error", "fatal"],
  }),
  "log-format": text(`Set the logging format ("text"|"json")`, {
    default: "text",
    completes: ["text", "json"],
  }),
  "pidfile": text("Path to use for daemon PID file", { short: "p", completes: "file" }),
  "registry-mirror": list("Preferred registry mirror"),
  "shim-pool": int("Number of warm shims that wait for a container", { defaultText: "1" }),
  "storage-driver": text("Storage driver to use", {
    short: "s",
    completes: ["overlay", "fuse-overlayfs", "vfs"],
  }),
  ...TLS_FLAGS,
  ...NETWORK_SERVE_FLAGS,
} as const;

/** What the flags say; an absent value leaves the choice to the configuration file, then to the default. */
export interface ServeOptions {
  hosts: string[];
  dataRoot?: string;
  execRoot?: string;
  storageDriver?: string;
  pidfile?: string;
  debug: boolean;
  logLevel: string;
  logFormat?: string;
  tls?: TlsFlagValues;
  ephemeral?: string;
  configFile?: string;
  shimPool?: number;
  insecureRegistries?: string[];
  registryMirrors?: string[];
  /** Flags about networks that were given, by their keys in daemon.json. */
  network?: Record<string, unknown>;
  cgroupDriver?: string;
  cgroupParent?: string;
  cgroupnsMode?: string;
  execOptions?: string[];
  /** Names of the flags that were given: the configuration file must not say the same. */
  flagsGiven: string[];
}

export type ServeArgs =
  | { readonly ok: true; readonly options: ServeOptions }
  /** `message` is for the user; `code` is the exit code, 0 when it is the help that was asked for. */
  | { readonly ok: false; readonly message: string; readonly code: number };

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];
const FLAG_ERROR_EXIT = 125;

/** Parses what follows `berth serve`. Never throws. */
export function parseServeArgs(args: readonly string[]): ServeArgs {
  const refuse = (message: string, code: number): ServeArgs => ({
    ok: false,
    message: `${message}\n\nUsage:  berth serve [OPTIONS]\n\nRun 'berth serve --help' for more information`,
    code,
  });
  try {
    const { values, changed, args: rest, help } = parseFlags(SERVE_FLAGS, args, { interspersed: true });
    if (help) return { ok: false, message: serveHelp(), code: 0 };
    if (rest.length > 0) return refuse("berth: 'berth serve' accepts no arguments", 1);
    if (!LOG_LEVELS.includes(values["log-level"])) {
      return refuse(`invalid logging level: ${values["log-level"]}`, FLAG_ERROR_EXIT);
    }
    if (!["text", "json"].includes(values["log-format"])) {
      return refuse(`invalid log format: ${values["log-format"]}`, FLAG_ERROR_EXIT);
    }
    if (values["shim-pool"] < 0) return refuse("--shim-pool cannot be negative", FLAG_ERROR_EXIT);
    const given = (
      name:
        | "data-root"
        | "exec-root"
        | "storage-driver"
        | "pidfile"
        | "config-file"
        | "cgroup-driver"
        | "cgroup-parent"
        | "default-cgroupns-mode"
        | "ephemeral",
    ) => values[name] === "" ? undefined : values[name];
    const listGiven = (name: "insecure-registry" | "registry-mirror" | "exec-opt") =>
      changed.has(name) ? values[name] : undefined;
    return {
      ok: true,
      options: {
        hosts: values.host,
        debug: values.debug,
        logLevel: values["log-level"],
        flagsGiven: [...changed],
        ...optional("logFormat", changed.has("log-format") ? values["log-format"] : undefined),
        ...optional("tls", tlsFlagValues(values, changed)),
        ...optional("ephemeral", given("ephemeral")),
        ...optional("dataRoot", given("data-root")),
        ...optional("execRoot", given("exec-root")),
        ...optional("storageDriver", given("storage-driver")),
        ...optional("pidfile", given("pidfile")),
        ...optional("configFile", given("config-file")),
        ...optional("insecureRegistries", listGiven("insecure-registry")),
        ...optional("registryMirrors", listGiven("registry-mirror")),
        ...optional("network", networkOptions(values, changed)),
        ...optional("cgroupDriver", given("cgroup-driver")),
        ...optional("cgroupParent", given("cgroup-parent")),
        ...optional("cgroupnsMode", given("default-cgroupns-mode")),
        ...optional("execOptions", listGiven("exec-opt")),
        ...optional("shimPool", changed.has("shim-pool") ? values["shim-pool"] : undefined),
      },
    };
  } catch (error) {
    if (error instanceof FlagError) return refuse(error.message, FLAG_ERROR_EXIT);
    throw error;
  }
}

function serveHelp(): string {
  const flags = flagUsages(SERVE_FLAGS, helpWidth() - 1).trimEnd();
  return `Usage:  berth serve [OPTIONS]\n\nRun the engine in the foreground\n\nOptions:\n${flags}`;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]?: V };
}
