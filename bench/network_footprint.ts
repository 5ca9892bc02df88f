/** What networks cost besides speed: netd's memory and processes with many ports, and the time that a start spends on them. */
import type { Engine } from "../tests/support/engine.ts";
import { inNetd } from "../tests/support/netd_child.ts";
import { leftovers } from "../tests/support/processes.ts";
import type { User } from "../tests/support/users.ts";
import { apiStart } from "./start.ts";
import { processesOf, pssOf } from "./memory.ts";
import { lastLine } from "./peers.ts";
import { median, percentile, verdict } from "./stats.ts";

const FIRST_PORT = 20_000;
const PORTS = 1_000;
const STARTS = 20;
const SANDBOXES = 30;
/** Sandboxes that come before: V8 compiles what is used for the first time. */
const WARM_UP = 10;

/** Prints everything about one engine. Containers that run are left alone. */
export async function printFootprint(engine: Engine, image: string): Promise<void> {
  console.log("\nnetd\n");
  const none = await withContainer(engine, image, [], () => footprint(engine));
  const range = `${FIRST_PORT}-${FIRST_PORT + PORTS - 1}`;
  const many = await withContainer(engine, image, ["-p", `${range}:${range}`], () => footprint(engine));
  const mb = (kilobytes: number) => `${(kilobytes / 1024).toFixed(1)} MB`;
  console.log(
    `  memory (PSS), before and with ${PORTS} ports more: ${mb(none.pss)}, ${
      mb(many.pss)
    } (goal: below 80 MB, ${verdict(many.pss < 80 * 1024)})`,
  );
  const processes = many.processes - none.processes;
  console.log(`  processes for ${PORTS} ports: ${processes} (goal: 0, ${verdict(processes === 0)})`);
  await printSandboxes(engine.user);
  await printStarts(engine, image);
}

/** From netd's order until its answer, with nothing of the engine in between: a netd of its own, and processes that sleep as containers. */
async function printSandboxes(user: User): Promise<void> {
  const times = await inNetd(
    user,
    `await start({});
    const network = await add(bridge(30));
    const times = [];
    for (let i = 0; i < ${SANDBOXES + WARM_UP}; i++) {
      const one = container();
      const request = { op: "sandbox.add", sandbox: sandbox(one, endpoint(network, 2 + i)) };
      const begin = performance.now();
      await client.request(request);
      times.push(performance.now() - begin);
    }
    return times;`,
  ) as number[];
  const warm = times.slice(WARM_UP);
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  console.log(
    `  sandbox, from netd's order to its answer: ${ms(median(warm))}, the first ${
      ms(times[0] ?? Number.NaN)
    }, 90 % below ${ms(percentile(warm, 0.9))} (median of ${SANDBOXES}; goal: below 5 ms, ${
      verdict(median(warm) < 5)
    })`,
  );
}

/** What a network adds to a start, of containers that take turns. */
async function printStarts(engine: Engine, image: string): Promise<void> {
  const kinds = [
    { what: "without network", network: "none", ports: [] },
    { what: "on docker0", network: "bridge", ports: [] },
    { what: "with a published port", network: "bridge", ports: [FIRST_PORT] },
  ];
  const times: number[][] = kinds.map(() => []);
  for (let i = 0; i < STARTS; i++) {
    for (const [k, { network, ports }] of kinds.entries()) {
      times[k]?.push(await apiStart(engine, { image, network, ports }));
    }
  }
  const [without = Number.NaN, bridge = Number.NaN] = times.map(median);
  const each = kinds.map(({ what }, k) => `${median(times[k] ?? []).toFixed(1)} ms ${what}`);
  console.log(`  start of a container by the API: ${each.join(", ")} (medians of ${STARTS})`);
  console.log(`  so docker0 adds ${(bridge - without).toFixed(1)} ms to a start`);
}

interface Footprint {
  /** Kilobytes of netd and of what belongs to it. */
  readonly pss: number;
  /** Of the whole engine. */
  readonly processes: number;
}

function footprint(engine: Engine): Footprint {
  const netd = processesOf("netd", engine);
  return { pss: netd.map(pssOf).reduce((a, b) => a + b, 0), processes: leftovers(engine.dir).length };
}

async function withContainer<T>(
  engine: Engine,
  image: string,
  args: readonly string[],
  use: () => T,
): Promise<T> {
  const { code, stdout, stderr } = await engine.berth(["run", "-d", ...args, image, "sleep", "infinity"]);
  if (code !== 0) throw new Error(`container with ${args.join(" ")}: ${lastLine(stderr)}`);
  try {
    // the shim that is to serve the next container counts as well
    await engine.warm();
    return use();
  } finally {
    await engine.berth(["rm", "-f", stdout.trim()]);
  }
}
