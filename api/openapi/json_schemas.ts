/** JSON Schemas (2020-12, as OpenAPI 3.1 has them) out of the zod schemas of requests and answers. */
import * as z from "zod/mini";
import { structs, wireSchemas } from "../schemas/wire.ts";
import { COMPONENTS } from "./components.ts";

/** A JSON Schema, or another part of the document. */
export type Json = Record<string, unknown>;

const PREFIX = "#/components/schemas/";

/** Marks, while a document is made, an object whose fields may all be null. */
const STRUCT_MARK = "x-struct";

const OPTIONS = {
  io: "input",
  unrepresentable: "any",
  override({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodType; jsonSchema: object }): void {
    const wire = wireSchemas.get(zodSchema)?.json;
    if (wire !== undefined) replace(jsonSchema as Json, structuredClone(wire) as Json);
    if (structs.has(zodSchema)) (jsonSchema as Json)[STRUCT_MARK] = true;
  },
} as const;

function replace(target: Json, source: Json): void {
  for (const key of Object.keys(target)) delete target[key];
  Object.assign(target, source);
}

/** `components.schemas` of the document. */
export function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(COMPONENTS)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { ...OPTIONS, uri: (id) => `${PREFIX}${id}` });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, tidy(schema)]));
}

/** What each parameter accepts. */
export function parameterSchemas(query: z.ZodMiniObject): Record<string, Json> {
  return tidy(z.toJSONSchema(query, OPTIONS))["properties"] as Record<string, Json>;
}

const NAMES = new Map(Object.entries(COMPONENTS).map(([name, schema]) => [schema, name]));

/** A reference to a schema that has a name, or a list of such. */
export function referTo(schema: z.core.$ZodType): Json {
  const name = NAMES.get(schema);
  if (name !== undefined) return { $ref: `${PREFIX}${name}` };
  const { def } = schema._zod as z.core.$ZodTypeInternals & { def: { element?: z.core.$ZodType } };
  if (def.element === undefined) throw new Error("a schema of the document has no name: see components.ts");
  return { type: "array", items: referTo(def.element) };
}

const isJson = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const orNull = (schema: Json): Json =>
  typeof schema["type"] === "string" && schema["enum"] === undefined
    ? { ...schema, type: [schema["type"], "null"] }
    : Array.isArray(schema["oneOf"])
    ? { ...schema, oneOf: [...schema["oneOf"], { type: "null" }] }
    : { anyOf: [schema, { type: "null" }] };

/** Leaves out what says nothing here, and lets the fields of structs be null. */
function tidy(schema: object): Json {
  const { $schema: _, $id: _id, [STRUCT_MARK]: isStruct, propertyNames: _names, ...rest } = schema as Json;
  return Object.fromEntries(
    Object.entries(rest).map(([key, value]) => {
      if (key === "properties" && isJson(value)) {
        const fields = Object.entries(value).map((
          [name, field],
        ): [string, Json] => [name, tidy(field as Json)]);
        return [
          key,
          Object.fromEntries(isStruct ? fields.map(([name, field]) => [name, orNull(field)]) : fields),
        ];
      }
      if (Array.isArray(value)) return [key, value.map((item) => isJson(item) ? tidy(item) : item)];
      return [key, isJson(value) && key !== "default" ? tidy(value) : value];
    }),
  );
}
