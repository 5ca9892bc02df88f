/** How long `run --rm` takes: berth, podman, and the docker command line on berth's engine. */

import { messageOf } from "../base/errors.ts";
import { berthExecutable, type Engine } from "../tests/support/engine.ts";
import { leftovers, waitFor } from "../tests/support/processes.ts";
import type { RunResult } from "../tests/support/users.ts";
import type { Podman } from "./peers.ts";
import { type Row, timed } from "./stats.ts";
import { timeCommands, type TimedCommand } from "./stopwatch.ts";

/** Runs once and fails loudly: a command that ends with an error is quick, and no measurement. */
function must(result: Promise<RunResult>): Promise<RunResult> {
  return result.then((r) => {
    if (r.code !== 0) throw new Error(`ended with ${r.code}: ${r.stderr || r.stdout}`);
    return r;
  });
}

/** First `run` after the engine has started: its warm shim is ready, its modules and V8's code cache are used first. */
export async function coldStarts(engine: Engine, image: string, runs: number): Promise<Row> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    await engine.warm();
    await engine.stop();
    await waitFor(() => leftovers(engine.dir).length === 0, 10_000, () => "warm shims do not end");
    await engine.restart();
    // A user's first command comes later still.
    await engine.warm();
    times.push(await timed(() => must(engine.berth(["run", "--rm", "--network", "none", image, "true"]))));
  }
  return { name: "berth run, first after engine start", times };
}

/** All programs in turn, `runs` times. */
export async function warmStarts(
  engine: Engine,
  podman: Podman,
  image: string,
  runs: number,
): Promise<Row[]> {
  const run = ["run", "--rm", "--network", "none", image, "true"];
  const candidates: (TimedCommand & { missing?: string })[] = [
    { name: "berth run", argv: [berthExecutable(), "-H", engine.host, ...run] },
    { name: "docker run on berth", argv: ["docker", ...run], env: { DOCKER_HOST: engine.host } },
    "missing" in podman
      ? { name: "podman run", argv: [], missing: podman.missing }
      : { name: "podman run", argv: podman.runArgv([image, "true"]) },
    { name: "(a shell that does nothing)", argv: ["sh", "-c", ":"] },
  ];
  const rows: Row[] = [];
  const there: TimedCommand[] = [];
  for (const { missing, ...command } of candidates) {
    // Once without being measured: caches, and whether it works at all.
    const problem = missing ?? await timeCommands(engine.user, [command], 1).then(() => undefined, messageOf);
    if (problem === undefined) there.push(command);
    else rows.push({ name: command.name, times: [], missing: problem });
  }
  const times = await timeCommands(engine.user, there, runs);
  return [...there.map(({ name }) => ({ name, times: times.get(name) ?? [] })), ...rows];
}

/**
 * What a runtime does, through berth's API on a connection that stays open: start a created container, wait, remove.
 * `warm`: each time only after a warm shim has come, as it is unless containers start faster than shims boot.
 */
export async function apiStarts(
  engine: Engine,
  image: string,
  runs: number,
  warm: boolean,
  limits: Readonly<Record<string, unknown>> = {},
): Promise<number[]> {
  using api = new Api(engine);
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const made = await api.call("POST", "/containers/create", {
      Image: image,
      Cmd: ["true"],
      HostConfig: { NetworkMode: "none", ...limits },
    }) as { Id: string };
    if (warm) await engine.warm();
    times.push(
      await timed(async () => {
        await api.call("POST", `/containers/${made.Id}/start`);
        await api.call("POST", `/containers/${made.Id}/wait`);
        await api.call("DELETE", `/containers/${made.Id}`);
      }),
    );
  }
  return times;
}

/** A process that ends at once, in a container that runs: from the order to start it until its output has ended. */
export async function apiExecs(engine: Engine, image: string, runs: number): Promise<number[]> {
  using api = new Api(engine);
  const { Id } = await api.call("POST", "/containers/create", {
    Image: image,
    Cmd: ["sleep", "infinity"],
    HostConfig: { NetworkMode: "none" },
  }) as { Id: string };
  await api.call("POST", `/containers/${Id}/start`);
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const made = await api.call("POST", `/containers/${Id}/exec`, { Cmd: ["true"], AttachStdout: true }) as {
      Id: string;
    };
    // Of moves from cgroup to cgroup that follow each other closely, the kernel lets all but the first be cheap.
    await new Promise((resolve) => setTimeout(resolve, 50));
    times.push(await timed(() => api.call("POST", `/exec/${made.Id}/start`, {})));
  }
  await api.call("DELETE", `/containers/${Id}?force=1`);
  return times;
}

/** Milliseconds from the request to start a container until its answer: its process runs then. */
export async function apiStart(
  engine: Engine,
  { image, network, ports }: { image: string; network: string; ports: readonly number[] },
): Promise<number> {
  using api = new Api(engine);
  const bindings = ports.map((port) => [`${port}/tcp`, [{ HostPort: String(port) }]]);
  const made = await api.call("POST", "/containers/create", {
    Image: image,
    Cmd: ["sleep", "infinity"],
    ExposedPorts: Object.fromEntries(ports.map((port) => [`${port}/tcp`, {}])),
    HostConfig: { NetworkMode: network, PortBindings: Object.fromEntries(bindings) },
  }) as { Id: string };
  try {
    await engine.warm();
    return await timed(() => api.call("POST", `/containers/${made.Id}/start`));
  } finally {
    await api.call("DELETE", `/containers/${made.Id}?force=1`);
  }
}

/** An engine's API, on connections that stay open. */
export class Api implements Disposable {
  readonly #client: Deno.HttpClient;

  constructor(engine: Engine) {
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path: engine.socket } });
  }

  /** @throws {Error} with the answer, when it is none of success. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    // Deno looks the name up although it is not used; in a network without name servers another one would take 5 seconds
    const answer = await fetch(`http://localhost/v1.51${path}`, {
      method,
      client: this.#client,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Reads an endless answer and forgets it. Answers the function that ends that. */
  drain(path: string): () => Promise<void> {
    const reader = fetch(`http://localhost/v1.51${path}`, { client: this.#client })
      .then((answer) => answer.body?.getReader());
    void (async () => {
      while ((await (await reader)?.read())?.done === false);
    })().catch(() => {});
    return async () => await (await reader)?.cancel();
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
