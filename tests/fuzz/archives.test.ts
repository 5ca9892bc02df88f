/**
 * Feeds the readers of archives with damaged ones, for a minute by default (BERTH_FUZZ_SECONDS). Each case is made of a seed and
 * its number alone: what a failure prints brings it back, with BERTH_FUZZ_SEED and BERTH_FUZZ_CASE.
 */
import { afterAll, expect, it } from "vitest";
import { Random } from "./random.ts";
import { closeTargets, targets } from "./targets.ts";

const numberOf = (name: string, otherwise: number) => Number(Deno.env.get(name) ?? otherwise);
const seconds = numberOf("BERTH_FUZZ_SECONDS", 60);
const seed = numberOf("BERTH_FUZZ_SEED", 1);
const only = Deno.env.get("BERTH_FUZZ_CASE");
/** A case that takes longer is a failure: something goes round in circles. */
const CASE_MS = 30_000;

afterAll(() => closeTargets());

it.each(targets)(
  "$name: damage is refused or harmless",
  { timeout: seconds * 1000 + 120_000 },
  async (target) => {
    const end = performance.now() + seconds * 1000 / targets.length;
    let number = only === undefined ? 0 : Number(only);
    do {
      const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`it takes more than ${CASE_MS} ms`)), CASE_MS);
      });
      try {
        await Promise.race([target.run(random), late]);
      } catch (error) {
        const what = error instanceof Error ? `${error.stack}` : String(error);
        expect.fail(`BERTH_FUZZ_SEED=${seed} BERTH_FUZZ_CASE=${number} (${target.name}): ${what}`);
      } finally {
        clearTimeout(timer);
      }
      number++;
    } while (only === undefined && performance.now() < end);
    console.log(`${target.name}: ${number} cases from seed ${seed}`);
    expect(number).toBeGreaterThan(0);
  },
);
