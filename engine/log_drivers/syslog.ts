/** Docker's syslog driver: RFC 3164, RFC 5424, and the form of the local daemon, over UDP, TCP, TLS and unix sockets. */
import { invalid, messageOf } from "../../base/errors.ts";
import { goErrno } from "../../base/go_errno.ts";
import { MSG_DONTWAIT } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import { sendUnixDatagram } from "../../ffi/unix_datagram.ts";
import type { ContainerRecord } from "../container_record.ts";
import { ATTRIBUTE_OPTIONS, expandTag } from "../log_attributes.ts";
import { DatagramSender, type LogAddress, LogConnection, parseAddress } from "./address.ts";
import type { LogLine, LogOptions, RemoteLogDriver } from "./driver.ts";

const DEFAULT_PORT = 514;
const SECURE = "tcp+tls";

/** Numbers of RFC 5424, section 6.2.1, by syslog(3)'s names. */
const FACILITIES =
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console clock local0 local1 local2 local3 local4 local5 local6 local7"
    .split(" ");
/** Docker knows no names for these. */
const NAMELESS = ["ntp", "security", "console", "clock"];
const DAEMON = 3;

const ERROR = 3;
const INFORMATIONAL = 6;

/** Where a local daemon listens, in the order of Go's log/syslog. */
const LOCAL_SOCKETS = ["/dev/log", "/var/run/syslog", "/var/run/log"];
const QUEUE_PAUSE_MS = 10;

const encoder = new TextEncoder();

export const syslogDriver: RemoteLogDriver = {
  options: [
    "syslog-address",
    "syslog-facility",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
    "syslog-format",
    ...ATTRIBUTE_OPTIONS,
  ],

  check(options) {
    addressOf(options);
    facilityOf(options["syslog-facility"] ?? "");
    formatterOf(options["syslog-format"] ?? "");
  },

  async open(record, options) {
    const address = addressOf(options);
    const secure = address?.scheme === SECURE;
    const format = formatterOf(options["syslog-format"] ?? "");
    const facility = facilityOf(options["syslog-facility"] ?? "");
    const source = { hostname: Deno.hostname(), tag: tagOf(record, options), pid: Deno.pid };
    const isRfc5424 = (options["syslog-format"] ?? "").startsWith("rfc5424");
    const message = (line: LogLine): Uint8Array => {
      const priority = facility * 8 + (line.stream === "stderr" ? ERROR : INFORMATIONAL);
      const head = encoder.encode(format(priority, line.time, source));
      const bytes = new Uint8Array(head.length + line.text.length + 1);
      bytes.set(head);
      bytes.set(line.text, head.length);
      bytes[bytes.length - 1] = 0x0a;
      return secure && isRfc5424 ? counted(bytes) : bytes;
    };
    const transport = await transportTo(address, options);
    return { send: (lines) => transport.send(lines.map(message)), close: () => transport.close() };
  },
};

/** Octet counting, of RFC 5425. */
function counted(message: Uint8Array): Uint8Array {
  const head = encoder.encode(`${message.length} `);
  const bytes = new Uint8Array(head.length + message.length);
  bytes.set(head);
  bytes.set(message, head.length);
  return bytes;
}

const tagOf = (record: ContainerRecord, options: LogOptions): string =>
  expandTag(options["tag"] || "{{.ID}}", record);

/** undefined: the machine's own daemon. @throws {EngineError} in Docker's words. */
function addressOf(options: LogOptions): LogAddress | undefined {
  const text = options["syslog-address"] ?? "";
  if (text === "") return undefined;
  const address = parseAddress(text, DEFAULT_PORT);
  if (address === undefined) throw invalid(`unsupported scheme: '${/^([^:]*):\/\//.exec(text)?.[1] ?? ""}'`);
  if (address.scheme === "unix" || address.scheme === "unixgram") {
    try {
      Deno.statSync(address.path);
    } catch (error) {
      throw invalid(`stat ${address.path}: ${goErrno(error)}`);
    }
  } else if (!["udp", "tcp", SECURE].includes(address.scheme)) {
    throw invalid(`unsupported scheme: '${address.scheme}'`);
  }
  return address;
}

