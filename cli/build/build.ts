/** `berth build`. */
import {
  BUILD_SESSION_VERSION,
  MOST_LISTED_FILES,
  type SessionRequest,
  type SessionSource,
} from "../../base/build_session.ts";
import { goErrno } from "../../base/go_errno.ts";
import { messageOf } from "../../base/errors.ts";
import type { ApiClient } from "../api_client.ts";
import type { Session } from "../command.ts";
import { unpackLocal } from "../copy/unpack.ts";
import { CliError, describeError } from "../errors.ts";
import { checkOutput, writeOutput } from "../output_file.ts";
import { ConfigFile, HUB_SERVER } from "../registry/config_file.ts";
import { canonical } from "../registry/pull_image.ts";
import { print, printError, writeError } from "../stdio.ts";
import { Agents, parseAgents } from "./agents.ts";
import { buildClassic } from "./classic.ts";
import { type BuildSource, buildSource, type ContextSource } from "./context.ts";
import type { BuildFlags } from "./flags.ts";
import type { Output } from "./output.ts";
import { packContext, packEntries } from "./pack.ts";
import { PlainProgress } from "./progress/plain.ts";
import { RawJsonProgress } from "./progress/raw_json.ts";
import { SilentProgress } from "./progress/silent.ts";
import { TerminalProgress } from "./progress/terminal.ts";
import type { ProgressView } from "./progress/view.ts";
import { checkText, type DockerfileText, excerpt, failedOutput, warningsText } from "./report.ts";
import { namedContexts, outputOf, refuseMissing, type Settings, settingsOf } from "./request.ts";
import { parseSecrets, readSecret } from "./secrets.ts";
import { BuildFailure, runSession, type Upload } from "./session_client.ts";
import { type ContextEntry, listed, walkContext } from "./walk.ts";

/** Streams of contexts; 1 is the output's. */
const FIRST_UPLOAD = 2;

/** Builds what the flags say, and answers the exit code. */
export async function build(flags: BuildFlags, argument: string, session: Session): Promise<number> {
  try {
    await buildOrThrow(flags, argument, session);
    return 0;
  } catch (error) {
    if (!(error instanceof CliError)) throw new CliError(`ERROR: failed to build: ${describeError(error)}`);
    throw error.message === ""
      ? error
      : new CliError(`ERROR: failed to build: ${error.message}`, error.exitCode);
  }
}

async function buildOrThrow(flags: BuildFlags, argument: string, session: Session): Promise<void> {
  refuseMissing(flags);
  const output = outputOf(flags);
  if (output.kind !== "local" && output.dest !== undefined) {
    checkOutput(output.dest, "cannot write the output");
  }
  const settings = withNames(settingsOf(flags), output);
  if (output.push && settings.tags.length === 0) throw new CliError("tag is needed when pushing to registry");
  const source = await buildSource(argument, flags.file);
  const abort = new AbortController();
  const stop = () => abort.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
  try {
    const { client } = session;
    const imageId = await isBerth(client)
      ? await buildHere(
        { flags, source, settings, output, client, debug: flags.debug || session.debug },
        abort.signal,
      )
      : await buildElsewhere(flags, source, settings, output, client, abort.signal);
    if (imageId !== undefined) finish(flags, settings, imageId);
    if (output.push) await push(settings.tags, client, flags.quiet);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, stop);
  }
}

function withNames(settings: Settings, { names }: Output): Settings {
  return { ...settings, tags: [...settings.tags, ...names] };
}

/** Only berth's engine has build sessions. */
async function isBerth(client: ApiClient): Promise<boolean> {
  const response = await client.request("GET", "/_ping");
  await response.text();
  return response.headers.get("berth-build") === BUILD_SESSION_VERSION;
}

interface Task {
  readonly flags: BuildFlags;
  readonly source: BuildSource;
  readonly settings: Settings;
  readonly output: Output;
  readonly client: ApiClient;
  /** Warnings in full. */
  readonly debug: boolean;
}

