/** Standard streams joined to a container's over a connection that was taken over. */

import type { HijackedConnection } from "./http_client.ts";
import { isDisconnect } from "./http_client.ts";
import { Demultiplexer } from "./demux.ts";
import { CliError } from "./errors.ts";
import { stdinBytes, writeStream } from "./stdio.ts";
import { DetachWatcher, parseDetachKeys } from "./terminal/detach_keys.ts";
import { RawMode } from "./terminal/raw_mode.ts";

export interface SessionOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** The container has a terminal: bytes are not framed, and ours goes into raw mode. */
  readonly tty: boolean;
  readonly detachKeys: string;
}

/** "ended": the container closed its output; "detached": the user left it running. */
export type SessionEnd = "ended" | "detached";

/**
 * Copies until the container's output ends, or the detach keys are pressed. The end of standard input closes the
 * container's standard input only. When no output is wanted, it returns at the end of the input.
 */
export async function runSession(
  connection: HijackedConnection,
  options: SessionOptions,
): Promise<SessionEnd> {
  using _raw = options.tty && options.stdin ? new RawMode() : undefined;
  const keys = options.tty ? parseDetachKeys(options.detachKeys) : undefined;
  const wantsOutput = options.stdout || options.stderr;
  const output = wantsOutput ? copyOutput(connection, options) : new Promise<never>(() => {});
  const input = copyInput(connection, options.stdin, keys);
  output.catch(() => {});
  const ends: Promise<SessionEnd>[] = [
    output.then((): SessionEnd => "ended"),
    input.then((end) => end === "detached" || !wantsOutput ? end : new Promise<never>(() => {})),
  ];
  return await Promise.race(ends);
}

async function copyOutput(connection: HijackedConnection, options: SessionOptions): Promise<void> {
  const discard = () => Promise.resolve();
  const stdout = options.stdout ? (bytes: Uint8Array) => writeStream(Deno.stdout, bytes) : discard;
  const stderr = options.stderr ? (bytes: Uint8Array) => writeStream(Deno.stderr, bytes) : discard;
  const demux = options.tty ? undefined : new Demultiplexer({ stdout, stderr });
  try {
    for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) {
      await (demux ? demux.push(bytes) : stdout(bytes));
    }
  } catch (error) {
    // The engine went away: what the container did is asked over another connection.
    if (!isDisconnect(error)) throw error;
  }
}

async function copyInput(
  connection: HijackedConnection,
  stdin: boolean,
  keys: Uint8Array | undefined,
): Promise<SessionEnd> {
  const watcher = keys === undefined ? undefined : new DetachWatcher(keys);
  try {
    if (stdin) {
      for await (const bytes of stdinBytes()) {
        const { pass, detached } = watcher ? watcher.feed(bytes) : { pass: bytes, detached: false };
        if (pass.length > 0) await connection.write(pass);
        if (detached) return "detached";
      }
    }
    await connection.closeWrite();
  } catch (error) {
    // Seen, and reported, by the side that reads.
    if (!isDisconnect(error)) throw error;
  }
  return "ended";
}

/** Refuses a terminal session whose standard input is none. */
export function requireTerminal(attachStdin: boolean, tty: boolean): void {
  if (attachStdin && tty && !Deno.stdin.isTerminal()) throw new CliError("the input device is not a TTY");
}
