/** What every `--format` template has in common. */

import { CliError } from "../errors.ts";
import { TemplateError } from "../template/syntax.ts";

/**
 * A list's template as it is typed within a shell's quotes: `\t` and `\n` become what they stand for, blanks around it go. Objects
 * (inspect, info, version, events) are shown by templates as they are, as with docker: there `{{join .Args "\n"}}` is right.
 */
export function asTemplateText(format: string): string {
  return format.replace(/^ +| +$/g, "").replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}

/** Runs what parses or executes a template; says before an error of the template what failed. */
export function orTemplateError<T>(what: string, body: () => T, exitCode?: number): T {
  try {
    return body();
  } catch (error) {
    throw error instanceof TemplateError ? new CliError(what + error.message, exitCode) : error;
  }
}

/** What docker puts before the error of a template, in most commands. */
export const TEMPLATE_ERROR = "template parsing error: ";

/** Exit code for a template that cannot be parsed, where docker's is not 1. */
export const TEMPLATE_EXIT = 64;
