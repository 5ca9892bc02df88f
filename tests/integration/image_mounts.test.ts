/** `--mount type=image`: the files of another image inside a container. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

describe.each(usersToTest())("images mounted in containers, $name", (user) => {
  describeWith(BUSYBOX)("with berth", () => {
    let engine: Engine;
    const berth = async (...args: string[]) => {
      const result = await engine.berth(args);
      if (result.code !== 0) throw new Error(`berth ${args.join(" ")}: ${result.stderr}`);
      return result.stdout.trim();
    };
    const IDLE = ["busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];

    beforeAll(async () => {
      engine = await startEngine({ user, storageDriver: "overlay" });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
      // Several layers, of which one takes something away.
      await berth(
        "run",
        "--name",
        "maker",
        "busybox",
        "sh",
        "-c",
        "echo one > /f; rm /etc/group; chown 12:13 /f",
      );
      await berth("commit", "maker", "tools:1");
      await berth("rm", "maker");
    });
    afterAll(() => engine?.[Symbol.asyncDispose]());

    it("are whole, can be written to, and keep what is written as long as the container", async () => {
      await berth("run", "-d", "--name", "im", "--mount", "type=image,src=tools:1,dst=/mnt/tools", ...IDLE);
      const look =
        "cat /mnt/tools/f; stat -c %u:%g /mnt/tools/f; ls /mnt/tools/etc/group /etc/group 2>&1; echo two > /mnt/tools/g";
      expect(await berth("exec", "im", "sh", "-c", look)).toBe(
        "one\n12:13\nls: /mnt/tools/etc/group: No such file or directory\n/etc/group",
      );
      expect(JSON.parse(await berth("inspect", "-f", "{{json .Mounts}}", "im"))).toEqual([{
        Type: "image",
        Source: "tools:1",
        Destination: "/mnt/tools",
        Mode: "",
        RW: true,
        Propagation: "rprivate",
      }]);
      await berth("restart", "-t", "2", "im");
      expect(await berth("exec", "im", "cat", "/mnt/tools/g")).toBe("two");
      await berth("stop", "-t", "2", "im");
      for (const path of ["/mnt/tools/f", "/mnt/tools/g"]) {
        expect((await engine.berth(["cp", `im:${path}`, "-"])).stdout).toContain(
          path.endsWith("f") ? "one" : "two",
        );
      }
      // Neither the image nor another container has it.
      expect(
        await berth("run", "--rm", "--mount", "type=image,src=tools:1,dst=/t", "busybox", "ls", "-A", "/t"),
      ).not.toContain("g\n");
      await berth("rm", "im");
    });

    it("are read-only when that is asked for", async () => {
      const mount = "type=image,src=tools:1,dst=/t,readonly";
      const result = await engine.berth(["run", "--rm", "--mount", mount, "busybox", "touch", "/t/x"]);
      expect(result.stderr).toContain("Read-only file system");
    });

    it("stay while a container has them, also when the engine is killed", async () => {
      await berth("run", "-d", "--name", "im", "--mount", "type=image,src=tools:1,dst=/t", ...IDLE);
      const refused = await engine.berth(["rmi", "tools:1"]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('conflict: unable to remove repository reference "tools:1"');
      expect(await berth("images", "--format", "{{.Containers}}", "tools:1")).toBe("1");
      await engine.kill9();
      await engine.restart();
      expect(await berth("exec", "im", "cat", "/t/f")).toBe("one");
      await berth("rm", "-f", "im");
      await berth("tag", "tools:1", "tools:2");
      expect(await berth("rmi", "tools:2")).toContain("Untagged: tools:2");
    });

    it("are refused where there is none, or nothing to mount", async () => {
      const refusal = async (mount: string) =>
        (await engine.berth(["create", "--mount", mount, "busybox"])).stderr.split("\n")[0];
      expect(await refusal("type=image,src=none:1,dst=/t")).toContain("No such image: none:1");
      expect(await refusal("type=image,dst=/t")).toContain("field Source must not be empty");
      expect(await refusal("type=image,src=berth/host,dst=/t")).toContain(
        "made of this machine's directories",
      );
      expect(await refusal("type=image,src=busybox,dst=/t,image-subpath=bin")).toContain(
        "a subpath is not available",
      );
      expect(await berth("ps", "-aq")).toBe("");
    });
  });
});

describeWith(BUSYBOX)("images mounted in containers, other storage drivers", () => {
  it("are refused by a driver that has no layers to put together", async () => {
    await using engine = await startEngine({ storageDriver: "vfs" });
    expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
    const { code, stderr } = await engine.berth([
      "create",
      "--mount",
      "type=image,src=busybox,dst=/t",
      "busybox",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("the storage driver vfs cannot mount images, overlay can");
  });
});
