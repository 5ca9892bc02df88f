import { SysError } from "../ffi/errno.ts";
import type { StartFailure } from "./protocol.ts";

/** A start that failed: what the shim tells the engine. */
export class InitFailure extends Error {
  override readonly name = "InitFailure";
  readonly stage: string;
  readonly errno: number;

  constructor(stage: string, message: string, errno = 0, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.stage = stage;
    this.errno = errno;
  }
}

/** Runs one step of the set-up; what it throws is passed on with the step's name, and `what` before the message. */
export function inStage<T>(stage: string, what: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw wrapped(stage, what, error);
  }
}

function wrapped(stage: string, what: string, error: unknown): InitFailure {
  if (error instanceof InitFailure) return error;
  const errno = error instanceof SysError ? error.errno : 0;
  const message = error instanceof Error ? error.message : String(error);
  return new InitFailure(stage, what === "" ? message : `${what}: ${message}`, errno, error);
}

/** What a failure has come from: that which no step has put its name to. */
export function rootCause(error: unknown): unknown {
  return error instanceof InitFailure && error.cause !== undefined ? rootCause(error.cause) : error;
}

/** The wire form of anything thrown during a start. */
export function toStartFailure(error: unknown): StartFailure {
  const { message, errno, stage } = wrapped("init", "", error);
  return { message, errno, stage };
}
