import * as z from "zod/mini";
import { EngineError } from "../../base/errors.ts";
import { type Filters } from "../../engine/types.ts";
import { onWire, type WireSchema } from "./wire.ts";

/** One query parameter: its first value, undefined when it is missing. */
const parameter = <T>(json: WireSchema, parse: (value: string | undefined) => T) =>
  onWire(z.pipe(z.optional(z.string()), z.transform(parse)), json);

const FALSE = new Set(["", "0", "no", "false", "none"]);
const isTrue = (value: string | undefined): boolean =>
  value !== undefined && !FALSE.has(value.trim().toLowerCase());

/** Docker's BoolValue: "", "0", "no", "false" and "none" are false, everything else is true. */
export const flag = parameter({ type: "boolean", default: false }, isTrue);
export const flagOr = (missing: boolean) =>
  parameter(
    { type: "boolean", default: missing },
    (value) => value === undefined ? missing : isTrue(value),
  );

/** An empty value counts as missing, as everywhere in Docker's API. */
export const word = parameter({ type: "string" }, (value) => value || undefined);

const INT32 = /^[+-]?[0-9]{1,10}$/;
function parseInteger(value: string, min: number, max: number): number {
  if (!/^[+-]?[0-9]+$/.test(value)) {
    throw new EngineError("invalid", `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
  const number = INT32.test(value) ? Number(value) : NaN;
  if (!(number >= min && number <= max)) {
    throw new EngineError("invalid", `strconv.Atoi: parsing ${JSON.stringify(value)}: value out of range`);
  }
  return number;
}

/** A whole number of at most 32 bits, or missing. */
export const integer = parameter(
  { type: "integer", format: "int32" },
  (value) => value ? parseInteger(value, -(2 ** 31), 2 ** 31 - 1) : undefined,
);

/** Rows or columns of a terminal: must be given, and fit the kernel's `struct winsize`. @param what `height` or `width`. */
export const terminalSize = (what: string) =>
  parameter({ type: "integer", minimum: 0, maximum: 0xffff }, (value = "") => {
    if (/^[0-9]{1,5}$/.test(value) && Number(value) <= 0xffff) return Number(value);
    const reason = /^[0-9]+$/.test(value) ? "value out of range" : "invalid syntax";
    throw new EngineError("invalid", `invalid resize ${what} ${JSON.stringify(value)}: ${reason}`);
  });

/** `tail` of a log: whatever is no number, "all" above all, means everything. */
export const tail = parameter(
  { oneOf: [{ type: "integer", minimum: 0 }, { const: "all" }], default: "all" },
  (value) => value !== undefined && /^[0-9]{1,10}$/.test(value) ? Number(value) : undefined,
);

const SECONDS: WireSchema = {
  type: "string",
  pattern: "^-?[0-9]{1,19}(\\.[0-9]+)?$",
  description: "Seconds since the epoch.",
};
const INT64_MAX = 2n ** 63n - 1n;
/** `seconds[.fraction]` as nanoseconds since the epoch, or missing. */
export const timestamp = parameter(SECONDS, (value): bigint | undefined => {
  if (!value) return undefined;
  const match = /^(-?)([0-9]{1,19})(?:\.([0-9]+))?$/.exec(value);
  if (match === null) throw new EngineError("invalid", `invalid timestamp: ${JSON.stringify(value)}`);
  const [, sign, seconds = "0", fraction = ""] = match;
  const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
  // Beyond the year 2262 is as good as for ever.
  if (nanoseconds > INT64_MAX) return sign === "-" ? -INT64_MAX : INT64_MAX;
  return sign === "-" ? -nanoseconds : nanoseconds;
});

const filterSchema = z.record(
  z.string(),
  z.union([z.array(z.string()), z.record(z.string(), z.boolean()), z.null()]),
);

const FILTERS: WireSchema = {
  type: "string",
  contentMediaType: "application/json",
  contentSchema: { type: "object", additionalProperties: { type: "array", items: { type: "string" } } },
  description: 'JSON: {"key":["value"]}, or {"key":{"value":true}} as older clients write it.',
};

/** `{"label":["a=b"]}` and `{"label":{"a=b":true}}`, the encodings of old and of new clients. */
export const filters = parameter(FILTERS, (value): Filters => {
  if (!value) return new Map();
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch {
    throw new EngineError("invalid", "invalid filter");
  }
  const result = z.safeParse(filterSchema, json ?? {});
  if (!result.success) throw new EngineError("invalid", "invalid filter");
  return new Map(
    Object.entries(result.data).map(([key, values]) => [
      key,
      Array.isArray(values) ? [...new Set(values)] : Object.keys(values ?? {}),
    ]),
  );
});
