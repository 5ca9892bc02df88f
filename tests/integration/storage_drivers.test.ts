/** Real containers on each storage driver: as many layers as Docker allows, changes that become an image, limits that are discarded. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxRootfs } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { buildImage, dockerArchive, file, type Item } from "../support/image_archive.ts";
import { testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

const drivers = ["overlay", "fuse-overlayfs", "vfs"].filter((name) =>
  name !== "fuse-overlayfs" || exists("/usr/bin/fuse-overlayfs")
);

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
}

/** The files of a directory as entries of a layer. */
function* itemsOf(root: string, below = ""): Generator<Item> {
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(`${root}/${below}`)) {
    const path = `${below}${name}`, source = `${root}/${path}`;
    const mode = (Deno.lstatSync(source).mode ?? 0) & 0o7777;
    if (isDirectory) {
      yield { name: path, type: "directory", mode };
      yield* itemsOf(root, `${path}/`);
    } else if (isSymlink) yield { name: path, type: "symlink", linkName: Deno.readLinkSync(source) };
    else yield { name: path, data: Deno.readFileSync(source), mode };
  }
}

const archive = `${testDir()}/deep.tar`;

describeWith(BUSYBOX).each(usersToTest())("containers as $name", (user) => {
  beforeAll(async () => {
    const rootfs = `${testDir()}/deep-${user.uid}`;
    await busyboxRootfs(rootfs);
    const layers: Item[][] = [[...itemsOf(rootfs), file("gone"), file("d/below"), file("last", "0")]];
    layers.push([file(".wh.gone", ""), file("d/.wh..wh..opq", ""), file("d/above")]);
    for (let i = 2; i < 120; i++) layers.push([file("last", String(i)), file(`layer-${i}`)]);
    const image = buildImage({ layers, refs: ["deep:1"], config: { Env: ["PATH=/bin"] } });
    await Deno.writeFile(archive, dockerArchive(image));
    await Deno.remove(rootfs, { recursive: true });
  });

  describe.each(drivers)("on %s", (storageDriver) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await startEngine({ user, storageDriver });
      expect((await engine.berth(["load", "-i", archive])).stdout).toBe("Loaded image: deep:1\n");
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });
    const sh = async (image: string, script: string) => {
      const run = await engine.berth(["run", "--rm", "--network", "none", image, "sh", "-c", script]);
      return `${run.stdout}${run.stderr}`;
    };

    it("an image of 120 layers shows what its layers hold together", async () => {
      expect((await engine.berth(["info", "--format", "{{.Driver}}"])).stdout).toBe(`${storageDriver}\n`);
      const script = "cat last; echo; ls -d layer-* | wc -l; ls d gone 2>&1; echo changed >last; cat last";
      const shown = "119\n118\nls: gone: No such file or directory\nd:\nabove\nchanged\n";
      expect(await sh("deep:1", script)).toBe(shown);
      expect(await sh("deep:1", script)).toBe(shown);
    });

    it("keeps a container's files over stop, start and a kill of the engine", async () => {
      const id = (await engine.berth(["run", "-d", "deep:1", "sh", "-c", "echo $$ >>f; exec sleep 1000"]))
        .stdout.trim();
      await engine.berth(["restart", "-t", "0", id]);
      await engine.kill9();
      await engine.restart();
      expect((await engine.berth(["exec", id, "wc", "-l", "f"])).stdout).toBe("2 f\n");
      const size = (await engine.berth(["inspect", "--size", "--format", "{{.SizeRw}}", id])).stdout;
      // overlays count what init has made as well
      expect(Number(size)).toBeGreaterThan(0);
      expect(Number(size)).toBeLessThan(10_000);
      expect((await engine.berth(["rm", "-f", id])).code).toBe(0);
    });

    it("gives a container's changes to an image, and nothing else", async () => {
      const change =
        "rm last; mkdir -p d/new; echo x >d/new/f; rm d/above; chmod 700 bin; ln layer-2 linked; rm -r home; mkdir home";
      expect((await engine.berth(["run", "--name", "source", "deep:1", "sh", "-c", change])).code).toBe(0);
      const changes = (await engine.docker(["diff", "source"])).stdout.trim().split("\n").sort();
      expect(changes).toEqual(
        expect.arrayContaining(["D /last", "D /d/above", "A /d/new", "A /d/new/f", "C /d"]),
      );
      expect(changes.filter((line) => line.includes("layer-3"))).toEqual([]);
      expect((await engine.docker(["commit", "source", "changed:1"])).stdout).toMatch(/^sha256:/);
      expect((await engine.berth(["rm", "source"])).code).toBe(0);
      const look = "ls last d home 2>&1; cat d/new/f; stat -c '%a' bin; cat linked; ls -d layer-* | wc -l";
      expect(await sh("changed:1", look)).toBe(
        "ls: last: No such file or directory\nd:\nnew\n\nhome:\nx\n700\nlayer-2118\n",
      );
      expect((await engine.berth(["rmi", "changed:1"])).code).toBe(0);
    });

    it("discards a limit of the size with a warning", async () => {
      const run = await engine.docker(["run", "--rm", "--storage-opt", "size=1g", "deep:1", "true"]);
      expect(run.stderr).toMatch(/^WARNING: .*size limit.*Limitation discarded\.\n$/);
      expect(run.code).toBe(0);
    });
  });
});
