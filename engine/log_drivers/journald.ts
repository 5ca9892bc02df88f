/** Docker's journald driver: the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), with Docker's fields. */
import { EngineError } from "../../base/errors.ts";
import type { ContainerRecord } from "../container_record.ts";
import { ATTRIBUTE_OPTIONS, expandTag, logAttributes } from "../log_attributes.ts";
import type { LogLine, LogOptions, RemoteLogDriver } from "./driver.ts";
import { sendLocal } from "./syslog.ts";

/** Another one for tests, as systemd's own programs have it. */
const SOCKET = "/run/systemd/journal/socket";
const ERROR = "3";
const INFORMATIONAL = "6";
const NEWLINE = 0x0a;

const encoder = new TextEncoder();

export const journaldDriver: RemoteLogDriver = {
  options: [...ATTRIBUTE_OPTIONS],

  check() {},

  open(record, options) {
    const socket = Deno.env.get("BERTH_JOURNAL_SOCKET") ?? SOCKET;
    try {
      if (!Deno.statSync(socket).isSocket) throw new Error("no socket");
    } catch {
      throw new EngineError("system", "journald is not enabled on this host", {
        hint: `Nobody listens on ${socket}. Take another log driver: --log-driver json-file`,
      });
    }
    const fields = fieldsOf(record, options);
    const epoch = crypto.randomUUID().replaceAll("-", "");
    let ordinal = 0;
    return Promise.resolve({
      async send(lines) {
        for (const line of lines) {
          ordinal++;
          await sendLocal(
            socket,
            entry({
              ...fields,
              ...(line.partial ? { CONTAINER_PARTIAL_MESSAGE: "true" } : {}),
              CONTAINER_LOG_EPOCH: epoch,
              CONTAINER_LOG_ORDINAL: String(ordinal),
              SYSLOG_TIMESTAMP: line.time,
              PRIORITY: line.stream === "stderr" ? ERROR : INFORMATIONAL,
            }, line),
          );
        }
      },
      close() {},
    });
  },
};

function fieldsOf(record: ContainerRecord, options: LogOptions): Record<string, string> {
  const tag = expandTag(options["tag"] || "{{.ID}}", record);
  const extra = Object.entries(logAttributes(record, options)).map((
    [name, value],
  ) => [fieldName(name), value]);
  return {
    ...Object.fromEntries(extra.filter(([name]) => name !== "")),
    CONTAINER_ID: record.id.slice(0, 12),
    CONTAINER_ID_FULL: record.id,
    CONTAINER_NAME: record.name,
    CONTAINER_TAG: tag,
    IMAGE_NAME: record.imageRef,
    SYSLOG_IDENTIFIER: tag,
  };
}

/** The journal takes capitals, digits and underscores, and keeps names that begin with an underscore for itself. */
const fieldName = (name: string): string =>
  name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, "_").replace(/^_+/, "");

/** One datagram. A text with a newline in it is written with its length, 64 bits, little-endian. */
function entry(fields: Readonly<Record<string, string>>, { text }: LogLine): Uint8Array {
  const parts = Object.entries(fields).map(([name, value]) => field(name, encoder.encode(value)));
  parts.push(field("MESSAGE", text));
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function field(name: string, value: Uint8Array): Uint8Array {
  const isPlain = !value.includes(NEWLINE);
  const head = encoder.encode(isPlain ? `${name}=` : `${name}\n`);
  const length = isPlain ? 0 : 8;
  const bytes = new Uint8Array(head.length + length + value.length + 1);
  bytes.set(head);
  if (!isPlain) new DataView(bytes.buffer).setBigUint64(head.length, BigInt(value.length), true);
  bytes.set(value, head.length + length);
  bytes[bytes.length - 1] = NEWLINE;
  return bytes;
}
