import { type ApiClient, segment } from "../api_client.ts";
import type { ContainerDetails, WaitAnswer } from "../api_types.ts";
import { requireTerminal, runSession } from "../attach_session.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { parseDetachKeys } from "../terminal/detach_keys.ts";

export const command = defineCommand({
  flags: {
    "detach-keys": text("Override the key sequence for detaching a container"),
    "no-stdin": bool("Do not attach STDIN"),
    "sig-proxy": bool("Proxy all received signals to the process", { default: true }),
  },
  usage: "CONTAINER",
  count: { min: 1, max: 1 },
  completes: "container",
  async run({ flags, args: [name = ""], client }) {
    parseDetachKeys(flags["detach-keys"]);
    const details = await running(client, name);
    const tty = details.Config?.Tty ?? false;
    const stdin = !flags["no-stdin"] && (details.Config?.OpenStdin ?? false);
    requireTerminal(!flags["no-stdin"], tty);
    const path = `/containers/${segment(details.Id)}`;
    // Asked before attaching, so that an end in between is not missed.
    const wait = await client.request("POST", `${path}/wait`);
    using _signals = tty && Deno.stdin.isTerminal()
      ? (await import("../terminal/restore_on_signal.ts")).restoreOnSignal()
      : flags["sig-proxy"] && !tty
      ? (await import("../terminal/forward_signals.ts")).forwardSignals(client, details.Id)
      : undefined;
    using connection = await client.hijack(`${path}/attach`, {
      query: {
        stream: true,
        stdin: stdin || undefined,
        stdout: true,
        stderr: true,
        detachKeys: flags["detach-keys"] || undefined,
      },
    });
    // A container that ended before we were attached would leave us waiting for output that never comes.
    await running(client, details.Id);
    using _size = tty && Deno.stdout.isTerminal() ? await followSize(client, path) : undefined;
    const end = await runSession(connection, {
      stdin,
      stdout: true,
      stderr: true,
      tty,
      detachKeys: flags["detach-keys"],
    });
    if (end === "detached") throw new CliError("read escape sequence");
    const answer = await wait.json() as WaitAnswer;
    if (answer.Error?.Message) throw new CliError(answer.Error.Message);
    return answer.StatusCode;
  },
});

async function followSize(client: ApiClient, path: string): Promise<Disposable> {
  const { followSize, nudgeSize } = await import("../terminal/resize.ts");
  await nudgeSize(client, path);
  return followSize(client, path);
}

async function running(client: ApiClient, name: string): Promise<ContainerDetails> {
  const details = await client.json<ContainerDetails>(
    "GET",
    `/containers/${segment(name, "container")}/json`,
  );
  if (!details.State?.Running) throw new CliError("You cannot attach to a stopped container, start it first");
  if (details.State.Paused) throw new CliError("You cannot attach to a paused container, unpause it first");
  if (details.State.Restarting) {
    throw new CliError("You cannot attach to a restarting container, wait until it is running");
  }
  return details;
}
