/** The same command line, typed to berth and to the docker command line, against an engine that a test writes down. */
import { dockerClients } from "./docker_clients.ts";
import { type Need, need } from "./needs.ts";
import { runBerth } from "./berth_cli.ts";
import { type Handler, scriptedEngine } from "./scripted_engine.ts";

/** Texts, and bodies of requests, follow the version. */
const client = dockerClients().find(({ version }) => version.startsWith("28."));

export const DOCKER_28: Need = need(client !== undefined, "no docker command line of version 28 on PATH");

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** `METHOD /path?query body`, in their order; without the API's version, keys of bodies sorted. */
  readonly requests: readonly string[];
}

/** What both do. docker's own name in its output is replaced by berth's. */
export async function compare(
  argv: readonly string[],
  handler: Handler,
): Promise<{ docker: Outcome; berth: Outcome }> {
  const [docker, berth] = await Promise.all([
    outcome(handler, (host) => runDocker(["-H", host, ...argv])),
    outcome(handler, (host) => runBerth(["-H", host, ...argv])),
  ]);
  return { docker, berth };
}

async function outcome(
  handler: Handler,
  run: (host: string) => Promise<{ code: number; stdout: string; stderr: string }>,
): Promise<Outcome> {
  await using engine = scriptedEngine(handler);
  const { code, stdout, stderr } = await run(engine.host);
  return {
    code,
    stdout: stdout.replaceAll(engine.host, "HOST"),
    stderr: stderr.replaceAll(engine.host, "HOST"),
    requests: engine.requests.filter(({ target }) => !target.includes("/_ping"))
      .map(({ method, target, body }) =>
        `${method} ${decodeURIComponent(target.replace(/^\/v1\.\d+/, ""))} ${bodyText(body)}`.trim()
      ),
  };
}

function bodyText(body: Uint8Array): string {
  const text = new TextDecoder().decode(body);
  try {
    return JSON.stringify(
      JSON.parse(text),
      (_key, value: unknown) =>
        typeof value === "object" && value !== null && !Array.isArray(value)
          ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1))
          : value,
    );
  } catch {
    return text;
  }
}

async function runDocker(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(client?.path ?? "docker", {
    args: [...args],
    env: { TZ: "UTC", DOCKER_HOST: "", DOCKER_CONTEXT: "" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) =>
    new TextDecoder().decode(bytes).replaceAll("docker ", "berth ").replaceAll("docker:", "berth:");
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
