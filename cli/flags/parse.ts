/**
 * Command-line flags with the semantics of Go's pflag, which is what a docker user's fingers know: `-it`, `-p443:443`,
 * `-eA=b`, `--rm=false`, `--name x` and `--name=x`, `--` ends the flags.
 */

import type { Flag, FlagTable, FlagValues } from "./spec.ts";

/** A flag that cannot be parsed. The message is pflag's. */
export class FlagError extends Error {
  override readonly name = "FlagError";
}

export interface ParsedFlags<F extends FlagTable> {
  readonly values: FlagValues<F>;
  /** Long names of the flags that were given. */
  readonly changed: ReadonlySet<string>;
  readonly args: string[];
  /** `--help` was given; the rest was not looked at. */
  readonly help: boolean;
}

interface ParseOptions {
  /** When false the first positional argument ends the flags (`run IMAGE command --its-own-flag`). */
  readonly interspersed: boolean;
}

/** Parses `argv`. Throws `FlagError`. */
export function parseFlags<F extends FlagTable>(
  table: F,
  argv: readonly string[],
  options: ParseOptions,
): ParsedFlags<F> {
  const parser = new Parser(table);
  const args: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--") {
      args.push(...argv.slice(i + 1));
      break;
    }
    if (word.length < 2 || !word.startsWith("-")) {
      if (!options.interspersed) {
        args.push(...argv.slice(i));
        break;
      }
      args.push(word);
      continue;
    }
    const used = word.startsWith("--")
      ? parser.long(word.slice(2), argv[i + 1])
      : parser.short(word, argv[i + 1]);
    if (used === "help") return parser.result(args, true);
    if (used === "next") i++;
  }
  return parser.result(args, false);
}

/** What became of a word: done, it took the following word as its argument, or it asks for help. */
type Outcome = "done" | "next" | "help";

class Parser<F extends FlagTable> {
  readonly #table: F;
  readonly #values = new Map<string, unknown>();
  readonly #changed = new Set<string>();

  constructor(table: F) {
    this.#table = table;
    for (const [name, flag] of Object.entries(table)) this.#values.set(name, flag.initial());
  }

  long(word: string, next: string | undefined): Outcome {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    if (name === "" || name.startsWith("-")) throw new FlagError(`bad flag syntax: --${word}`);
    const flag = Object.hasOwn(this.#table, name) ? this.#table[name] : undefined;
    if (flag === undefined) {
      if (name === "help") return "help";
      throw new FlagError(`unknown flag: --${name}`);
    }
    if (equals >= 0) return this.#set(name, flag, word.slice(equals + 1));
    if (flag.isBool) return this.#set(name, flag, "true");
    if (next === undefined) throw new FlagError(`flag needs an argument: --${name}`);
    this.#set(name, flag, next);
    return "next";
  }

  short(word: string, next: string | undefined): Outcome {
    let rest = word.slice(1);
    while (rest !== "") {
      const letter = rest.charAt(0);
      const found = Object.entries(this.#table).find(([, flag]) => flag.short === letter);
      if (found === undefined) {
        if (letter === "h") return "help";
        throw new FlagError(`unknown shorthand flag: ${goRune(letter)} in -${rest}`);
      }
      const [name, flag] = found;
      if (rest.length > 2 && rest.charAt(1) === "=") return this.#set(name, flag, rest.slice(2));
      if (flag.isBool) {
        this.#set(name, flag, "true");
        rest = rest.slice(1);
        continue;
      }
      if (rest.length > 1) return this.#set(name, flag, rest.slice(1));
      if (next === undefined) throw new FlagError(`flag needs an argument: ${goRune(letter)} in -${rest}`);
      this.#set(name, flag, next);
      return "next";
    }
    return "done";
  }

  #set(name: string, flag: Flag, value: string): Outcome {
    const target = flag.sameAs ?? name;
    try {
      this.#values.set(target, flag.apply(this.#values.get(target), value));
    } catch (error) {
      const shown = flag.short === undefined ? `--${name}` : `-${flag.short}, --${name}`;
      const reason = error instanceof Error ? error.message : String(error);
      throw new FlagError(`invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${reason}`);
    }
    this.#changed.add(target);
    return "done";
  }

  result(args: string[], help: boolean): ParsedFlags<F> {
    // The map was filled from the same table, one value of the flag's own type for each name.
    const values = Object.fromEntries(this.#values) as FlagValues<F>;
    return { values, changed: this.#changed, args, help };
  }
}

/** How Go's %q shows a letter. */
const goRune = (letter: string): string => `'${letter}'`;
