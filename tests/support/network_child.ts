import { runAs, type User } from "./users.ts";

const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/**
 * Runs `body` as `user` in a Deno that is alone in a user and a network namespace of its own, and answers what it returned,
 * by way of JSON. In scope are `k` and `net` (the kernel's calls), `c` (all constants), `nl` (rtnetlink, opened as `route`), `nft`,
 * `ip("-j", …)`, which runs iproute2 or another program there, and the readers below.
 */
export async function inNetwork(user: User, body: string): Promise<unknown> {
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/child.ts`;
    await Deno.writeTextFile(
      file,
      `import { kernel as k } from ${url("ffi/kernel.ts")};
import { network as net, networkCalls } from ${url("ffi/kernel_network.ts")};
import { StubProcess } from ${url("ffi/stub_process.ts")};
import * as c0 from ${url("ffi/constants.ts")};
import * as c1 from ${url("ffi/network_constants.ts")};
import * as c2 from ${url("net/netlink/constants.ts")};
import { SysError } from ${url("ffi/errno.ts")};
import * as nl from ${url("net/netlink/mod.ts")};
const c = { ...c0, ...c1, ...c2 };
void [StubProcess, networkCalls, net];
const failure = (run: () => unknown): string => {
  try { run(); return "ok"; } catch (error) { return error instanceof SysError ? error.message : String(error); }
};
const run = (...args: string[]): string => {
  const [r, w] = k.pipe2(0);
  const pid = k.spawn({ path: args[0] ?? "", args, env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], fds: { 1: w, 2: w } });
  k.close(w);
  let out = "";
  const buffer = new Uint8Array(65536);
  for (let n; (n = k.read(r, buffer)) > 0;) out += new TextDecoder().decode(buffer.subarray(0, n));
  k.close(r);
  if (k.wait(pid, false)?.code !== 0) throw new Error(args.join(" ") + ": " + out);
  return out;
};
const ip = (...args: string[]) => { const out = run("/usr/bin/env", ...args); return out.trim() === "" ? [] : JSON.parse(out); };
const v4 = (text: string) => Uint8Array.from(text.split("."), Number);
const v6 = (text: string) => { // "fd00::1" only
  const [head = "", tail = ""] = text.split("::");
  const words = (part: string) => part === "" ? [] : part.split(":").map((word) => parseInt(word, 16));
  const [a, b] = [words(head), words(tail)];
  return Uint8Array.from([...a, ...Array(8 - a.length - b.length).fill(0), ...b].flatMap((word) => [word >> 8, word & 255]));
};
/** A process in a network namespace of its own, and what ends it. */
const neighbour = (): { pid: number; fd: number; end(): void } => {
  const [r, w] = k.pipe2(0);
  const pid = k.spawn({ path: "/usr/bin/unshare", args: ["unshare", "-n", "sh", "-c", "echo; exec sleep 600"], env: ["PATH=/usr/bin:/bin"], fds: { 1: w } });
  k.close(w);
  k.read(r, new Uint8Array(1));
  k.close(r);
  const fd = k.open("/proc/" + pid + "/ns/net", 0);
  return { pid, fd, end: () => { k.close(fd); k.kill(pid, 9); k.wait(pid, false); } };
};
const inside = (pid: number, ...args: string[]) => ip("nsenter", "-t", String(pid), "-n", ...args);
using route = nl.Netlink.open(nl.NETLINK_ROUTE);
void [v4, v6, inside, neighbour, failure, c];
const result = await (async () => {${body}})();
console.log(JSON.stringify(result, (_, value) => value instanceof Uint8Array ? [...value] : typeof value === "bigint" ? String(value) : value));
`,
    );
    await Deno.chmod(directory, 0o755);
    const { code, stdout, stderr } = await runAs(user, [
      "unshare",
      "-Urn",
      Deno.execPath(),
      ...["run", "-A", "--no-config", "--no-lock", "--quiet", file],
    ]);
    if (code !== 0) throw new Error(`child failed: ${stderr}${stdout}`);
    return JSON.parse(stdout);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
