/** Docker's splunk driver: events to Splunk's HTTP Event Collector, many in one request. */
import type { IncomingMessage, RequestOptions } from "node:http";
import { messageOf } from "../../base/errors.ts";
import { goErrno } from "../../base/go_errno.ts";
import { nodeBuiltin } from "../../base/node_builtin.ts";
import { ATTRIBUTE_OPTIONS, expandTag, logAttributes } from "../log_attributes.ts";
import type { ContainerRecord } from "../container_record.ts";
import { parseTime } from "../log_entry.ts";
import type { LogLine, LogOptions, LogSink, RemoteLogDriver } from "./driver.ts";
import { flagOption } from "./option_values.ts";

const COLLECTOR = "/services/collector/event/1.0";
/** What of an answer gets into an error. */
const ANSWER_LIMIT = 1024;
const TIMEOUT_MS = 30_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** As in Docker, only names of options are looked at when a container is created; what is wrong with them is told at its start. */
export const splunkDriver: RemoteLogDriver = {
  options: [
    "splunk-url",
    "splunk-token",
    "splunk-source",
    "splunk-sourcetype",
    "splunk-index",
    "splunk-capath",
    "splunk-caname",
    "splunk-insecureskipverify",
    "splunk-format",
    "splunk-verify-connection",
    "splunk-gzip",
    "splunk-gzip-level",
    "splunk-index-acknowledgment",
    ...ATTRIBUTE_OPTIONS,
  ],

  check() {},

  async open(record, options) {
    const collector = new Collector(options);
    const format = formatOf(record, options);
    if (
      options["splunk-verify-connection"] === undefined || flagOption(options, "splunk-verify-connection")
    ) {
      await collector.verify();
    }
    return {
      async send(lines) {
        const events = lines.flatMap((line) => format(line) ?? []);
        if (events.length > 0) await collector.post(events.join(""));
      },
      close: () => collector.close(),
    } satisfies LogSink;
  },
};

/** The server, by the options of one container. */
class Collector {
  readonly #url: URL;
  readonly #token: string;
  readonly #tls: RequestOptions & { ca?: string; servername?: string; rejectUnauthorized?: boolean };
  readonly #compression: { readonly level: number } | undefined;
  readonly #acknowledged: boolean;
  readonly #stop = new AbortController();

  /** @throws in Docker's words. */
  constructor(options: LogOptions) {
    this.#url = urlOf(options["splunk-url"]);
    const token = options["splunk-token"];
    if (token === undefined) throw new Error("splunk: splunk-token is expected");
    this.#token = token;
    const ca = options["splunk-capath"];
    const name = options["splunk-caname"];
    this.#tls = {
      ...(flagOption(options, "splunk-insecureskipverify") ? { rejectUnauthorized: false } : {}),
      ...(ca === undefined ? {} : { ca: readFile(ca) }),
      ...(name === undefined ? {} : { servername: name }),
    };
    const level = levelOf(options["splunk-gzip-level"]);
    this.#compression = flagOption(options, "splunk-gzip") ? { level } : undefined;
    this.#acknowledged = flagOption(options, "splunk-index-acknowledgment");
  }

  async verify(): Promise<void> {
    const { status, text } = await this.#request("OPTIONS", {}, new Uint8Array(0));
    if (!status.startsWith("200")) {
      throw new Error(`splunk: failed to verify connection - ${status} - ${text}`);
    }
  }

  async post(events: string): Promise<void> {
    const bytes = encoder.encode(events);
    const body = this.#compression === undefined
      ? bytes
      : nodeBuiltin("node:zlib").gzipSync(bytes, this.#compression);
    const { status, text } = await this.#request("POST", {
      "Authorization": `Splunk ${this.#token}`,
      ...(this.#compression === undefined ? {} : { "Content-Encoding": "gzip" }),
      ...(this.#acknowledged ? { "X-Splunk-Request-Channel": crypto.randomUUID() } : {}),
    }, body);
    if (!status.startsWith("200")) throw new Error(`splunk: failed to send event - ${status} - ${text}`);
  }

  close(): void {
    this.#stop.abort();
  }

  /** By Node's client: Deno's own cannot leave the check of a certificate out, which Splunk's, made by itself, asks for. */
  async #request(
    method: string,
    headers: Record<string, string>,
    body: Uint8Array,
  ): Promise<{ status: string; text: string }> {
    const { request } = this.#url.protocol === "https:"
      ? nodeBuiltin("node:https")
      : nodeBuiltin("node:http");
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const length = { "Content-Length": String(body.length) };
        const options = { ...this.#tls, method, headers: { ...headers, ...length }, signal };
        const sent = request(this.#url, options, resolve);
        sent.on("error", reject);
        sent.end(body);
      });
      let text = "";
      for await (const chunk of response) {
        if (text.length < ANSWER_LIMIT) text += decoder.decode(chunk as Uint8Array, { stream: true });
      }
      return {
        status: `${response.statusCode} ${response.statusMessage ?? ""}`.trim(),
        text: text.slice(0, ANSWER_LIMIT),
      };
    } catch (error) {
      throw new Error(`${method === "POST" ? "Post" : "Options"} "${this.#url.href}": ${messageOf(error)}`);
    }
  }
}

