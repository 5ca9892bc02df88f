/** How a container's configuration comes from the request and from the image's defaults (moby: container merge, postProcess). */
import { invalid } from "../base/errors.ts";
import type { ContainerDefaults } from "../image/types.ts";
import { orderedConfig } from "./field_order.ts";
import type { ContainerConfig, EmptyObjects, HealthConfig } from "./types.ts";

/** PATH of a container whose image has none (moby: oci.DefaultPathEnv). */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Name of an environment entry: what stands before "=", or all of it. */
function envName(entry: string): string {
  const equals = entry.indexOf("=");
  return equals < 0 ? entry : entry.slice(0, equals);
}

/**
 * `base` with `overrides` applied by name. An override keeps its place when it replaces, comes last when it is new,
 * and removes when it has no "=".
 */
export function replaceOrAppendEnv(base: readonly string[], overrides: readonly string[]): string[] {
  const result = [...base];
  const index = new Map(result.map((entry, i) => [envName(entry), i]));
  const removed = new Set<number>();
  for (const entry of overrides) {
    const at = index.get(envName(entry));
    if (!entry.includes("=")) {
      if (at !== undefined) removed.add(at);
    } else if (at !== undefined) {
      result[at] = entry;
      removed.delete(at);
    } else {
      index.set(envName(entry), result.length);
      result.push(entry);
    }
  }
  return result.filter((_, i) => !removed.has(i));
}

/** Health check of a container: what the request leaves out comes from the image. `Test: []` inherits the test. */
function mergeHealth(
  own: HealthConfig | null | undefined,
  image: HealthConfig | null | undefined,
): HealthConfig | undefined {
  if (!image) return own ?? undefined;
  if (!own) return image;
  const test = own.Test && own.Test.length > 0 ? own.Test : image.Test;
  const pick = (key: "Interval" | "Timeout" | "Retries" | "StartPeriod" | "StartInterval") => {
    const value = own[key] || image[key];
    return value ? { [key]: value } : {};
  };
  return {
    ...(test ? { Test: test } : {}),
    ...pick("Interval"),
    ...pick("Timeout"),
    ...pick("StartPeriod"),
    ...pick("StartInterval"),
    ...pick("Retries"),
  };
}

function union(a: EmptyObjects | null | undefined, b: EmptyObjects | null | undefined): EmptyObjects | null {
  const merged = { ...b, ...a };
  return Object.keys(merged).length > 0 ? merged : null;
}

/**
 * The container's final configuration: the request's where it says something, else the image's.
 *
 * @param id the container's id: its first twelve digits are the host name when none is given.
 * @param hostname false for a container that has somebody else's host name (UTS or network namespace).
 * @throws EngineError invalid "no command specified".
 */
export function mergeImageConfig(
  own: ContainerConfig,
  image: ContainerDefaults | undefined,
  id: string,
  hostname = true,
): ContainerConfig {
  const defaults = image ?? {};
  let entrypoint = own.Entrypoint ?? null;
  let cmd = own.Cmd ?? null;
  // An entry point of the user's own makes the image's command meaningless; `[""]` only resets it.
  if (entrypoint === null || entrypoint.length === 0) {
    if (cmd === null || cmd.length === 0) cmd = defaults.Cmd ?? null;
    if (entrypoint === null) entrypoint = defaults.Entrypoint ?? null;
  }
  if (entrypoint?.length === 1 && entrypoint[0] === "") entrypoint = null;
  if ((entrypoint?.length ?? 0) === 0 && (cmd?.length ?? 0) === 0) throw invalid("no command specified");

  const imageEnv = defaults.Env ?? [];
  const ownNames = new Set((own.Env ?? []).map(envName));
  const env = [...(own.Env ?? []), ...imageEnv.filter((entry) => !ownNames.has(envName(entry)))];
  const health = mergeHealth(own.Healthcheck, defaults.Healthcheck as HealthConfig | undefined);
  const stopSignal = own.StopSignal || defaults.StopSignal;
  const shell = own.Shell && own.Shell.length > 0 ? own.Shell : defaults.Shell;
  const { Healthcheck: _health, StopSignal: _signal, Shell: _shell, ...rest } = own;
  return orderedConfig({
    ...rest,
    Hostname: own.Hostname || (hostname ? id.slice(0, 12) : ""),
    Domainname: own.Domainname ?? "",
    User: own.User || defaults.User || "",
    AttachStdin: own.AttachStdin ?? false,
    AttachStdout: own.AttachStdout ?? false,
    AttachStderr: own.AttachStderr ?? false,
    ExposedPorts: union(own.ExposedPorts, defaults.ExposedPorts),
    Tty: own.Tty ?? false,
    OpenStdin: own.OpenStdin ?? false,
    StdinOnce: own.StdinOnce ?? false,
    Env: env,
    Cmd: cmd,
    Image: own.Image ?? "",
    Volumes: union(own.Volumes, defaults.Volumes),
    WorkingDir: own.WorkingDir || defaults.WorkingDir || "",
    Entrypoint: entrypoint,
    OnBuild: own.OnBuild ?? null,
    Labels: { ...defaults.Labels, ...own.Labels },
    ...(health ? { Healthcheck: health } : {}),
    ...(stopSignal ? { StopSignal: stopSignal } : {}),
    ...(shell && shell.length > 0 ? { Shell: shell } : {}),
  });
}

/** The final command line: entry point and command, split as Docker's inspect shows it (`Path`, `Args`). */
export function commandOf(config: ContainerConfig): { path: string; args: string[] } {
  const [path = "", ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  return { path, args };
}

/**
 * The whole environment of the container's process: PATH, HOSTNAME and TERM come first and the configuration wins.
 * HOME is added by init, which alone can read the container's user database.
 */
export function processEnv(
  config: ContainerConfig,
  hostname: string,
  linked: readonly string[] = [],
): string[] {
  const base = [`PATH=${DEFAULT_PATH}`];
  if (hostname !== "") base.push(`HOSTNAME=${hostname}`);
  if (config.Tty) base.push("TERM=xterm");
  base.push(...linked);
  return replaceOrAppendEnv(base, config.Env ?? []);
}
