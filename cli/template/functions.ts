/** Functions of templates: text/template's own, and those docker adds. */

import { TemplateError } from "./syntax.ts";
import {
  goJson,
  GoNil,
  goQuote,
  goString,
  isMap,
  isObject,
  isTrue,
  plainJson,
  structType,
  type Value,
} from "./values.ts";

export type TemplateFunction = (...args: Value[]) => Value;

const text = (value: Value): string => typeof value === "string" ? value : goString(value);

function length(value: Value): number {
  if (typeof value === "string") return new TextEncoder().encode(value).length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof GoNil) return 0;
  if (isObject(value)) return Object.keys(value).length;
  throw new TemplateError(
    `error calling len: len of ${
      value === null || value === undefined ? "nil pointer" : `type ${typeName(value)}`
    }`,
  );
}

function index(item: Value, ...keys: Value[]): Value {
  let current = item;
  for (const key of keys) {
    if (Array.isArray(current) || typeof current === "string") {
      const at = Number(key);
      if (!Number.isInteger(at)) {
        throw new TemplateError(`error calling index: cannot index slice/array with type string`);
      }
      if (at < 0 || at >= current.length) {
        throw new TemplateError(`error calling index: reflect: slice index out of range`);
      }
      current = typeof current === "string" ? current.charCodeAt(at) : current[at];
    } else if (isObject(current)) {
      current = Object.hasOwn(current, text(key)) ? current[text(key)] : isMap(current) ? "" : undefined;
    } else if (current instanceof GoNil) {
      if (current.kind === "slice") {
        throw new TemplateError("error calling index: reflect: slice index out of range");
      }
      current = "";
    } else {
      throw new TemplateError("error calling index: index of untyped nil");
    }
  }
  return current;
}

function slice(item: Value, from: Value = 0, to?: Value): Value {
  if (typeof item !== "string" && !Array.isArray(item)) {
    throw new TemplateError("error calling slice: can't slice item");
  }
  const end = to === undefined ? item.length : Number(to);
  if (Number(from) < 0 || end > item.length || Number(from) > end) {
    throw new TemplateError(`error calling slice: index out of range: ${end}`);
  }
  return item.slice(Number(from), end);
}

function compare(name: string, a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  throw new TemplateError(`error calling ${name}: incompatible types for comparison`);
}

function equal(a: Value, b: Value): boolean {
  if ((a ?? null) === null || (b ?? null) === null) return (a ?? null) === (b ?? null);
  if (a instanceof GoNil || b instanceof GoNil) return text(a) === text(b);
  if (typeof a !== typeof b) throw new TemplateError("error calling eq: incompatible types for comparison");
  return a === b;
}

/** fmt.Sprint: operands are separated by blanks when neither is a string. */
function sprint(args: readonly Value[]): string {
  let out = "";
  args.forEach((arg, i) => {
    if (i > 0 && typeof arg !== "string" && typeof args[i - 1] !== "string") out += " ";
    out += goString(arg);
  });
  return out;
}

/** fmt.Sprintf for the verbs s v q d f g x X o b c t e %, with flags, width and precision. */
export function sprintf(format: Value, ...args: Value[]): string {
  let used = 0;
  const out = text(format).replace(
    /%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])/g,
    (_all, flags: string, width: string | undefined, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      const columns = width === "*" ? Number(args[used++]) : Number(width ?? 0);
      if (used >= args.length) return `%!${verb}(MISSING)`;
      const shown = verbText(
        verb,
        args[used++],
        precision === undefined ? undefined : Number(precision),
        flags,
      );
      if (flags.includes("-")) return shown.padEnd(columns);
      if (flags.includes("0") && "dfxXobeg".includes(verb)) {
        const sign = /^[+-]/.exec(shown)?.[0] ?? "";
        return sign + shown.slice(sign.length).padStart(columns - sign.length, "0");
      }
      return shown.padStart(columns);
    },
  );
  if (used >= args.length) return out;
  const extra = args.slice(used).map((arg) => `${typeName(arg)}=${goString(arg)}`);
  return `${out}%!(EXTRA ${extra.join(", ")})`;
}

/** %T, as far as JSON tells. */
function typeName(value: Value): string {
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (typeof value === "boolean") return "bool";
  if (Array.isArray(value)) return "[]interface {}";
  return isObject(value) ? structType(value) ?? "map[string]interface {}" : "string";
}

