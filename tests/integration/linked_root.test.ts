/** A data root that is reached by a symbolic link: the kernel lists mounts by the paths behind it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

describe.each(usersToTest())("a linked data root, $name", (user) => {
  describeWith(BUSYBOX)("with volumes", () => {
    let engine: Engine;
    const berth = async (...args: string[]) => {
      const result = await engine.berth(args);
      if (result.code !== 0) throw new Error(`berth ${args.join(" ")}: ${result.stderr}`);
      return result.stdout.trim();
    };
    beforeAll(async () => {
      engine = await startEngine({ user, linkedRoot: true });
      await berth("load", "-i", await busyboxArchive(testDir()));
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    const mountsOf = () =>
      Deno.readTextFileSync(`/proc/${engine.pid}/mountinfo`).split("\n").filter((line) =>
        line.includes("/volumes/own/_data ")
      ).length;

    it("mount a directory of the host once, and leave it alone when they are removed", async () => {
      const device = `${engine.dir}/photos`;
      Deno.mkdirSync(device);
      Deno.writeTextFileSync(`${device}/one`, "kept");
      Deno.chownSync(device, user.uid, user.gid);
      const options = ["type=none", "o=bind", `device=${device}`].flatMap((option) => ["-o", option]);
      await berth("volume", "create", ...options, "own");
      await berth("run", "-d", "--name", "user", "-v", "own:/v", "busybox", "sleep", "1000");
      expect(mountsOf()).toBe(1);
      await berth("run", "-d", "--name", "other", "-v", "own:/v", "busybox", "sleep", "1000");
      for (let i = 0; i < 4; i++) await berth("restart", "-t", "0", "other");
      await berth("rm", "-f", "user", "other");
      expect(mountsOf()).toBe(0);
      expect(await berth("run", "--rm", "-v", "own:/v", "busybox", "cat", "/v/one")).toBe("kept");
      await berth("volume", "rm", "own");
      expect(Deno.readTextFileSync(`${device}/one`)).toBe("kept");
    });
  });
});
