/**
 * docker's store of contexts, as its command line keeps it: `meta/<sha256 of the name>/meta.json` and the PEM files in
 * `tls/<the same>/<endpoint>/`. Both programs read and write the same files.
 */

import { createHash } from "node:crypto";
import { dockerConfigDirectory } from "../../base/paths.ts";
import { CliError } from "../errors.ts";
import { goJson } from "../template/values.ts";

export const DEFAULT_CONTEXT = "default";

/** What stands in meta.json, in docker's order. Without a description the field is missing, and so is an empty host. */
export interface ContextMeta {
  readonly Name: string;
  readonly Metadata: { readonly Description?: string };
  readonly Endpoints: { readonly docker?: DockerEndpoint };
}

export interface DockerEndpoint {
  readonly Host?: string;
  readonly SkipTLSVerify: boolean;
}

/** Contents of PEM files by their names: ca.pem, cert.pem, key.pem. */
export type TlsFiles = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** docker's only endpoint since Kubernetes went. */
const ENDPOINT = "docker";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;

/** @throws {CliError} in docker's words. */
export function checkContextName(name: string): void {
  if (name === "") throw new CliError("context name cannot be empty");
  if (name === DEFAULT_CONTEXT) throw new CliError(`"${DEFAULT_CONTEXT}" is a reserved context name`);
  if (!NAME.test(name)) {
    throw new CliError(
      `context name ${JSON.stringify(name)} is invalid, names are validated against regexp ${
        JSON.stringify(NAME.source)
      }`,
    );
  }
}

export class ContextStore {
  readonly #root = `${dockerConfigDirectory()}/contexts`;

  /** Every context that can be read. */
  list(): ContextMeta[] {
    let names: string[];
    try {
      names = [...Deno.readDirSync(`${this.#root}/meta`)].map(({ name }) => name);
    } catch {
      return [];
    }
    return names.flatMap((name) => {
      try {
        return [this.#read(`${this.#root}/meta/${name}`)];
      } catch {
        // Being written, or not docker's.
        return [];
      }
    });
  }

  has(name: string): boolean {
    try {
      return Deno.statSync(`${this.metadataPath(name)}/meta.json`).isFile;
    } catch {
      return false;
    }
  }

  /** @throws {CliError} in docker's words when there is none of that name, or when its file is damaged. */
  find(name: string): ContextMeta {
    const directory = this.metadataPath(name);
    try {
      return this.#read(directory);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw new CliError(`${directory}/meta.json: ${error instanceof Error ? error.message : error}`);
      }
      throw new CliError(
        `context ${
          JSON.stringify(name)
        }: context not found: open ${directory}/meta.json: no such file or directory`,
      );
    }
  }

  #read(directory: string): ContextMeta {
    const json = JSON.parse(Deno.readTextFileSync(`${directory}/meta.json`)) as Partial<ContextMeta>;
    if (typeof json.Name !== "string") throw new Error("no name of a context");
    return { Name: json.Name, Metadata: json.Metadata ?? {}, Endpoints: json.Endpoints ?? {} };
  }

  /** Files of the endpoint, in the order of their names; empty without TLS. */
  tls(name: string): TlsFiles {
    const directory = `${this.tlsPath(name)}/${ENDPOINT}`;
    let files: string[];
    try {
      files = [...Deno.readDirSync(directory)].filter(({ isFile }) => isFile).map((entry) => entry.name)
        .sort();
    } catch {
      return new Map();
    }
    return new Map(files.map((file) => [file, Deno.readFileSync(`${directory}/${file}`)]));
  }

  /** Makes a context or changes one. @param tls undefined leaves the certificates as they are. */
  write(meta: ContextMeta, tls?: TlsFiles): void {
    if (tls !== undefined) this.#writeTls(meta.Name, tls);
    const directory = this.metadataPath(meta.Name);
    Deno.mkdirSync(directory, { recursive: true, mode: 0o755 });
    writeWhole(`${directory}/meta.json`, new TextEncoder().encode(metaText(meta)), 0o644);
  }

  #writeTls(name: string, files: TlsFiles): void {
    removeTree(`${this.tlsPath(name)}/${ENDPOINT}`);
    if (files.size === 0) return removeTree(this.tlsPath(name));
    const directory = `${this.tlsPath(name)}/${ENDPOINT}`;
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const [file, bytes] of files) writeWhole(`${directory}/${file}`, bytes, 0o600);
  }

  remove(name: string): void {
    removeTree(this.metadataPath(name));
    removeTree(this.tlsPath(name));
  }

  metadataPath(name: string): string {
    return `${this.#root}/meta/${directoryOf(name)}`;
  }

  tlsPath(name: string): string {
    return `${this.#root}/tls/${directoryOf(name)}`;
  }
}

const directoryOf = (name: string): string => createHash("sha256").update(name).digest("hex");

/** meta.json, byte for byte as docker writes it. */
export function metaText({ Name, Metadata, Endpoints }: ContextMeta): string {
  const { docker } = Endpoints;
  const { Description, ...others } = Metadata;
  return goJson({
    Name,
    Metadata: { ...(Description ? { Description } : {}), ...others },
    Endpoints: docker === undefined ? Endpoints : {
      ...Endpoints,
      docker: { ...(docker.Host ? { Host: docker.Host } : {}), SkipTLSVerify: docker.SkipTLSVerify ?? false },
    },
  });
}

function writeWhole(path: string, bytes: Uint8Array, mode: number): void {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  Deno.writeFileSync(temporary, bytes, { mode, createNew: true });
  Deno.renameSync(temporary, path);
}

function removeTree(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
