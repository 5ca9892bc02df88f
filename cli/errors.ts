/**
 * An error the user caused or must see: printed to stderr without a stack, then the process ends with `exitCode`.
 * A message of "" prints nothing (the exit code of a container, for instance).
 */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The engine answered with a status of 400 or more; `message` is the engine's own text. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** No engine answers where the user (or the default) said it would. */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
}

/**
 * The text Docker's command line prints for an error: an answer of the engine is marked as such, everything else is
 * shown as it is.
 */
export function describeError(error: unknown): string {
  if (error instanceof ApiError) return `Error response from daemon: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
