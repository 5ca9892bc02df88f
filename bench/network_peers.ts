/** Ways from and to a container, each made ready beside the others: berth's, its peers', and none at all. */
import type { Engine } from "../tests/support/engine.ts";
import { waitFor } from "../tests/support/processes.ts";
import { currentUser, spawnAs, type User } from "../tests/support/users.ts";
import {
  end,
  hasDefaultRoute,
  holder,
  HOST,
  must,
  type Place,
  SERVER_PORT,
  type World,
} from "./network_world.ts";
import { lastLine, type Podman, versionOf } from "./peers.ts";

/** A container, as far as measurements go. */
export interface Route {
  /** Where the server, or the client of outbound connections, runs. */
  readonly place: Place;
  /** What the other machine connects to; undefined where only outbound connections are of interest. */
  readonly published?: { readonly host: string; readonly port: number };
  /** Whether outbound connections are measured; for most, a way in says nothing new about the way out. */
  readonly outbound?: boolean;
}

export interface Peer {
  readonly name: string;
  /** Program whose version is told. */
  readonly program?: string;
  /** Makes it ready. What it starts ends with `stack`. */
  start(stack: AsyncDisposableStack, port: number): Promise<Route>;
}

interface Context {
  readonly user: User;
  readonly dir: string;
  readonly world: World;
  readonly image: string;
  /** Undefined, or why there is none. */
  readonly engine: Engine | string;
  readonly podman: Podman;
}

const READY = 15_000;
const OWN_NETWORK = ["unshare", "--user", "--map-root-user", "--net"];

/**
 * Starts a program that runs until the end. It must be able to say why it does not. A session of its own, as berth's netd has: the kernel
 * shares the processors out by sessions (autogroups) first, so that programs of one would be quicker together on a busy machine.
 */
function background(
  stack: AsyncDisposableStack,
  user: User,
  argv: readonly string[],
  log: string,
): Background {
  const child = spawnAs(user, [
    "setsid",
    "sh",
    "-c",
    'log=$1; shift; exec "$@" >"$log" 2>&1 3>/dev/null',
    "sh",
    log,
    ...argv,
  ], {
    stdout: "null",
    stderr: "null",
  });
  const state = { ended: false };
  child.status.then(() => state.ended = true);
  stack.defer(() => end(child));
  return {
    async until(condition) {
      const why = () => lastLine(Deno.readTextFileSync(log)) || "it does not get ready";
      await waitFor(
        () => {
          if (state.ended) throw new Error(why());
          return condition();
        },
        READY,
        why,
      );
    },
  };
}

interface Background {
  until(condition: () => boolean): Promise<void>;
}

/** A process in new user and network namespaces of the user's. */
async function emptyContainer(stack: AsyncDisposableStack, user: User): Promise<number> {
  const child = await holder(user, OWN_NETWORK);
  stack.defer(() => end(child, "SIGKILL"));
  return child.pid;
}

/** Whether somebody listens on a TCP port of this namespace. */
function listens(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return ["tcp", "tcp6"].some((file) =>
    Deno.readTextFileSync(`/proc/net/${file}`).split("\n").some((line) => {
      const [, local = "", , state] = line.trim().split(/\s+/);
      return state === "0A" && local.endsWith(`:${hex}`);
    })
  );
}

/** The row that all others are compared with: both ends on one veth pair, nothing between them. */
export const DIRECT = "direct";
export const ROUTED = "routed by the kernel (root)";
export const SLIRP_1500 = "slirp4netns, MTU 1500";
export const SLIRP_65520 = "slirp4netns, MTU 65520";
export const BERTH = "berth";
export const BERTH_65520 = "berth, MTU 65520";

