/** Docker's fluentd driver: Fluentd's forward protocol (version 1, message mode) over TCP, TLS or a unix socket. */
import { withDeadline } from "../../base/deadline.ts";
import { EngineError, invalid, messageOf } from "../../base/errors.ts";
import { parseRamBytes } from "../../base/ram_bytes.ts";
import { parseTime } from "../log_entry.ts";
import { ATTRIBUTE_OPTIONS, expandTag, logAttributes } from "../log_attributes.ts";
import { type LogAddress, LogConnection, parseAddress } from "./address.ts";
import type { LogLine, LogOptions, LogSink, RemoteLogDriver } from "./driver.ts";
import { type EventTime, pack, type Packable, readTextMap } from "./message_pack.ts";
import { durationOption, flagOption } from "./option_values.ts";
import { PartialLines } from "./partial_lines.ts";
import { concat } from "../../base/concat.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 24224;
const MAX_RETRIES = 2 ** 32 - 1;
const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 10_000;
const NANOSECONDS = 1_000_000_000n;
/** How long an acknowledgement may take when no option says; Docker would wait for ever. */
const ACK_TIMEOUT_MS = 60_000;

/** What Docker keeps in memory and tries again on its own is in the container's file here: those options are checked, and do no more. */
export const fluentdDriver: RemoteLogDriver = {
  options: [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
    "fluentd-read-timeout",
    ...ATTRIBUTE_OPTIONS,
  ],

  check(options) {
    addressOf(options);
    const limit = options["fluentd-buffer-limit"] ?? "";
    if (limit !== "" && parseRamBytes(limit) === undefined) throw invalid(`invalid size: '${limit}'`);
    durationOption(options, "fluentd-retry-wait");
    const retries = options["fluentd-max-retries"] ?? "";
    if (retries !== "") {
      const refuse = (why: string) =>
        invalid(`strconv.ParseUint: parsing ${JSON.stringify(retries)}: ${why}`);
      if (!/^\d+$/.test(retries)) throw refuse("invalid syntax");
      if (Number(retries) > MAX_RETRIES) throw refuse("value out of range");
    }
    for (const name of ["fluentd-async", "fluentd-sub-second-precision", "fluentd-request-ack"]) {
      flagOption(options, name);
    }
    const interval = named("fluentd-async-reconnect-interval", (name) => durationOption(options, name), "");
    if (interval !== 0 && (interval < RECONNECT_MIN_MS || interval > RECONNECT_MAX_MS)) {
      const given = JSON.stringify(options["fluentd-async-reconnect-interval"]);
      throw invalid(
        `invalid value for fluentd-async-reconnect-interval: value (${given}) must be between 100ms and 10s`,
      );
    }
    for (const timeout of ["fluentd-write-timeout", "fluentd-read-timeout"]) {
      if (named(timeout, (name) => durationOption(options, name), "value must be a duration: ") < 0) {
        throw invalid(`invalid value for ${timeout}: value must be a duration that is non-negative`);
      }
    }
  },

  async open(record, options) {
    const tag = expandTag(options["tag"] || "{{.ID}}", record);
    const own = new Map<string, Packable>([
      ["container_id", record.id],
      ["container_name", `/${record.name}`],
    ]);
    const extra = Object.entries(logAttributes(record, options));
    const partials = new PartialLines();
    const precise = flagOption(options, "fluentd-sub-second-precision");
    const message = (line: LogLine, option: ReadonlyMap<string, Packable>): Uint8Array => {
      const fields = new Map<string, Packable>([
        ...own,
        ["source", line.stream],
        ["log", line.text],
        ...extra,
      ]);
      const piece = partials.next(line);
      if (piece !== undefined) {
        fields.set("partial_message", "true");
        fields.set("partial_id", piece.id);
        fields.set("partial_ordinal", String(piece.ordinal));
        fields.set("partial_last", String(piece.last));
      }
      return pack([tag, timeOf(line, precise), fields, option]);
    };
    const opening = () => FluentdConnection.open(options);
    // With `fluentd-async` a container starts whoever is there.
    let connection = flagOption(options, "fluentd-async") ? undefined : await opening();
    return {
      async send(lines) {
        connection ??= await opening();
        await connection.send(lines, message);
      },
      close: () => connection?.close(),
    } satisfies LogSink;
  },
};

type Format = (line: LogLine, option: ReadonlyMap<string, Packable>) => Uint8Array;

/** One connection, with the server's acknowledgements when they are asked for. */
class FluentdConnection {
  readonly #connection: Pick<LogConnection, "write" | "close">;
  readonly #acks: Acknowledgements | undefined;
  readonly #writeTimeout: number;

