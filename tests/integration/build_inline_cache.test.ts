/** `--cache-to type=inline` and `--cache-from`: an image tells another engine which steps need not be done again. */
import { describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

describe.each(usersToTest())("an inline cache, $name", (user) => {
  describeWith(BUSYBOX)("with berth build", () => {
    const here = buildEngine(user, "build-inline");
    const there = buildEngine(user, "build-inline");
    const LINES = [
      "FROM busybox",
      "WORKDIR /app",
      "COPY --link src lib/",
      "COPY src .",
      "ENV A=1",
      "RUN date +%s%N > /when",
      "RUN true",
    ];
    const steps = (output: string) => {
      const ids = [...output.matchAll(/^#(\d+) \[\d\/\d\] (WORKDIR|COPY|RUN)/gm)];
      return ids.map(([, id, word]) =>
        `${word}${new RegExp(`^#${id} CACHED$`, "m").test(output) ? "" : "!"}`
      );
    };
    const build = (from: typeof here, path: string, ...args: string[]) =>
      from.berth(["build", "--progress=plain", ...args, path]);

    it("brings copies and commands to an engine that has never made them", async () => {
      const path = here.dockerfile(LINES, { "src/file": "content\n" });
      const made = await build(here, path, "-t", "told", "--cache-to", "type=inline");
      expect(steps(made)).toEqual(["WORKDIR!", "COPY!", "COPY!", "RUN!", "RUN!"]);
      const archive = `${here.engine.dir}/told.tar`;
      // with the base image: each engine's own has other times
      await here.berth(["save", "-o", archive, "told", "busybox"]);
      await Deno.chmod(archive, 0o644);
      await there.berth(["load", "-i", archive]);
      const again = await build(there, path, "-t", "again", "--cache-from", "told");
      expect(steps(again)).toEqual(["WORKDIR", "COPY", "COPY", "RUN", "RUN"]);
      const when = (from: typeof here, image: string) => from.berth(["run", "--rm", image, "cat", "/when"]);
      expect(await when(there, "again")).toBe(await when(here, "told"));
      // content decides, not the image
      Deno.writeTextFileSync(`${path}/src/file`, "other\n");
      await there.berth(["builder", "prune", "-af"]);
      const changed = await build(there, path, "-t", "changed", "--cache-from", "told");
      expect(steps(changed)).toEqual(["WORKDIR", "COPY!", "COPY!", "RUN!", "RUN!"]);
    });

    it("is only there when it is asked for", async () => {
      const path = here.dockerfile(["FROM busybox", "COPY src /src"], { "src/file": "plain\n" });
      await build(here, path, "-t", "silent");
      await here.berth(["builder", "prune", "-af"]);
      expect(steps(await build(here, path, "--cache-from", "silent"))).toEqual(["COPY!"]);
      const refused = await here.engine.berth(["build", "--cache-to", "type=local,dest=/tmp/x", path]);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("--cache-to type=inline") });
    });
  });
});
