import { csvFields } from "./csv.ts";

/**
 * One flag of a command. The table of a command's flags is the only place that describes them: parser, help text and
 * shell completion all read it.
 *
 * `T` is what the parsed flag holds. Methods (not function properties), so that a `Flag<string>` is a `Flag<unknown>`.
 */
export interface Flag<T = unknown> {
  /** Word after the flag in the help text, as pflag shows it: "string", "list", "bytes"; "" for booleans. */
  readonly label: string;
  readonly short: string | undefined;
  readonly help: string;
  /** Works, but is neither shown nor completed. */
  readonly hidden: boolean;
  /** Takes no argument of its own; `--flag=false` is still possible. */
  readonly isBool: boolean;
  /** Text in the help's "(default …)", already quoted where pflag quotes. */
  readonly defaultText: string | undefined;
  /** Words the shell completes after the flag; "file" and "dir" complete paths. */
  readonly completes: readonly string[] | "file" | "dir" | "container" | "image" | "network" | undefined;
  /** Another spelling of this flag: what is given goes there, in the order in which both are given. */
  readonly sameAs?: string;
  initial(): T;
  /** Takes one occurrence. Throws `FlagValueError` or any Error whose message explains what is wrong with `text`. */
  apply(current: T, text: string): T;
}

export type FlagTable = Readonly<Record<string, Flag>>;

/** What a parsed table holds: one value for each flag, by its long name. */
export type FlagValues<F extends FlagTable> = {
  -readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never;
};

interface FlagOptions<T> {
  short?: string;
  default?: T;
  hidden?: boolean;
  /** Overrides the word shown after the flag. */
  label?: string;
  defaultText?: string;
  completes?: Flag["completes"];
  /** Refuses a value by throwing; may also normalise it. */
  check?: (text: string) => string;
}

function describe<T>(
  help: string,
  options: FlagOptions<T>,
): Pick<Flag, "short" | "help" | "hidden" | "completes"> {
  return {
    short: options.short,
    help,
    hidden: options.hidden ?? false,
    completes: options.completes,
  };
}

/** The values strconv.ParseBool takes; undefined for anything else. */
export function parseBool(text: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(text)) return false;
  return undefined;
}

export function bool(help: string, options: FlagOptions<boolean> = {}): Flag<boolean> {
  const initial = options.default ?? false;
  return {
    ...describe(help, options),
    label: "",
    isBool: true,
    defaultText: initial ? "true" : undefined,
    initial: () => initial,
    apply(_current, text) {
      const value = parseBool(text);
      if (value === undefined) {
        throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
      }
      return value;
    },
  };
}

/** A string; the last occurrence counts. */
export function text(help: string, options: FlagOptions<string> = {}): Flag<string> {
  const initial = options.default ?? "";
  return {
    ...describe(help, options),
    label: options.label ?? "string",
    isBool: false,
    defaultText: options.defaultText ?? (initial === "" ? undefined : JSON.stringify(initial)),
    initial: () => initial,
    apply: (_current, value) => options.check ? options.check(value) : value,
  };
}

/** May be given several times; keeps the order. */
export function list(help: string, options: FlagOptions<string[]> = {}): Flag<string[]> {
  return {
    ...describe(help, options),
    label: options.label ?? "list",
    isBool: false,
    defaultText: options.defaultText,
    initial: () => [],
    apply: (current, value) => [...current, options.check ? options.check(value) : value],
  };
}

/** `key=value`, may be given several times; a later value of the same key wins, "key" alone has the value "". */
export function map(help: string, options: FlagOptions<never> = {}): Flag<Record<string, string>> {
  return {
    ...describe(help, options),
    label: options.label ?? "map",
    isBool: false,
    defaultText: "map[]",
    initial: () => ({}),
    apply(current, value) {
      const checked = options.check ? options.check(value) : value;
      const at = checked.indexOf("=");
      return at < 0
        ? { ...current, [checked]: "" }
        : { ...current, [checked.slice(0, at)]: checked.slice(at + 1) };
    },
  };
}

/** A value of any other type; `parse` throws an Error that says what is wrong. */
export function custom<T>(
  help: string,
  options: FlagOptions<T> & { label: string; initial: T; parse: (text: string, current: T) => T },
): Flag<T> {
  return {
    ...describe(help, options),
    label: options.label,
    isBool: false,
    defaultText: options.defaultText,
    initial: () => options.initial,
    apply: (current, value) => options.parse(value, current),
  };
}

/** A hidden spelling of the flag `name`; holds nothing itself. */
export function spelledAs<T>(name: string, flag: Flag<T>): Flag<T> {
  return { ...flag, hidden: true, sameAs: name };
}

/** May be given several times, and each time several values with commas between them, as CSV. */
export function strings(help: string, options: FlagOptions<string[]> = {}): Flag<string[]> {
  return {
    ...describe(help, options),
    label: options.label ?? "strings",
    isBool: false,
    defaultText: options.defaultText,
    initial: () => [],
    apply: (current, value) => [...current, ...(value === "" ? [] : csvFields(value))],
  };
}
