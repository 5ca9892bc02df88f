/** Asking for an image of another platform, through an engine and both command lines. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";
import { FakeRegistry } from "../support/fake_registry.ts";
import { buildImage, dockerArchive, file, ociArchive } from "../support/image_archive.ts";
import { describeWith, program } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

const OWN = `linux/${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;
const OTHER = "linux/s390x";
const CLIS = ["docker", "berth"] as const;

const own = buildImage({ layers: [[file("own")]] });
const other = buildImage({ layers: [[file("other")]], top: { architecture: "s390x" } });

const mismatch = (name: string, actual: string, wanted: string) =>
  `image with reference ${name} was found but its platform (${actual}) does not match the specified platform (${wanted})`;

describeWith(program("docker", "docker.io"))("an image's platform", () => {
  let engine: Engine;
  let dir: string;

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "platform-" });
    Deno.chmodSync(dir, 0o755);
    Deno.writeFileSync(`${dir}/own.tar`, dockerArchive({ ...own, refs: ["own:1", "own:2"] }));
    engine = await startEngine({});
    expect((await engine.berth(["load", "-i", `${dir}/own.tar`])).code).toBe(0);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  it.each(CLIS)("is what --platform of %s must name", async (cli) => {
    const refused = { code: 1, stderr: expect.stringContaining(mismatch("own:1", OWN, OTHER)) };
    for (
      const command of [
        ["image", "inspect", "--platform"],
        ["history", "-q", "--platform"],
        ["rmi", "--platform"],
      ]
    ) expect(await engine[cli]([...command, OTHER, "own:1"])).toMatchObject(refused);
    expect(await engine[cli](["save", "-o", `${dir}/out`, "--platform", OTHER, "own:1"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`no suitable export target found for platform ${OTHER}`),
    });
    const create = ["create", "--pull", "never", "--platform", OTHER, "own:1", "x"];
    expect(await engine[cli](create)).toMatchObject(refused);
    for (const command of [["image", "inspect"], ["history"], ["save", "-o", `${dir}/out`]]) {
      expect((await engine[cli]([...command, "--platform", OWN, "own:1"])).code).toBe(0);
    }
    const created = await engine[cli](["create", "--platform", OWN, "own:1", "x"]);
    expect(created).toMatchObject({ code: 0, stderr: "" });
    expect((await engine[cli](["rm", created.stdout.trim()])).code).toBe(0);
  });

  it("chooses what load takes from an archive", async () => {
    const both = [{ image: own, platform: OWN }, { image: other, platform: OTHER }];
    Deno.writeFileSync(
      `${dir}/both.tar`,
      ociArchive(
        both.map(({ image, platform }) => {
          const [os = "", architecture = ""] = platform.split("/");
          return { image, platform: { os, architecture } };
        }),
        { annotations: { "org.opencontainers.image.ref.name": "example.com/both:1" } },
      ),
    );
    for (const cli of CLIS) {
      const load = (file: string, platform: string) =>
        engine[cli](["load", "--platform", platform, "-i", `${dir}/${file}`]);
      for (const [platform, { id }] of [[OTHER, other], [OWN, own]] as const) {
        expect((await load("both.tar", platform)).code).toBe(0);
        const { stdout } = await engine.berth(["image", "inspect", "-f", "{{.Id}}", "example.com/both:1"]);
        expect(stdout.trim()).toBe(id);
      }
      expect((await load("both.tar", "linux/riscv64")).stderr).toContain("linux/riscv64");
      expect(await load("own.tar", OTHER)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`the archive holds no image for platform ${OTHER}`),
      });
    }
  });

  it("is taken with a warning when a registry has no other", async () => {
    await using registry = new FakeRegistry();
    registry.add("single", "1", own);
    const name = `${registry.host}/single:1`;
    for (const cli of CLIS) {
      const pulled = await engine[cli](["pull", "--platform", OTHER, name]);
      expect(pulled).toMatchObject({ code: 0, stdout: expect.stringContaining("WARNING: ") });
      expect(pulled.stdout).toContain(mismatch(name, OWN, OTHER));
      expect((await engine[cli](["pull", "--platform", OWN, name])).stdout).not.toContain("WARNING");
    }
  });

  it("has nothing to do with names of a repository without the tag latest, which save takes all", async () => {
    for (const cli of CLIS) {
      const out = `${dir}/${cli}.tar`;
      expect(await engine[cli](["save", "-o", out, "own"])).toMatchObject({ code: 0, stderr: "" });
      const { stdout } = await engine[cli](["load", "-i", out]);
      expect(stdout.trim().split("\n").sort()).toEqual(["Loaded image: own:1", "Loaded image: own:2"]);
    }
  });

  it("cannot be hidden by a tag that looks like an id", async () => {
    for (const cli of CLIS) {
      expect(await engine[cli](["tag", "own:1", other.id])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(
          "refusing to create an ambiguous tag using digest algorithm as name",
        ),
      });
    }
  });
});