function verbText(verb: string, value: Value, precision: number | undefined, flags: string): string {
  const number = Number(value);
  const signed = (shown: string) => flags.includes("+") && number >= 0 ? `+${shown}` : shown;
  switch (verb) {
    case "q":
      return Array.isArray(value)
        ? `[${value.map((v) => goQuote(text(v))).join(" ")}]`
        : goQuote(text(value));
    case "d":
      return typeof value === "number"
        ? signed(String(Math.trunc(number)))
        : `%!d(${typeName(value)}=${goString(value)})`;
    case "f":
      return signed(number.toFixed(precision ?? 6));
    case "e":
      return signed(number.toExponential(precision ?? 6).replace(/e([+-])(\d)$/, "e$10$2"));
    case "g":
      return signed(
        precision === undefined ? goString(number) : String(Number(number.toPrecision(precision))),
      );
    case "x":
    case "X": {
      const hex = typeof value === "number"
        ? Math.trunc(number).toString(16)
        : [...new TextEncoder().encode(text(value))].map((b) => b.toString(16).padStart(2, "0")).join("");
      return verb === "X" ? hex.toUpperCase() : hex;
    }
    case "o":
      return Math.trunc(number).toString(8);
    case "b":
      return Math.trunc(number).toString(2);
    case "c":
      return String.fromCodePoint(number);
    case "T":
      return typeName(value);
    case "t":
    case "s":
    case "v": {
      const shown = goString(value);
      const wrong = verb === "s" && (typeof value === "number" || typeof value === "boolean") ||
        verb === "t" && typeof value !== "boolean";
      if (wrong) return `%!${verb}(${typeName(value)}=${shown})`;
      return precision === undefined ? shown : [...shown].slice(0, precision).join("");
    }
    default:
      return `%!${verb}(${typeName(value)}=${goString(value)})`;
  }
}

function join(list: Value, separator: Value): string {
  return Array.isArray(list) ? list.map(text).join(text(separator)) : "";
}

function pad(value: Value, before: Value, after: Value): string {
  const shown = text(value);
  return shown === "" ? "" : " ".repeat(Number(before)) + shown + " ".repeat(Number(after));
}

/** As template.JSEscaper, for what can stand in a name. */
const jsEscape = (text: string): string =>
  text.replace(/[\\'"<>&=\n\r\t]/g, (char) => JS[char] ?? char).replace(
    // deno-lint-ignore no-control-regex -- those are what is escaped
    /[\x00-\x1f]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`,
  );

const JS: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "'": "\\'",
  '"': '\\"',
  "<": "\\u003C",
  ">": "\\u003E",
  "&": "\\u0026",
  "=": "\\u003D",
  "\n": "\\u000A",
  "\r": "\\u000D",
  "\t": "\\u0009",
};

const HTML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
};

/** Rows of docker's lists marshal themselves, which escapes <, > and &; everything else is written as it is. */
function json(value: Value): string {
  const isRow = isObject(value) && structType(value)?.startsWith("*formatter.") === true;
  return isRow ? goJson(value) : plainJson(value ?? null);
}

/** `and` and `or` are not here: they evaluate their arguments only as far as needed. */
export const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  not: (value) => !isTrue(value),
  len: length,
  index,
  slice,
  eq: (first, ...rest) => rest.some((other) => equal(first, other)),
  ne: (a, b) => !equal(a, b),
  lt: (a, b) => compare("lt", a, b) < 0,
  le: (a, b) => compare("le", a, b) <= 0,
  gt: (a, b) => compare("gt", a, b) > 0,
  ge: (a, b) => compare("ge", a, b) >= 0,
  print: (...args) => sprint(args),
  printf: sprintf,
  println: (...args) => args.map((arg) => goString(arg)).join(" ") + "\n",
  html: (...args) => sprint(args).replace(/[&<>"']/g, (char) => HTML[char] ?? char),
  js: (...args) => jsEscape(sprint(args)),
  urlquery: (...args) => encodeURIComponent(sprint(args)).replaceAll("%20", "+"),
  json,
  join,
  split: (value, separator) => text(value).split(text(separator)),
  title: (value) =>
    text(value).replace(
      /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
      (_all, before: string, first: string) => before + first.toUpperCase(),
    ),
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  pad,
  truncate: (value, length) => [...text(value)].slice(0, Number(length)).join(""),
};
