/** Progress of pulls, pushes and loads: one line for each layer on a terminal, plain lines otherwise. */

import { CliError } from "../errors.ts";
import { jsonValues } from "../json_lines.ts";
import { progressBar } from "../../base/units.ts";

interface ProgressMessage {
  id?: string;
  status?: string;
  stream?: string;
  progressDetail?: { current?: number; total?: number; units?: string; hidecounts?: boolean };
  error?: string;
  errorDetail?: { message?: string };
}

/** Terminals wider than this get a bar. */
const WIDE = 110;

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
  const bar = barOf(message.progressDetail, terminal ? columnsOf() : 200);
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

function barOf(detail: ProgressMessage["progressDetail"], columns: number): string {
  const current = detail?.current ?? 0;
  const total = detail?.total ?? 0;
  if (current <= 0 && total <= 0) return "";
  if (detail?.units !== undefined && detail.units !== "") {
    return total <= 0 ? ` ${current} ${detail.units}` : ` ${current}/${total} ${detail.units}`;
  }
  const bar = progressBar(current, total);
  // as docker: a narrow terminal has room for the numbers only
  return ` ${columns > WIDE ? bar : bar.replace(/^\[.*\] /, "")}`;
}

function columnsOf(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 200;
  }
}
