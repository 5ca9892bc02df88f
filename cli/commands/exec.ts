import { segment } from "../api_client.ts";
import { requireTerminal, runSession } from "../attach_session.ts";
import { defineCommand } from "../command.ts";
import { readPairs } from "../create/env_file.ts";
import { CliError } from "../errors.ts";
import { envVariable } from "../flags/checks.ts";
import { bool, list, text } from "../flags/spec.ts";
import { parseDetachKeys } from "../terminal/detach_keys.ts";
import { consoleSize } from "../terminal/raw_mode.ts";

export const command = defineCommand({
  flags: {
    "detach": bool("Detached mode: run command in the background", { short: "d" }),
    "detach-keys": text("Override the key sequence for detaching a container"),
    "env": list("Set environment variables", { short: "e", check: envVariable }),
    "env-file": list("Read in a file of environment variables", { completes: "file" }),
    "interactive": bool("Keep STDIN open even if not attached", { short: "i" }),
    "privileged": bool("Give extended privileges to the command"),
    "tty": bool("Allocate a pseudo-TTY", { short: "t" }),
    "user": text(`Username or UID (format: "<name|uid>[:<group|gid>]")`, { short: "u" }),
    "workdir": text("Working directory inside the container", { short: "w" }),
  },
  usage: "CONTAINER COMMAND [ARG...]",
  count: { min: 2 },
  interspersed: false,
  completes: "container",
  async run({ flags, args: [name = "", ...words], client }) {
    const env = readPairs(flags["env-file"], flags.env, (key) => Deno.env.get(key));
    parseDetachKeys(flags["detach-keys"]);
    const attach = !flags.detach;
    const stdin = attach && flags.interactive;
    if (attach) requireTerminal(stdin, flags.tty);
    const size = flags.tty ? consoleSize() : [0, 0];
    const console = size[0] === 0 && size[1] === 0 ? {} : { ConsoleSize: size };
    const { Id } = await client.json<{ Id: string }>(
      "POST",
      `/containers/${segment(name, "container")}/exec`,
      {
        json: {
          User: flags.user,
          Privileged: flags.privileged,
          Tty: flags.tty,
          ...console,
          AttachStdin: stdin,
          AttachStderr: attach,
          AttachStdout: attach,
          DetachKeys: flags["detach-keys"],
          Env: env.length === 0 ? null : env,
          WorkingDir: flags.workdir,
          Cmd: words,
        },
      },
    );
    if (!Id) throw new CliError("exec ID empty");
    const path = `/exec/${Id}`;
    const json = { Detach: flags.detach, Tty: flags.tty, ...console };
    if (flags.detach) {
      await client.send("POST", `${path}/start`, { json });
      return 0;
    }
    using connection = await client.hijack(`${path}/start`, { json });
    using _size = flags.tty && Deno.stdin.isTerminal()
      ? (await import("../terminal/resize.ts")).followSize(client, path)
      : undefined;
    using _guard = flags.tty && Deno.stdin.isTerminal()
      ? (await import("../terminal/restore_on_signal.ts")).restoreOnSignal()
      : undefined;
    const end = await runSession(connection, {
      stdin,
      stdout: true,
      stderr: true,
      tty: flags.tty,
      detachKeys: flags["detach-keys"],
    });
    if (end === "detached") throw new CliError("read escape sequence");
    return (await client.json<{ ExitCode?: number | null }>("GET", `${path}/json`)).ExitCode ?? 0;
  },
});
