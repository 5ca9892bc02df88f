/** The engine dies at random moments of builds: no container, mount, cgroup or layer is left, and the next build works. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { DatabaseSync } from "node:sqlite";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

/** BERTH_CRASHES=20 for the long run. */
const CRASHES = Number(Deno.env.get("BERTH_CRASHES") ?? 5);
const CLASSIC = { env: { DOCKER_BUILDKIT: "0" } };

describeWith(BUSYBOX, program("docker", "docker.io"))("kill -9 of the engine in the middle of builds", () => {
  const user = usersToTest()[0] ?? { name: "root", uid: 0, gid: 0 };
  let engine: Engine;
  let dir: string;

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-crash-" });
    Deno.chmodSync(dir, 0o755);
    engine = await startEngine({ user });
    expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    Deno.mkdirSync(`${dir}/context`);
    Deno.writeTextFileSync(`${dir}/context/in.txt`, "in\n");
    Deno.writeTextFileSync(
      `${dir}/context/Dockerfile`,
      [
        "FROM busybox AS other",
        "RUN mkdir /o && for i in $(seq 200); do echo $i > /o/$i; done",
        "FROM busybox",
        "ARG N",
        "RUN --mount=type=bind,target=/ctx,rw --mount=type=cache,target=/c echo $N > /ctx/in.txt && echo $N >> /c/log",
        "COPY --from=other /o /o",
        "RUN --mount=type=bind,from=other,source=/o,target=/m sleep 0.2; cat /m/7 > /seven",
        "RUN echo $N > /n; sleep 0.1",
        "",
      ].join("\n"),
    );
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  const build = (n: string) =>
    engine.docker(["build", "--build-arg", `N=${n}`, "-t", `n${n}`, `${dir}/context`], CLASSIC);

  it("leaves what there was before, or after", async () => {
    expect(await build("first")).toMatchObject({ code: 0 });
    for (let crash = 0; crash < CRASHES; crash++) {
      const building = build(`crash${crash}`);
      // a build takes about a second
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 1200));
      await engine.kill9();
      await building;
      await engine.restart();
      expect((await engine.docker(["ps", "-aq"])).stdout).toBe("");
      expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toEqual([]);
      const mounts = Deno.readTextFileSync(`/proc/${engine.pid}/mountinfo`).split("\n")
        .filter((line) => line.includes(`${engine.dataRoot}/containers/`));
      expect(mounts).toEqual([]);
      await waitFor(() => layersOnDisk().every((name) => layersInRows().includes(name)), 10_000);
      expect(await build("first")).toMatchObject({ code: 0 });
      const run = await engine.docker(["run", "--rm", "nfirst", "cat", "/seven", "/n", "/o/200"]);
      expect(run).toMatchObject({ code: 0, stdout: "7\nfirst\n200\n" });
    }
  }, 60_000 + CRASHES * 20_000);

  it("relies on no layer that was not on the disk when the machine went down", async () => {
    expect(await build("first")).toMatchObject({ code: 0 });
    // once the disk has everything, nothing is in doubt
    await waitFor(() => marks() === 0, 60_000);
    await engine.kill9();
    {
      // what a power cut leaves: rows that the disk had, files that it had not
      using db = new DatabaseSync(`${engine.dataRoot}/berth.db`);
      db.exec(
        "INSERT OR REPLACE INTO image_layer_marks SELECT DISTINCT chain_id, 'before' FROM build_cache WHERE chain_id <> parent",
      );
    }
    let emptied = 0;
    for (const name of layersOnDisk()) {
      try {
        Deno.truncateSync(`${engine.dataRoot}/layers/${name}/diff/seven`);
        emptied++;
      } catch {
        // another layer
      }
    }
    expect(emptied).toBeGreaterThan(0);
    await engine.restart();
    expect(engine.log()).toContain("may be incomplete: the machine went down before it was on the disk");
    expect(await build("first")).toMatchObject({ code: 0 });
    const run = await engine.docker(["run", "--rm", "nfirst", "cat", "/seven", "/n", "/o/200"]);
    expect(run).toMatchObject({ code: 0, stdout: "7\nfirst\n200\n" });
  });

  function layersOnDisk(): string[] {
    return [...Deno.readDirSync(`${engine.dataRoot}/layers`)].map(({ name }) => name);
  }

  function marks(): number {
    using db = new DatabaseSync(`${engine.dataRoot}/berth.db`, { readOnly: true });
    return Number(db.prepare("SELECT COUNT(*) AS n FROM image_layer_marks").get()?.["n"]);
  }

  function layersInRows(): string[] {
    using db = new DatabaseSync(`${engine.dataRoot}/berth.db`, { readOnly: true });
    return db.prepare("SELECT chain_id FROM image_layers").all().map((row) =>
      String(row["chain_id"]).slice(7)
    );
  }
});
