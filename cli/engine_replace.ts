/** Ends the user's engine and has another one start, from the executable that is there now. Containers run on meanwhile. */

import { messageOf } from "../base/errors.ts";
import { defaultPaths } from "../base/paths.ts";
import { realPath } from "../base/real_path.ts";
import type { ApiClient } from "./api_client.ts";
import type { Endpoint } from "./endpoint.ts";
import { startEngine } from "./engine_start.ts";
import { CliError } from "./errors.ts";

/** An engine that answers requests finishes them first. */
const STOP_DEADLINE_MS = 30_000;
const POLL_MS = 20;

/** @throws {CliError} when the engine is not the one of the default directories, or does not end. */
export async function replaceEngine(client: ApiClient, endpoint: Endpoint): Promise<void> {
  const { DockerRootDir = "" } = await client.json<{ DockerRootDir?: string }>("GET", "/info");
  const { dataRoot } = defaultPaths(Deno.uid() ?? 0);
  // The engine names its directory without symbolic links.
  if (realPath(DockerRootDir) !== realPath(dataRoot)) {
    throw new CliError(
      `the engine has its data in ${DockerRootDir}, not in ${dataRoot}: it was started with flags of its own\n\n` +
        "Stop it and start it again as it was started; its containers run on.",
    );
  }
  const pid = enginePid(dataRoot);
  const unit = unitOf(pid);
  if (unit !== undefined) return await restartUnit(unit, endpoint);
  Deno.kill(pid, "SIGTERM");
  const deadline = Date.now() + STOP_DEADLINE_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new CliError(`the engine (pid ${pid}) does not end`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  (await startEngine(endpoint)).close();
}

/** The process that holds the data root's lock. */
function enginePid(dataRoot: string): number {
  const path = `${dataRoot}/berth.lock`;
  let pid: number;
  try {
    pid = Number(Deno.readTextFileSync(path).trim());
  } catch (error) {
    throw new CliError(`cannot find the engine's process: ${messageOf(error)}`);
  }
  if (!Number.isInteger(pid) || pid < 2 || !isAlive(pid)) {
    throw new CliError(`cannot find the engine's process: ${path} names ${pid}`);
  }
  return pid;
}

/** A process that nobody has waited for yet has ended all the same. */
function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

interface Unit {
  readonly name: string;
  readonly isUser: boolean;
}

/** systemd's service that the engine runs in: who ends the process behind its back would leave it stopped. */
function unitOf(pid: number): Unit | undefined {
  let cgroups: string;
  try {
    cgroups = Deno.readTextFileSync(`/proc/${pid}/cgroup`);
  } catch {
    return undefined;
  }
  const name = /\/(berth[^/\n]*\.service)(?:\/|$)/m.exec(cgroups)?.[1];
  return name === undefined ? undefined : { name, isUser: /\/user@\d+\.service\//.test(cgroups) };
}

async function restartUnit({ name, isUser }: Unit, endpoint: Endpoint): Promise<void> {
  const args = [...(isUser ? ["--user"] : []), "restart", name];
  const { success, stderr } = await new Deno.Command("systemctl", { args, stdin: "null" }).output();
  if (!success) {
    throw new CliError(`systemctl ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  }
  (await endpoint.dial()).close();
}
