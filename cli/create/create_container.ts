/** Creates a container, and pulls its image first when that is needed. */

import { refuseContentTrust } from "../registry/content_trust.ts";
import { parseReference } from "../../base/reference.ts";
import type { ApiClient } from "../api_client.ts";
import type { CreateAnswer } from "../api_types.ts";
import { ApiError, CliError } from "../errors.ts";
import { familiarName, isImageId, splitReference } from "../output/names.ts";
import { printError } from "../stdio.ts";
import { consoleSize } from "../terminal/raw_mode.ts";
import type { CreateBody } from "./body.ts";
import type { ContainerFlagValues } from "./container_flags.ts";
import { goErrno } from "../../base/go_errno.ts";

/** Refuses a `--pull` that is none. */
export function checkPull(policy: string): void {
  if (["always", "missing", "never", ""].includes(policy)) return;
  throw new CliError(`invalid pull option: '${policy}': must be one of "always", "missing" or "never"`);
}

/**
 * Creates the container; prints the engine's warnings; writes the `--cidfile`. Returns the id.
 *
 * @param asked called when the engine has been asked, and again when it is asked once more after a pull.
 */
export async function createContainer(
  client: ApiClient,
  flags: ContainerFlagValues,
  body: CreateBody,
  asked?: () => void,
): Promise<string> {
  using idFile = openIdFile(flags.cidfile);
  // what no engine can have is not asked for
  if (!isImageId(body.Image)) {
    parseReference(body.Image);
    refuseContentTrust(flags["disable-content-trust"], body.Image);
  }
  const platform = flags.platform || Deno.env.get("DOCKER_DEFAULT_PLATFORM") || undefined;
  if (flags.pull === "always") await pull(client, body.Image, platform, flags.quiet);
  body.HostConfig.ConsoleSize = consoleSize();
  const apiSocket = flags["use-api-socket"] ? await import("./api_socket.ts") : undefined;
  const credentials = await apiSocket?.giveApiSocket(body, client.endpoint.url);
  const create = () =>
    client.json<CreateAnswer>("POST", "/containers/create", {
      query: { name: flags.name || undefined, platform },
      json: body,
      sent: asked,
    });
  let answer: CreateAnswer;
  try {
    answer = await create();
  } catch (error) {
    const missing = error instanceof ApiError && error.status === 404 && flags.pull === "missing" &&
      !isImageId(body.Image);
    if (!missing) throw error;
    if (!flags.quiet) printError(`Unable to find image '${withTag(body.Image)}' locally`);
    await pull(client, body.Image, platform, flags.quiet);
    answer = await create();
  }
  for (const warning of answer.Warnings ?? []) printError(`WARNING: ${warning}`);
  if (credentials !== undefined) await apiSocket?.copyCredentials(client, answer.Id, credentials);
  idFile.write(answer.Id);
  return answer.Id;
}

/** Pulls, with the progress on standard error. */
async function pull(
  client: ApiClient,
  image: string,
  platform: string | undefined,
  quiet: boolean,
): Promise<void> {
  const { pullImage } = await import("../registry/pull_image.ts");
  const write = quiet ? () => {} : (text: string) => {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  };
  await pullImage(client, { image, platform }, write, Deno.stderr.isTerminal());
}

function withTag(image: string): string {
  const { repository, tag, digest } = splitReference(image);
  const named = familiarName(repository);
  return digest === "" ? `${named}:${tag || "latest"}` : `${named}${tag === "" ? "" : `:${tag}`}@${digest}`;
}

interface IdFile extends Disposable {
  write(id: string): void;
}

/** Reserves the file before anything is created; removes it again when no id was written. */
function openIdFile(path: string): IdFile {
  if (path === "") return { write() {}, [Symbol.dispose]() {} };
  try {
    Deno.writeTextFileSync(path, "", { createNew: true });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new CliError(
        `container ID file found, make sure the other container isn't running or delete ${path}`,
      );
    }
    throw new CliError(`failed to create the container ID file: open ${path}: ${goErrno(error)}`);
  }
  let written = false;
  return {
    write(id) {
      Deno.writeTextFileSync(path, id);
      written = true;
    },
    [Symbol.dispose]() {
      if (!written) Deno.removeSync(path);
    },
  };
}
