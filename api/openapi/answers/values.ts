/** What answers are made of. Unlike a request's fields, those of an answer are there unless it is said otherwise. */
import * as z from "zod/mini";
import { type WireSchema, wireSchemas } from "../../schemas/wire.ts";

const onWire = <T extends z.core.$ZodType>(schema: T, json: WireSchema): T => {
  wireSchemas.add(schema, { json });
  return schema;
};

export const text = z.string();
export const bool = z.boolean();
export const number = z.number();
export const integer = onWire(z.number(), { type: "integer", format: "int64" });
export const unixTime = onWire(z.number(), {
  type: "integer",
  format: "int64",
  description: "Seconds since the epoch.",
});
export const dateTime = onWire(z.string(), { type: "string", format: "date-time" });

export const maybe = z.optional;
/** `[]T`, where Go writes null for a slice that nobody made. */
export const slice = <T extends z.core.$ZodType>(item: T) => z.nullable(z.array(item));
export const mapOf = <T extends z.core.$ZodType>(value: T) => z.nullable(z.record(z.string(), value));
export const texts = slice(text);
export const textMap = mapOf(text);
export const anything = onWire(z.unknown(), { type: "object" });
export const oneOf = (...values: string[]) => z.enum(values as [string, ...string[]]);
