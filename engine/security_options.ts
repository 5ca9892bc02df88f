/** `SecurityOpt` (moby: daemon.parseSecurityOpt). */
import { invalid } from "../base/errors.ts";
import { parseSeccompProfile } from "../runtime/seccomp/mod.ts";

export interface SecurityOptions {
  readonly noNewPrivileges: boolean;
  /** undefined: the engine's default profile; "unconfined"; else the profile itself as JSON. */
  readonly seccomp: string | undefined;
  /** Nothing masked, nothing read-only. */
  readonly unconfinedPaths: boolean;
}

/** daemon.json's `no-new-privileges` and `seccomp-profile`, for containers that do not say. */
export interface SecurityDefaults {
  readonly noNewPrivileges: boolean;
  readonly seccomp: string | undefined;
  /** As `info` shows it: "builtin", "unconfined", or the profile's path. */
  readonly seccompName: string;
}

/**
 * Reads the options. AppArmor and SELinux labels are accepted and ignored: berth sets neither.
 *
 * @throws EngineError invalid, in Docker's words.
 */
export function parseSecurityOptions(
  options: readonly string[],
  defaults?: Pick<SecurityDefaults, "noNewPrivileges" | "seccomp">,
): SecurityOptions {
  let noNewPrivileges = defaults?.noNewPrivileges ?? false;
  let seccomp = defaults?.seccomp;
  let unconfinedPaths = false;
  for (const option of options) {
    if (option === "no-new-privileges") {
      noNewPrivileges = true;
      continue;
    }
    if (option === "disable") continue;
    // Whoever is in a user namespace has them as far as they are delegated, and is told so by Docker too.
    if (/^writable-cgroups(?:$|[=:])/.test(option)) {
      throw invalid("option WritableCgroups conflicts with user namespaces and rootless mode");
    }
    // "=" is today's separator; ":" was Docker's before 1.11 and still works.
    const at = option.includes("=") ? option.indexOf("=") : option.indexOf(":");
    if (at < 0) throw invalid(`invalid --security-opt 1: ${JSON.stringify(option)}`);
    const [key, value] = [option.slice(0, at), option.slice(at + 1)];
    switch (key) {
      case "label":
      case "apparmor":
        break;
      case "seccomp":
        seccomp = value === "builtin" || value === "" ? undefined : value;
        // Refused now, not at the start: nobody would create a container that can never run.
        if (seccomp !== undefined && seccomp !== "unconfined") parseSeccompProfile(seccomp);
        break;
      case "no-new-privileges":
        if (!/^(1|t|true|0|f|false)$/i.test(value)) throw badOption(option);
        noNewPrivileges = /^(1|t|true)$/i.test(value);
        break;
      case "systempaths":
        if (value !== "unconfined") throw badOption(option);
        unconfinedPaths = true;
        break;
      default:
        throw badOption(option);
    }
  }
  return { noNewPrivileges, seccomp, unconfinedPaths };
}

const badOption = (option: string) => invalid(`invalid --security-opt 2: ${JSON.stringify(option)}`);
