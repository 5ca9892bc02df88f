import { segment } from "../api_client.ts";
import type { ContainerDetails } from "../api_types.ts";
import { runSession } from "../attach_session.ts";
import { defineCommand, type Invocation } from "../command.ts";
import { CliError, describeError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { printError, printLine } from "../stdio.ts";
import { parseDetachKeys } from "../terminal/detach_keys.ts";
import { watchExit } from "../wait.ts";

const FLAGS = {
  "checkpoint": text("Restore from this checkpoint", { hidden: true }),
  "checkpoint-dir": text("Use a custom checkpoint storage directory", { hidden: true }),
  "attach": bool("Attach STDOUT/STDERR and forward signals", { short: "a" }),
  "detach-keys": text("Override the key sequence for detaching a container"),
  "interactive": bool("Attach container's STDIN", { short: "i" }),
} as const;

export const command = defineCommand({
  flags: FLAGS,
  usage: "CONTAINER [CONTAINER...]",
  count: { min: 1 },
  completes: "container",
  async run(invocation) {
    const { flags, args, changed, client } = invocation;
    for (const name of ["checkpoint", "checkpoint-dir"]) {
      if (!changed.has(name)) continue;
      throw new CliError(
        `"--${name}" is only supported on a Docker daemon with experimental features enabled`,
      );
    }
    parseDetachKeys(flags["detach-keys"]);
    if (flags.attach || flags.interactive) {
      if (args.length > 1) throw new CliError("you cannot start and attach multiple containers at once");
      return await startAttached(invocation, args[0] ?? "");
    }
    const failed: string[] = [];
    for (const name of args) {
      try {
        await client.send("POST", `/containers/${segment(name, "container")}/start`);
        printLine(name);
      } catch (error) {
        if (error instanceof CliError) throw error;
        printError(describeError(error));
        failed.push(name);
      }
    }
    if (failed.length > 0) throw new CliError(`Error: failed to start containers: ${failed.join(", ")}`);
  },
});

async function startAttached({ flags, client }: Invocation<typeof FLAGS>, name: string): Promise<number> {
  const details = await client.json<ContainerDetails>(
    "GET",
    `/containers/${segment(name, "container")}/json`,
  );
  const tty = details.Config?.Tty ?? false;
  const stdin = flags.interactive && (details.Config?.OpenStdin ?? false);
  const path = `/containers/${segment(details.Id)}`;
  const running = Promise.withResolvers<void>();
  using _signals = tty
    ? Deno.stdin.isTerminal()
      ? (await import("../terminal/restore_on_signal.ts")).restoreOnSignal()
      : undefined
    : (await import("../terminal/forward_signals.ts")).forwardSignals(client, details.Id, running.promise);
  using connection = await client.hijack(`${path}/attach`, {
    query: {
      stream: true,
      stdin: stdin || undefined,
      stdout: true,
      stderr: true,
      detachKeys: flags["detach-keys"] || undefined,
    },
  });
  const autoRemove = details.HostConfig?.AutoRemove ?? false;
  const { exitCode } = await watchExit(client, details.Id, autoRemove ? "removed" : "next-exit");
  const session = runSession(connection, {
    stdin,
    stdout: true,
    stderr: true,
    tty,
    detachKeys: flags["detach-keys"],
  });
  session.catch(() => {});
  try {
    await client.send("POST", `${path}/start`);
    running.resolve();
  } catch (error) {
    connection.close();
    await session.catch(() => {});
    if (autoRemove) await exitCode;
    throw error;
  }
  using _size = tty && Deno.stdout.isTerminal()
    ? (await import("../terminal/resize.ts")).followSize(client, path)
    : undefined;
  return await session === "detached" ? 0 : await exitCode;
}