/** The event of a line as JSON; undefined for a line that the collector would not take. */
type Format = (line: LogLine) => string | undefined;

function formatOf(record: ContainerRecord, options: LogOptions): Format {
  const tag = options["tag"] === "" ? "" : expandTag(options["tag"] ?? "{{.ID}}", record);
  const attrs = logAttributes(record, options);
  const frame = {
    host: Deno.hostname(),
    ...(options["splunk-source"] ? { source: options["splunk-source"] } : {}),
    ...(options["splunk-sourcetype"] ? { sourcetype: options["splunk-sourcetype"] } : {}),
    ...(options["splunk-index"] ? { index: options["splunk-index"] } : {}),
  };
  const event = (line: LogLine, content: unknown) =>
    JSON.stringify({ event: content, time: secondsOf(line.time), ...frame });
  const wrapped = (line: LogLine, content: unknown) =>
    event(line, {
      line: content,
      source: line.stream,
      ...(tag === "" ? {} : { tag }),
      ...(Object.keys(attrs).length === 0 ? {} : { attrs }),
    });
  const format = options["splunk-format"] ?? "inline";
  switch (format) {
    case "inline":
      return (line) => wrapped(line, decoder.decode(line.text));
    case "json":
      return (line) => wrapped(line, jsonOrText(decoder.decode(line.text)));
    case "raw": {
      const words = [
        ...(tag === "" ? [] : [tag]),
        ...Object.entries(attrs).map(([key, value]) => `${key}=${value}`),
      ];
      const prefix = words.map((word) => `${word} `).join("");
      return (line) => {
        const text = decoder.decode(line.text);
        return text.trim() === "" ? undefined : event(line, prefix + text);
      };
    }
    default:
      throw new Error(`unknown format specified ${format}, supported formats are inline, json and raw`);
  }
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Seconds since the epoch with six digits of fraction, as text. */
function secondsOf(time: string): string {
  const microseconds = (parseTime(time) ?? 0n) / 1000n;
  return `${microseconds / 1_000_000n}.${String(microseconds % 1_000_000n).padStart(6, "0")}`;
}

function urlOf(text: string | undefined): URL {
  if (text === undefined) throw new Error("splunk: splunk-url is expected");
  const url = URL.parse(text);
  const wrong = url === null || !["http:", "https:"].includes(url.protocol) || url.pathname !== "/" ||
    url.search !== "" || url.hash !== "";
  if (wrong) throw new Error("splunk: expected format scheme://dns_name_or_ip:port for splunk-url");
  url.pathname = COLLECTOR;
  return url;
}

/** zlib's; -1 is its default. */
function levelOf(text: string | undefined): number {
  if (text === undefined) return -1;
  if (!/^[+-]?\d+$/.test(text)) {
    throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  if (Number(text) < -1 || Number(text) > 9) {
    throw new Error(
      `not supported level '${text}' for splunk-gzip-level (supported values between -1 and 9)`,
    );
  }
  return Number(text);
}

function readFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new Error(`open ${path}: ${goErrno(error)}`);
  }
}
