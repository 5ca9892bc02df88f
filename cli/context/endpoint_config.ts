/** The flag --docker of `context create` and `context update`: where the engine is, and whom to trust. */

import { messageOf } from "../../base/errors.ts";
import { goErrno } from "../../base/go_errno.ts";
import { CliError } from "../errors.ts";
import { csvFields } from "../flags/csv.ts";
import { custom, type Flag, parseBool } from "../flags/spec.ts";
import { type ContextStore, DEFAULT_CONTEXT, type DockerEndpoint, type TlsFiles } from "./store.ts";
import { contentOf } from "./source.ts";
import type { Session } from "../command.ts";

export type EndpointConfig = Readonly<Record<string, string>>;

/** pflag's stringToString: `key=value,key=value`, several times. */
export const dockerFlag: Flag<EndpointConfig> = custom<EndpointConfig>("set the docker endpoint", {
  label: "stringToString",
  defaultText: "[]",
  initial: {},
  parse(text, current) {
    const pairs = text.split("=").length - 1 === 1 ? [text] : csvFields(text);
    const found: Record<string, string> = { ...current };
    for (const pair of pairs.length === 0 ? [""] : pairs) {
      const at = pair.indexOf("=");
      if (at < 0) throw new Error(`${pair} must be formatted as key=value`);
      found[pair.slice(0, at)] = pair.slice(at + 1);
    }
    return found;
  },
});

/** Keys, and the file that each of the last three becomes. */
const FILES: Readonly<Record<string, string>> = { ca: "ca.pem", cert: "cert.pem", key: "key.pem" };
const KEYS = ["from", "host", ...Object.keys(FILES), "skip-tls-verify"];

const refused = (reason: string): CliError =>
  new CliError(`unable to create docker endpoint config: ${reason}`);

/** @throws {CliError} in docker's words. */
export function readEndpointConfig(
  store: ContextStore,
  session: Session,
  config: EndpointConfig,
): { endpoint: DockerEndpoint; tls: TlsFiles } {
  const unknown = Object.keys(config).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) {
    throw refused(unknown.map((key) => `unrecognized config key: ${key}`).join("\n"));
  }
  if (config["from"] !== undefined) {
    return { endpoint: endpointFrom(store, session, config["from"]), tls: new Map() };
  }
  const tls = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [key, file] of Object.entries(FILES)) {
    const path = config[key];
    if (path !== undefined && path !== "") tls.set(file, readPem(path));
  }
  const skip = config["skip-tls-verify"] ?? "false";
  const SkipTLSVerify = parseBool(skip);
  if (SkipTLSVerify === undefined) {
    throw refused(`skip-tls-verify: parsing ${JSON.stringify(skip)}: invalid syntax`);
  }
  const host = config["host"] ?? "";
  const ca = tls.get("ca.pem");
  if (ca !== undefined && /^(tcp|https?):/.test(host) && !isPem(ca)) {
    throw refused(
      "invalid docker endpoint options: failed to retrieve context tls info: ca.pem seems invalid",
    );
  }
  return { endpoint: { ...(host === "" ? {} : { Host: host }), SkipTLSVerify }, tls };
}

/** The address of another context, without its certificates, as in docker. */
function endpointFrom(store: ContextStore, session: Session, name: string): DockerEndpoint {
  let found: DockerEndpoint | undefined;
  try {
    found = contentOf(store, session, name === "" ? DEFAULT_CONTEXT : name).meta.Endpoints.docker;
  } catch (error) {
    throw refused(messageOf(error));
  }
  if (found === undefined) throw refused(`unable to get endpoint from context ${JSON.stringify(name)}`);
  return found;
}

const isPem = (bytes: Uint8Array): boolean =>
  new TextDecoder().decode(bytes).includes("-----BEGIN CERTIFICATE-----");

function readPem(path: string): Uint8Array<ArrayBuffer> {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    throw refused(`open ${path}: ${goErrno(error)}`);
  }
}
