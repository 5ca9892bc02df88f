/** Flags before the command. */

import { bool, list, text } from "./flags/spec.ts";
import { TLS_FLAGS } from "./tls_flags.ts";

export const GLOBAL_FLAGS = {
  context: text(
    "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var)",
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
