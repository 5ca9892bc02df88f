/** Flags before the command. */

import { bool, list, text } from "./flags/spec.ts";

export const GLOBAL_FLAGS = {
  debug: bool("Enable debug mode", { short: "D" }),
  host: list("Daemon socket to connect to", { short: "H" }),
  "log-level": text(`Set the logging level ("debug", "info", "warn", "error", "fatal")`, {
    short: "l",
    default: "info",
    completes: ["debug", "info", "warn", "error", "fatal"],
  }),
  version: bool("Print version information and quit", { short: "v" }),
} as const;
