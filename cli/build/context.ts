/** What a build is made from: the last argument and `-f`. */
import { cleanPath } from "../../base/clean_path.ts";
import { goErrno } from "../../base/go_errno.ts";
import { messageOf } from "../../base/errors.ts";
import { DockerIgnore, readDockerignore } from "../../base/dockerignore.ts";
import { exists } from "../../base/exists.ts";
import { CliError } from "../errors.ts";
import { stdinBytes } from "../stdio.ts";
import { concat } from "../../base/concat.ts";

export type ContextSource =
  | { readonly kind: "directory"; readonly path: string; readonly ignored: DockerIgnore }
  /** An archive on standard input. */
  | { readonly kind: "archive"; readonly chunks: AsyncIterable<Uint8Array> }
  | { readonly kind: "remote"; readonly url: string }
  | { readonly kind: "none" };

export interface BuildSource {
  readonly context: ContextSource;
  /** undefined: it is in the context, at `dockerfilePath`. */
  readonly dockerfile: { readonly name: string; readonly text: string } | undefined;
  /** Relative to the context; undefined: not in it, or at its usual place. */
  readonly dockerfilePath: string | undefined;
}

const DEFAULT_NAME = "Dockerfile";
/** Enough to tell an archive by. */
const SNIFFED = 512;

/** Whether an argument names something that has to be fetched (moby: builder/remotecontext/urlutil). */
export function isRemote(text: string): boolean {
  return /^(?:https?:\/\/|git:\/\/|ssh:\/\/|github\.com\/|git@)/.test(text);
}

/**
 * @param argument PATH, URL or `-`.
 * @param file of `-f`; "" for none.
 * @throws {CliError} with docker's words.
 */
export async function buildSource(argument: string, file: string): Promise<BuildSource> {
  if (argument === "-") {
    if (file === "-") {
      throw new CliError("invalid argument: can't use stdin for both build context and dockerfile");
    }
    return await stdinSource(file);
  }
  const given = await givenDockerfile(file);
  if (isRemote(argument)) {
    return {
      context: { kind: "remote", url: argument },
      dockerfile: given,
      dockerfilePath: given === undefined && file !== "" ? file : undefined,
    };
  }
  const root = contextDirectory(argument);
  if (given !== undefined) {
    return { context: directory(root, undefined), dockerfile: given, dockerfilePath: undefined };
  }
  const path = file === "" ? defaultDockerfile(root) : file;
  const name = path.slice(path.lastIndexOf("/") + 1);
  return {
    context: directory(root, path),
    dockerfile: { name, text: readText(path) },
    dockerfilePath: insideOf(root, path),
  };
}

/** A directory that is given as another context of the build. */
export function namedDirectory(path: string): ContextSource {
  return directory(contextDirectory(path), undefined);
}

function contextDirectory(path: string): string {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path === "" ? "." : path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CliError(`unable to prepare context: path ${JSON.stringify(path)} not found`);
    }
    throw new CliError(`unable to prepare context: stat ${path}: ${goErrno(error)}`);
  }
  if (!info.isDirectory) {
    throw new CliError(`unable to prepare context: context must be a directory: ${path}`);
  }
  return cleanPath(path);
}

/** @param dockerfile its path: `<dockerfile>.dockerignore` counts before the context's. */
function directory(root: string, dockerfile: string | undefined): ContextSource {
  const own = dockerfile === undefined ? undefined : textIfAny(`${dockerfile}.dockerignore`);
  const text = own ?? textIfAny(`${root}/.dockerignore`) ?? "";
  try {
    return { kind: "directory", path: root, ignored: new DockerIgnore(readDockerignore(text)) };
  } catch (error) {
    throw new CliError(`error checking context: ${messageOf(error)}`);
  }
}

function defaultDockerfile(root: string): string {
  const path = `${root}/${DEFAULT_NAME}`;
  if (exists(path)) return path;
  const lower = `${root}/${DEFAULT_NAME.toLowerCase()}`;
  return exists(lower) ? lower : path;
}

/** Path of the Dockerfile in the context; undefined: it is elsewhere. */
function insideOf(root: string, path: string): string | undefined {
  try {
    const [base, real] = [Deno.realPathSync(root), Deno.realPathSync(path)];
    return real.startsWith(`${base}/`) ? real.slice(base.length + 1) : undefined;
  } catch {
    return undefined;
  }
}

/** `-f -` and `-f https://…`; undefined for a file. */
async function givenDockerfile(file: string): Promise<BuildSource["dockerfile"]> {
  if (file === "-") return { name: DEFAULT_NAME, text: new TextDecoder().decode(await gather(stdinBytes())) };
  if (!/^https?:\/\//.test(file)) return undefined;
  const response = await fetch(file).catch((error) => {
    throw new CliError(`cannot get ${file}: ${messageOf(error)}`);
  });
  const text = await response.text();
  if (!response.ok) throw new CliError(`cannot get ${file}: ${response.status} ${response.statusText}`);
  return { name: DEFAULT_NAME, text };
}

/** Standard input is an archive, or a Dockerfile without any files. */
async function stdinSource(file: string): Promise<BuildSource> {
  const chunks = stdinBytes();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < SNIFFED) {
    const { value, done } = await chunks.next();
    if (done === true || value === undefined) break;
    first.push(value);
    length += value.length;
  }
  const head = concat(first);
  if (isArchive(head)) {
    return {
      context: { kind: "archive", chunks: prepend(head, chunks) },
      dockerfile: undefined,
      dockerfilePath: file === "" ? undefined : file,
    };
  }
  const rest = await gather(chunks);
  const text = new TextDecoder().decode(concat([head, rest]));
  return { context: { kind: "none" }, dockerfile: { name: DEFAULT_NAME, text }, dockerfilePath: undefined };
}

/** gzip, bzip2, xz, zstd. */
const MAGICS: readonly (readonly number[])[] = [
  [0x1f, 0x8b, 0x08],
  [0x42, 0x5a, 0x68],
  [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  [0x28, 0xb5, 0x2f, 0xfd],
];
const TAR_MAGIC_AT = 257;

function isArchive(head: Uint8Array): boolean {
  if (MAGICS.some((magic) => magic.every((byte, at) => head[at] === byte))) return true;
  if (head.length < SNIFFED) return false;
  return new TextDecoder("latin1").decode(head.subarray(TAR_MAGIC_AT, TAR_MAGIC_AT + 5)) === "ustar" ||
    isOldTar(head);
}

/** Before there was a magic: the checksum of the header, and it is no text. */
function isOldTar(head: Uint8Array): boolean {
  const sum = parseInt(new TextDecoder("latin1").decode(head.subarray(148, 156)).replace(/[\0 ]+/g, ""), 8);
  const counted = head.subarray(0, SNIFFED).reduce(
    (total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte),
    0,
  );
  return sum === counted;
}

async function* prepend(head: Uint8Array, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield head;
  yield* chunks;
}

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return concat(await Array.fromAsync(chunks));
}

function textIfAny(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw new CliError(`error reading .dockerignore: open ${path}: ${goErrno(error)}`);
  }
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new CliError(`failed to read dockerfile: open ${path}: ${goErrno(error)}`);
  }
}
