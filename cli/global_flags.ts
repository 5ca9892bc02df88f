/** Flags before the command. */

import { dockerConfigDirectory } from "../base/paths.ts";
import { bool, list, text } from "./flags/spec.ts";
import { TLS_FLAGS } from "./tls_flags.ts";

export const GLOBAL_FLAGS = {
  config: text("Location of client config files", {
    defaultText: JSON.stringify(dockerConfigDirectory()),
    completes: "dir",
  }),
  context: text(
    `Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with "berth context use")`,
    { short: "c" },
  ),
  debug: bool("Enable debug mode", { short: "D" }),
  host: list("Daemon socket to connect to", { short: "H" }),
  "log-level": text(`Set the logging level ("debug", "info", "warn", "error", "fatal")`, {
    short: "l",
    default: "info",
    completes: ["debug", "info", "warn", "error", "fatal"],
  }),
  ...TLS_FLAGS,
  version: bool("Print version information and quit", { short: "v" }),
} as const;

/** What holds from here on, wherever it is asked for. */
export function applyGlobalFlags({ config }: { readonly config: string }): void {
  if (config !== "") Deno.env.set("DOCKER_CONFIG", config);
}
