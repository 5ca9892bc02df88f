/** berth's command line as a process of its own, from the sources. */

const ENTRY = new URL("../../main.ts", import.meta.url).pathname;
const FLAGS = ["run", "-A", "--no-config", "--no-lock", "--quiet", ENTRY];

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Bytes for standard input, which then ends; nothing is the null device. */
  readonly stdin?: string;
  readonly env?: Record<string, string>;
}

/** Runs `berth` with `args` to its end. */
export async function runBerth(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = startBerth(args, options);
  if (options.stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.stdin)).catch(() => {});
    await writer.close().catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Starts `berth` with pipes as its standard streams; the caller waits for it. */
export function startBerth(args: readonly string[], options: CliOptions = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [...FLAGS, ...args],
    env: { DOCKER_HOST: "", BERTH_HOST: "", TZ: "UTC", ...options.env },
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}
