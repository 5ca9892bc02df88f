/** From the words of a command line to an exit code. */

import { gitCommit, VERSION } from "../base/version.ts";
import { openSession, type Session } from "./command.ts";
import { findCommand, GROUPS } from "./command_table.ts";
import { CliError } from "./errors.ts";
import { parseFlags } from "./flags/parse.ts";
import { applyGlobalFlags, GLOBAL_FLAGS } from "./global_flags.ts";
import { report } from "./report.ts";
import { print, printError } from "./stdio.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];

/** Runs one command line (without the program's own name). Never throws; returns the exit code. */
export async function runCli(args: string[]): Promise<number> {
  let debug = false;
  try {
    const parsed = parseFlags(GLOBAL_FLAGS, args, { interspersed: false });
    debug = parsed.values.debug;
    applyGlobalFlags(parsed.values);
    const level = parsed.values["log-level"];
    if (!LOG_LEVELS.includes(level)) throw new CliError(`Unable to parse logging level: ${level}`);
    if (parsed.values.version) {
      print(`berth version ${VERSION}, build ${gitCommit()}\n`);
      return 0;
    }
    const [first, ...rest] = parsed.args;
    if (parsed.help || first === undefined) return await printRootHelp();
    using session = openSession(parsed, debug);
    if (first === "help") return await printHelp(rest, session, args);
    return await runCommand(parsed.args, session, args);
  } catch (error) {
    return report(error, debug);
  }
}

/** @param argv the whole command line. */
async function runCommand(
  words: readonly string[],
  session: Session,
  argv: readonly string[],
): Promise<number> {
  const found = findCommand(words);
  if (found === undefined) return await otherCommand(words, session, argv);
  const command = await found.entry.load();
  const result = await command.invoke(found.path, words.slice(found.words), session);
  if (result !== "help") return result;
  const { commandHelp } = await import("./usage.ts");
  print(commandHelp(found.path, found.entry, command));
  return 0;
}

/** A group alone, a command of a plugin, or none. */
async function otherCommand(
  words: readonly string[],
  session: Session,
  argv: readonly string[],
): Promise<number> {
  const [first = "", second] = words;
  if (!Object.hasOwn(GROUPS, first)) {
    const { findCliPlugin, runCliPlugin } = await import("./cli_plugins.ts");
    const plugin = findCliPlugin(first);
    if (plugin !== undefined) return await runCliPlugin(plugin, argv, words.slice(1), session);
    const { refusalOf } = await import("./refused_commands.ts");
    const refusal = refusalOf(first);
    if (refusal !== undefined) throw new CliError(refusal);
    throw new CliError(`berth: unknown command: berth ${first}\n\nRun 'berth --help' for more information`);
  }
  if (second === "--help" || second === "-h") return await printGroupHelp(first);
  if (second === undefined) {
    const { groupHelp } = await import("./usage.ts");
    printError(groupHelp(first).trimEnd());
    return 0;
  }
  throw new CliError(
    `berth: unknown command: berth ${first} ${second}\n\nUsage:  berth ${first}\n\n` +
      `Run 'berth ${first} --help' for more information`,
  );
}

async function printRootHelp(): Promise<number> {
  const { rootHelp } = await import("./usage.ts");
  print(rootHelp());
  return 0;
}

async function printGroupHelp(group: string): Promise<number> {
  const { groupHelp } = await import("./usage.ts");
  print(groupHelp(group));
  return 0;
}

/** @param argv the whole command line. */
async function printHelp(
  words: readonly string[],
  session: Session,
  argv: readonly string[],
): Promise<number> {
  const [first] = words;
  if (first === undefined) return await printRootHelp();
  const found = findCommand(words);
  if (found !== undefined) {
    const { commandHelp } = await import("./usage.ts");
    print(commandHelp(found.path, found.entry, await found.entry.load()));
    return 0;
  }
  if (Object.hasOwn(GROUPS, first) && words.length === 1) return await printGroupHelp(first);
  const { findCliPlugin, runCliPlugin } = await import("./cli_plugins.ts");
  const plugin = findCliPlugin(first);
  // Plugins understand "help NAME" as docker does.
  if (plugin !== undefined) return await runCliPlugin(plugin, argv, ["help"], session);
  const { refusalOf } = await import("./refused_commands.ts");
  throw new CliError(refusalOf(first) ?? `unknown help topic: ${words.join(" ")}`);
}
