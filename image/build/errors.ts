import { EngineError, type ErrorKind } from "../../base/errors.ts";
import type { SourceRange } from "./types.ts";

/**
 * Something is wrong with a Dockerfile. The message has BuildKit's words; where it stands is told apart from it, because BuildKit's clients
 * show it as an excerpt of the file (`Dockerfile:3`, then lines with marks).
 */
export class DockerfileError extends EngineError {
  readonly range: SourceRange | undefined;
  /** The text without "dockerfile parse error on line N: ". */
  readonly reason: string;

  constructor(
    reason: string,
    range?: SourceRange,
    options: { prefix?: boolean; kind?: ErrorKind; hint?: string | undefined } = {},
  ) {
    super(
      options.kind ?? "invalid",
      options.prefix && range ? `dockerfile parse error on line ${range.startLine}: ${reason}` : reason,
      { hint: options.hint },
    );
    this.reason = reason;
    this.range = range;
  }
}

/** Runs `action`; an error about the Dockerfile that has no place yet gets this one. */
export function locate<T>(range: SourceRange, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    if (error instanceof DockerfileError && error.range !== undefined) throw error;
    throw new DockerfileError(error.message, range, { kind: error.kind, hint: error.hint });
  }
}

/** Text in double quotes as Go's %q writes it, as far as messages need it. */
export function quoted(text: string): string {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    const name = QUOTED_NAMES[char];
    if (name !== undefined) out += name;
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else out += char;
  }
  return `${out}"`;
}

const QUOTED_NAMES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\f": "\\f",
  "\b": "\\b",
  "\x07": "\\a",
};
