/** The runtime as an ordinary user. The scenarios run in a process of that user's: tests/support/rootless_scenarios.ts. */
import { beforeAll, expect, it } from "vitest";
import { DEFAULT_CAPS } from "../support/container_spec.ts";
import { currentUser, environmentOf, findUser, runAs, TEST_USER } from "../support/users.ts";
import { BUSYBOX, describeWith, need } from "../support/needs.ts";

const user = Deno.uid() === 0 ? findUser(TEST_USER) : currentUser();
const none = "0".repeat(16);

describeWith(need(user !== undefined, `there is no user ${TEST_USER}: scripts/test_needs makes it`), BUSYBOX)(
  "as an ordinary user a container",
  () => {
    let results: Record<string, { stdout?: string; stderr?: string; exitCode?: number; error?: string }>;
    beforeAll(async () => {
      if (user === undefined) return;
      const base = `${environmentOf(user)["HOME"]}/rootless`;
      await runAs(user, ["mkdir", base]);
      const script = new URL("../support/rootless_scenarios.ts", import.meta.url).pathname;
      const flags = ["run", "-A", "--no-lock", "--no-config", "--quiet"];
      const { code, stdout, stderr } = await runAs(user, [Deno.execPath(), ...flags, script, base]);
      if (code !== 0) throw new Error(stderr);
      results = JSON.parse(stdout);
    });

    it("runs as root of its own ids, with Docker's capabilities", () => {
      expect(results["status"]).toEqual({
        stdout: "uid=0(root) gid=0(root) groups=0(root)\n" +
          `SigBlk:\t${none}\nSigIgn:\t0000000000000004\nSigCgt:\t${none}\n`.replace(
            /SigIgn.*\nSigCgt.*\n/,
            "",
          ) +
          `SigIgn:\t${none}\nSigCgt:\t${none}\nCapInh:\t${none}\nCapPrm:\t${DEFAULT_CAPS}\nCapEff:\t${DEFAULT_CAPS}\n` +
          `CapBnd:\t${DEFAULT_CAPS}\nCapAmb:\t${none}\n1000:1000\n`,
        stderr: "",
        exitCode: 0,
      });
    });

    it("runs as another user of the image", () => {
      expect(results["user"]).toEqual({
        stdout: "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),2001(more)\n/home/app\na\n",
        stderr: "",
        exitCode: 0,
      });
    });

    it("writes to an overlay", () => {
      expect(results["overlay"]).toEqual({ stdout: "5\n", stderr: "", exitCode: 0 });
    });

    it("may see directories of the host, read-only", () => {
      expect(results["host"]).toMatchObject({ stdout: "/host/bin/env\n", exitCode: 0 });
      expect(results["host"]?.stderr).toMatch(/Read-only file system/);
    });

    it("may not mount, unmount or make devices", () => {
      expect(results["refused"]?.stderr?.trim().split("\n").length).toBe(3);
    });

    it("shares the host's network and processes when told to", () => {
      expect(results["host network"]?.stdout).toMatch(/^sysfs \/sys sysfs ro/);
      expect(Number(results["host pid"]?.stdout)).toBeGreaterThan(1);
    });

    it("works with a single mapped id, but as root only", () => {
      expect(results["single id"]).toMatchObject({
        stdout: expect.stringMatching(/^0\ndevpts /),
        exitCode: 0,
      });
      expect(results["single id, other user"]?.error).toMatch(
        /switching to uid 1000, gid 1000 .*operation not permitted/,
      );
    });

    it("can be entered by exec, with and without a terminal", () => {
      expect(results["exec"]).toMatchObject({ stdout: "in\nnot a tty\ntest\n" });
      expect(results["exec tty"]).toMatchObject({ stdout: "/dev/pts/0\r\n", exitCode: 0 });
    });
  },
);
