/** Contexts as files: a tar archive of meta.json and the certificates, byte for byte as docker writes it. */

import { concat } from "../../base/concat.ts";
import { CliError } from "../errors.ts";
import type { ContextContent } from "./source.ts";
import {
  TAR_BLOCK as BLOCK,
  TAR_DIRECTORY as DIRECTORY,
  TAR_FILE as FILE,
  tarEntry,
  tarPadding as padding,
} from "../tar_entry.ts";
import { type ContextMeta, metaText } from "./store.ts";

/** docker's limit for the whole archive. */
const MAX_BYTES = 10 * 1024 * 1024;
const encoder = new TextEncoder();

/** The archive. Like docker's it ends with the last byte of the last file: without its padding, and without blocks of zeros. */
export function packContext({ meta, tls }: ContextContent): Uint8Array {
  const parts = [
    tarEntry("meta.json", FILE, 0o644, encoder.encode(metaText(meta))),
    tarEntry("tls", DIRECTORY, 0o700),
  ];
  if (tls.size > 0) parts.push(tarEntry("tls/docker", DIRECTORY, 0o700));
  for (const [file, bytes] of tls) parts.push(tarEntry(`tls/docker/${file}`, FILE, 0o600, bytes));
  const whole = concat(parts);
  const last = [...tls.values()].at(-1);
  return last === undefined ? whole : whole.subarray(0, whole.length - padding(last.length));
}

/**
 * Reads an archive of `context export`, docker's or berth's.
 *
 * @throws {CliError} in docker's words: damaged, or with files that do not belong there.
 */
export function unpackContext(archive: Uint8Array, name: string): ContextContent {
  if (archive.length > MAX_BYTES) throw new CliError("context archive is larger than 10 MB");
  if (archive[0] === 0x50 && archive[1] === 0x4b) {
    throw new CliError(
      "context archives in zip's format are not read: export the context again, as a tar archive",
    );
  }
  let meta: ContextMeta | undefined;
  const tls = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const { path, content } of files(archive)) {
    if (path === "meta.json") meta = parseMeta(content, name);
    else if (path.startsWith("tls/")) {
      const [endpoint, file, ...more] = path.slice("tls/".length).split("/");
      if (!endpoint || !file || more.length > 0 || file === "..") {
        throw new CliError(`${path}: invalid context: TLS file has an unexpected path`);
      }
      // Other endpoints there were of Kubernetes once.
      if (endpoint === "docker") tls.set(file, content.slice());
    } else throw new CliError(`${path}: unexpected context file`);
  }
  if (meta === undefined) throw new CliError("invalid context: no metadata found");
  return { meta, tls };
}

function* files(archive: Uint8Array): Generator<{ path: string; content: Uint8Array }> {
  const decoder = new TextDecoder();
  for (let at = 0; at < archive.length;) {
    if (archive.length - at < BLOCK) throw new CliError("unexpected EOF");
    const header = archive.subarray(at, at + BLOCK);
    at += BLOCK;
    if (header.every((byte) => byte === 0)) return;
    const field = (start: number, length: number) =>
      decoder.decode(header.subarray(start, start + length)).replace(/\0[^]*$/, "");
    const size = parseInt(field(124, 12).trim(), 8) || 0;
    const prefix = field(257, 5) === "ustar" ? field(345, 155) : "";
    const path = prefix === "" ? field(0, 100) : `${prefix}/${field(0, 100)}`;
    if (size > archive.length - at) throw new CliError("unexpected EOF");
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === FILE || type === "\0") yield { path, content: archive.subarray(at, at + size) };
    at += size + padding(size);
  }
}

function parseMeta(bytes: Uint8Array, name: string): ContextMeta {
  let value: Partial<ContextMeta> | null;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes)) as Partial<ContextMeta> | null;
  } catch (error) {
    throw new CliError(`meta.json: ${error instanceof Error ? error.message : error}`);
  }
  return { Name: name, Metadata: value?.Metadata ?? {}, Endpoints: value?.Endpoints ?? {} };
}
