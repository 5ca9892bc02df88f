import { hints } from "../../base/hints.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { networkPaths } from "../network/paths.ts";
import { runInFront } from "../terminal/run_in_front.ts";

/** A shell's exit code for a command that is not found. */
const NOT_FOUND_EXIT = 127;

/** Another mount namespace starts at its root directory: goes where the user is, and becomes the command. */
const HERE = ["sh", "-c", 'cd "$1"; shift; exec "$@"', "berth"];

export const command = defineCommand({
  flags: {},
  usage: "[COMMAND] [ARG...]",
  count: { min: 0 },
  interspersed: false,
  async run({ args, client, session }) {
    const { url } = session.endpoint;
    if (!url.startsWith("unix://")) {
      throw new CliError(`cannot enter the network of the engine at ${url}\n\n${hints.networkElsewhere}`);
    }
    const { hostPid } = await networkPaths(client);
    try {
      Deno.readLinkSync(`/proc/${hostPid}/ns/net`);
    } catch {
      throw new CliError(`cannot enter the network of process ${hostPid}\n\n${hints.networkElsewhere}`);
    }
    const words = args.length > 0 ? args : [Deno.env.get("SHELL") || "/bin/sh"];
    return await runInside(hostPid, words);
  },
});

/** Enters the namespaces of `pid` as their root, and runs a command there. */
async function runInside(pid: number, words: readonly string[]): Promise<number> {
  const args = [
    "-t",
    String(pid),
    "-U",
    "-m",
    "-n",
    "--preserve-credentials",
    "--",
    ...HERE,
    Deno.cwd(),
    ...words,
  ];
  try {
    return await runInFront("nsenter", args);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CliError(
      `cannot enter the network: nsenter is missing\n\n${hints.utilLinuxMissing}`,
      NOT_FOUND_EXIT,
    );
  }
}