async function buildHere(task: Task, signal: AbortSignal): Promise<string | undefined> {
  const { flags, source, settings, output, client } = task;
  const secrets = parseSecrets(flags.secret);
  await using agents = new Agents(parseAgents(flags.ssh));
  const check = flags.check || flags.call === "check";
  const uploads: Upload[] = [];
  const progress = check ? new SilentProgress() : progressOf(flags);
  const upload = (context: ContextSource, name: string): SessionSource => {
    const stream = FIRST_UPLOAD + uploads.length;
    const show = (chunks: AsyncIterable<Uint8Array>) => shown(chunks, -stream, name, progress);
    const found = context.kind === "directory" ? listOf(context) : undefined;
    if (context.kind !== "directory" || found === undefined) {
      uploads.push({ stream, chunks: show(chunksOf(context)) });
      return { kind: "upload", stream };
    }
    const { entries, files } = found;
    const pack = (wanted: readonly number[]) =>
      show(packEntries(context.path, wanted.flatMap((index) => entries[index] ?? [])));
    uploads.push({ stream, files, pack });
    return { kind: "directory", stream, origin: `${Deno.hostname()}:${Deno.realPathSync(context.path)}` };
  };
  const { context } = source;
  const main = check && source.dockerfile !== undefined || context.kind === "none"
    ? undefined
    : context.kind === "remote"
    ? context
    : upload(context, "[internal] load build context");
  const named = Object.entries(check ? {} : namedContexts(flags["build-context"]))
    .map((
      [name, from],
    ): [string, SessionSource] => [
      name,
      from.kind === "local" ? upload(from.source, `[context ${name}] load from client`) : from,
    ]);
  const request: SessionRequest = {
    ...settings,
    ...(source.dockerfile === undefined
      ? { dockerfilePath: source.dockerfilePath }
      : { dockerfile: source.dockerfile }),
    ...(main === undefined || main.kind === "image" ? {} : { context: main }),
    namedContexts: Object.fromEntries(named),
    output: output.kind === "local" || output.kind === "tar" ? "files" : output.kind,
    check,
  };
  let dockerfile: DockerfileText | undefined = source.dockerfile;
  let imageId: string | undefined;
  try {
    ({ imageId } = await runSession(client, withoutUndefined(request), uploads, {
      event: (event) => progress.take(event),
      dockerfile: ({ name, text }) => dockerfile = { name, text },
      secret: (id) => {
        const secret = secrets.get(id);
        return secret === undefined ? undefined : readSecret(secret);
      },
      auth: authOf,
      agents,
      output: (chunks) => writeFiles(output, chunks),
    }, signal));
  } catch (error) {
    progress.end();
    if (progress instanceof RawJsonProgress) throw error;
    const { failed } = progress.model;
    if (failed !== undefined && failed.lines.length > 0) printError(failedOutput(failed).trimEnd());
    if (!(error instanceof BuildFailure)) throw error;
    if (dockerfile !== undefined && error.range !== undefined) {
      printError(excerpt(dockerfile, error.range).trimEnd());
    }
    throw new CliError(`failed to solve: ${error.message}`);
  }
  progress.end();
  const { warnings } = progress.model;
  if (check) {
    print(checkText(warnings, dockerfile));
    if (warnings.length > 0) throw new CliError("", 1);
    return undefined;
  }
  if (!(progress instanceof RawJsonProgress || flags.quiet)) {
    const text = warningsText(warnings, dockerfile, task.debug);
    if (text !== "") printError(text.trimEnd());
  }
  return imageId;
}

/** The classic API: what it has no words for cannot be had there. */
async function buildElsewhere(
  flags: BuildFlags,
  source: BuildSource,
  settings: Settings,
  output: Output,
  client: ApiClient,
  signal: AbortSignal,
): Promise<string | undefined> {
  const missing = [
    ...(flags.secret.length > 0 ? ["--secret"] : []),
    ...(flags.ssh.length > 0 ? ["--ssh"] : []),
    ...(flags["build-context"].length > 0 ? ["--build-context"] : []),
    ...(flags["no-cache-filter"].length > 0 ? ["--no-cache-filter"] : []),
    ...(output.kind !== "image" ? ["--output"] : []),
    ...(flags.check || flags.call === "check" ? ["--check"] : []),
  ];
  if (missing.length > 0) {
    throw new CliError(`the engine is not berth's, and its classic build API has no ${missing.join(", ")}`);
  }
  const options = { quiet: flags.quiet, remove: flags.rm, forceRemove: flags["force-rm"] };
  const terminal = Deno.stdout.isTerminal();
  return await buildClassic(
    client,
    source,
    settings,
    options,
    flags.quiet ? () => {} : print,
    terminal,
    signal,
  );
}

/** What a directory holds; undefined: too much to be listed. */
function listOf({ path, ignored }: Extract<ContextSource, { kind: "directory" }>) {
  const now = Date.now();
  const entries: ContextEntry[] = [];
  for (const entry of walkContext(path, ignored)) {
    if (entries.length === MOST_LISTED_FILES) return undefined;
    entries.push(entry);
  }
  return { entries, files: entries.map((entry) => listed(entry, now)) };
}

function chunksOf(context: ContextSource): AsyncIterable<Uint8Array> {
  if (context.kind === "archive") return context.chunks;
  if (context.kind === "directory") return packContext(context.path, context.ignored);
  throw new TypeError(`nothing to send of a context that is ${context.kind}`);
}

