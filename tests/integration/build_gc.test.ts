/** `builder.gc` of daemon.json: what is left of the build cache after a build. */
import { expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { waitFor } from "../support/processes.ts";
import { testDir, usersToTest } from "../support/users.ts";

describeWith(BUSYBOX).each(usersToTest())("the garbage collection of builds, as $name", (user) => {
  it("follows the policy, and another one after a reload", async () => {
    const dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "build-gc-" });
    Deno.chmodSync(dir, 0o755);
    const configure = (policy: unknown) =>
      Deno.writeTextFileSync(`${dir}/daemon.json`, JSON.stringify({ builder: { gc: { policy } } }));
    // a rule without bounds keeps nothing of what its filters name
    configure([{ filter: ["type=exec.cachemount"] }]);
    Deno.writeTextFileSync(
      `${dir}/Dockerfile`,
      "FROM busybox\nRUN --mount=type=cache,target=/c echo 1 > /c/log\nRUN echo 2 > /two\n",
    );
    await using engine = await startEngine({ user, args: ["--config-file", `${dir}/daemon.json`] });
    expect((await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    const kinds = async () => {
      const { stdout } = await engine.berth(["system", "df", "-v", "--format", "{{json .BuildCache}}"]);
      const records = JSON.parse(stdout) as { CacheType?: string; Type?: string }[];
      return records.map(({ CacheType, Type }) => CacheType ?? Type).sort();
    };
    const build = async () => {
      const { code, stderr } = await engine.berth(["build", "-q", "-t", "kept", dir]);
      expect(code, stderr).toBe(0);
    };
    await build();
    await waitFor(async () => !(await kinds()).includes("exec.cachemount"), 20_000);
    expect(await kinds()).toEqual(["regular", "regular", "source.local"]);

    configure([{ all: true }]);
    Deno.kill(engine.pid, "SIGHUP");
    // the first builds may still end before the new policy counts
    await waitFor(async () => {
      await build();
      return (await kinds()).length === 0;
    }, 20_000);
    expect((await engine.berth(["run", "--rm", "kept", "cat", "/two"])).stdout).toBe("2\n");
  });
});
