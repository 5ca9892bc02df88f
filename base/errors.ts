/**
 * The one error class that crosses rooms. `kind` decides the HTTP status (as moby's httpstatus package does);
 * `hint` is what to type now and is shown by the command line, never parsed.
 */
export type ErrorKind =
  | "not-found"
  | "invalid"
  | "conflict"
  | "unauthorized"
  | "unavailable"
  | "forbidden"
  | "not-modified"
  | "not-implemented"
  | "system";

/** HTTP status of each kind of error. */
export const HTTP_STATUS: Readonly<Record<ErrorKind, number>> = {
  "not-found": 404,
  "invalid": 400,
  "conflict": 409,
  "unauthorized": 401,
  "unavailable": 503,
  "forbidden": 403,
  "not-modified": 304,
  "not-implemented": 501,
  "system": 500,
};

export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    options: { cause?: unknown; hint?: string | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint;
  }
}

export const notFound = (message: string): EngineError => new EngineError("not-found", message);
export const invalid = (message: string, cause?: unknown): EngineError =>
  new EngineError("invalid", message, { cause });
export const conflict = (message: string): EngineError => new EngineError("conflict", message);

/** Text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
