/** `--security-opt`: a seccomp profile is a file of ours, and travels as JSON; system paths are fields of their own. */

import { CliError } from "../errors.ts";
import { goErrno } from "../../base/go_errno.ts";

export interface SecurityOptions {
  /** What the engine gets; null when there are none. */
  readonly options: readonly string[] | null;
  /** `systempaths=unconfined`: nothing masked, nothing read-only. */
  readonly unconfinedPaths: boolean;
}

/** Throws `CliError` for an option without a value and a profile that cannot be read. */
export function securityOptions(given: readonly string[]): SecurityOptions {
  const options: string[] = [];
  let unconfinedPaths = false;
  for (const option of given) {
    const [key, value] = split(option);
    if (key !== "no-new-privileges" && !value) {
      throw new CliError(`Invalid --security-opt: ${JSON.stringify(option)}`);
    }
    if (option === "systempaths=unconfined") unconfinedPaths = true;
    else if (key === "seccomp" && value !== undefined && value !== "unconfined" && value !== "builtin") {
      options.push(`seccomp=${profile(value)}`);
    } else options.push(option);
  }
  return { options: options.length > 0 || unconfinedPaths ? options : null, unconfinedPaths };
}

function split(option: string): [string, string | undefined] {
  const equals = option.indexOf("=");
  const at = equals >= 0 ? equals : option.indexOf(":");
  return at < 0 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}

function profile(path: string): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    throw new CliError(`opening seccomp profile (${path}) failed: open ${path}: ${goErrno(error)}`);
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    throw new CliError(`compacting json for seccomp profile (${path}) failed: not valid JSON`);
  }
}
