/**
 * The types of a Go JSON decoder as zod schemas, because that decoder is what Docker's clients were written against:
 * `null` leaves a field at its zero value, unknown fields are dropped, a wrong type is refused. Every schema's error
 * message is the name of the Go type that was expected; see {@link goJsonError}.
 */
import * as z from "zod/mini";
import { EngineError } from "../../base/errors.ts";
import { onWire, structs } from "./wire.ts";

/** 2^63: as a double the first integer that an int64 cannot hold. */
const INT64_LIMIT = 9223372036854775808;

const named = (type: string) => ({ error: () => type });

export const text = z.string(named("string"));
export const bool = z.boolean(named("bool"));

/** Numbers are doubles here: an int64 beyond 2^53 is rounded, which only "unlimited" values ever are. */
const integer = (type: string, min: number, max: number) =>
  onWire(
    z.number(named(type)).check(
      z.refine((value: number) => Number.isInteger(value) && value >= min && value <= max, named(type)),
    ),
    { type: "integer", format: type, ...(min === 0 ? { minimum: 0 } : {}) },
  );
export const int64 = integer("int64", -INT64_LIMIT, INT64_LIMIT);
export const uint16 = integer("uint16", 0, 0xffff);
export const uint32 = integer("uint32", 0, 0xffffffff);
export const uint64 = integer("uint64", 0, INT64_LIMIT * 2);

/** A field that may be missing (or null, which {@link struct} removes). */
export const opt = z.exactOptional;

const withZero = <T extends z.core.$ZodType>(item: T, zero: unknown) =>
  z.pipe(z.transform((value: unknown) => value === null ? zero : value), item);

/** `[]T`; a null element is `zero`. */
export const list = <T extends z.core.$ZodType>(item: T, zero: unknown, type = "[]string") =>
  z.array(withZero(item, zero), named(type));
export const texts = list(text, "");

/** `map[string]T`; a null value is `zero`. */
export const map = <T extends z.core.$ZodType>(value: T, zero: unknown, type = "map[string]string") =>
  z.record(z.string(), withZero(value, zero), named(type));
export const textMap = map(text, "");

/** `{"image": …}` is `{"Image": …}` to Go, and null is as good as nothing. Of two spellings the later one counts. */
function fieldsOf(
  names: ReadonlySet<string>,
  byFolded: ReadonlyMap<string, string>,
): (value: unknown) => unknown {
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const fields: [string, unknown][] = [];
    for (const [key, field] of Object.entries(value)) {
      if (field === null) continue;
      fields.push([names.has(key) ? key : byFolded.get(key.toLowerCase()) ?? key, field]);
    }
    return Object.fromEntries(fields);
  };
}

/** A Go struct: its fields are found in any case of letters, as encoding/json does it. */
export function struct<T extends z.core.$ZodShape>(type: string, shape: T) {
  const object = z.object(shape, named(type));
  structs.add(object, { name: type });
  const names = Object.keys(shape);
  const byFolded = new Map(names.map((name) => [name.toLowerCase(), name]));
  return z.pipe(z.transform(fieldsOf(new Set(names), byFolded)), object);
}

/** `struct{}`: only that it is there matters. */
export const empty = z.pipe(
  z.record(z.string(), z.unknown(), named("struct {}")),
  z.transform((): Record<string, never> => ({})),
);

/** Docker's strslice: a list of strings, or one string standing for a list of one. */
export const textOrTexts = onWire(
  z.pipe(
    z.transform((value: unknown) => typeof value === "string" ? [value] : value),
    texts,
  ),
  { oneOf: [{ type: "array", items: { type: "string" } }, { type: "string" }] },
);

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return value === null ? "null" : typeof value;
}

/** What encoding/json would say about the first thing that does not fit. */
export function goJsonError(issues: readonly z.core.$ZodIssue[], input: unknown, struct: string): string {
  const issue = issues[0];
  if (issue === undefined) return "invalid JSON";
  let value = input;
  for (const key of issue.path) {
    const fields: Record<PropertyKey, unknown> = typeof value === "object" && value !== null
      ? value as Record<PropertyKey, unknown>
      : {};
    const folded = String(key).toLowerCase();
    value = key in fields
      ? fields[key]
      : Object.entries(fields).find(([name]) => name.toLowerCase() === folded)?.[1];
  }
  const kind = kindOf(value);
  const what = kind === "number" && /int/.test(issue.message) ? `number ${value}` : kind;
  const where = issue.path.length === 0
    ? "Go value"
    : `Go struct field ${struct}.${issue.path.map(String).join(".")}`;
  return `invalid JSON: json: cannot unmarshal ${what} into ${where} of type ${issue.message}`;
}

/** Checks `input` against `schema`; `struct` is the name that error messages give it. */
export function decode<T extends z.core.$ZodType>(schema: T, input: unknown, struct: string): z.output<T> {
  const result = z.safeParse(schema, input);
  if (result.success) return result.data;
  throw new EngineError("invalid", goJsonError(result.error.issues, input, struct));
}
