import { EngineError, messageOf } from "../base/errors.ts";

/** What Docker puts before an error of a container's networks at its start; status and hint stay. */
export function networkingFailed(error: unknown): EngineError {
  const known = error instanceof EngineError ? error : undefined;
  return new EngineError(
    known?.kind ?? "system",
    `failed to set up container networking: ${messageOf(error)}`,
    { cause: error, hint: known?.hint },
  );
}
