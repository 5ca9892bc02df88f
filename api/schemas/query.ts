import * as z from "zod/mini";
import { EngineError } from "../../base/errors.ts";
import { type Filters } from "../../engine/types.ts";

/** One query parameter: its first value, undefined when it is missing. */
const parameter = <T>(parse: (value: string | undefined) => T) =>
  z.pipe(z.optional(z.string()), z.transform(parse));

const FALSE = new Set(["", "0", "no", "false", "none"]);
const isTrue = (value: string | undefined): boolean =>
  value !== undefined && !FALSE.has(value.trim().toLowerCase());

/** Docker's BoolValue: "", "0", "no", "false" and "none" are false, everything else is true. */
export const flag = parameter(isTrue);
export const flagOr = (missing: boolean) =>
  parameter((value) => value === undefined ? missing : isTrue(value));

/** An empty value counts as missing, as everywhere in Docker's API. */
export const word = parameter((value) => value || undefined);

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
export const integer = parameter((value) => value ? parseInteger(value, -(2 ** 31), 2 ** 31 - 1) : undefined);

/** Rows or columns of a terminal: must be given, and fit the kernel's `struct winsize`. */
export const terminalSize = parameter((value) => parseInteger(value ?? "", 0, 0xffff));

/** `tail` of a log: whatever is no number, "all" above all, means everything. */
export const tail = parameter((value) =>
  value !== undefined && /^[0-9]{1,10}$/.test(value) ? Number(value) : undefined
);

const INT64_MAX = 2n ** 63n - 1n;
/** `seconds[.fraction]` as nanoseconds since the epoch, or missing. */
export const timestamp = parameter((value): bigint | undefined => {
  if (!value) return undefined;
  const match = /^(-?)([0-9]{1,11})(?:\.([0-9]{1,9}))?$/.exec(value);
  if (match === null) throw new EngineError("invalid", `invalid timestamp: ${JSON.stringify(value)}`);
  const [, sign, seconds = "0", fraction = ""] = match;
  const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
  if (nanoseconds > INT64_MAX) {
    throw new EngineError("invalid", `timestamp out of range: ${JSON.stringify(value)}`);
  }
  return sign === "-" ? -nanoseconds : nanoseconds;
});

const filterSchema = z.record(
  z.string(),
  z.union([z.array(z.string()), z.record(z.string(), z.boolean()), z.null()]),
);

/** `{"label":["a=b"]}` and `{"label":{"a=b":true}}`, the encodings of old and of new clients. */
export const filters = parameter((value): Filters => {
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
