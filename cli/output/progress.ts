/** Progress of pulls, pushes and loads: one line for each layer on a terminal, plain lines otherwise. */

import { CliError } from "../errors.ts";
import { jsonValues } from "../json_lines.ts";
import { humanSize } from "./units.ts";

interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  progressDetail?: { current?: number; total?: number; units?: string; hidecounts?: boolean };
  error?: string;
  errorDetail?: { message?: string };
}

const BAR = 50;

/**
 * Shows a stream of progress messages.
 *
 * @param write takes text for the user.
 * @param terminal lines may be overwritten.
 * @throws CliError with the engine's text when the stream reports an error.
 */
export async function showProgress(
  bytes: AsyncIterable<Uint8Array>,
  write: (text: string) => void,
  terminal: boolean,
): Promise<void> {
  const lines: string[] = [];
  for await (const value of jsonValues(bytes)) {
    const message = value as ProgressMessage;
    const error = message.errorDetail?.message ?? message.error;
    if (error !== undefined) throw new CliError(error);
    if (message.stream !== undefined) write(message.stream);
    else if (message.status !== undefined) showStatus(message, lines, write, terminal);
  }
}

function showStatus(
  message: ProgressMessage,
  lines: string[],
  write: (text: string) => void,
  terminal: boolean,
): void {
  const bar = progressBar(message.progressDetail);
  const text = `${message.id === undefined ? "" : `${message.id}: `}${message.status}`;
  if (!terminal) {
    if (bar === "") write(`${text}\n`);
    return;
  }
  if (message.id === undefined) {
    lines.length = 0;
    write(`${text}\n`);
    return;
  }
  const known = lines.indexOf(message.id);
  if (known < 0) {
    lines.push(message.id);
    write(`${text}${bar}\n`);
    return;
  }
  const up = lines.length - known;
  write(`\x1b[${up}A\x1b[2K\r${text}${bar}\r\x1b[${up}B`);
}

function progressBar(detail: ProgressMessage["progressDetail"]): string {
  const current = detail?.current ?? 0;
  const total = detail?.total ?? 0;
  if (current <= 0 && total <= 0) return "";
  if (detail?.units !== undefined && detail.units !== "") return ` ${current} ${detail.units}`;
  if (total <= 0) return ` ${humanSize(current).padStart(8)}`;
  const done = Math.min(BAR, Math.trunc(current / total * BAR));
  const head = done < BAR ? "=".repeat(done) + ">" + " ".repeat(BAR - done - 1) : "=".repeat(BAR) + ">";
  return ` [${head}] ${humanSize(current).padStart(8)}/${humanSize(total)}`;
}
