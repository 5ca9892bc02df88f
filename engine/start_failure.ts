import { EngineError, messageOf } from "../base/errors.ts";
import { OOM_STAGE, type StartFailure } from "../runtime/protocol.ts";
import { ShimFailure } from "./shim_client.ts";

/** Exit code of a start that failed for no better reason (moby: exitUnknown). */
const EXIT_UNKNOWN = 128;
const EXIT_CANNOT_INVOKE = 126;
const EXIT_NOT_FOUND = 127;

/** What clients are told when runc under containerd fails; tools and the docker command line match on parts of these. */
const START_PREFIX = "failed to create task for container: failed to create shim task: " +
  "OCI runtime create failed: runc create failed: unable to start container process: ";
/** What the process itself had to do, and could not. */
const INIT_PREFIX = "error during container init: ";
const EXEC_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: ";

/**
 * Turns the failure of a start or exec into the error for the client and the exit code for the state, by the same
 * reading of the text as moby's translateContainerdStartErr: the docker command line does it once more for its own exit code.
 */
export function explainStartFailure(
  error: unknown,
  what: "start" | "exec",
): { error: EngineError; exitCode: number } {
  if (!(error instanceof ShimFailure)) {
    const known = error instanceof EngineError
      ? error
      : new EngineError("system", messageOf(error), { cause: error });
    return { error: known, exitCode: EXIT_UNKNOWN };
  }
  const message = fullText(error.failure, what);
  const text = message.toLowerCase();
  const has = (...parts: string[]) => parts.some((part) => text.includes(part));
  if (has("not a directory")) {
    return refuse(
      `${message}: Are you trying to mount a directory onto a file (or vice-versa)? ` +
        "Check if the specified host path exists and is the expected type",
      EXIT_NOT_FOUND,
    );
  }
  if (has("permission denied", "is a directory", "exec format error")) {
    return refuse(message, EXIT_CANNOT_INVOKE);
  }
  if (has("executable file not found", "no such file or directory")) return refuse(message, EXIT_NOT_FOUND);
  if (error.failure.stage === "user") return refuse(message, EXIT_CANNOT_INVOKE);
  return { error: new EngineError("system", message, { cause: error }), exitCode: EXIT_UNKNOWN };
}

function refuse(message: string, exitCode: number): { error: EngineError; exitCode: number } {
  return { error: new EngineError("invalid", message), exitCode };
}

function fullText(failure: StartFailure, what: "start" | "exec"): string {
  // dockerd itself resolves users, before runc: its own short text.
  if (failure.stage === "user") return failure.message;
  if (what === "exec") return `${EXEC_PREFIX}${failure.message}: unknown`;
  return `${START_PREFIX}${failure.stage === OOM_STAGE ? "" : INIT_PREFIX}${failure.message}: unknown`;
}
