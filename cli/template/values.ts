/** How Go shows and judges the values of a template. Values are those of JSON, and functions for methods. */

import { goTimeOf } from "../output/durations.ts";

export type Value = unknown;

/** A nil slice or map of Go: JSON says null, text/template prints it like an empty one. */
export class GoNil {
  readonly kind: "slice" | "map" | "string";

  constructor(kind: "slice" | "map" | "string") {
    this.kind = kind;
  }

  toJSON(): null | "" {
    return this.kind === "string" ? "" : null;
  }
}

/** A time.Time: JSON has it in RFC 3339, text/template shows it as time.Time.String() does. */
export class GoTime {
  readonly rfc3339: string;

  constructor(rfc3339: string) {
    this.rfc3339 = rfc3339;
  }

  toJSON(): string {
    return this.rfc3339;
  }

  toString(): string {
    return goTimeOf(this.rfc3339);
  }
}

/** Objects that are maps in Go: a key that they do not hold is no error. */
const goMaps = new WeakSet<object>();

export function markMap(value: object): void {
  goMaps.add(value);
}

export function isMap(value: object): boolean {
  return goMaps.has(value);
}

/** Go's names of the structures that objects stand for. */
const structTypes = new WeakMap<object, string>();

/** Gives an object the name that errors about unknown fields show; without one it is "map". Returns it. */
export function asStruct<T extends object>(value: T, type: string): T {
  structTypes.set(value, type);
  return value;
}

export const structType = (value: object): string | undefined => structTypes.get(value);

export function isObject(value: Value): value is Record<string, Value> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof GoNil) &&
    !(value instanceof GoTime);
}

/** Go's `if`: false, 0, "", nil and everything empty are false. */
export function isTrue(value: Value): boolean {
  if (value === null || value === undefined || value instanceof GoNil) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return !isMap(value) || Object.keys(value).length > 0;
  return Boolean(value);
}

/** `%v`: `[a b]`, `map[a:b]`; `nil` is what nil shows as. */
export function goString(value: Value, nil = "<nil>"): string {
  if (value === null || value === undefined) return nil;
  if (value instanceof GoNil) return value.kind === "slice" ? "[]" : value.kind === "map" ? "map[]" : "";
  if (typeof value === "number") return goNumber(value);
  if (Array.isArray(value)) return `[${value.map((item) => goString(item)).join(" ")}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).sort();
    if (isMap(value) || keys.length === 0) {
      return `map[${keys.map((k) => `${k}:${goString(value[k])}`).join(" ")}]`;
    }
    return `{${Object.values(value).map((item) => goString(item)).join(" ")}}`;
  }
  return String(value);
}

/** %v of a float64: exponents with at least two digits. */
function goNumber(value: number): string {
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Strings as json.Marshal writes them: <, > and & are escaped for HTML. */
function escapeHtml(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** json.Marshal. Objects keep the order of their keys, unless they are maps in Go, which are sorted. */
export function goJson(value: Value, indent?: number | string): string {
  return escapeHtml(plainJson(value, indent));
}

/** As {@link goJson}, with <, > and & as they are: an encoder with SetEscapeHTML(false), which docker's templates use. */
export function plainJson(value: Value, indent?: number | string): string {
  const sorted = (_key: string, item: Value): Value =>
    isObject(item) && isMap(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => a < b ? -1 : 1))
      : item;
  return JSON.stringify(value, sorted, indent) ?? "null";
}

/** %q: a Go string literal. */
export function goQuote(text: string): string {
  return JSON.stringify(text).replace(/\\u00([01][0-9a-f])/g, "\\x$1").replaceAll("\\x07", "\\a").replaceAll(
    "\\x0b",
    "\\v",
  )
    .replaceAll("\x7f", "\\x7f");
}
