/**
 * An engine of another machine by `ssh://[user@]host[:port][/path/of/socket]`: ssh runs `system dial-stdio` there, which passes bytes
 * between its standard streams and the engine's socket (docker/cli: cli/connhelper). Loaded only for one.
 */

import type { EngineConnection } from "./connection.ts";
import { CliError, ConnectError } from "./errors.ts";

/** So much of what ssh says is shown when it fails. */
const STDERR_SHOWN = 4096;

/** The words of ssh's command line. @throws {CliError} in docker's words. */
export function sshArguments(url: string): string[] {
  const refuse = (reason: string) =>
    new CliError(
      `Failed to initialize: unable to resolve docker endpoint: ssh host connection is not valid: ${reason}`,
    );
  const [, user, host, port, path = ""] =
    /^ssh:\/\/(?:([^@/?#]*)@)?(\[[^\]/]*\]|[^:/?#@]*)(?::(\d*))?(\/[^?#]*)?$/.exec(url) ?? [];
  if (/[?#]/.test(url)) throw refuse("extra query or fragment after the host: " + url.replace(/^[^?#]*/, ""));
  if (host === undefined) throw refuse(`parse "${url}": invalid address`);
  if (host === "") throw refuse("no host specified");
  if (user?.includes(":")) throw refuse("plain-text password is not supported");
  // A word for the shell there, or an option of ssh: neither may come in by an address.
  for (const word of [user, host]) {
    if (word?.startsWith("-")) throw refuse(`invalid address: ${word} looks like an option`);
  }
  const socket = path.replaceAll("/", "") === "" ? "" : ` --host=unix://${path}`;
  if (/[^\w./@%+=:-]/.test(path)) throw refuse(`invalid path of a socket: ${path}`);
  const dial = `${socket} system dial-stdio`;
  return [
    ...["-o", "ConnectTimeout=30", "-T"],
    ...(user ? ["-l", user] : []),
    ...(port ? ["-p", port] : []),
    ...["--", host.replace(/^\[|\]$/g, "")],
    // Any login shell understands this line; berth's own command comes first, where there is one.
    `sh -c 'if command -v berth >/dev/null 2>&1; then exec berth${dial}; fi; exec docker${dial}'`,
  ];
}

/** Exit code of {@link UNINTERRUPTED} when there is no ssh. */
const NO_SSH = 254;

/**
 * Ctrl-C on the terminal is for the container, or for us: ssh gets it as well, and would take the connection away over which it is to be
 * told. It stays in the foreground all the same, so that it can ask for a password.
 */
const UNINTERRUPTED = `trap '' INT QUIT; command -v ssh >/dev/null || exit ${NO_SSH}; exec ssh "$@"`;

/** @throws {CliError} the address is none; what becomes of ssh is told when the connection is read. */
export function dialSsh(url: string): EngineConnection {
  const args = sshArguments(url);
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", UNINTERRUPTED, "ssh", ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new SshConnection(child, args);
}

class SshConnection implements EngineConnection {
  readonly #child: Deno.ChildProcess;
  readonly #args: readonly string[];
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #complaint: Promise<string>;
  /** What was read and did not fit. */
  #left: Uint8Array = new Uint8Array();
  #answered = false;
  #closed = false;

  constructor(child: Deno.ChildProcess, args: readonly string[]) {
    this.#child = child;
    this.#args = args;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.getReader();
    this.#complaint = lastOf(child.stderr);
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (this.#left.length === 0) {
      const { value, done } = await this.#reader.read();
      if (done) {
        if (!this.#answered && !this.#closed) throw await this.#failure();
        return null;
      }
      this.#left = value;
      this.#answered = true;
    }
    const taken = this.#left.subarray(0, into.length);
    into.set(taken);
    this.#left = this.#left.subarray(taken.length);
    return taken.length;
  }

  async write(bytes: Uint8Array): Promise<number> {
    try {
      await this.#writer.write(new Uint8Array(bytes));
    } catch (error) {
      // ssh has ended: why is said by what it has written.
      if (!this.#answered) throw await this.#failure();
      throw error;
    }
    return bytes.length;
  }

  async closeWrite(): Promise<void> {
    await this.#writer.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
  }

  async #failure(): Promise<Error> {
    const [{ code }, complaint] = await Promise.all([this.#child.status, this.#complaint]);
    if (code === NO_SSH) {
      return new CliError(
        "cannot connect by ssh: there is no ssh on PATH\n\nInstall it:  sudo apt-get install openssh-client",
      );
    }
    return new ConnectError(
      `error during connect: command [ssh ${this.#args.join(" ")}] has exited with exit status ${code}, ` +
        "make sure the URL is valid, and berth, or Docker 18.09 or later, is installed on the remote host: " +
        `stderr=${complaint}`,
    );
  }
}

/** Reads a stream to its end. */
async function lastOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let text = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
    text = (text + piece).slice(-STDERR_SHOWN);
  }
  return text.trimEnd();
}
