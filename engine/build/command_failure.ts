import { DockerfileError, quoted } from "../../image/build/errors.ts";
import type { SourceRange } from "../../image/build/types.ts";

/** A command of RUN has ended with something else than 0, or could not be started. The message has BuildKit's words. */
export class CommandFailure extends DockerfileError {
  /** Its words joined, shell included. */
  readonly command: string;
  readonly exitCode: number;

  /** @param reason in place of the exit code. */
  constructor(args: readonly string[], exitCode: number, range: SourceRange, reason?: string) {
    const command = args.join(" ");
    super(
      `process ${quoted(command)} did not complete successfully: ${reason ?? `exit code: ${exitCode}`}`,
      range,
    );
    this.command = command;
    this.exitCode = exitCode;
  }

  /** In the words of Docker's classic builder. */
  get classicMessage(): string {
    return `The command '${this.command}' returned a non-zero code: ${this.exitCode}`;
  }
}