function progressOf({ progress, quiet }: BuildFlags): ProgressView {
  const asked = progress === "auto" ? Deno.env.get("BUILDKIT_PROGRESS") || "auto" : progress;
  const kind = quiet ? "quiet" : asked === "auto" ? Deno.stderr.isTerminal() ? "tty" : "plain" : asked;
  switch (kind) {
    case "plain":
      return new PlainProgress(writeError);
    case "rawjson":
      return new RawJsonProgress(writeError);
    case "quiet":
    case "none":
      return new SilentProgress();
    case "tty":
      if (!Deno.stderr.isTerminal()) {
        throw new CliError("failed to get console: provided file is not a console");
      }
      return new TerminalProgress({
        size() {
          const { rows, columns } = Deno.consoleSize();
          return { rows, columns };
        },
        write: writeError,
      }, "berth");
    default:
      throw new CliError(
        `invalid progress mode ${JSON.stringify(kind)}: auto, none, plain, quiet, rawjson or tty`,
      );
  }
}

/** How often it is said how much has gone over. */
const UPLOAD_STATUS_MS = 100;

/** The same chunks; sending them is a step of its own, of which only this end knows. @param id of no step of the engine's */
async function* shown(
  chunks: AsyncIterable<Uint8Array>,
  id: number,
  name: string,
  progress: ProgressView,
): AsyncGenerator<Uint8Array, void, undefined> {
  const begun = Date.now();
  let current = 0, told = begun;
  const status = (time: number, done: boolean) =>
    progress.take({ kind: "status", id, name: "transferring context:", current, total: 0, time, done });
  progress.take({ kind: "vertex", vertex: { id, name, inputs: [] } });
  progress.take({ kind: "start", id, time: begun });
  let error: string | undefined;
  try {
    for await (const chunk of chunks) {
      yield chunk;
      current += chunk.length;
      const now = Date.now();
      if (now - told < UPLOAD_STATUS_MS) continue;
      told = now;
      status(now, false);
    }
    status(Date.now(), true);
  } catch (cause) {
    error = messageOf(cause);
    throw cause;
  } finally {
    progress.take({ kind: "done", id, time: Date.now(), cached: false, error });
  }
}

async function authOf(host: string): Promise<Uint8Array | undefined> {
  const server = host === "docker.io" ? HUB_SERVER : host;
  let credentials;
  try {
    credentials = await ConfigFile.load().credentials(server);
  } catch (error) {
    printError(`WARNING: going on without credentials for ${server}: ${messageOf(error)}`);
  }
  if (credentials === undefined) return undefined;
  const { username, password, identityToken } = credentials;
  return new TextEncoder().encode(JSON.stringify({
    username,
    password,
    serveraddress: server,
    ...(identityToken === "" ? {} : { identitytoken: identityToken }),
  }));
}

async function writeFiles({ kind, dest }: Output, chunks: ReadableStream<Uint8Array>): Promise<void> {
  if (kind !== "local") return await writeOutput(dest ?? "", chunks);
  const directory = dest ?? ".";
  try {
    Deno.mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw new CliError(`mkdir ${directory}: ${goErrno(error)}`);
  }
  await unpackLocal(chunks, directory, undefined);
}

/** What is left behind of a build that went well. */
function finish(flags: BuildFlags, { tags }: Settings, imageId: string): void {
  if (flags.iidfile !== "") writeFile(flags.iidfile, imageId);
  if (flags["metadata-file"] !== "") {
    const metadata = {
      "containerimage.config.digest": imageId,
      "containerimage.digest": imageId,
      ...(tags.length === 0 ? {} : { "image.name": tags.map(canonical).join(",") }),
    };
    writeFile(flags["metadata-file"], JSON.stringify(metadata, null, 2));
  }
  if (flags.quiet) print(`${imageId}\n`);
}

/** Whole or not at all; what is no ordinary file (`/dev/stdout`) is written to as it is. */
function writeFile(path: string, text: string): void {
  try {
    if (!isReplaceable(path)) return Deno.writeTextFileSync(path, text);
    const temporary = `${path}.${crypto.randomUUID()}.tmp`;
    Deno.writeTextFileSync(temporary, text, { createNew: true, mode: 0o666 });
    Deno.renameSync(temporary, path);
  } catch (error) {
    throw new CliError(`open ${path}: ${goErrno(error)}`);
  }
}

function isReplaceable(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

async function push(tags: readonly string[], client: ApiClient, quiet: boolean): Promise<void> {
  const { pushImage } = await import("../registry/push_image.ts");
  for (const image of tags) {
    await pushImage(client, { image }, quiet ? () => {} : print, Deno.stdout.isTerminal());
  }
}

/** Keys without a value are none in JSON. */
const withoutUndefined = (request: SessionRequest): SessionRequest => JSON.parse(JSON.stringify(request));
