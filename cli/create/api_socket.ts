/** `--use-api-socket`: a container that may speak to the engine, with the user's credentials for registries. */

import type { ApiClient } from "../api_client.ts";
import { segment } from "../api_client.ts";
import { CliError } from "../errors.ts";
import { ConfigFile } from "../registry/config_file.ts";
import { TAR_BLOCK, TAR_FILE, tarEntry } from "../tar_entry.ts";
import type { CreateBody } from "./body.ts";

/** Where clients in the container look for it. */
const SOCKET = "/var/run/docker.sock";
const CONFIG_DIRECTORY = "/run/secrets/docker";

/**
 * Adds the socket to what is to be created, and where to look for credentials.
 *
 * @param engine its address.
 * @returns the configuration file for {@link copyCredentials}; undefined when nobody is logged in.
 */
export async function giveApiSocket(body: CreateBody, engine: string): Promise<string | undefined> {
  if (!engine.startsWith("unix://")) {
    throw new CliError(
      `flag --use-api-socket can only be used with unix sockets: docker endpoint ${engine} incompatible`,
    );
  }
  const host = body.HostConfig as { Mounts?: readonly unknown[] | null };
  const socket = { Type: "bind", Source: engine.slice("unix://".length), Target: SOCKET, BindOptions: {} };
  host.Mounts = [...host.Mounts ?? [], socket];
  const credentials = Object.entries(await ConfigFile.load().all());
  if (credentials.length === 0) return undefined;
  const config = body as { Env?: readonly string[] | null };
  config.Env = [...config.Env ?? [], `DOCKER_CONFIG=${CONFIG_DIRECTORY}`];
  const encode = (text: string) => new TextEncoder().encode(text).toBase64();
  const auths = Object.fromEntries(credentials.map(([server, { username, password, identityToken }]) => [
    server,
    {
      auth: encode(`${username}:${password}`),
      ...(identityToken === "" ? {} : { identitytoken: identityToken }),
    },
  ]));
  return JSON.stringify({ auths }, null, "\t");
}

/** Puts the configuration into a container that was created, readable by its root alone. */
export async function copyCredentials(client: ApiClient, id: string, config: string): Promise<void> {
  const file = tarEntry(`${CONFIG_DIRECTORY}/config.json`, TAR_FILE, 0o600, new TextEncoder().encode(config));
  const archive = new Uint8Array(file.length + 2 * TAR_BLOCK);
  archive.set(file);
  await client.send("PUT", `/containers/${segment(id)}/archive`, {
    query: { noOverwriteDirNonDir: "true", path: "/" },
    stream: (async function* () {
      yield archive;
    })(),
  });
}
