/**
 * docker's contexts: names for engines, kept as files that docker's command line reads and writes as well
 * (`~/.docker/contexts/meta/<hash>/meta.json`). Which one is chosen is berth's own: after `docker context use desktop` berth still
 * means the user's own engine.
 */

import { dockerConfigDirectory } from "../base/paths.ts";
import { type ClientTls, exists, filesOf } from "./client_tls.ts";
import { CliError } from "./errors.ts";

export interface Context {
  readonly name: string;
  readonly description: string;
  readonly host: string;
  /** Directory of its metadata. */
  readonly metadata: string;
  /** Directory of its certificates; need not exist. */
  readonly certificates: string;
}

/** Where a context leads. */
export interface ContextEndpoint {
  readonly host: string;
  readonly tls?: ClientTls;
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;

const storeDirectory = (): string => `${dockerConfigDirectory()}/contexts`;

/** The file with the name that `berth context use` has chosen. */
function choiceFile(): string {
  const config = Deno.env.get("XDG_CONFIG_HOME") || `${Deno.env.get("HOME") || "/root"}/.config`;
  return `${config}/berth/context`;
}

/** DOCKER_CONTEXT, else the choice; "default" when there is none. */
export function chosenContext(): string {
  const named = Deno.env.get("DOCKER_CONTEXT");
  if (named) return named;
  try {
    return Deno.readTextFileSync(choiceFile()).trim() || "default";
  } catch {
    return "default";
  }
}

/** Remembers the choice. */
export function chooseContext(name: string): void {
  const file = choiceFile();
  if (name === "default") {
    if (exists(file)) Deno.removeSync(file);
    return;
  }
  Deno.mkdirSync(file.replace(/\/[^/]*$/, ""), { recursive: true, mode: 0o700 });
  Deno.writeTextFileSync(`${file}.tmp`, `${name}\n`);
  Deno.renameSync(`${file}.tmp`, file);
}

/** All contexts that have files, by name. Files that cannot be read are no contexts. */
export function readContexts(): Context[] {
  const root = storeDirectory();
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(`${root}/meta`)];
  } catch {
    return [];
  }
  const found: Context[] = [];
  for (const entry of entries) {
    const metadata = `${root}/meta/${entry.name}`;
    try {
      const json = JSON.parse(Deno.readTextFileSync(`${metadata}/meta.json`)) as Meta;
      if (typeof json.Name !== "string") continue;
      found.push({
        name: json.Name,
        description: json.Metadata?.Description ?? "",
        host: json.Endpoints?.docker?.Host ?? "",
        metadata,
        certificates: `${root}/tls/${entry.name}`,
      });
    } catch {
      // Being written, or not ours to understand.
    }
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** docker's file, as far as berth knows it. */
export interface Meta {
  Name?: string;
  Metadata?: { Description?: string };
  Endpoints?: { docker?: { Host?: string; SkipTLSVerify?: boolean } };
}

/** @throws {CliError} in docker's words when there is none of that name. */
export function findContext(name: string): Context {
  const found = readContexts().find((one) => one.name === name);
  if (found !== undefined) return found;
  const path = `${storeDirectory()}/meta/…/meta.json`;
  throw new CliError(`context "${name}": context not found: ${path}: no such file or directory`);
}

/** Address and certificates of a context; an empty address is the user's own engine. */
export function contextEndpoint(name: string): ContextEndpoint {
  const { host, certificates } = findContext(name);
  const file = (base: string) => {
    const path = `${certificates}/docker/${base}`;
    return exists(path) ? path : undefined;
  };
  const tls = filesOf({ ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") });
  return { host: host === "" ? "unix://" : host, ...(Object.keys(tls).length === 0 ? {} : { tls }) };
}

/**
 * Writes a context's files, certificates before the metadata that make it one.
 *
 * @throws {CliError} the name is taken or no name.
 */
export async function writeContext(
  { name, description, host, tls }: { name: string; description: string; host: string; tls: ClientTls },
): Promise<void> {
  if (!NAME.test(name)) {
    throw new CliError(
      `context name "${name}" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"`,
    );
  }
  if (name === "default") throw new CliError(`"default" is a reserved context name`);
  if (readContexts().some((one) => one.name === name)) throw new CliError(`context "${name}" already exists`);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  const id = new Uint8Array(digest).toHex();
  const root = storeDirectory();
  for (const [kind, path] of Object.entries(tls)) {
    const directory = `${root}/tls/${id}/docker`;
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    Deno.writeFileSync(`${directory}/${kind}.pem`, Deno.readFileSync(path), { mode: 0o600 });
  }
  const meta: Meta = {
    Name: name,
    Metadata: description === "" ? {} : { Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: false } },
  };
  Deno.mkdirSync(`${root}/meta/${id}`, { recursive: true, mode: 0o755 });
  Deno.writeTextFileSync(`${root}/meta/${id}/meta.json.tmp`, JSON.stringify(meta));
  Deno.renameSync(`${root}/meta/${id}/meta.json.tmp`, `${root}/meta/${id}/meta.json`);
}

/** Removes a context's files, metadata first. */
export function removeContext(context: Context): void {
  for (const path of [context.metadata, context.certificates]) {
    if (exists(path)) Deno.removeSync(path, { recursive: true });
  }
}
