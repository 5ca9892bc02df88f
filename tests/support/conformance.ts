/** What the suites with real clients have in common: an engine with an image, and addresses in the clients' own forms. */
import { busyboxArchive } from "./busybox_image.ts";
import { type Engine, startEngine, type StartOptions } from "./engine.ts";
import { waitFor } from "./processes.ts";
import { type Need, need, program } from "./needs.ts";
import { testDir } from "./users.ts";

export const DOCKER: Need = program("docker", "docker.io");
export const COMPOSE: Need = program("docker-compose", "docker-compose");
/** Debian's own, whatever else is called python3 on PATH. */
export const PYTHON = "/usr/bin/python3";
export const PYTHON_DOCKER: Need = need(
  succeeds(PYTHON, ["-c", "import docker, websocket"]),
  "python3-docker is not installed: sudo apt-get install python3-docker",
);

/** An engine whose only image is `busybox:latest`. */
export async function busyboxEngine(options: StartOptions = {}): Promise<Engine> {
  const engine = await startEngine(options);
  try {
    const { code, stderr } = await engine.berth(["load", "-i", await busyboxArchive(testDir())]);
    if (code !== 0) throw new Error(`cannot load busybox: ${stderr}`);
    return engine;
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

/** `127.0.0.1:port` of an engine that was started with `-H tcp://127.0.0.1:0 --tls=false`. */
export async function tcpAddress(engine: Engine): Promise<string> {
  const find = () => /tcp:\/\/(127\.0\.0\.1:[1-9]\d*)/.exec(engine.log())?.[1];
  await waitFor(() => find() !== undefined, 10_000, () => `no TCP address in: ${engine.log()}`);
  return find() ?? "";
}

/** One request over the engine's socket; the body is JSON, or text when it is not. */
export async function call(
  socket: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: unknown; headers: Headers }> {
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const init = body === undefined
    ? { method }
    : { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(`http://localhost${path}`, { ...init, client });
  const text = await response.text();
  return { status: response.status, body: jsonOr(text), headers: response.headers };
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function succeeds(path: string, args: string[]): boolean {
  try {
    return new Deno.Command(path, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
