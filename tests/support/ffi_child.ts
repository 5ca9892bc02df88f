/**
 * Runs `body` in a Deno of its own, with `k` (the kernel), `c` (its constants), `raw` and a few readers in scope, and answers what it returned, by
 * way of JSON. For calls that would change the test process itself: namespaces, credentials, filters.
 */
export async function inChild(body: string): Promise<unknown> {
  const url = (name: string): string => JSON.stringify(new URL(`../../ffi/${name}.ts`, import.meta.url).href);
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  // /proc/thread-self and not /proc/self: namespaces and credentials are those of the thread
  await Deno.writeTextFile(
    file,
    `import { kernel as k } from ${url("kernel")};
import * as c from ${url("constants")};
import { SysError } from ${url("errno")};
import { raw } from ${url("libc")};
const ns = (name: string) => Deno.readLinkSync("/proc/thread-self/ns/" + name);
const status = (name: string) =>
  new RegExp("^" + name + ":(.*)$", "m").exec(Deno.readTextFileSync("/proc/thread-self/status"))?.[1]?.trim();
const code = (run: () => unknown): string => {
  try { run(); return "ok"; } catch (error) { return error instanceof SysError ? error.code : String(error); }
};
const run = (...args: string[]): { code: number | undefined; signal: number | undefined; out: string } => {
  const [r, w] = k.pipe2(0);
  const pid = k.spawn({ path: args[0] ?? "", args, env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], fds: { 1: w, 2: w } });
  k.close(w);
  let out = "";
  const buffer = new Uint8Array(4096);
  for (let n; (n = k.read(r, buffer)) > 0;) out += new TextDecoder().decode(buffer.subarray(0, n));
  k.close(r);
  const { code, signal } = k.wait(pid, false)!;
  return { code, signal, out: out.trim() };
};
const result = (() => {${body}})();
console.log(JSON.stringify(result, (_, value) => typeof value === "bigint" ? String(value) : value));
`,
  );
  try {
    const output = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-lock", file],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const text = new TextDecoder().decode(output.stdout);
    if (!output.success) throw new Error(`child failed: ${new TextDecoder().decode(output.stderr)}${text}`);
    return JSON.parse(text);
  } finally {
    await Deno.remove(file);
  }
}
