/** Docker's gelf driver: GELF 1.1 for Graylog and Logstash, over UDP (compressed, in chunks) or TCP (ended by a zero byte). */
import { invalid } from "../../base/errors.ts";
import { ATTRIBUTE_OPTIONS, expandTag, logAttributes } from "../log_attributes.ts";
import type { ContainerRecord } from "../container_record.ts";
import { DatagramSender, type LogAddress, LogConnection, parseAddress } from "./address.ts";
import type { LogLine, LogOptions, RemoteLogDriver } from "./driver.ts";

const DEFAULT_PORT = 12201;
const ERROR = 3;
const INFORMATIONAL = 6;

/** Bytes of a datagram, so that it passes every network (Graylog's go-gelf). */
const CHUNK = 1420;
const CHUNK_HEAD = 12;
const MAX_CHUNKS = 128;
const CHUNK_MAGIC = [0x1e, 0x0f];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const gelfDriver: RemoteLogDriver = {
  options: [
    "gelf-address",
    "gelf-compression-type",
    "gelf-compression-level",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
    ...ATTRIBUTE_OPTIONS,
  ],

  check(options) {
    const { scheme } = addressOf(options);
    const type = options["gelf-compression-type"];
    const level = options["gelf-compression-level"];
    if (type !== undefined) {
      if (scheme !== "udp") throw invalid("compression is only supported on UDP");
      if (!["gzip", "zlib", "none"].includes(type)) {
        throw invalid(`unknown value "${type}" for log opt "gelf-compression-type" for gelf log driver`);
      }
    }
    if (level !== undefined) {
      if (scheme !== "udp") throw invalid("compression is only supported on UDP");
      if (!/^[+-]?\d+$/.test(level) || Number(level) < -1 || Number(level) > 9) {
        throw invalid(`unknown value "${level}" for log opt "gelf-compression-level" for gelf log driver`);
      }
    }
    for (const name of ["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"]) {
      const value = options[name];
      if (value === undefined) continue;
      if (scheme !== "tcp") throw invalid(`"${name}" option is only valid for TCP`);
      if (!/^\+?\d+$/.test(value)) throw invalid(`"${name}" must be a positive integer`);
    }
  },

  async open(record, options) {
    const address = addressOf(options);
    const message = messageOf(record, options);
    if (address.scheme === "tcp") {
      const connection = await LogConnection.dial(address);
      return {
        send: (lines) => connection.write(encoder.encode(lines.map((line) => `${message(line)}\0`).join(""))),
        close: () => connection.close(),
      };
    }
    const sender = await DatagramSender.open(address);
    const compression = options["gelf-compression-type"] ?? "gzip";
    return {
      async send(lines) {
        for (const line of lines) {
          const bytes = await compressed(encoder.encode(message(line)), compression);
          for (const datagram of chunks(bytes)) await sender.send(datagram);
        }
      },
      close: () => sender.close(),
    };
  },
};

/** @throws {EngineError} in Docker's words. */
function addressOf(options: LogOptions): LogAddress {
  const text = options["gelf-address"] ?? "";
  if (text === "") throw invalid("gelf-address is a required parameter");
  const address = parseAddress(text, DEFAULT_PORT);
  if (address === undefined || !["udp", "tcp"].includes(address.scheme)) {
    throw invalid("gelf: endpoint needs to be TCP or UDP");
  }
  if (!/:\d+\/?$/.test(text)) throw invalid(`gelf: please provide gelf-address as proto://host:port`);
  return address;
}

function messageOf(record: ContainerRecord, options: LogOptions): (line: LogLine) => string {
  const { config } = record;
  const extra = Object.entries(logAttributes(record, options)).map(([name, value]) => [`_${name}`, value]);
  const fields = {
    ...Object.fromEntries(extra),
    _container_id: record.id,
    _container_name: record.name,
    _image_id: record.imageId,
    _image_name: record.imageRef,
    _command: [...config.Entrypoint ?? [], ...config.Cmd ?? []].join(" "),
    _tag: expandTag(options["tag"] || "{{.ID}}", record),
    _created: record.createdAt,
  };
  const host = Deno.hostname();
  return ({ text, time, stream }) =>
    JSON.stringify({
      version: "1.1",
      host,
      short_message: decoder.decode(text),
      timestamp: Date.parse(`${time.slice(0, 23)}Z`) / 1000,
      level: stream === "stderr" ? ERROR : INFORMATIONAL,
      ...fields,
    });
}

async function compressed(bytes: Uint8Array<ArrayBuffer>, type: string): Promise<Uint8Array> {
  if (type === "none") return bytes;
  const stream = new CompressionStream(type === "zlib" ? "deflate" : "gzip");
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/** Each of several has the message's own number, its place and how many there are. What takes more than 128 cannot be sent. */
function* chunks(bytes: Uint8Array): Generator<Uint8Array> {
  if (bytes.length <= CHUNK) return yield bytes;
  const room = CHUNK - CHUNK_HEAD;
  const count = Math.ceil(bytes.length / room);
  if (count > MAX_CHUNKS) return;
  const id = crypto.getRandomValues(new Uint8Array(8));
  for (let i = 0; i < count; i++) {
    const part = bytes.subarray(i * room, (i + 1) * room);
    const datagram = new Uint8Array(CHUNK_HEAD + part.length);
    datagram.set([...CHUNK_MAGIC, ...id, i, count]);
    datagram.set(part, CHUNK_HEAD);
    yield datagram;
  }
}
