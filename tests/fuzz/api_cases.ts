/** Requests that no client should send: made of the routes and schemas that the API itself is made of. */
import { concat } from "../../base/concat.ts";
import type * as z from "zod/mini";
import { createApp } from "../../api/app.ts";
import { createBody, execCreateBody, execStartBody, updateBody } from "../../api/schemas/container.ts";
import { networkConnectBody, networkCreateBody, networkDisconnectBody } from "../../api/schemas/network.ts";
import { authConfig } from "../../api/schemas/registry.ts";
import { volumeCreateBody } from "../../api/schemas/volume.ts";
import type { Engine } from "../../engine/types.ts";
import { mutateJson, Random } from "./random.ts";

export interface Case {
  readonly method: string;
  readonly route: string;
  readonly target: string;
  /** The whole request, as it goes to the socket. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Route {
  readonly method: string;
  readonly path: string;
}

const encoder = new TextEncoder();

/** Every operation that the API has a handler for: a new one is tried without anybody's doing. */
export function routes(): Route[] {
  const app = createApp({} as unknown as Engine);
  const known = new Map<string, Route>();
  for (const { method, path } of app.routes) {
    if (path === "*" || path === "/*") continue;
    const methods = method === "ALL" ? ["GET", "POST"] : [method];
    for (const one of methods) known.set(`${one} ${path}`, { method: one, path });
  }
  return [...known.values()];
}

/** Bodies that would be right, or nearly. */
const SCHEMAS: Readonly<Record<string, z.core.$ZodType>> = {
  "/containers/create": createBody,
  "/containers/:name/update": updateBody,
  "/containers/:name/exec": execCreateBody,
  "/exec/:name/start": execStartBody,
  "/networks/create": networkCreateBody,
  "/networks/:name/connect": networkConnectBody,
  "/networks/:name/disconnect": networkDisconnectBody,
  "/volumes/create": volumeCreateBody,
  "/commit": createBody,
  "/auth": authConfig,
};

const PARAMETERS = [
  ...[
    "all",
    "limit",
    "size",
    "filters",
    "since",
    "before",
    "until",
    "name",
    "platform",
    "t",
    "signal",
    "force",
  ],
  ...[
    "v",
    "link",
    "h",
    "w",
    "ps_args",
    "condition",
    "stdout",
    "stderr",
    "follow",
    "timestamps",
    "details",
    "tail",
  ],
  ...[
    "stdin",
    "logs",
    "stream",
    "detachKeys",
    "one-shot",
    "path",
    "noOverwriteDirNonDir",
    "copyUIDGID",
    "fromImage",
  ],
  ...[
    "fromSrc",
    "repo",
    "tag",
    "message",
    "changes",
    "author",
    "pause",
    "container",
    "comment",
    "names",
    "quiet",
  ],
  ...[
    "noprune",
    "digests",
    "shared-size",
    "manifests",
    "scope",
    "verbose",
    "type",
    "term",
    "dangling",
    "remote",
  ],
];

/** As they are put into a query: some of them are no valid encoding. */
const VALUES = [
  ...[
    "",
    "1",
    "0",
    "true",
    "-1",
    "x",
    "99999999999999999999",
    "1e9",
    "0x10",
    "NaN",
    "%",
    "%zz",
    "%00",
    "%ff%fe",
  ],
  ...[
    "%F0%9F%98%80",
    "..%2f..%2fetc%2fpasswd",
    "/",
    "/etc",
    "/tmp",
    "a:b:c",
    "sha256:",
    "%7B",
    "%7B%7D",
    "[]",
    "null",
  ],
  "%7B%22label%22%3A%5B%22a%3Db%22%5D%7D",
  "%7B%22label%22%3A%7B%22a%22%3Atrue%7D%2C%22status%22%3A%5B%22%5D%7D",
  "%7B%22before%22%3A%5B%22x%22%5D%2C%22until%22%3A%5B%22yesterday%22%5D%7D",
  "%7B%22id%22%3A%5B%22%28%22%5D%2C%22name%22%3A%5B%22%5B%22%5D%7D",
  "%7B%22__proto__%22%3A%5B%22a%22%5D%7D",
  ...[
    "1999-01-01T00%3A00%3A00Z",
    "1700000000.123456789",
    "-5m",
    "removed",
    "next-exit",
    "SIGKILL",
    "KILL",
    "1",
  ],
  ...[
    "linux/amd64",
    "linux/s390x",
    "a=1&a=2",
    "&&&",
    "=",
    "CMD%20x",
    "ctrl-p,ctrl-q",
    "fuzz",
    "fuzz-image",
    "%5Bz-",
  ],
  "127.0.0.1:1/nothing",
  "a".repeat(5000),
  "%25".repeat(2000),
];

const WORDS = [
  ...[
    "",
    "x",
    "true",
    "sleep",
    "1",
    "..",
    "/",
    "/tmp",
    "a:b",
    "a=b",
    "/a:/b",
    "fuzz",
    "fuzz-net",
    "fuzz-vol:/v",
    "0",
  ],
  ...[
    "container:fuzz",
    "container:",
    "host",
    "none",
    "bridge",
    "private",
    "default",
    "SIGKILL",
    "8000/tcp",
    "-1/udp",
  ],
  ...[
    "99999",
    "10.99.0.0/24",
    "10.99.0.7",
    "fd00::/64",
    "::1",
    "0.0.0.0",
    "02:42:00:00:00:01",
    "local",
    "json-file",
  ],
  ...[
    "always",
    "on-failure",
    "type",
    "tmpfs",
    "o",
    "device",
    "bind",
    "volume",
    "image",
    "no-new-privileges",
    "ALL",
  ],
  ...[
    "net.ipv4.ip_forward",
    "kernel.x",
    "\u0000",
    "\ud800",
    "😀",
    "a\nb",
    "nofile",
    "0-1",
    "rprivate",
    "NONE",
    "CMD",
  ],
  "sha256:" + "0".repeat(64),
  "x".repeat(100_000),
];
const NUMBERS = [
  0,
  1,
  -1,
  2,
  0.5,
  1e308,
  2 ** 31,
  2 ** 53,
  -(2 ** 63),
  6_291_456,
  65535,
  65536,
  1e9,
] as const;

const oneOf = (random: Random, items: readonly string[]): string => items[random.below(items.length)] ?? "";

/** A value that `schema` might take; strings and numbers are those that hurt. */
function valueFor(random: Random, schema: z.core.$ZodType, depth = 0): unknown {
  const { def } = (schema as unknown as { _zod: { def: Record<string, unknown> & { type: string } } })._zod;
  const inner = (key: string) => valueFor(random, def[key] as z.core.$ZodType, depth);
  const times = <T>(make: () => T): T[] => Array.from({ length: random.below(3) }, make);
  switch (def.type) {
    case "pipe":
      // what is transformed first is described by what comes after it
      return (def["in"] as { _zod: { def: { type: string } } })._zod.def.type === "transform"
        ? inner("out")
        : inner("in");
    case "optional":
    case "nullable":
    case "default":
    case "prefault":
    case "readonly":
      return inner("innerType");
    case "object": {
      const shape = Object.entries(def["shape"] as Record<string, z.core.$ZodType>);
      // few fields at once: the first that is wrong is all that is looked at
      const share = Math.max(1, shape.length >> 2);
      return Object.fromEntries(
        shape.filter(() => depth > 1 || random.below(share) < 2)
          .map(([key, field]) => [key, valueFor(random, field, depth + 1)]),
      );
    }
    case "record":
      return Object.fromEntries(times(() => [oneOf(random, WORDS), inner("valueType")]));
    case "array":
      return times(() => inner("element"));
    case "boolean":
      return random.chance(2);
    case "number":
      return random.pick(NUMBERS);
    case "string":
      return oneOf(random, WORDS);
    default:
      return {};
  }
}

function bodyFor(random: Random, path: string): Uint8Array<ArrayBuffer> {
  const schema = SCHEMAS[path];
  if (schema === undefined || random.chance(12)) return rubbish(random);
  let value = valueFor(random, schema);
  if (path === "/containers/create" && typeof value === "object" && !random.chance(8)) {
    value = { Image: "fuzz-image", Cmd: ["true"], StopTimeout: 0, ...value };
    if (!random.chance(8)) Object.assign(value as object, { Image: "fuzz-image" });
  }
  if (random.chance(3)) value = mutateJson(random, value);
  return encoder.encode(JSON.stringify(value) ?? "");
}

function rubbish(random: Random): Uint8Array<ArrayBuffer> {
  switch (random.below(7)) {
    case 0:
      return new Uint8Array();
    case 1:
      return encoder.encode("[".repeat(50_000));
    case 2:
      return encoder.encode(`${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`);
    case 3:
      return Uint8Array.from({ length: random.below(5000) }, () => random.below(256));
    case 4:
      return encoder.encode(JSON.stringify(mutateJson(random, { a: [1, "b", { c: null }] })) ?? "");
    case 5:
      return encoder.encode('{"__proto__":{"x":1},"constructor":{"prototype":5},"Image":"fuzz-image"}');
    default:
      return encoder.encode("null");
  }
}

const NAMES = [
  ...[
    "fuzz",
    "fuzz",
    "fuzz",
    "fuzz-image",
    "fuzz-net",
    "fuzz-vol",
    "none",
    "bridge",
    "host",
    "%00",
    "%2e%2e",
    "%ff",
  ],
  ...[
    "..%2f..%2fetc",
    "%F0%9F%98%80",
    "a".repeat(300),
    "sha256:abc",
    "-",
    "%20",
    "a%2Fb",
    "__proto__",
    "constructor",
  ],
];

const VERSIONS = ["", "", "/v1.24", "/v1.41", "/v1.47", "/v1.51", "/v1.99", "/v1", "/v9999999.1"] as const;

/**
 * One request.
 *
 * @param names what stands for `:name` besides the usual, such as the id of an exec.
 */
export function makeCase(random: Random, all: readonly [Route, ...Route[]], names: readonly string[]): Case {
  const { method, path } = random.pick(all);
  const some = [...NAMES, ...names];
  const named = path.replaceAll(/:\w+|\*/g, () => oneOf(random, some));
  const query = Array.from(
    { length: random.below(5) },
    () => `${oneOf(random, PARAMETERS)}=${oneOf(random, VALUES)}`,
  ).join("&");
  const target = `${random.pick(VERSIONS)}${named}${query === "" ? "" : `?${query}`}`;
  const used = random.chance(25)
    ? random.pick(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
    : method;
  const lines = [`${used} ${target} HTTP/1.1`, "Host: d"];
  const hasBody = used === "POST" || used === "PUT" || random.chance(20);
  const body = hasBody ? bodyFor(random, path) : new Uint8Array();
  if (hasBody) {
    lines.push(
      `Content-Type: ${
        random.chance(15) ? random.pick(["", "text/plain", ";;", "application/x-tar"]) : "application/json"
      }`,
    );
  }
  if (random.chance(10)) {
    lines.push("Connection: Upgrade", `Upgrade: ${random.pick(["tcp", "websocket", "h2c", "\u00ff"])}`);
  }
  if (random.chance(10)) {
    lines.push(`X-Registry-Auth: ${random.pick(["", "e30=", "bnVsbA", "!!", "W10", "eyJhdXRoIjoxfQ"])}`);
  }
  let sent: Uint8Array = body;
  if (hasBody && random.chance(10)) {
    // In chunks, and sometimes not as they should be.
    lines.push("Transfer-Encoding: chunked");
    const size = random.chance(3) ? "zz" : (body.length + (random.chance(3) ? 5 : 0)).toString(16);
    sent = concat([encoder.encode(`${size}\r\n`), body, encoder.encode("\r\n0\r\n\r\n")]);
  } else if (hasBody || random.chance(10)) {
    const wrong = random.chance(15);
    lines.push(
      `Content-Length: ${
        wrong ? random.pick(["-1", "abc", "5", "99999999", "18446744073709551616"]) : body.length
      }`,
    );
  }
  const bytes = concat([encoder.encode(`${lines.join("\r\n")}\r\n\r\n`), sent]);
  // Some clients are gone in the middle of their request.
  return {
    method,
    route: path,
    target,
    bytes: random.chance(20) ? bytes.slice(0, random.below(bytes.length)) : bytes,
  };
}
