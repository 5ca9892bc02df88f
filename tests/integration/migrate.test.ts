/** `berth system migrate`: the user's own engine replaced by the executable that is there now, under running containers. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { berthExecutable, startEngine } from "../support/engine.ts";
import { waitFor } from "../support/processes.ts";
import { describeWith, need } from "../support/needs.ts";
import { currentUser, runAs, type RunResult, testDir, usersToTest } from "../support/users.ts";

/** Root's default directories are the machine's. */
const ordinary = usersToTest().filter(({ uid }) => uid !== 0);
const ORDINARY = need(
  ordinary.length > 0,
  "needs an ordinary user: root's default directories are the machine's",
);

describeWith(ORDINARY).each(ordinary.length > 0 ? ordinary : [currentUser()])(
  "berth system migrate of $name",
  (user) => {
    let dir: string;
    const berth = (...args: string[]): Promise<RunResult> =>
      runAs(user, [berthExecutable(), ...args], {
        env: {
          XDG_RUNTIME_DIR: `${dir}/run`,
          XDG_DATA_HOME: `${dir}/data`,
          XDG_CONFIG_HOME: `${dir}/config`,
        },
      });
    const enginePid = () => Number(Deno.readTextFileSync(`${dir}/data/berth/berth.lock`).trim());
    const inspect = async (name: string, field: string) =>
      (await berth("inspect", "-f", `{{${field}}}`, name)).stdout.trim();

    beforeAll(async () => {
      dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "m-" });
      Deno.chownSync(dir, user.uid, user.gid);
      expect((await runAs(user, ["mkdir", "-m", "700", `${dir}/run`])).code).toBe(0);
      // The executable unpacks itself at its first call, which is not what is waited for.
      await berth("--version");
      const started = await berth(
        "run",
        "-d",
        "--name",
        "steady",
        "berth/host",
        "sh",
        "-c",
        "trap 'exit 0' TERM; sleep 1000 & wait",
      );
      expect([started.code, started.stderr]).toEqual([0, ""]);
    });
    afterAll(async () => {
      await berth("system", "reset", "-f");
      const pid = enginePid();
      Deno.kill(pid, "SIGTERM");
      await waitFor(
        () => {
          try {
            return Deno.readTextFileSync(`/proc/${pid}/stat`).includes(") Z");
          } catch {
            return true;
          }
        },
        20_000,
        () => "the engine does not end",
      );
    });

    it("has nothing to do for an engine of the same version", async () => {
      const pid = enginePid();
      expect(await berth("system", "migrate")).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(
          /^The engine is of this version already: \S+ \(\S+\)\. Nothing to migrate\.\n$/,
        ),
      });
      expect(enginePid()).toBe(pid);
    });

    it("replaces the engine, and containers run on", async () => {
      const [engine, container] = [enginePid(), await inspect("steady", ".State.Pid")];
      const { code, stdout, stderr } = await berth("system", "migrate", "--force");
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/^Engine: +\S+ \(\S+\) replaced by \S+ \(\S+\)\n/);
      expect(stdout).toContain(`${dir}/data/berth (`);
      expect(stdout).toContain("1 running on with the shims of the version that has started them");
      expect(enginePid()).not.toBe(engine);
      expect(await inspect("steady", ".State.Pid")).toBe(container);
    });

    it("--restart leaves nothing of the old version", async () => {
      const [engine, container] = [enginePid(), await inspect("steady", ".State.Pid")];
      const { code, stdout, stderr } = await berth("system", "migrate", "--restart", "--force");
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain("Container:   steady restarted\n");
      expect(enginePid()).not.toBe(engine);
      expect(await inspect("steady", ".State.Pid")).not.toBe(container);
      expect(await inspect("steady", ".State.Status")).toBe("running");
    });

    it("leaves an engine alone that it could not start again in the same way", async () => {
      await using other = await startEngine({ user });
      const { code, stderr } = await other.berth(["system", "migrate", "--force"]);
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining("berth system migrate replaces your own engine"),
      ]);
      expect((await other.berth(["version"])).code).toBe(0);
    });
  },
);
