/** Clients that attach to a container before it is started, which is how `docker run` does it, but may take their time. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type HijackedConnection, HttpClient, HttpResponse } from "../../cli/http_client.ts";
import { ApiConnection } from "../support/api_client.ts";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { leftovers, SLOWNESS, waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

const API = "/v1.51/containers";

async function outputOf(connection: HijackedConnection): Promise<string> {
  let text = "";
  for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) {
    text += new TextDecoder().decode(bytes);
  }
  return text;
}

describeWith(BUSYBOX).each(usersToTest())("attach before start as $name", (user) => {
  let engine: Engine;
  let client: HttpClient;
  beforeAll(async () => {
    engine = await startEngine({ user });
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
    client = new HttpClient(() => Deno.connect({ transport: "unix", path: engine.socket }), "test");
  });
  afterAll(async () => {
    client?.[Symbol.dispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  const create = async (...args: string[]) => {
    const made = await engine.berth(["create", ...args]);
    expect(made.stderr).toBe("");
    return made.stdout.trim();
  };
  const attach = async (id: string): Promise<HijackedConnection> => {
    const target = `${API}/${id}/attach?stream=1&stdout=1&stderr=1`;
    const answer = await client.hijack({ method: "POST", target });
    if (answer instanceof HttpResponse) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer;
  };
  const shims = () => [...Deno.readDirSync(`${engine.execRoot}/shims`)].map(({ name }) => name);

  const others = () => leftovers(engine.dir).filter(({ what }) => what.includes(" @shim "));
  /** The pool has its shim, and no other is left. */
  const idle = async () => {
    await waitFor(
      () => shims().length === 1 && others().length === 1,
      10_000,
      () => JSON.stringify([shims(), others()]),
    );
    await engine.warm();
  };

  it("a start that follows at once writes to all who have attached", async () => {
    await idle();
    const id = await create("--rm", "busybox", "echo", "hello");
    using one = await attach(id);
    using two = await attach(id);
    expect((await engine.berth(["start", id])).code).toBe(0);
    expect([await outputOf(one), await outputOf(two)]).toEqual([
      expect.stringContaining("hello\n"),
      expect.stringContaining("hello\n"),
    ]);
  }, 60_000 * SLOWNESS);

  it("who attaches while the start is on its way is attached to that run", async () => {
    for (let i = 0; i < 10; i++) {
      const id = await create("busybox", "sh", "-c", "sleep 0.3; echo late");
      using starter = await ApiConnection.open(engine.socket);
      const started = starter.call("POST", `${API}/${id}/start`);
      // some of them in the middle of it
      await new Promise((resolve) => setTimeout(resolve, i * 2));
      using connection = await attach(id);
      await started;
      expect(await outputOf(connection)).toContain("late\n");
      await engine.berth(["rm", "-f", id]);
    }
  }, 60_000 * SLOWNESS);

  it("what is attached to and removed keeps no shim", async () => {
    await idle();
    const ids = [await create("busybox", "true"), await create("busybox", "true")];
    const connections = await Promise.all(ids.map(attach));
    expect((await engine.berth(["rm", ...ids])).code).toBe(0);
    for (const connection of connections) {
      expect(await outputOf(connection)).toBe("");
      connection.close();
    }
    await idle();
  }, 60_000 * SLOWNESS);

  it("an idle shim that dies between attach and start is replaced by another one", async () => {
    await idle();
    const id = await create("--rm", "busybox", "echo", "still here");
    using connection = await attach(id);
    const waiting = others();
    expect(waiting.length).toBeGreaterThan(0);
    for (const { pid } of waiting) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It went with the one before.
      }
    }
    expect(await engine.berth(["start", id])).toMatchObject({ code: 0 });
    expect(await outputOf(connection)).toContain("still here\n");
  }, 60_000 * SLOWNESS);
});