function facilityOf(text: string): number {
  if (text === "") return DAEMON;
  const named = FACILITIES.indexOf(text);
  if (named >= 0 && !NAMELESS.includes(text)) return named;
  if (/^[+-]?\d+$/.test(text) && Number(text) >= 0 && Number(text) < FACILITIES.length) return Number(text);
  throw invalid("invalid syslog facility");
}

interface Source {
  readonly hostname: string;
  readonly tag: string;
  readonly pid: number;
}
type Formatter = (priority: number, time: string, source: Source) => string;

/** What stands before the text. */
function formatterOf(format: string): Formatter {
  switch (format) {
    case "":
      return (priority, time, { tag, pid }) => `<${priority}>${stamp(time)} ${tag}[${pid}]: `;
    case "rfc3164":
      return (priority, time, { hostname, tag, pid }) =>
        `<${priority}>${stamp(time)} ${hostname} ${tag}[${pid}]: `;
    case "rfc5424":
      return rfc5424((time) => `${time.slice(0, 19)}Z`);
    case "rfc5424micro":
      return rfc5424((time) => `${time.slice(0, 26)}Z`);
    default:
      throw invalid("Invalid syslog format");
  }
}

/** The tag stands for the program and for the kind of message, as in Docker. */
const rfc5424 =
  (timestamp: (time: string) => string): Formatter => (priority, time, { hostname, tag, pid }) =>
    `<${priority}>1 ${timestamp(time)} ${hostname} ${tag} ${pid} ${tag} - `;

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** `Jan  2 15:04:05`, in the machine's time zone: RFC 3164 has no other. */
function stamp(time: string): string {
  const date = new Date(`${time.slice(0, 23)}Z`);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock}`;
}

interface Transport {
  send(messages: readonly Uint8Array[]): Promise<void>;
  close(): void;
}

async function transportTo(address: LogAddress | undefined, options: LogOptions): Promise<Transport> {
  if (address === undefined) return localTransport();
  switch (address.scheme) {
    case "unixgram":
      return datagramsTo(address.path);
    case "udp":
      return eachOf(await DatagramSender.open(address));
    case SECURE: {
      const { dialTls } = await import("./tls.ts");
      return joined(
        await dialTls(address, {
          ca: options["syslog-tls-ca-cert"],
          cert: options["syslog-tls-cert"],
          key: options["syslog-tls-key"],
          // Docker asks whether the option is there, not what it says.
          skipVerify: (options["syslog-tls-skip-verify"] ?? "") !== "",
        }),
      );
    }
    default:
      return joined(await LogConnection.dial(address));
  }
}

function localTransport(): Transport {
  const path = LOCAL_SOCKETS.find((socket) => {
    try {
      return Deno.statSync(socket).isSocket;
    } catch {
      return false;
    }
  });
  if (path === undefined) throw new Error("Unix syslog delivery error");
  return datagramsTo(path);
}

function datagramsTo(path: string): Transport {
  return {
    async send(messages) {
      for (const message of messages) await sendLocal(path, message);
    },
    close() {},
  };
}

/** Waits for a daemon whose queue is full. */
export async function sendLocal(path: string, message: Uint8Array): Promise<void> {
  for (;;) {
    try {
      return sendUnixDatagram(path, message, MSG_DONTWAIT);
    } catch (error) {
      if (!(error instanceof SysError && error.is("EAGAIN"))) {
        throw new Error(`dial unixgram ${path}: ${messageOf(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, QUEUE_PAUSE_MS));
    }
  }
}

const eachOf = (sender: DatagramSender): Transport => ({
  async send(messages) {
    for (const message of messages) await sender.send(message);
  },
  close: () => sender.close(),
});

/** A stream takes many messages at once. */
const joined = (connection: Pick<LogConnection, "write" | "close">): Transport => ({
  async send(messages) {
    const whole = new Uint8Array(messages.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const message of messages) {
      whole.set(message, at);
      at += message.length;
    }
    await connection.write(whole);
  },
  close: () => connection.close(),
});
