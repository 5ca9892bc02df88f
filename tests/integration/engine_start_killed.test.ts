/** The engine is killed while it starts, before it has written down what it has started itself: nothing of that stays. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";
import { describeWith } from "../support/needs.ts";
import { leftovers, waitFor } from "../support/processes.ts";
import { usersToTest } from "../support/users.ts";

const exists = (path: string): boolean => {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
};

describeWith().each(usersToTest())("kill -9 of a starting engine as $name", (user) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ user });
    await engine.stop();
    await nothingLeft();
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  const nothingLeft = () =>
    waitFor(
      () => leftovers(engine.dir).length === 0,
      40_000,
      () => `left: ${leftovers(engine.dir).map(({ what }) => what.slice(0, 200)).join("; ")}`,
    );
  const runs = (role: string) => leftovers(engine.dir).some(({ what }) => what.includes(role));

  const moments: Readonly<Record<string, () => boolean>> = {
    "its first process is there": () => leftovers(engine.dir).length > 0,
    "a shim boots": () => runs("@shim"),
    "netd boots": () => runs("@netd"),
    "netd has its lock": () => exists(`${engine.execRoot}/netd/lock`),
    "netd has made the namespace": () => exists(`${engine.execRoot}/netd/netns`),
    "netd listens": () => exists(`${engine.execRoot}/netd/ctl.sock`),
  };

  it.each(Object.keys(moments))("when %s", async (moment) => {
    const reached = moments[moment] ?? (() => true);
    if (exists(`${engine.execRoot}/netd`)) Deno.removeSync(`${engine.execRoot}/netd`, { recursive: true });
    const starting = engine.restart().then(() => "started", () => "killed before it answered");
    await waitFor(reached, 30_000, () => `it never came: ${engine.log()}`);
    await engine.kill9();
    await starting;
    await nothingLeft();
  });

  it("goes on from whatever state that was", async () => {
    await engine.restart();
    const run = await engine.berth(["run", "--rm", "berth/host", "echo", "works"]);
    expect(run).toMatchObject({ code: 0, stdout: "works\n", stderr: "" });
  });
});
