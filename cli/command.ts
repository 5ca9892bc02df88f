/** What a command is, and how its arguments reach it. */

import { ApiClient } from "./api_client.ts";
import { chosenEndpoint, contextName, defaultHost, type Endpoint, type EndpointFlags } from "./endpoint.ts";
import { CliError } from "./errors.ts";
import type { FlagTable, FlagValues } from "./flags/spec.ts";
import { FlagError, parseFlags } from "./flags/parse.ts";
import { configText, type FormatKey } from "./user_config.ts";

/** Exit code for flags that cannot be parsed, as docker's. */
const FLAG_ERROR_EXIT = 125;

/** What the shell completes; "endpoint" is a network, then a container. */
export type Completion = "container" | "image" | "network" | "endpoint" | "volume" | "context" | "file";

/** How many positional arguments a command takes. */
export interface ArgumentCount {
  readonly min: number;
  /** Absent: any number. */
  readonly max?: number;
}

/** What is true for every command of one call. */
export interface Session extends Disposable {
  /** Looked for at its first use: whoever repairs contexts needs none. Throws `CliError`. */
  readonly endpoint: Endpoint;
  readonly client: ApiClient;
  readonly debug: boolean;
  /** Name of the context that counts for this call. */
  readonly context: string;
  /** The address that the context "default" stands for. */
  readonly defaultHost: string;
}

export function openSession(globals: EndpointFlags, debug: boolean): Session {
  let client: ApiClient | undefined;
  let endpoint: Endpoint | undefined;
  return {
    debug,
    get endpoint() {
      return endpoint ??= chosenEndpoint(globals);
    },
    get client() {
      return client ??= new ApiClient(this.endpoint);
    },
    get context() {
      return contextName(globals);
    },
    get defaultHost() {
      return defaultHost(globals);
    },
    [Symbol.dispose]() {
      client?.[Symbol.dispose]();
    },
  };
}

export interface Invocation<F extends FlagTable> {
  readonly flags: FlagValues<F>;
  /** Long names of the flags that were given. */
  readonly changed: ReadonlySet<string>;
  readonly args: readonly string[];
  readonly client: ApiClient;
  readonly session: Session;
}

interface Definition<F extends FlagTable> {
  readonly flags: F;
  /** Positional arguments in the usage line, for example "IMAGE [COMMAND] [ARG...]". */
  readonly usage: string;
  readonly count: ArgumentCount;
  /** False: the first positional argument ends the flags. */
  readonly interspersed?: boolean;
  /** What the shell completes for positional arguments. */
  readonly completes?: Completion;
  /** Field of docker's config.json with the template for calls without `--format` and `--quiet`. */
  readonly formatKey?: FormatKey;
  /** Returns the exit code; nothing is 0. */
  run(invocation: Invocation<F>): Promise<number | void>;
}

/** A command whose types of flags are closed in. */
export interface Command {
  readonly flags: FlagTable;
  readonly usage: string;
  readonly completes: Completion | undefined;
  /** @param path the words that name it, for example "container ls". Throws `CliError`; "help" when it was asked for. */
  invoke(path: string, argv: readonly string[], session: Session): Promise<number | "help">;
}

export function defineCommand<F extends FlagTable>(definition: Definition<F>): Command {
  const { flags, usage, count } = definition;
  return {
    flags,
    usage,
    completes: definition.completes,
    async invoke(path, argv, session) {
      const parsed = parseOrExplain(path, flags, usage, argv, definition.interspersed ?? true);
      if (parsed.help || "help" in parsed.values && parsed.values.help === true) return "help";
      checkCount(path, flags, usage, count, parsed.args.length);
      const { values, changed, args } = parsed;
      applyUserConfig(values, definition.formatKey);
      const invocation = {
        flags: values,
        changed,
        args,
        session,
        get client() {
          return session.client;
        },
      };
      return await definition.run(invocation) ?? 0;
    },
  };
}

/** docker's config.json stands for `--format` and `--detach-keys` where they are not given. */
function applyUserConfig(values: Record<string, unknown>, formatKey: FormatKey | undefined): void {
  if (formatKey !== undefined && values["format"] === "" && values["quiet"] !== true) {
    values["format"] = configText(formatKey);
  }
  if (values["detach-keys"] === "") values["detach-keys"] = configText("detachKeys");
}

/** "berth run [OPTIONS] IMAGE [COMMAND] [ARG...]". */
export function usageLine(path: string, flags: FlagTable, usage: string): string {
  const options = Object.values(flags).some((flag) => !flag.hidden) ? " [OPTIONS]" : "";
  return `berth ${path}${options}${usage === "" ? "" : ` ${usage}`}`;
}

function parseOrExplain<F extends FlagTable>(
  path: string,
  flags: F,
  usage: string,
  argv: readonly string[],
  interspersed: boolean,
) {
  try {
    return parseFlags(flags, argv, { interspersed });
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    throw new CliError(
      `${error.message}\n\nUsage:  ${
        usageLine(path, flags, usage)
      }\n\nRun 'berth ${path} --help' for more information`,
      FLAG_ERROR_EXIT,
    );
  }
}

function checkCount(
  path: string,
  flags: FlagTable,
  usage: string,
  count: ArgumentCount,
  given: number,
): void {
  const { min, max } = count;
  if (given >= min && given <= (max ?? Infinity)) return;
  const arguments_ = (n: number) => `${n} ${n === 1 ? "argument" : "arguments"}`;
  const rule = max === 0
    ? "accepts no arguments"
    : max === min
    ? `requires ${arguments_(min)}`
    : max === undefined
    ? `requires at least ${arguments_(min)}`
    : min === 0
    ? `requires at most ${arguments_(max)}`
    : `requires at least ${min} and at most ${arguments_(max)}`;
  throw new CliError(
    `berth: 'berth ${path}' ${rule}\n\nUsage:  ${usageLine(path, flags, usage)}\n\n` +
      `${max === undefined ? "See" : "Run"} 'berth ${path} --help' for more information`,
  );
}
