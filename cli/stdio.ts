/** Standard streams: short texts are written at once, streams of bytes with back-pressure. */

import { CliError } from "./errors.ts";

const encoder = new TextEncoder();

/** Exit code when the reader of our output has gone: what a shell shows for SIGPIPE. */
const BROKEN_PIPE_EXIT = 141;

type Stream = typeof Deno.stdout | typeof Deno.stderr;

function writeSync(stream: Stream, text: string): void {
  const bytes = encoder.encode(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += stream.writeSync(bytes.subarray(done));
    } catch (error) {
      if (error instanceof Deno.errors.WouldBlock) continue;
      throw brokenPipe(error);
    }
  }
}

function brokenPipe(error: unknown): unknown {
  return error instanceof Deno.errors.BrokenPipe ? new CliError("", BROKEN_PIPE_EXIT) : error;
}

/** Writes `text` to standard output. */
export function print(text: string): void {
  writeSync(Deno.stdout, text);
}

/** Writes `text` and a newline to standard output. */
export function printLine(text: string): void {
  writeSync(Deno.stdout, text + "\n");
}

/** Writes `text` and a newline to standard error; a closed standard error is nobody's concern. */
export function printError(text: string): void {
  writeError(text + "\n");
}

/** Writes `text` to standard error as it is. */
export function writeError(text: string): void {
  try {
    writeSync(Deno.stderr, text);
  } catch {
    // Nobody reads it.
  }
}

/** Longest pause between two attempts to write to a full descriptor that does not block. */
const WRITE_RETRY_MS = 20;

/** Writes all of `bytes`, waiting while the reader is slow. */
export async function writeStream(stream: Stream, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    try {
      done += await stream.write(bytes.subarray(done));
    } catch (error) {
      // Somebody else made this descriptor nonblocking (it is shared with our parent): it cannot be polled from here.
      if (error instanceof Deno.errors.WouldBlock) {
        await new Promise((resolve) => setTimeout(resolve, WRITE_RETRY_MS));
        continue;
      }
      throw brokenPipe(error);
    }
  }
}

const READ_SIZE = 64 * 1024;

/** A line of standard input without its end, read byte by byte: what comes after it is for whoever reads next. */
export async function readLine(): Promise<string> {
  const bytes: number[] = [];
  const byte = new Uint8Array(1);
  while (await Deno.stdin.read(byte) === 1 && byte[0] !== 10) bytes.push(byte[0] ?? 0);
  return new TextDecoder().decode(new Uint8Array(bytes));
}

/** Standard input's bytes until its end. */
export async function* stdinBytes(): AsyncGenerator<Uint8Array, void, void> {
  const space = new Uint8Array(READ_SIZE);
  for (;;) {
    const n = await Deno.stdin.read(space);
    if (n === null) return;
    yield space.slice(0, n);
  }
}
