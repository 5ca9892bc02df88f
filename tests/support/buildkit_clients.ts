/** buildx and compose v2, which scripts/test_needs takes from Debian, as plugins of docker's command line. */
import { type DockerClient, dockerClients, executableOf } from "./docker_clients.ts";
import { type Need, need } from "./needs.ts";
import { testDir } from "./users.ts";

const PLUGINS = new URL("../../.cache/tools/cli-plugins/", import.meta.url).pathname;

/** The newest of the docker command lines: older ones know no plugins. */
const client: DockerClient | undefined =
  dockerClients().sort((a, b) => b.version.localeCompare(a.version, "en", { numeric: true }))[0];

function hasPlugins(): boolean {
  try {
    return Deno.statSync(`${PLUGINS}docker-buildx`).isFile &&
      Deno.statSync(`${PLUGINS}docker-compose`).isFile;
  } catch {
    return false;
  }
}

export const BUILDX: Need = need(
  client !== undefined && hasPlugins(),
  "docker's command line or its plugins buildx and compose are missing: scripts/test_needs",
);

/** Paths that every test user may use. */
export function buildkitClient(): { readonly docker: string; readonly config: string } {
  if (client === undefined) throw new Error("no docker command line");
  const config = `${testDir()}/docker-config-${Deno.pid}`;
  Deno.mkdirSync(`${config}/cli-plugins`, { recursive: true });
  for (const name of ["docker-buildx", "docker-compose"]) {
    Deno.copyFileSync(PLUGINS + name, `${config}/cli-plugins/${name}`);
    Deno.chmodSync(`${config}/cli-plugins/${name}`, 0o755);
  }
  // buildx keeps its own state there
  Deno.mkdirSync(`${config}/buildx`, { recursive: true });
  for (const directory of [config, `${config}/cli-plugins`]) Deno.chmodSync(directory, 0o755);
  Deno.chmodSync(`${config}/buildx`, 0o777);
  return { docker: executableOf(client), config };
}
