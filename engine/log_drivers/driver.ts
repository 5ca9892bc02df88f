/**
 * Log drivers that hand a container's lines to somebody else. What such a container prints is written to a file by its shim first, as with
 * any other, and the engine forwards it from there (forwarder.ts): nothing waits for a server but the engine, nothing is lost while there
 * is no engine, and `docker logs` reads the file (Docker's dual logging).
 */
import type { ContainerRecord } from "../container_record.ts";

export type LogOptions = Readonly<Record<string, string>>;

/** One entry of the log. A line that was longer than 16 KiB comes in several, all but the last `partial`. */
export interface LogLine {
  readonly stream: "stdout" | "stderr";
  /** Without the newline. */
  readonly text: Uint8Array;
  /** RFC 3339, nine digits of fraction, UTC. */
  readonly time: string;
  readonly partial: boolean;
}

/** An open way to a server. */
export interface LogSink {
  /**
   * Hands lines over, in their order. When it fails, none of them counts as sent: they come again, on another connection.
   *
   * @throws what the system says; the forwarder tries again.
   */
  send(lines: readonly LogLine[]): Promise<void>;
  close(): void;
}

export interface RemoteLogDriver {
  /** Names of its options, beside those that every driver has. */
  readonly options: readonly string[];
  /** @throws {EngineError} invalid, in Docker's words. */
  check(options: LogOptions): void;
  /** @throws when nobody is there: a container does not start then. */
  open(record: ContainerRecord, options: LogOptions): Promise<LogSink>;
}
