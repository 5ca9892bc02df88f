/** What a command line shows of statistics, held against the numbers that it was given, and those against the kernel's. */
import { assert, equal, within } from "./checks.ts";
import { type Engine, type Json, run, TOOLS } from "./engine_support.ts";
import { systemCpu } from "../../cgroups/docker_stats.ts";

const HOST: Readonly<Record<string, (socket: string) => { words: string[]; env: Record<string, string> }>> = {
  docker: (socket) => ({ words: [], env: { DOCKER_HOST: `unix://${socket}` } }),
  berth: (socket) => ({ words: ["-H", `unix://${socket}`], env: {} }),
};

interface Cpu {
  readonly cpu_usage: { readonly total_usage: number };
  readonly system_cpu_usage: number;
  readonly online_cpus: number;
}

/**
 * Runs `stats --no-stream` and answers memory and processes as they are shown. The share of the processors must be the one that follows from the
 * counters in the engine's answer, to the last digit, and those must lie between what the kernel says before and afterwards. So it
 * does not matter how evenly the machine goes.
 */
export async function shownStats(engine: Engine, client: string, id: string): Promise<string> {
  const socket = `${engine.socket}.${client}`;
  using recorder = new Recorder(socket, engine.socket);
  const { words, env } = HOST[client]?.(socket) ?? { words: [], env: {} };
  const cgroup = await engine.cgroup(id);
  const kernel = () => ({
    used: Number(/^usage_usec (\d+)/m.exec(Deno.readTextFileSync(`${cgroup}/cpu.stat`))?.[1]) * 1000,
    all: systemCpu(Deno.readTextFileSync("/proc/stat")).total,
  });
  const format = "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
  const before = kernel();
  const shown = await run(
    `${TOOLS}/${client}`,
    [...words, "stats", "--no-stream", "--format", format, id],
    env,
  );
  const after = kernel();
  equal(shown.code, 0, shown.stdout + shown.stderr);
  const answers = recorder.answers("precpu_stats");
  equal(answers.length, 1, "answers with statistics");
  const [first, second] = [answers[0]?.["precpu_stats"], answers[0]?.["cpu_stats"]] as unknown as [Cpu, Cpu];
  const used = [first, second].map((cpu) => cpu.cpu_usage.total_usage) as [number, number];
  const all = [first, second].map((cpu) => cpu.system_cpu_usage) as [number, number];
  within(used[0], before.used, used[1], "time used, first");
  within(used[1], used[0] + 1, after.used, "time used, a second later");
  within(all[0], before.all, all[1], "the machine's time, first");
  within(all[1], all[0] + 1, after.all, "the machine's time, a second later");
  const share = (used[1] - used[0]) / (all[1] - all[0]) * second.online_cpus * 100;
  const [, percent = "", rest = ""] = /^([\d.]+)% (.*)$/.exec(shown.stdout.trim()) ?? [];
  assert(Math.abs(Number(percent) - share) <= 0.01, `${shown.stdout.trim()} of ${share} %`);
  return rest;
}

/** A socket that leads to another, and keeps what comes from there. */
class Recorder implements Disposable {
  readonly #path: string;
  readonly #listener: Deno.UnixListener;
  readonly #texts: string[] = [];

  constructor(path: string, target: string) {
    this.#path = path;
    this.#listener = Deno.listen({ transport: "unix", path });
    void this.#serve(target);
  }

  async #serve(target: string): Promise<void> {
    for await (const client of this.#listener) {
      const server = await Deno.connect({ transport: "unix", path: target });
      const index = this.#texts.push("") - 1;
      const decoder = new TextDecoder();
      const record = new TransformStream<Uint8Array, Uint8Array>({
        transform: (bytes, controller) => {
          this.#texts[index] += decoder.decode(bytes, { stream: true });
          controller.enqueue(bytes);
        },
      });
      // Either side may go first.
      client.readable.pipeTo(server.writable).catch(() => {});
      server.readable.pipeThrough(record).pipeTo(client.writable).catch(() => {});
    }
  }

  /** Objects of JSON with this key among the answers. */
  answers(key: string): Json[] {
    return this.#texts.flatMap((text) => text.match(/^\{.*\}/gm) ?? []).filter((text) =>
      text.includes(`"${key}"`)
    )
      .map((text) => JSON.parse(text) as Json);
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Closing has removed it.
    }
  }
}
