/** `--publish` and `--expose` in the shapes the API takes. */

import { messageOf } from "../../base/errors.ts";
import { type HostBinding, parsePortRange, parsePortSpecs } from "../../base/port_spec.ts";

/** Exposed ports and bindings of all `-p` and `--expose` values. Throws with docker's messages. */
export function parsePorts(
  publish: readonly string[],
  expose: readonly string[],
): { exposed: Record<string, object>; bindings: Record<string, HostBinding[]> } {
  const { bindings } = parsePortSpecs(publish.map((spec) => spec.includes("=") ? shortSyntax(spec) : spec));
  const exposed: Record<string, object> = Object.fromEntries(Object.keys(bindings).map((port) => [port, {}]));
  for (const spec of expose) {
    if (spec.includes(":")) throw new Error(`invalid port format for --expose: ${spec}`);
    const [range = "", protocol = "tcp"] = spec.split("/", 2);
    const { first, last } = exposedRange(spec, range);
    for (let port = first; port <= last; port++) exposed[`${port}/${protocol.toLowerCase()}`] = {};
  }
  return { exposed, bindings };
}

/** `published=8080,target=80,protocol=udp` written as `8080:80/udp`. */
function shortSyntax(spec: string): string {
  const fields: Record<string, string> = { protocol: "tcp", published: "", target: "" };
  for (const field of spec.split(",")) {
    const equals = field.indexOf("=");
    if (equals <= 0) {
      throw new Error(`invalid publish opts format (should be name=value but got '${field}')`);
    }
    fields[field.slice(0, equals)] = field.slice(equals + 1);
  }
  return `${fields.published}:${fields.target}/${fields.protocol}`;
}

function exposedRange(spec: string, range: string): { first: number; last: number } {
  try {
    return parsePortRange(range);
  } catch (error) {
    throw new Error(`invalid range format for --expose: ${spec}, error: ${messageOf(error)}`);
  }
}
