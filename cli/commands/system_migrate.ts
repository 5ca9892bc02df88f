import { gitCommit, VERSION } from "../../base/version.ts";
import type { ApiClient } from "../api_client.ts";
import type { ContainerSummary } from "../api_types.ts";
import { segment } from "../api_client.ts";
import { defineCommand } from "../command.ts";
import { replaceEngine } from "../engine_replace.ts";
import { CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { printError, printLine } from "../stdio.ts";
import { forEach } from "./each.ts";

interface ServerVersion {
  readonly Version?: string;
  readonly GitCommit?: string;
}

interface NetworkProcess {
  readonly pid?: number;
  readonly version?: string;
}

export const command = defineCommand({
  flags: {
    force: bool("Replace the engine also when it is of this version", { short: "f" }),
    restart: bool(
      "Restart running containers and the network process, so that nothing of the old version is left",
    ),
  },
  usage: "",
  count: { min: 0, max: 0 },
  async run({ flags, client, session }) {
    if (!session.endpoint.isDefault) {
      throw new CliError(
        `berth system migrate replaces your own engine, and ${session.endpoint.url} is another\n\n` +
          "Unset DOCKER_HOST and BERTH_HOST, leave -H and --context out. An engine that you have started with flags of your own: " +
          "stop it and start it again, its containers run on.",
      );
    }
    // The user's own engine is started when there is none: that alone brings its store to the present form.
    const before = await client.json<ServerVersion>("GET", "/version");
    const running = await names(client);
    const netd = await networkProcess(client);
    const isOfThisBuild = before.Version === VERSION && before.GitCommit === gitCommit();
    if (isOfThisBuild && !flags.force && !flags.restart) {
      printLine(`The engine is of this version already: ${describe(before)}. Nothing to migrate.`);
      return;
    }
    if (!isOfThisBuild || flags.force) {
      await replaceEngine(client, session.endpoint);
      printLine(
        `Engine:      ${describe(before)} replaced by ${
          describe({ Version: VERSION, GitCommit: gitCommit() })
        }`,
      );
    }
    const after = new Set(await names(client));
    const lost = running.filter((name) => !after.has(name));
    printLine(`Store:       ${await storeText(client)}`);
    if (flags.restart) await restart(client, running, netd);
    else if (running.length > 0) {
      printLine(
        `Containers:  ${running.length} running on with the shims of the version that has started them`,
      );
      printLine("             To replace those as well: berth system migrate --restart");
    }
    if (lost.length > 0) {
      printError(
        `WARNING: no longer running: ${lost.join(", ")}. See why: berth logs NAME, berth inspect NAME`,
      );
      return 1;
    }
  },
});

const describe = ({ Version = "", GitCommit = "" }: ServerVersion): string =>
  `${Version} (${GitCommit || "unknown"})`;

async function names(client: ApiClient): Promise<string[]> {
  const containers = await client.json<ContainerSummary[] | null>("GET", "/containers/json");
  return (containers ?? []).map(({ Id, Names }) => Names?.[0]?.replace(/^\//, "") ?? Id);
}

async function networkProcess(client: ApiClient): Promise<NetworkProcess> {
  try {
    return await client.json<NetworkProcess>("GET", "/berth/network");
  } catch {
    // Where networks do not work there is none.
    return {};
  }
}

async function storeText(client: ApiClient): Promise<string> {
  const info = await client.json<
    { DockerRootDir?: string; Containers?: number; Images?: number; Driver?: string }
  >(
    "GET",
    "/info",
  );
  const { DockerRootDir = "", Containers = 0, Images = 0, Driver = "" } = info;
  return `${DockerRootDir} (${Driver}), ${Containers} containers, ${Images} images: in the form of this version`;
}

/** Containers anew, and netd: whoever is connected through it has to connect again. */
async function restart(
  client: ApiClient,
  running: readonly string[],
  { pid }: NetworkProcess,
): Promise<void> {
  if (pid !== undefined) {
    try {
      // The engine starts another, which takes up all networks.
      Deno.kill(pid, "SIGTERM");
      printLine(`Network:     process ${pid} replaced`);
    } catch {
      // Not to be seen from here, or gone: the next one is started when it is needed.
    }
  }
  await forEach(running, async (name) => {
    await client.send("POST", `/containers/${segment(name, "container")}/restart`);
    return `Container:   ${name} restarted`;
  });
}
