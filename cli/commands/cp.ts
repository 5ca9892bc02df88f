import type { ApiClient } from "../api_client.ts";
import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { checkOutputPath, localDestination, localSource } from "../copy/local_files.ts";
import { packLocal } from "../copy/pack.ts";
import { type CopyEnd, dirName, localPath, planCopy, rebaseNameOf, splitPath } from "../copy/paths.ts";
import { CopyProgress } from "../copy/progress.ts";
import { unpackLocal } from "../copy/unpack.ts";
import { ApiError, CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { stdinBytes, writeStream } from "../stdio.ts";

interface Options {
  readonly archive: boolean;
  readonly followLink: boolean;
  readonly quiet: boolean;
}

export const command = defineCommand({
  flags: {
    "archive": bool("Archive mode (copy all uid/gid information)", { short: "a" }),
    "follow-link": bool("Always follow symbol link in SRC_PATH", { short: "L" }),
    "quiet": bool(
      "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
      { short: "q" },
    ),
  },
  usage: "CONTAINER:SRC_PATH DEST_PATH|-\n\tberth cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
  count: { min: 2, max: 2 },
  completes: "file",
  async run({ flags, changed, args: [source = "", destination = ""], client }) {
    if (source === "") throw new CliError("source can not be empty");
    if (destination === "") throw new CliError("destination can not be empty");
    const from = splitArgument(source), to = splitArgument(destination);
    const options = {
      archive: flags.archive,
      followLink: flags["follow-link"],
      quiet: changed.has("quiet") ? flags.quiet : !Deno.stdout.isTerminal(),
    };
    if (from.container !== "" && to.container !== "") {
      throw new CliError("copying between containers is not supported");
    }
    if (from.container !== "") await copyFrom(client, from.container, from.path, to.path, options);
    else if (to.container !== "") await copyTo(client, to.container, from.path, to.path, options);
    else throw new CliError("must specify at least one container source");
  },
});

/** `container:path`; what begins with a slash or a dot is a local path, with a colon or without. */
function splitArgument(text: string): { container: string; path: string } {
  const colon = text.indexOf(":");
  if (text.startsWith("/") || text.startsWith(".") || colon < 0) return { container: "", path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

interface PathStat {
  readonly name: string;
  readonly mode: number;
  readonly linkTarget: string;
}

/** Bits of Go's os.FileMode. */
const isDirectory = ({ mode }: PathStat) => mode >= 2 ** 31;
const isLink = ({ mode }: PathStat) => Math.floor(mode / 2 ** 27) % 2 === 1;
const isFile = ({ mode }: PathStat) => Math.floor(mode / 2 ** 19) % 2 ** 13 === 0;

function readStat(headers: ReadonlyMap<string, string>): PathStat {
  const text = headers.get("x-docker-container-path-stat");
  if (text === undefined) throw new CliError("unable to get container path stat from the engine's answer");
  return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(text))) as PathStat;
}

const archivePath = (container: string) => `/containers/${segment(container, "container")}/archive`;

async function statOf(client: ApiClient, container: string, path: string): Promise<PathStat | undefined> {
  try {
    const response = await client.request("HEAD", archivePath(container), { query: { path } });
    await response.text();
    return readStat(response.headers);
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}

async function copyFrom(
  client: ApiClient,
  container: string,
  given: string,
  output: string,
  options: Options,
): Promise<void> {
  const destination = output === "-" ? output : localPath(output);
  if (output !== "-") checkOutputPath(destination);
  let path = given, rebaseName = "";
  if (options.followLink) {
    const stat = await statOf(client, container, given);
    if (stat !== undefined && isLink(stat)) {
      const { linkTarget } = stat;
      const target = linkTarget.startsWith("/") ? linkTarget : `${dirName(given)}/${linkTarget}`;
      ({ resolved: path, rebaseName } = rebaseNameOf(given, target));
    }
  }
  const response = await client.request("GET", archivePath(container), { query: { path } });
  if (output === "-") {
    for await (const chunk of response.body()) await writeStream(Deno.stdout, chunk);
    return;
  }
  const source: CopyEnd = {
    path,
    exists: true,
    isDirectory: isDirectory(readStat(response.headers)),
    rebaseName,
  };
  const plan = planCopy(source, localDestination(destination));
  // the archive has the name of what the link led to
  const rename = rebaseName === "" ? plan.rename : {
    from: splitPath(path).base,
    to: plan.rename?.to ?? rebaseName,
  };
  const progress = new CopyProgress("Copying from container - ", options.quiet);
  await unpackLocal(progress.count(response.body()), plan.dir, rename);
  progress.finish(destination);
}

async function copyTo(
  client: ApiClient,
  container: string,
  given: string,
  target: string,
  options: Options,
): Promise<void> {
  let path = target;
  let stat = await statOf(client, container, target);
  if (stat !== undefined && isLink(stat)) {
    const { linkTarget } = stat;
    path = linkTarget.startsWith("/") ? linkTarget : `${dirName(target)}/${linkTarget}`;
    stat = await statOf(client, container, path);
  }
  if (stat !== undefined && !isDirectory(stat) && !isLink(stat) && !isFile(stat)) {
    throw new CliError(`destination "${container}:${path}" must be a directory or a regular file`);
  }
  const destination: CopyEnd = {
    path,
    exists: stat !== undefined,
    isDirectory: stat !== undefined && isDirectory(stat),
    rebaseName: "",
  };
  const query = {
    path,
    noOverwriteDirNonDir: true,
    copyUIDGID: options.archive || undefined,
  };
  const headers = { "Content-Type": "application/x-tar" };
  if (given === "-") {
    if (!destination.isDirectory) {
      throw new CliError(`destination "${container}:${target}" must be a directory`);
    }
    await client.send("PUT", archivePath(container), { query, headers, stream: stdinBytes() });
    return;
  }
  const source = localSource(localPath(given), options.followLink);
  const plan = planCopy(source, destination);
  const { dir, base } = splitPath(source.path);
  const archived = source.rebaseName === "" ? plan.rename : {
    from: base,
    to: plan.rename?.to ?? source.rebaseName,
  };
  const progress = new CopyProgress("Copying to container - ", options.quiet);
  await client.send("PUT", archivePath(container), {
    query: { ...query, path: plan.dir },
    headers,
    stream: progress.count(packLocal(dir, base, archived)),
  });
  progress.finish(`${container}:${path}`);
}
