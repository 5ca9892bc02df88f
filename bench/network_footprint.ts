/** What networks cost besides speed: netd's memory and processes with many ports, and the time that a start spends on them. */
import type { Engine } from "../tests/support/engine.ts";
import { leftovers } from "../tests/support/processes.ts";
import { apiStart } from "./start.ts";
import { processesOf, pssOf } from "./memory.ts";
import { lastLine } from "./peers.ts";
import { median } from "./stats.ts";

const FIRST_PORT = 20_000;
const PORTS = 1_000;
const STARTS = 20;

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
    } (goal: below 80 MB)`,
  );
  console.log(`  processes for ${PORTS} ports: ${many.processes - none.processes} (goal: 0)`);
  await printStarts(engine, image);
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
  console.log(`  so its sandbox adds ${(bridge - without).toFixed(1)} ms (goal: below 5 ms)`);
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
