/** What Node calls a built-in module, by name. */
interface Builtins {
  readonly "node:http": typeof import("node:http");
  readonly "node:http2": typeof import("node:http2");
  readonly "node:https": typeof import("node:https");
  readonly "node:net": typeof import("node:net");
  readonly "node:stream": typeof import("node:stream");
  readonly "node:tls": typeof import("node:tls");
  readonly "node:zlib": typeof import("node:zlib");
}

/**
 * A built-in module, loaded now. For modules that are imported lazily: where they are bundled, their `import … from "node:…"` would
 * move to the top of the bundle and be loaded by everybody (10 ms and 1 MB for HTTP and TLS).
 */
export function nodeBuiltin<Name extends keyof Builtins>(name: Name): Builtins[Name] {
  // an unknown name gives undefined; these are all there in Deno and Node
  return process.getBuiltinModule(name) as Builtins[Name];
}
