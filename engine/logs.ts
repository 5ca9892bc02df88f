import { isReadable, logFile } from "./log_options.ts";
import { invalid } from "../base/errors.ts";
import type { Container } from "./container.ts";
import { readLogs } from "./log_reader.ts";
import type { AttachOptions, ClientStream, LogsOptions } from "./types.ts";

/**
 * A container's log, ready for the wire. With `follow` it ends with the run that goes on, or at once without one.
 *
 * @throws {EngineError} invalid: the log is not kept, or no stream is asked for.
 */
export function containerLogs(
  container: Container,
  options: LogsOptions,
  signal: AbortSignal,
): { tty: boolean; chunks: AsyncIterable<Uint8Array> } {
  if (!options.stdout && !options.stderr) {
    throw invalid("Bad parameters: you must choose at least one stream");
  }
  if (!isReadable(container.record)) {
    throw invalid("configured logging driver does not support reading");
  }
  const tty = container.record.config.Tty ?? false;
  const source = {
    tty,
    running: () => container.running,
    onChange: (callback: () => void) => container.watch(callback),
  };
  return { tty, chunks: readLogs({ path: logFile(container.record) }, options, source, signal) };
}

/** The log so far, for `attach` with `logs`. */
export async function replayLogs(
  container: Container,
  options: AttachOptions,
  client: ClientStream,
): Promise<void> {
  if (!isReadable(container.record) || !(options.stdout || options.stderr)) return;
  const all: LogsOptions = {
    stdout: options.stdout,
    stderr: options.stderr,
    follow: false,
    since: undefined,
    until: undefined,
    timestamps: false,
    details: false,
    tail: undefined,
  };
  const { chunks } = containerLogs(container, all, new AbortController().signal);
  for await (const chunk of chunks) await client.write(chunk);
}
