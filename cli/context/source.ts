/** What contexts are read from: the store, and "default", which is what flags and environment say. */

import type { Session } from "../command.ts";
import { CliError } from "../errors.ts";
import {
  checkContextName,
  type ContextMeta,
  type ContextStore,
  DEFAULT_CONTEXT,
  type DockerEndpoint,
  type TlsFiles,
} from "./store.ts";

/** Of docker's own default context. */
export const DEFAULT_DESCRIPTION = "Current DOCKER_HOST based configuration";

/** A context with its certificates. */
export interface ContextContent {
  readonly meta: ContextMeta;
  readonly tls: TlsFiles;
}

/** @throws {CliError} when there is none of that name. */
export function contentOf(store: ContextStore, session: Session, name: string): ContextContent {
  if (name !== DEFAULT_CONTEXT) return { meta: store.find(name), tls: store.tls(name) };
  const docker: DockerEndpoint = { Host: session.defaultHost, SkipTLSVerify: false };
  return { meta: { Name: name, Metadata: {}, Endpoints: { docker } }, tls: new Map() };
}

/** A new context like another one. @param description instead of the other's; "" keeps that. */
export function copyContext(
  store: ContextStore,
  session: Session,
  from: string,
  name: string,
  description: string,
): void {
  const { meta, tls } = contentOf(store, session, from);
  const own = from === DEFAULT_CONTEXT ? DEFAULT_DESCRIPTION : meta.Metadata.Description;
  const Description = description !== "" ? description : own;
  const Metadata = { ...meta.Metadata, ...(Description === undefined ? {} : { Description }) };
  store.write({ ...meta, Name: name, Metadata }, tls);
}

/** @throws {CliError} for a name that cannot be given, or is given already. */
export function checkNewName(store: ContextStore, name: string): void {
  checkContextName(name);
  if (store.has(name)) throw new CliError(`context ${JSON.stringify(name)} already exists`);
}