  private constructor(
    connection: Pick<LogConnection, "write" | "close">,
    acks: Acknowledgements | undefined,
    writeTimeout: number,
  ) {
    this.#connection = connection;
    this.#acks = acks;
    this.#writeTimeout = writeTimeout;
  }

  /** @throws when nobody is there. */
  static async open(options: LogOptions): Promise<FluentdConnection> {
    const address = addressOf(options);
    const acks = flagOption(options, "fluentd-request-ack")
      ? new Acknowledgements(durationOption(options, "fluentd-read-timeout") || ACK_TIMEOUT_MS)
      : undefined;
    const receive = (bytes: Uint8Array) => acks?.receive(bytes);
    const connection = address.scheme === "tls"
      ? await (await import("./tls.ts")).dialTls(address, NO_FILES, receive)
      : await LogConnection.dial(address, receive);
    return new FluentdConnection(connection, acks, durationOption(options, "fluentd-write-timeout"));
  }

  async send(lines: readonly LogLine[], message: Format): Promise<void> {
    if (this.#acks === undefined) {
      return await this.#write(concat(lines.map((line) => message(line, NO_OPTION))));
    }
    // As in Docker, the next line follows the acknowledgement of this one.
    for (const line of lines) {
      const chunk = crypto.getRandomValues(new Uint8Array(16)).toBase64();
      const answer = this.#acks.of(chunk);
      answer.catch(() => {});
      await this.#write(message(line, new Map([["chunk", chunk]])));
      await answer;
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const written = this.#connection.write(bytes);
    await (this.#writeTimeout === 0 ? written : inTime(written, this.#writeTimeout, "write: i/o timeout"));
  }

  close(): void {
    this.#acks?.close();
    this.#connection.close();
  }
}

/** Waits for `{"ack": chunk}`. */
class Acknowledgements {
  readonly #timeout: number;
  #received = new Uint8Array(0);
  #waiting:
    | { readonly chunk: string; readonly resolve: () => void; readonly reject: (error: Error) => void }
    | undefined;

  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  of(chunk: string): Promise<void> {
    const answer = new Promise<void>((resolve, reject) => this.#waiting = { chunk, resolve, reject });
    return inTime(answer, this.#timeout, "no acknowledgement from the log server");
  }

  receive(bytes: Uint8Array): void {
    const all = concat([this.#received, bytes]);
    try {
      const message = readTextMap(all);
      this.#received = all.slice(message?.length ?? 0);
      if (message === undefined) return;
      if (message.map.get("ack") === this.#waiting?.chunk) this.#waiting?.resolve();
      else this.#waiting?.reject(new Error("the log server has acknowledged something else"));
    } catch (error) {
      this.#waiting?.reject(new Error(`the log server answers with ${messageOf(error)}`));
    }
  }

  close(): void {
    this.#waiting?.reject(new Error("connection closed"));
  }
}

const NO_OPTION: ReadonlyMap<string, Packable> = new Map();
const NO_FILES = { ca: undefined, cert: undefined, key: undefined, skipVerify: false };

function timeOf({ time }: LogLine, precise: boolean): number | EventTime {
  const nanoseconds = parseTime(time) ?? 0n;
  const seconds = Number(nanoseconds / NANOSECONDS);
  return precise ? { seconds, nanoseconds: Number(nanoseconds % NANOSECONDS) } : seconds;
}

/** @throws {EngineError} invalid, in Docker's words. */
function addressOf(options: LogOptions): LogAddress {
  const text = options["fluentd-address"] ?? "";
  const refuse = (why: string) => invalid(`invalid fluentd-address (${text}): ${why}`);
  if (text === "") return { scheme: "tcp", host: DEFAULT_HOST, port: DEFAULT_PORT, path: "" };
  const whole = text.includes("://") ? text : `tcp://${text}`;
  const address = parseAddress(whole, DEFAULT_PORT);
  if (address === undefined) throw refuse(`parse ${JSON.stringify(whole)}: invalid port or host`);
  switch (address.scheme) {
    case "unix":
      if (address.path.replace(/^\/+/, "") === "") throw refuse("path is empty");
      return address;
    case "tcp":
    case "tls":
      if (address.path !== "") throw refuse("should not contain a path element");
      return { ...address, host: address.host || DEFAULT_HOST };
    default:
      throw refuse(`unsupported scheme: '${address.scheme}'`);
  }
}

/** Says for which option a value is wrong. */
function named<T>(name: string, read: (name: string) => T, what: string): T {
  try {
    return read(name);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw invalid(`invalid value for ${name}: ${what}${error.message}`);
  }
}

const inTime = (work: Promise<void>, milliseconds: number, late: string): Promise<void> =>
  withDeadline(work, milliseconds, () => new Error(late));
