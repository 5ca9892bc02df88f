/** What docker's events tell of images. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Engine, startEngine } from "../support/engine.ts";
import { FakeRegistry } from "../support/fake_registry.ts";
import { buildImage, dockerArchive, file } from "../support/image_archive.ts";
import { describeWith, program } from "../support/needs.ts";
import { testDir } from "../support/users.ts";

const labelled = buildImage({ layers: [[file("a")]], config: { Labels: { app: "web" } }, refs: ["web:1"] });

describeWith(program("docker", "docker.io"))("events of images", () => {
  let engine: Engine;
  let dir: string;

  beforeAll(async () => {
    dir = Deno.makeTempDirSync({ dir: testDir(), prefix: "events-" });
    Deno.chmodSync(dir, 0o755);
    Deno.writeFileSync(`${dir}/web.tar`, dockerArchive(labelled));
    engine = await startEngine({});
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    Deno.removeSync(dir, { recursive: true });
  });

  it("have the id or the familiar name as Docker's, and the image's labels", async () => {
    await using registry = new FakeRegistry();
    const name = `${registry.host}/team/web`;
    const docker = async (...args: string[]) => {
      const { code, stdout, stderr } = await engine.docker(args);
      expect([code, stderr]).toEqual([0, ""]);
      return stdout.trim();
    };
    await docker("load", "-qi", `${dir}/web.tar`);
    await docker("tag", "web:1", "docker.io/library/again:2");
    await docker("save", "-o", `${dir}/out.tar`, "web:1", "again:2");
    await docker("tag", "web:1", `${name}:3`);
    await docker("push", "-q", `${name}:3`);
    await docker("pull", "-q", `${name}:3`);
    const box = await docker("create", "web:1", "x");
    const committed = await docker("commit", box, "made");
    await docker("rm", box);
    await docker("rmi", "made");
    const until = `${Math.ceil(Date.now() / 1000) + 1}`;
    const events = await docker(
      ...["events", "--since", "0", "--until", until, "--filter", "type=image"],
      ...["--format", "{{.Action}} {{.Actor.ID}} {{json .Actor.Attributes}}"],
    );
    const { id } = labelled;
    const line = (action: string, actor: string, named: string, labels = `"app":"web",`) =>
      `${action} ${actor} {${labels}"name":"${named}"}`;
    expect(events.split("\n")).toEqual([
      line("load", id, id),
      line("tag", id, "again:2"),
      line("save", id, id),
      line("tag", id, `${name}:3`),
      line("push", `${name}:3`, name),
      line("pull", `${name}:3`, name),
      line("create", committed, committed),
      line("tag", committed, "made:latest"),
      line("untag", committed, committed),
      // the image is gone when this is told
      line("delete", committed, committed, ""),
    ]);
    expect(
      await docker(
        "events",
        "--since",
        "0",
        "--until",
        until,
        "--filter",
        "label=app=web",
        "--format",
        "{{.Action}}",
      ),
    ).toContain("push");
  });
});
