/** The docker command lines to test with: the machine's, and the one that scripts/test_needs takes from Debian. */
import { testDir } from "./users.ts";

export interface DockerClient {
  readonly path: string;
  /** "28.2.2" */
  readonly version: string;
}

/** Those on PATH first, each version once. */
export function dockerClients(): DockerClient[] {
  const paths = (Deno.env.get("PATH") ?? "").split(":").filter((dir) => dir !== "").map((dir) =>
    `${dir}/docker`
  );
  const clients = new Map<string, DockerClient>();
  for (const path of [...paths, new URL("../../.cache/tools/docker", import.meta.url).pathname]) {
    const version = versionOf(path);
    if (version !== undefined && !clients.has(version)) clients.set(version, { path, version });
  }
  return [...clients.values()];
}

/** A copy that every test user may execute; the checkout itself may be closed to others. */
export function executableOf({ path, version }: DockerClient): string {
  const copy = `${testDir()}/docker-${version}`;
  try {
    Deno.copyFileSync(path, `${copy}.${Deno.pid}`);
    Deno.chmodSync(`${copy}.${Deno.pid}`, 0o755);
    Deno.renameSync(`${copy}.${Deno.pid}`, copy);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return copy;
}

function versionOf(path: string): string | undefined {
  try {
    const { stdout } = new Deno.Command(path, { args: ["--version"], stderr: "null" }).outputSync();
    return /version (\d+\.\d+\.\d+)/.exec(new TextDecoder().decode(stdout))?.[1];
  } catch {
    return undefined;
  }
}
