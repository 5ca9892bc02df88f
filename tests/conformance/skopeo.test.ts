/** skopeo's `docker-daemon:`: an image goes to a directory and comes back as the same one. tests/integration/registry_interop has more. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxEngine } from "../support/conformance.ts";
import { type Engine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { currentUser, runAs, testDir, usersToTest } from "../support/users.ts";

describeWith(BUSYBOX, program("skopeo", "skopeo")).each(usersToTest())(
  "skopeo docker-daemon: as $name",
  (user) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await busyboxEngine({ user });
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    /** As who runs the tests: skopeo wants a policy and a directory for it, the engine is the user's. */
    async function skopeo(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await runAs(currentUser(), ["skopeo", "--insecure-policy", ...args]);
      expect([code, stderr], args.join(" ")).toEqual([0, ""]);
      return stdout;
    }

    it("inspects, copies out and in, and the engine runs what has come", async () => {
      const daemon = ["--daemon-host", engine.host];
      const seen = JSON.parse(await skopeo("inspect", ...daemon, "docker-daemon:busybox:latest")) as {
        Os: string;
        Layers: string[];
      };
      expect([seen.Os, seen.Layers.length]).toEqual(["linux", 1]);
      const copy = Deno.makeTempDirSync({ dir: testDir() });
      await skopeo(
        "copy",
        "-q",
        "--src-daemon-host",
        engine.host,
        "docker-daemon:busybox:latest",
        `dir:${copy}`,
      );
      await skopeo("copy", "-q", "--dest-daemon-host", engine.host, `dir:${copy}`, "docker-daemon:back:1");
      const id = async (image: string) =>
        (await engine.berth(["image", "inspect", "-f", "{{.Id}}", image])).stdout;
      expect(await id("back:1")).toBe(await id("busybox"));
      expect((await engine.berth(["run", "--rm", "back:1", "echo", "came back"])).stdout).toBe("came back\n");
    });
  },
);
