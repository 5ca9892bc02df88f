/**
 * What a schema accepts on the wire, where zod cannot know it: parameters are text that a function reads, Go's integers have limits.
 * The OpenAPI document is made of the schemas and of this.
 */
import * as z from "zod/mini";

/** A JSON Schema, as far as it is written by hand. */
export type WireSchema = Readonly<Record<string, unknown>>;

/** Of single schemas: replaces what zod would say. */
export const wireSchemas = z.registry<{ readonly json: WireSchema }>();

/** Structs: any field of them may be null, which stands for a missing one. */
export const structs = z.registry<{ readonly name: string }>();

/** Notes what `schema` accepts, and gives it back. */
export function onWire<T extends z.core.$ZodType>(schema: T, json: WireSchema): T {
  wireSchemas.add(schema, { json });
  return schema;
}
