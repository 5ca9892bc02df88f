/** kill -9 of the engine, at any moment: containers go on, nothing is lost, nothing is left behind. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { berthExecutable, type Engine, startEngine } from "../support/engine.ts";
import { leftovers, SLOWNESS, waitFor } from "../support/processes.ts";
import { runAs, spawnAs, testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

/** Rounds of the random loop; the acceptance run sets 100. */
const ROUNDS = Number(Deno.env.get("BERTH_CRASH_ROUNDS") ?? "15");

describeWith(BUSYBOX).each(usersToTest())("kill -9 of the engine of $name", (user) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ user });
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  const state = async (name: string) =>
    (await engine.berth(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name])).stdout.trim();

  /** Each network that a running container is said to be in has its interface, with its address. */
  const expectNetworksToBe = async (id: string) => {
    const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    const said = (await engine.berth(["inspect", "-f", format, id])).stdout.trim().split(" ");
    const there = (await engine.berth(["exec", id, "ip", "-o", "-4", "address"])).stdout;
    const found = [...there.matchAll(/ eth\d+ +inet ([0-9.]+)/g)].map(([, address]) => address);
    expect(found.sort()).toEqual(said.filter((address) => address !== "").sort());
  };

  it("loses no line of a container that writes 1,000 lines a second, and no exit code", async () => {
    const write =
      "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo line $i; [ $((i % 10)) = 0 ] && usleep 10000; done; exec sh";
    await engine.berth(["run", "-d", "-i", "--name", "writer", "busybox", "sh", "-c", write]);
    await engine.berth(["run", "-d", "--name", "brief", "busybox", "sh", "-c", "sleep 1; exit 23"]);
    await waitFor(async () => (await engine.berth(["logs", "writer"])).stdout.includes("line 100\n"), 20_000);
    await engine.kill9();
    await waitFor(() => !leftovers(engine.dir).some(({ what }) => what.includes("exit 23")), 20_000);
    await engine.restart();
    expect(await state("brief")).toBe("exited 23");
    expect(await state("writer")).toBe("running 0");
    await engine.kill9();
    await engine.restart();
    await waitFor(
      async () => (await engine.berth(["logs", "writer"])).stdout.includes("line 4000\n"),
      30_000,
    );
    const expected = Array.from({ length: 4000 }, (_, i) => `line ${i + 1}`).join("\n") + "\n";
    expect((await engine.berth(["logs", "writer"])).stdout).toBe(expected);
    // As in Docker, the end of an attached client's input ends the attach, and the client waits for the exit.
    const typed = `(echo 'echo still here; exit 4'; sleep ${SLOWNESS}) | "$0" -H "$1" attach writer`;
    const attach = await runAs(user, ["sh", "-c", typed, berthExecutable(), engine.host]);
    expect(attach).toMatchObject({ code: 4, stdout: "still here\n" });
    expect(await state("writer")).toBe("exited 4");
    const exec = await engine.berth(["start", "brief"]);
    expect(exec.code).toBe(0);
    expect((await engine.berth(["wait", "brief"])).stdout).toBe("23\n");
    await engine.berth(["rm", "-f", "writer", "brief"]);
  });

  it(`is consistent after ${ROUNDS} kills at random moments of create, start, stop, rm`, async () => {
    // A small linear congruence instead of Math.random(): a failure can be run again.
    let seed = 20_260_101;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
    for (let round = 0; round < ROUNDS; round++) {
      const name = `r${round}`;
      const lives = `${engine.host}`;
      const port = 21_000 + round;
      const script = `
        berth="$0 -H ${lives}"
        $berth create --name ${name} busybox sleep 1000 && $berth start ${name} && $berth exec ${name} true
        $berth run --rm --name ${name}x busybox true
        $berth network create ${name}n
        $berth run -d --name ${name}y busybox sh -c 'exit 3'
        $berth run -d --name ${name}z --network ${name}n -p ${port}:80 busybox sleep 1000
        $berth network connect bridge ${name}z; $berth network disconnect ${name}n ${name}z
        $berth stop -t 0 ${name}z; $berth rm ${name}z; $berth network rm ${name}n
        $berth stop -t 0 ${name}; $berth rm ${name}; $berth rm -f ${name}y`;
      const client = spawnAs(user, ["sh", "-c", script, `${testDir()}/berth`], {
        stdout: "null",
        stderr: "null",
      });
      const delay = 5 + random(1200);
      await new Promise((resolve) => setTimeout(resolve, delay));
      await engine.kill9();
      await client.status;
      await engine.restart();
      const listed = await engine.berth([
        "ps",
        "-a",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Names}} {{.State}}",
      ]);
      expect(listed.code, `round ${round}, killed after ${delay} ms: ${listed.stderr}\n${engine.log()}`).toBe(
        0,
      );
      const rows = listed.stdout.trim().split("\n").filter((row) => row !== "").map((row) => row.split(" "));
      for (const [id = "", , status = ""] of rows) {
        expect(["created", "running", "exited"], `round ${round}: ${listed.stdout}`).toContain(status);
        const usable = await engine.berth(["inspect", "-f", "{{.Id}}", id]);
        expect(usable.stdout.trim()).toBe(id);
      }
      const running = rows.filter(([, , status]) => status === "running");
      for (const [id = ""] of running) {
        expect(await engine.berth(["exec", id, "echo", "alive"])).toMatchObject({
          code: 0,
          stdout: "alive\n",
        });
        await expectNetworksToBe(id);
      }
      if (rows.length > 0) {
        const removed = await engine.berth(["rm", "-f", ...rows.map(([id = ""]) => id)]);
        expect(removed.code, removed.stderr).toBe(0);
      }
      // Nothing of a container is left: no process but the engine and its warm shim, no directory.
      await waitFor(
        () => leftovers(engine.dir).filter(({ what }) => /sleep 1000|exit 3/.test(what)).length === 0,
        10_000,
        () => `round ${round}: ${JSON.stringify(leftovers(engine.dir))}`,
      );
      expect(
        [...Deno.readDirSync(`${engine.dataRoot}/containers`)].map((entry) => entry.name),
        `round ${round}`,
      ).toEqual([]);
      // And none of their networks: no link, no address that is given out, no port that is taken.
      await engine.berth(["network", "prune", "-f"]);
      const links = async () => (await engine.berth(["netns", "ip", "-o", "link"])).stdout;
      let left = "";
      await waitFor(
        async () => /docker0/.test(left = await links()) && !/veth|br-/.test(left),
        10_000,
        () => `round ${round}: ${left}`,
      );
      const address = "{{.NetworkSettings.IPAddress}} {{.State.Status}}";
      const probe = ["run", "-d", "--name", "probe", "-p", `${port}:80`, "busybox", "sleep", "1000"];
      expect((await engine.berth(probe)).stderr, `round ${round}`).toBe("");
      expect((await engine.berth(["inspect", "-f", address, "probe"])).stdout).toMatch(/\.0\.2 running\n$/);
      await engine.berth(["rm", "-f", "probe"]);
    }
    await waitFor(
      () => [...Deno.readDirSync(`${engine.execRoot}/shims`)].length <= 1,
      10_000,
      () => `shims: ${[...Deno.readDirSync(`${engine.execRoot}/shims`)].map((e) => e.name)}`,
    );
  }, (60_000 + ROUNDS * 10_000) * SLOWNESS);
});
