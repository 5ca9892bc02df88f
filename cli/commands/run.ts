import { segment } from "../api_client.ts";
import { requireTerminal, runSession, type SessionEnd } from "../attach_session.ts";
import { defineCommand, type Invocation } from "../command.ts";
import { type CreateBody, createBody } from "../create/body.ts";
import { CONTAINER_FLAGS } from "../create/container_flags.ts";
import { checkPull, createContainer } from "../create/create_container.ts";
import { CliError, describeError } from "../errors.ts";
import { bool, text } from "../flags/spec.ts";
import { printLine } from "../stdio.ts";
import { parseDetachKeys } from "../terminal/detach_keys.ts";
import { watchExit } from "../wait.ts";

/** Connections beside the one that creates: attach, wait and start each hold one. */
const AHEAD = 2;

const FLAGS = {
  ...CONTAINER_FLAGS,
  "detach": bool("Run container in background and print container ID", { short: "d" }),
  "detach-keys": text("Override the key sequence for detaching a container"),
  "sig-proxy": bool("Proxy received signals to the process", { default: true }),
} as const;

export const command = defineCommand({
  flags: FLAGS,
  usage: "IMAGE [COMMAND] [ARG...]",
  count: { min: 1 },
  interspersed: false,
  completes: "image",
  async run(invocation) {
    const body = readBody(invocation);
    // What the streams are is told as it is, with exit code 1: docker run does no more about it.
    chooseStreams(invocation.flags, body);
    try {
      return await run(invocation, body);
    } catch (error) {
      throw withExitCode(error);
    }
  },
});

/** A file that an option names and that is missing is no missing command: whatever is wrong with the options is 125. */
function readBody({ flags, changed, args, session }: Invocation<typeof FLAGS>): CreateBody {
  try {
    checkPull(flags.pull);
    return createBody(flags, changed, args, session.endpoint.url);
  } catch (error) {
    throw failure(describeError(error), 125);
  }
}

/** @throws {CliError} when the streams that are asked for cannot be had. */
function chooseStreams(flags: Invocation<typeof FLAGS>["flags"], body: CreateBody): void {
  if (!flags.detach) return requireTerminal(body.AttachStdin, body.Tty);
  if (flags.attach.length > 0) {
    throw new CliError("conflicting options: cannot specify both --attach and --detach");
  }
  Object.assign(body, { AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false });
}

async function run({ flags, client }: Invocation<typeof FLAGS>, body: CreateBody): Promise<number> {
  parseDetachKeys(flags["detach-keys"]);
  const foreground = !flags.detach && (body.AttachStdin || body.AttachStdout || body.AttachStderr);
  const signals = foreground && flags["sig-proxy"] ? import("../terminal/forward_signals.ts") : undefined;
  signals?.catch(() => {});
  // What the next requests need is made ready while the engine creates.
  let prepared = false;
  const id = await createContainer(client, flags, body, () => {
    if (prepared || !foreground) return;
    prepared = true;
    client.open(AHEAD);
    signals?.then(({ prepareSignals }) => prepareSignals()).catch(() => {});
  });
  const path = `/containers/${segment(id, "container")}`;
  if (!foreground) {
    // The id before the start: whoever waits for it may want to attach first.
    printLine(id);
    await client.send("POST", `${path}/start`);
    return 0;
  }

  const running = Promise.withResolvers<void>();
  // Neither needs the other's answer; both must be there before the start.
  const attaching = client.hijack(`${path}/attach`, {
    query: {
      stream: true,
      stdin: body.AttachStdin || undefined,
      stdout: body.AttachStdout || undefined,
      stderr: body.AttachStderr || undefined,
      detachKeys: flags["detach-keys"] || undefined,
    },
  });
  attaching.catch(() => {});
  const asked = Promise.withResolvers<void>();
  const watching = watchExit(client, id, flags.rm ? "removed" : "next-exit", asked.resolve);
  watching.catch(() => asked.resolve());
  await asked.promise;
  // For as long as the process is there: it ends with this command.
  (await signals)?.forwardSignals(client, id, running.promise);
  const connection = await attaching;
  const { exitCode } = await watching;
  // The start first: the session begins with a word to the engine as well, and has time until the container writes.
  const ordered = Promise.withResolvers<void>();
  const starting = client.send("POST", `${path}/start`, { sent: ordered.resolve });
  starting.catch(() => ordered.resolve());
  await ordered.promise;
  const session = runSession(connection, {
    stdin: body.AttachStdin,
    stdout: body.AttachStdout,
    stderr: body.AttachStderr,
    tty: body.Tty,
    detachKeys: flags["detach-keys"],
  });
  session.catch(() => {});
  try {
    await starting;
    running.resolve();
  } catch (error) {
    connection.close();
    await session.catch(() => {});
    if (flags.rm) await exitCode;
    throw error;
  }
  using _size = body.Tty && Deno.stdout.isTerminal()
    ? (await import("../terminal/resize.ts")).followSize(client, path)
    : undefined;
  return await finish(session, exitCode, body.AttachStdout || body.AttachStderr);
}

async function finish(
  session: Promise<SessionEnd>,
  exitCode: Promise<number>,
  output: boolean,
): Promise<number> {
  // Without output the session ends with the input, which may be never: the container's end counts as well.
  const end = await (output ? session : Promise.race([session, exitCode.then((): SessionEnd => "ended")]));
  return end === "detached" ? 0 : await exitCode;
}

const NOT_FOUND = [
  "executable file not found",
  "no such file or directory",
  "system cannot find the file specified",
];
const NOT_INVOCABLE = ["permission denied", "is a directory"];

/** 127 when the command does not exist, 126 when it cannot be executed, 125 for everything else, as in docker run. */
function withExitCode(error: unknown): unknown {
  if (error instanceof CliError && error.message === "") return error;
  const message = describeError(error);
  const contains = (parts: readonly string[]) => parts.some((part) => message.includes(part));
  const exitCode = contains(NOT_FOUND) ? 127 : contains(NOT_INVOCABLE) ? 126 : 125;
  return failure(message, exitCode);
}

const failure = (message: string, exitCode: number) =>
  new CliError(`berth: ${message}\n\nRun 'berth run --help' for more information`, exitCode);