/** Everything that is measured, in the order of the tables. */
export function networkPeers(context: Context): Peer[] {
  const { user, dir, world, podman } = context;

  const slirp4netns = async (stack: AsyncDisposableStack, mtu: number, port?: number): Promise<Route> => {
    const place = await emptyContainer(stack, user);
    const socket = `${dir}/slirp-${mtu}.sock`;
    const options = ["--configure", `--mtu=${mtu}`, "--disable-host-loopback", `--api-socket=${socket}`];
    const program = background(
      stack,
      user,
      ["slirp4netns", ...options, String(place), "tap0"],
      `${dir}/slirp-${mtu}.log`,
    );
    await program.until(() => hasDefaultRoute(place));
    if (port === undefined) return { place, outbound: true };
    await addHostForward(socket, port);
    return { place, published: { host: HOST, port }, outbound: true };
  };

  const rootlesskit = (driver: "builtin" | "slirp4netns"): Peer => ({
    name: `rootlesskit, ${driver}`,
    program: "rootlesskit",
    async start(stack, port) {
      const state = `${dir}/rootlesskit-${driver}`;
      const network = ["--net=slirp4netns", "--mtu=65520", "--disable-host-loopback", `--state-dir=${state}`];
      const forward = [`--port-driver=${driver}`, "-p", `0.0.0.0:${port}:${SERVER_PORT}/tcp`];
      const program = background(
        stack,
        user,
        ["rootlesskit", ...network, ...forward, "sleep", "infinity"],
        `${state}.log`,
      );
      let place = 0;
      await program.until(() => {
        try {
          place = Number(Deno.readTextFileSync(`${state}/child_pid`));
        } catch {
          return false;
        }
        return hasDefaultRoute(place) && listens(port);
      });
      return { place, published: { host: HOST, port } };
    },
  });

  const berth = async (stack: AsyncDisposableStack, args: readonly string[]): Promise<number> => {
    const { engine, image } = context;
    if (typeof engine === "string") throw new Error(engine);
    const started = await engine.berth(["run", "-d", ...args, image, "sleep", "infinity"]);
    if (started.code !== 0) throw new Error(lastLine(started.stderr));
    const id = started.stdout.trim();
    stack.defer(async () => void await engine.berth(["rm", "-f", id]));
    const { stdout } = await engine.berth(["inspect", "-f", "{{.State.Pid}}", id]);
    return Number(stdout);
  };

  return [
    {
      name: DIRECT,
      start: () =>
        Promise.resolve({ place: undefined, published: { host: HOST, port: SERVER_PORT }, outbound: true }),
    },
    {
      name: ROUTED,
      start() {
        const { place, address } = world.routed;
        return Promise.resolve({ place, published: { host: address, port: SERVER_PORT }, outbound: true });
      },
    },
    {
      name: BERTH,
      async start(stack, port) {
        const place = await berth(stack, ["-p", `${port}:${SERVER_PORT}`]);
        return { place, published: { host: HOST, port }, outbound: true };
      },
    },
    {
      name: BERTH_65520,
      async start(stack) {
        const { engine } = context;
        if (typeof engine === "string") throw new Error(engine);
        const option = "com.docker.network.driver.mtu=65520";
        const made = await engine.berth(["network", "create", "-o", option, "jumbo"]);
        if (made.code !== 0) throw new Error(lastLine(made.stderr));
        stack.defer(async () => void await engine.berth(["network", "rm", "jumbo"]));
        return { place: await berth(stack, ["--network", "jumbo"]), outbound: true };
      },
    },
    rootlesskit("builtin"),
    rootlesskit("slirp4netns"),
    { name: SLIRP_1500, program: "slirp4netns", start: (stack) => slirp4netns(stack, 1500) },
    { name: SLIRP_65520, program: "slirp4netns", start: (stack, port) => slirp4netns(stack, 65520, port) },
    {
      name: "pasta",
      program: "pasta",
      async start(stack, port) {
        const place = await emptyContainer(stack, user);
        const ports = ["-t", `${port}:${SERVER_PORT}`, "-u", "none", "-T", "none", "-U", "none"];
        const program = background(
          stack,
          user,
          ["pasta", "--foreground", "--config-net", "--quiet", ...ports, String(place)],
          `${dir}/pasta.log`,
        );
        await program.until(() => hasDefaultRoute(place) && listens(port));
        return { place, published: { host: HOST, port }, outbound: true };
      },
    },
    {
      name: "docker-proxy",
      program: "docker-proxy",
      async start(stack, port) {
        const { place, address } = world.routed;
        const from = ["-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", String(port)];
        const to = ["-container-ip", address, "-container-port", String(SERVER_PORT)];
        const program = background(stack, user, ["docker-proxy", ...from, ...to], `${dir}/docker-proxy.log`);
        await program.until(() => listens(port));
        return { place, published: { host: HOST, port } };
      },
    },
    {
      name: "podman",
      program: "podman",
      async start(stack, port) {
        if ("missing" in podman) throw new Error(podman.missing);
        const name = "bench-network";
        const options = ["-d", "--name", name, "-p", `${port}:${SERVER_PORT}`];
        stack.defer(async () => {
          await must(user, podman.argv(["rm", "--force", "--ignore", "--time", "0", name]));
        });
        await must(user, podman.runArgv([...options, context.image, "sleep", "1000"], "slirp4netns"));
        const { stdout } = await must(user, podman.argv(["inspect", "--format", "{{.State.Pid}}", name]));
        const place = Number(stdout);
        await waitFor(
          () => hasDefaultRoute(place) && listens(port),
          READY,
          () => "podman's network does not get ready",
        );
        return { place, published: { host: HOST, port }, outbound: true };
      },
    },
  ];
}

/** @throws {Error} with what slirp4netns says. */
async function addHostForward(socket: string, port: number): Promise<void> {
  using connection = await Deno.connect({ transport: "unix", path: socket });
  const request = {
    execute: "add_hostfwd",
    arguments: {
      proto: "tcp",
      host_addr: "0.0.0.0",
      host_port: port,
      guest_addr: "10.0.2.100",
      guest_port: SERVER_PORT,
    },
  };
  await connection.write(new TextEncoder().encode(JSON.stringify(request)));
  await connection.closeWrite();
  const answer = await new Response(connection.readable).text();
  if (answer.includes("error")) throw new Error(`slirp4netns: ${answer.trim()}`);
}

/** Which programs are here, `name version` each. */
export async function programVersions(
  peers: readonly Peer[],
  user: User,
): Promise<Map<string, string | undefined>> {
  const versions = new Map<string, string | undefined>();
  for (const { program } of peers) {
    if (program === undefined || versions.has(program)) continue;
    // docker-proxy knows no --version
    const found = await versionOf(user, program) ??
      await must(currentUser(), ["sh", "-c", `command -v ${program}`]).then(
        (r) => r.stdout.trim(),
        () => undefined,
      );
    versions.set(program, found);
  }
  return versions;
}
