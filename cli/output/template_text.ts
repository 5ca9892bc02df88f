/** What every `--format` template has in common. */

import { CliError } from "../errors.ts";
import { TemplateError } from "../template/syntax.ts";

/** `\t` and `\n` as typed within a shell's quotes become what they stand for. */
export function asTemplateText(format: string): string {
  return format.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}

/** Marks an error of executing (not of parsing) as docker does. */
export function executionError(error: unknown): unknown {
  if (!(error instanceof TemplateError) || error.message.startsWith("template parsing error")) return error;
  return new CliError(`failed to execute template: ${error.message}`);
}
