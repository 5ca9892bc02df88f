/** docker's and dockerd's flags about TLS. */

import { bool, text } from "./flags/spec.ts";

export const TLS_FLAGS = {
  tls: bool("Use TLS; implied by --tlsverify"),
  tlscacert: text("Trust certs signed only by this CA", {
    defaultText: `"~/.docker/ca.pem"`,
    completes: "file",
  }),
  tlscert: text("Path to TLS certificate file", { defaultText: `"~/.docker/cert.pem"`, completes: "file" }),
  tlskey: text("Path to TLS key file", { defaultText: `"~/.docker/key.pem"`, completes: "file" }),
  tlsverify: bool("Use TLS and verify the remote"),
} as const;

/** The flags that were given. */
export interface TlsFlagValues {
  tls?: boolean;
  tlsverify?: boolean;
  tlscacert?: string;
  tlscert?: string;
  tlskey?: string;
}

type Values = Readonly<Required<TlsFlagValues>>;

/** What was given, with paths made absolute; undefined for nothing. */
export function tlsFlagValues(values: Values, changed: ReadonlySet<string>): TlsFlagValues | undefined {
  const given: TlsFlagValues = {};
  for (const name of ["tls", "tlsverify"] as const) if (changed.has(name)) given[name] = values[name];
  for (const name of ["tlscacert", "tlscert", "tlskey"] as const) {
    if (!changed.has(name) || values[name] === "") continue;
    given[name] = values[name].startsWith("/") ? values[name] : `${Deno.cwd()}/${values[name]}`;
  }
  return Object.keys(given).length === 0 ? undefined : given;
}
