/** Starts the user's own engine in the background when a command finds none. */

import type { EngineConnection } from "./connection.ts";
import { ConnectError } from "./errors.ts";
import type { Endpoint } from "./endpoint.ts";
import { spawnBackground } from "../base/background.ts";
import { goErrno } from "../base/go_errno.ts";
import { hints } from "../base/hints.ts";
import { selfCommand } from "../base/self.ts";
import { defaultPaths } from "../base/paths.ts";

/** Longest time an engine may take until its socket answers: the first on a slow machine unpacks itself, beside others that do the same. */
const START_DEADLINE_MS = 60_000;
const LOG_LINES_SHOWN = 10;

/**
 * Starts `berth serve` detached from the terminal, with its output in `<exec-root>/engine.log`, and waits until its
 * socket takes a connection. Two commands may do this at once: the second engine finds the data root locked and ends,
 * and both commands find the first one's socket.
 *
 * @throws ConnectError with the last lines of the log when the engine ends or does not answer in time.
 */
export async function startEngine(endpoint: Endpoint): Promise<EngineConnection> {
  const { execRoot } = defaultPaths(Deno.uid() ?? 0);
  const log = `${execRoot}/engine.log`;
  try {
    Deno.mkdirSync(execRoot, { recursive: true, mode: 0o700 });
  } catch (error) {
    const runtime = Deno.uid() === 0 ? undefined : Deno.env.get("XDG_RUNTIME_DIR");
    throw new ConnectError(
      `cannot start the engine: cannot use ${execRoot}: ${goErrno(error)}\n\n${
        hints.execRootUnusable(runtime)
      }`,
    );
  }
  const before = fileSize(log);
  const serve = selfCommand("serve");
  const child = spawnBackground(
    serve.command,
    serve.args,
    { path: log, append: true, streams: "both" },
    serve.env,
  );
  let ended = false;
  child.status.then(() => ended = true, () => ended = true);
  const deadline = Date.now() + START_DEADLINE_MS;
  for (let pause = 2;; pause = Math.min(pause * 1.5, 50)) {
    const gone = ended;
    try {
      return await endpoint.dial();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused)) {
        throw error;
      }
    }
    // When another command's engine holds the data root, ours has ended, and it is the other's socket that we want.
    const another = gone && /\b(already|lock)/i.test(tail(log, before));
    if (gone && !another || Date.now() > deadline) throw failure(log, before, gone);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function failure(log: string, from: number, ended: boolean): ConnectError {
  const what = ended ? "the engine ended while it started" : "the engine does not answer";
  const text = tail(log, from);
  const lines = text === ""
    ? ""
    : `\n\n${text.split("\n").slice(-LOG_LINES_SHOWN).map((l) => `  ${l}`).join("\n")}`;
  return new ConnectError(`cannot start an engine: ${what}; its log is ${log}${lines}`);
}

function fileSize(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}

/** What was written to `path` after its first `from` bytes. */
function tail(path: string, from: number): string {
  try {
    return new TextDecoder().decode(Deno.readFileSync(path).subarray(from)).trim();
  } catch {
    return "";
  }
}
