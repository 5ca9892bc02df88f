/** What becomes of containers whose image has lost a layer's directory on disk. */
import { expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { removeTree } from "../../fs/remove_tree.ts";
import { testDir, usersToTest } from "../support/users.ts";

describeWith(BUSYBOX).each(usersToTest())("a lost layer, as $name", (user) => {
  it("create and start say which one and what to type; loading the image again mends it", async () => {
    await using engine = await startEngine({ user });
    const archive = await busyboxArchive(testDir(), { reference: "lost:1", files: { mark: user.name } });
    const load = async () => expect((await engine.berth(["load", "-q", "-i", archive])).code).toBe(0);
    await load();
    expect(await engine.berth(["create", "--name", "kept", "lost:1", "cat", "/mark"])).toMatchObject({
      code: 0,
      stderr: "",
    });
    const image =
      (await engine.berth(["image", "inspect", "-f", "{{json .RootFS.Layers}}", "lost:1"])).stdout;
    const [chainId = ""] = JSON.parse(image) as string[];
    const dir = `${engine.dataRoot}/layers/${chainId.slice("sha256:".length)}`;
    await removeTree(`${dir}/diff`);

    const message = `image lost:1 is damaged: layer ${chainId} is missing: ${dir}/diff is not a directory. ` +
      "Get the image again:  berth pull lost:1  (or: berth load -i ARCHIVE)";
    const start = await engine.berth(["start", "kept"]);
    expect(start.code).toBe(1);
    expect(start.stderr).toContain(message);
    const run = await engine.berth(["run", "--rm", "lost:1", "true"]);
    expect(run.code).toBe(125);
    expect(run.stderr).toContain(message);
    // Nothing half-made: the one container there was, as it was, with the reason.
    expect((await engine.berth(["ps", "-a", "--format", "{{.Names}} {{.State}}"])).stdout).toBe(
      "kept created\n",
    );
    expect((await engine.berth(["inspect", "-f", "{{.State.Error}}", "kept"])).stdout).toBe(`${message}\n`);
    expect([...Deno.readDirSync(`${engine.dataRoot}/containers`)]).toHaveLength(1);

    await load();
    expect(await engine.berth(["start", "-a", "kept"])).toMatchObject({ code: 0, stdout: user.name });
    expect((await engine.berth(["rm", "kept"])).code).toBe(0);
  });
});
