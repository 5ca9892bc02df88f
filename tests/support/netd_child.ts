import { SLOWNESS } from "./processes.ts";
import { runAs, type User } from "./users.ts";

const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/**
 * Runs `body` as `user` in a Deno that has user, mount and network namespaces of its own, and answers what it returned, by way of JSON.
 * In scope are what netd_world.ts exports, as well as `client` (a NetdClient with a netd of its own, as long as one is asked for by `start()`)
 * and `paper()`, a Netd in this very process with netlink calls that may fail.
 *
 * @param timeout milliseconds, as of runAs().
 */
export async function inNetd(user: User, body: string, timeout = 60_000): Promise<unknown> {
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/child.ts`;
    const own = `${directory}/d`;
    await Deno.mkdir(own, { mode: 0o700 });
    await Deno.chown(own, user.uid, user.gid);
    await Deno.writeTextFile(
      file,
      `import { NetdClient } from ${url("net/netd/client.ts")};
import { BackgroundRemoval } from ${url("net/netd/link_removal.ts")};
import { Netd } from ${url("net/netd/netd.ts")};
import { RootlessNamespace } from ${url("net/netd/rootless_namespace.ts")};
import { bridge, container, endContainers, endpoint, inside, newId, sandbox } from ${
        url("tests/support/netd_world.ts")
      };
import { EventLoop } from ${url("ffi/event_loop.ts")};
import { ERRNO, SysError } from ${url("ffi/errno.ts")};
import { MS_BIND } from ${url("ffi/constants.ts")};
import { kernel } from ${url("ffi/kernel.ts")};
import { network as calls } from ${url("ffi/kernel_network.ts")};
import * as nl from ${url("net/netlink/mod.ts")};
const dir = ${JSON.stringify(own)};
const settings = { hostLoopback: false, outbound: "none" } as const;
/** What the engine has on record. */
const state = { networks: [] as any[], sandboxes: [] as any[], settings: settings as any, syncs: [] as any[] };
let client: any;
const clients: any[] = [];
const start = async (options: any = {}) => {
  client = await NetdClient.open({ dir, version: "test", onRestart: async (netd: any) => {
    state.syncs.push(await netd.request({ op: "sync", ...state, syncs: undefined }));
  }, ...options });
  clients.push(client);
  return client;
};
const add = async (network: any) => { state.networks.push(network); await client.request({ op: "network.add", network }); return network; };
const join = async (sandbox: any) => { state.sandboxes.push(sandbox); return await client.request({ op: "sandbox.add", sandbox }); };
const failure = async (promise: Promise<unknown>) => { try { await promise; return "ok"; } catch (error) { return (error as any).kind + ": " + (error as Error).message; } };
const host = (...argv: string[]) => inside(client.hello.hostPid, ...argv);
const links = (namespace = client.hello.hostPid) => JSON.parse(inside(namespace, "ip", "-j", "link")).map((link: any) => link.ifname).sort();
const until = async (condition: () => boolean | Promise<boolean>, ms = 10_000) => {
  for (const deadline = Date.now() + ms * ${SLOWNESS}; !await condition();) {
    if (Date.now() > deadline) throw new Error("not in time: " + condition);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
/** A Netd in this process. */
const paper = (options: any = {}) => {
  const loop = new EventLoop(kernel);
  const namespace = new RootlessNamespace({ kernel, netlink: options.netlink });
  const relay = { connections: 0, join() {}, [Symbol.dispose]() {} };
  const netd = new Netd({ kernel, loop, host: namespace, relay, version: "test", parts: options.parts ?? {} });
  let seq = 0;
  return { netd, namespace, ask: (order: any) => netd.handle({ seq: ++seq, ...order } as any) as any };
};
void [MS_BIND, BackgroundRemoval, bridge, container, endpoint, newId, sandbox, ERRNO, SysError, calls, nl, join, add, failure, host, links, until, paper];
let result: unknown;
try {
  result = await (async () => {${body}})();
} catch (error) {
  try { console.error("netd's log: " + Deno.readTextFileSync(dir + "/log")); } catch { /* it has written none */ }
  throw error;
} finally {
  for (const one of clients) { try { Deno.kill(one.hello.pid, "SIGKILL"); } catch { /* gone */ } one.close(); }
  endContainers();
}
console.log(JSON.stringify(result));
Deno.exit(0);
`,
    );
    await Deno.chmod(directory, 0o755);
    const { code, stdout, stderr } = await runAs(user, [
      "unshare",
      "-Urmn",
      Deno.execPath(),
      ...["run", "-A", "--no-config", "--no-lock", "--no-check", "--quiet", file],
    ], { timeout });
    if (code !== 0) throw new Error(`child failed: ${stderr}${stdout}`);
    return JSON.parse(stdout);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
