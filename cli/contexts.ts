/**
 * docker's contexts: names for engines, kept by docker's command line as files (`~/.docker/contexts/meta/<hash>/meta.json`). What
 * `docker context use` has chosen is docker's own: berth still means the user's own engine, unless `berth context use` chose it. The
 * commands that change contexts are in context/; this is what every command needs.
 */

import { dockerConfigDirectory } from "../base/paths.ts";
import { exists } from "../base/exists.ts";
import { type ClientTls, filesOf } from "./client_tls.ts";
import { CliError } from "./errors.ts";

interface Context {
  readonly name: string;
  readonly host: string;
  /** Directory of its certificates; need not exist. */
  readonly certificates: string;
}

/** Where a context leads. */
export interface ContextEndpoint {
  readonly host: string;
  readonly tls?: ClientTls;
}

const storeDirectory = (): string => `${dockerConfigDirectory()}/contexts`;

/** DOCKER_CONTEXT; what `berth context use` has chosen; "default", the user's own engine, without either. */
export function chosenContext(): string {
  return Deno.env.get("DOCKER_CONTEXT") || usedContext() || "default";
}

/** The current context of docker's file, if it is berth that chose it: see `ConfigFile.useContext`. */
function usedContext(): string | undefined {
  try {
    const json = JSON.parse(Deno.readTextFileSync(`${dockerConfigDirectory()}/config.json`)) as {
      currentContext?: unknown;
      plugins?: { berth?: { context?: unknown } };
    };
    const { currentContext, plugins } = json;
    return typeof currentContext === "string" && currentContext === plugins?.berth?.context
      ? currentContext
      : undefined;
  } catch {
    // No file, or a damaged one: whoever needs more of it says so.
    return undefined;
  }
}

/** All contexts that have files, by name. Files that cannot be read are no contexts. */
function readContexts(): Context[] {
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
        host: json.Endpoints?.docker?.Host ?? "",
        certificates: `${root}/tls/${entry.name}`,
      });
    } catch {
      // Being written, or not ours to understand.
    }
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** docker's file, as far as berth knows it. */
interface Meta {
  Name?: string;
  Endpoints?: { docker?: { Host?: string; SkipTLSVerify?: boolean } };
}

/** @throws {CliError} in docker's words when there is none of that name. */
function findContext(name: string): Context {
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
