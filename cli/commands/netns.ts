import { hints } from "../../base/hints.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { networkPaths } from "../network/paths.ts";

/** A shell's exit codes for a command that is not found, or was ended by a signal. */
const NOT_FOUND_EXIT = 127;
const SIGNAL_EXIT = 128;

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
  // The terminal sends these to the command as well; it decides.
  const signals = ["SIGINT", "SIGQUIT"] as const;
  const ignore = () => {};
  for (const signal of signals) Deno.addSignalListener(signal, ignore);
  try {
    const child = new Deno.Command("nsenter", {
      args,
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    });
    const { code, signal } = await child.spawn().status;
    return signal === null ? code : code > SIGNAL_EXIT ? code : SIGNAL_EXIT;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CliError(
      `cannot enter the network: nsenter is missing\n\n${hints.utilLinuxMissing}`,
      NOT_FOUND_EXIT,
    );
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, ignore);
  }
}
