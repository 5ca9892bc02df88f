/**
 * Plugins of docker's command line (`docker-compose` in `~/.docker/cli-plugins`): programs that bring commands of their own. berth runs
 * them as docker does, and tells them where its engine is.
 */

import { dockerConfigDirectory } from "../base/paths.ts";
import type { Session } from "./command.ts";
import { CliError } from "./errors.ts";
import { runInFront } from "./terminal/run_in_front.ts";
import { userConfig } from "./user_config.ts";

/** After the user's own, in this order (docker/cli: cli-plugins/manager). */
const SYSTEM_DIRECTORIES = [
  "/usr/local/lib/docker/cli-plugins",
  "/usr/local/libexec/docker/cli-plugins",
  "/usr/lib/docker/cli-plugins",
  "/usr/libexec/docker/cli-plugins",
];

/** The program that brings the command; undefined when there is none. */
export function findCliPlugin(command: string): string | undefined {
  if (!/^[a-z][a-z0-9]*$/.test(command)) return undefined;
  const extra: unknown = userConfig().cliPluginsExtraDirs;
  const directories = [
    ...(Array.isArray(extra) ? extra.filter((dir) => typeof dir === "string") : []),
    `${dockerConfigDirectory()}/cli-plugins`,
    ...SYSTEM_DIRECTORIES,
  ];
  return directories.map((dir) => `${dir}/docker-${command}`).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

/**
 * Runs a plugin in berth's place.
 *
 * @param args the whole command line, flags before the command included: plugins understand them.
 * @param rest what follows the command's name.
 */
export async function runCliPlugin(
  program: string,
  args: readonly string[],
  rest: readonly string[],
  session: Session,
): Promise<number> {
  const asksEngine = !rest.some((word) => ["--help", "-h", "help", "version", "--version"].includes(word));
  // Its clients do not start an engine.
  if (asksEngine && session.endpoint.isDefault) (await session.client.dial()).close();
  try {
    return await runInFront(program, args, {
      DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND: Deno.execPath(),
      ...engineVariables(session),
    });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied)) {
      throw error;
    }
    throw new CliError(`cannot run the plugin ${program}: ${error.message}`);
  }
}

/** Where the engine is, when the plugin would not find it by itself: it knows neither berth's own socket nor BERTH_HOST. */
function engineVariables(session: Session): Record<string, string> {
  const { isDefault, url } = session.endpoint;
  return isDefault || Deno.env.get("BERTH_HOST") ? { DOCKER_HOST: url } : {};
}
