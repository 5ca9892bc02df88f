/** How a build ends on the screen: why it failed and where, and what Docker's checks have to say. */
import type { SessionRange, SessionWarning } from "../../base/build_session.ts";
import { printable } from "./progress/terminal.ts";
import type { Step } from "./progress/model.ts";

const RULE = "------";
const FRAME = "--------------------";
/** Lines around the ones that are meant. */
const AROUND = 2;
/** Lines of output that explain a failure. */
const LAST_LINES = 20;

export interface DockerfileText {
  readonly name: string;
  readonly text: string;
}

/** What the step that failed has said last. */
export function failedOutput({ vertex, lines, started }: Step): string {
  const last = lines.slice(-LAST_LINES).map(({ text, time }) =>
    `${((time - (started ?? time)) / 1000).toFixed(3)} ${printable(text)}\n`
  );
  return `${RULE}\n > ${vertex.name}:\n${last.join("")}${RULE}\n`;
}

/** The lines of a Dockerfile with those of `range` marked. */
export function excerpt({ name, text }: DockerfileText, { startLine, endLine }: SessionRange): string {
  const lines = text.split(/\r?\n/);
  if (startLine < 1 || startLine > lines.length) return "";
  const last = Math.max(startLine, Math.min(endLine, lines.length));
  const from = Math.max(1, startLine - AROUND);
  const to = Math.min(lines.length, last + AROUND);
  const shown = lines.slice(from - 1, to).map((line, at) => {
    const number = from + at;
    const mark = number >= startLine && number <= last ? ">>>" : "   ";
    return `${String(number).padStart(4)} | ${mark} ${printable(line)}\n`;
  });
  return `${name}:${startLine}\n${FRAME}\n${shown.join("")}${FRAME}\n`;
}

/** One line for each warning, or with `expand` all that there is to say. */
export function warningsText(
  warnings: readonly SessionWarning[],
  file: DockerfileText | undefined,
  expand: boolean,
): string {
  if (warnings.length === 0) return "";
  const count = `${warnings.length} warning${warnings.length === 1 ? "" : "s"} found`;
  const sorted = warnings.toSorted((a, b) => a.range.startLine - b.range.startLine);
  if (!expand) {
    const lines = sorted.map(({ rule, message, range }) =>
      ` - ${rule}: ${message} (line ${range.startLine})\n`
    );
    return `\n ${count} (use --debug to expand):\n${lines.join("")}`;
  }
  return `\n ${count}:\n${sorted.map((warning) => warningText(warning, file)).join("")}`;
}

function warningText(
  { rule, url, description, message, range }: SessionWarning,
  file: DockerfileText | undefined,
): string {
  const where = file === undefined ? "" : excerpt(file, range);
  return `\nWARNING: ${rule}${url === "" ? "" : ` - ${url}`}\n${
    description === "" ? "" : `${description}\n`
  }${message}\n${where === "" ? "" : `\n${where}`}`;
}

/** What `--check` prints. */
export function checkText(warnings: readonly SessionWarning[], file: DockerfileText | undefined): string {
  if (warnings.length === 0) return "Check complete, no warnings found.\n";
  const count = `Check complete, ${warnings.length} warning${
    warnings.length === 1 ? " has" : "s have"
  } been found!`;
  const sorted = warnings.toSorted((a, b) => a.range.startLine - b.range.startLine);
  return `${count}\n${sorted.map((warning) => warningText(warning, file)).join("")}`;
}
