import { REHEARSAL_IMAGE } from "../engine/rehearsal.ts";
import type { Engine } from "../engine/types.ts";
import { API_VERSION } from "../base/version.ts";
import { createApp } from "./app.ts";
import type { RawConn } from "./http/byte_source.ts";
import { Connection } from "./http/connection.ts";
import { ConstantAnswers } from "./http/response.ts";
import type { Handler } from "./http/exchange.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How long one request may take: an engine on paper answers at once. */
const DEADLINE_MS = 2_000;

/** What clients send for `run --rm IMAGE true`, so that the checks of its many fields are compiled, too. */
const CREATE_BODY = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: false,
  AttachStdout: true,
  AttachStderr: true,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: [],
  Cmd: ["true"],
  Image: REHEARSAL_IMAGE,
  Volumes: {},
  WorkingDir: "",
  Entrypoint: null,
  Labels: {},
  HostConfig: {
    Binds: null,
    ContainerIDFile: "",
    LogConfig: { Type: "", Config: {} },
    NetworkMode: "default",
    PortBindings: {},
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
    AutoRemove: true,
    ConsoleSize: [0, 0],
    CapAdd: null,
    CapDrop: null,
    Dns: [],
    Privileged: false,
    SecurityOpt: null,
    ShmSize: 0,
    Memory: 0,
    NanoCpus: 0,
    PidsLimit: 0,
    Ulimits: [],
    MaskedPaths: null,
    ReadonlyPaths: null,
  },
  NetworkingConfig: { EndpointsConfig: {} },
};

/** One request on a connection that is no socket; answers everything that was written to it. */
async function exchange(handler: Handler, method: string, path: string, body?: unknown): Promise<string> {
  const text = body === undefined ? "" : JSON.stringify(body);
  const head = [
    `${method} /v${API_VERSION}${path} HTTP/1.1`,
    "Host: rehearsal",
    "User-Agent: rehearsal",
    ...(body === undefined ? [] : ["Content-Type: application/json"]),
    `Content-Length: ${encoder.encode(text).length}`,
    ...(path.includes("/attach") ? ["Connection: Upgrade", "Upgrade: tcp"] : ["Connection: close"]),
  ];
  const request = encoder.encode(`${head.join("\r\n")}\r\n\r\n${text}`);
  let sent = false;
  let answer = "";
  let hangUp: () => void = () => {};
  const end = new Promise<null>((resolve) => hangUp = () => resolve(null));
  const conn: RawConn = {
    read(into) {
      if (sent) return end;
      sent = true;
      into.set(request);
      return Promise.resolve(request.length);
    },
    write(bytes) {
      answer += decoder.decode(bytes);
      return Promise.resolve(bytes.length);
    },
    closeWrite: () => Promise.resolve(hangUp()),
    close: () => hangUp(),
  };
  const connection = new Connection(conn, {
    handler,
    headTimeoutMs: DEADLINE_MS,
    log: () => {},
    constants: new ConstantAnswers(),
  });
  const timer = setTimeout(() => connection.close(), DEADLINE_MS);
  await connection.run();
  clearTimeout(timer);
  if (!/^HTTP\/1\.1 (?:101|2\d\d) /.test(answer)) throw new Error(`rehearsal of ${path}: ${answer}`);
  return answer;
}

/**
 * Plays the requests of `run --rm` on `engine`, which is one on paper (see {@link module:engine/rehearsal}), through all of
 * the server but the socket.
 *
 * @throws {Error} a request was refused.
 */
export async function rehearseRun(engine: Engine): Promise<void> {
  const app = createApp(engine);
  const handler: Handler = (request, env) => app.fetch(request, env);
  await exchange(handler, "GET", "/_ping");
  const created = await exchange(handler, "POST", "/containers/create", CREATE_BODY);
  const id = /"Id":"([0-9a-f]+)"/.exec(created)?.[1];
  if (id === undefined) throw new Error(`rehearsal of create: ${created}`);
  const attached = exchange(handler, "POST", `/containers/${id}/attach?stream=1&stdout=1&stderr=1`);
  const removed = exchange(handler, "POST", `/containers/${id}/wait?condition=removed`);
  const started = exchange(handler, "POST", `/containers/${id}/start`);
  await Promise.all([attached, removed, started]);
}
