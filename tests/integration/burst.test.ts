/** Many containers, one after another and all at once: nothing of them may stay. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { leftovers, waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

const ROW = Number(Deno.env.get("BERTH_BURST_ROW") ?? "200");
const ONCE = Number(Deno.env.get("BERTH_BURST_ONCE") ?? "50");

/** What an engine process holds. */
interface Held {
  descriptors: number;
  /** Proportional set size, KiB. */
  memory: number;
  threads: number;
}

function held(pid: number): Held {
  const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  return {
    descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
    memory: Number(rollup.match(/^Pss:\s+(\d+)/m)?.[1] ?? 0),
    threads: [...Deno.readDirSync(`/proc/${pid}/task`)].length,
  };
}

describeWith(BUSYBOX).each(usersToTest())("many containers as $name", (user) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ user });
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  /** Beside the engine: a warm shim and the network process, each with its stub. */
  const quiet = () =>
    waitFor(
      () => leftovers(engine.dir).filter(({ pid }) => pid !== engine.pid).length <= 4,
      20_000,
      () => JSON.stringify(leftovers(engine.dir), null, 1),
    );
  const netd = (): Held => {
    const process = leftovers(engine.dir).find(({ what }) => what.includes(" @netd "));
    if (process === undefined) throw new Error("there is no network process");
    return held(process.pid);
  };
  /** The pool has its shim again, and the sockets of those that have gone are closed. */
  const settled = async ({ descriptors }: Held) => {
    await quiet();
    await engine.warm();
    await waitFor(() => held(engine.pid).descriptors <= descriptors + 3, 10_000, () => "").catch(() => {});
  };

  it(
    `${ROW} started and removed in a row leave no process, mount, directory, descriptor or memory`,
    async () => {
      const one = async (n: number) => {
        const run = await engine.berth(["run", "--rm", "busybox", "echo", String(n)]);
        expect(run).toMatchObject({ code: 0, stdout: `${n}\n` });
      };
      for (let n = 0; n < 20; n++) await one(n);
      await quiet();
      await engine.warm();
      const [before, netdBefore] = [held(engine.pid), netd()];
      for (let n = 0; n < ROW; n++) await one(n);
      await settled(before);
      const [after, netdAfter] = [held(engine.pid), netd()];
      console.log(
        `${user.name}: ${ROW} in a row: descriptors ${before.descriptors} → ${after.descriptors}, threads ${before.threads} → ${after.threads}, PSS ${before.memory} → ${after.memory} KiB; network process: descriptors ${netdBefore.descriptors} → ${netdAfter.descriptors}, PSS ${netdBefore.memory} → ${netdAfter.memory} KiB`,
      );
      expect(netdAfter.descriptors - netdBefore.descriptors).toBeLessThanOrEqual(3);
      expect(netdAfter.memory - netdBefore.memory).toBeLessThan(20 * 1024);
      expect(after.descriptors - before.descriptors).toBeLessThanOrEqual(3);
      expect(after.threads - before.threads).toBeLessThanOrEqual(3);
      expect(after.memory - before.memory).toBeLessThan(40 * 1024);
      expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toEqual([]);
    },
    300_000,
  );

  it(`${ONCE} at once all run, and all go`, async () => {
    const before = held(engine.pid);
    const runs = await Promise.all(
      Array.from(
        { length: ONCE },
        (_, n) =>
          engine.berth(["run", "--rm", "busybox", "sh", "-c", `echo ${n}; exit ${n % 3}`], {
            timeout: 120_000,
          }),
      ),
    );
    runs.forEach((run, n) => expect(run, `container ${n}`).toMatchObject({ code: n % 3, stdout: `${n}\n` }));
    await settled(before);
    const after = held(engine.pid);
    console.log(
      `${user.name}: ${ONCE} at once: descriptors ${before.descriptors} → ${after.descriptors}, threads ${before.threads} → ${after.threads}, PSS ${before.memory} → ${after.memory} KiB`,
    );
    expect(after.descriptors - before.descriptors).toBeLessThanOrEqual(3);
    expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toEqual([]);
    expect([...Deno.readDirSync(`${engine.execRoot}/shims`)].length).toBeLessThanOrEqual(1);
  }, 300_000);
});
