import type * as z from "zod/mini";

export type Method = "get" | "head" | "post" | "put" | "delete";

/** A parameter that may be given several times, which the route reads itself. */
export interface Repeated {
  readonly description: string;
  readonly values?: readonly string[];
  readonly since?: string;
}

/** What an answer other than JSON is. */
export interface Content {
  readonly type: string;
  readonly description: string;
}

export interface Operation {
  readonly id: string;
  readonly method: Method;
  /** As the router has it: `/containers/:name/json`. */
  readonly path: string;
  readonly summary: string;
  /** Version of the API that brought it, where that is above the oldest. */
  readonly since?: string;
  /** From the schemas that the route reads by. */
  readonly query?: z.ZodMiniObject;
  readonly required?: readonly string[];
  /** Parameters that older versions ignore, with the version that brought them. */
  readonly newer?: Readonly<Record<string, string>>;
  readonly repeated?: Readonly<Record<string, Repeated>>;
  /** Takes `X-Registry-Auth`: credentials as JSON in base64. */
  readonly registryAuth?: boolean;
  readonly body?: { readonly schema: z.core.$ZodType; readonly optional?: boolean } | Content;
  /** Status of success, 200 by default. */
  readonly status?: number;
  /** Of JSON, of something else, or nothing. */
  readonly answer?: z.core.$ZodType | Content;
  /** JSON answers that are one object in each line, for as long as the connection lasts. */
  readonly lines?: boolean;
  /** Takes the connection over when the client asks for it (101), else answers in its stream (200). */
  readonly hijack?: boolean;
  /** What else is answered: refusals, and 304 where nothing was to do. */
  readonly refusals: readonly number[];
}

export const isContent = (value: object): value is Content => "type" in value && "description" in value;
