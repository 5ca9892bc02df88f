/** `COPY --link`: layers that do not depend on what is below them. */
import { describe, expect, it } from "vitest";
import { buildEngine } from "../support/build_engine.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { usersToTest } from "../support/users.ts";

describe.each(usersToTest())("COPY --link, $name", (user) => {
  describeWith(BUSYBOX)("with berth build", () => {
    const fixture = buildEngine(user, "build-link");
    const { berth, dockerfile } = fixture;
    const build = (path: string, ...args: string[]) => berth(["build", "--progress=plain", ...args, path]);
    const run = (image: string, ...command: string[]) => berth(["run", "--rm", image, ...command]);
    const layers = async (image: string) =>
      JSON.parse(await berth(["image", "inspect", "-f", "{{json .RootFS.Layers}}", image])) as string[];
    /** Names of the steps that were found. */
    const cached = (output: string) =>
      [...output.matchAll(/^#(\d+) CACHED$/gm)].map(([, number]) =>
        new RegExp(`^#${number} \\[[^\\]]*\\] (.*)$`, "m").exec(output)?.[1] ?? ""
      );

    const BEHIND = ["COPY --link file /opt/app/", "RUN cat /opt/app/file > /seen"];

    it("is found again when what is below has changed, and is the same layer", async () => {
      const files = { file: "content\n" };
      await build(dockerfile(["FROM busybox", "RUN echo one > /below", ...BEHIND], files), "-t", "one");
      const other = dockerfile(["FROM busybox", "RUN echo two > /below", ...BEHIND], files);
      expect(cached(await build(other, "-t", "two"))).toEqual(
        expect.arrayContaining([expect.stringContaining("COPY --link")]),
      );
      expect(await run("two", "cat", "/below", "/opt/app/file", "/seen")).toBe("two\ncontent\ncontent\n");
      const [one, two] = [await layers("one"), await layers("two")];
      expect(one.at(-2)).toBe(two.at(-2));
      expect(one.at(-3)).not.toBe(two.at(-3));
      // without a RUN below it in the way, nothing is done at all
      const before = await berth(["image", "inspect", "-f", "{{.Id}}", "two"]);
      await build(other, "-t", "two");
      expect(await berth(["image", "inspect", "-f", "{{.Id}}", "two"])).toBe(before);
      const changed = dockerfile(["FROM busybox", "RUN echo two > /below", ...BEHIND], { file: "new\n" });
      expect(cached(await build(changed, "-t", "three"))).not.toEqual(
        expect.arrayContaining([expect.stringContaining("COPY --link")]),
      );
    });

    it("puts directories where the image has links, and gives those above the files attributes of their own", async () => {
      const path = dockerfile([
        "FROM busybox",
        "RUN mkdir /real && ln -s /real /place && mkdir -m 1777 /open",
        "COPY --link file /place/",
        "COPY --link file /open/",
        "COPY file /real/plain",
        "RUN stat -c '%A %n' /place /open; ls /real",
      ], { file: "content\n" });
      const output = await build(path);
      expect(output).toMatch(/drwxr-xr-x \/place\n/);
      expect(output).toMatch(/drwxr-xr-x \/open\n/);
      expect(output).toMatch(/^#\d+ [\d.]+ plain$/m);
    });

    it("gives owners by number, and looks names up as without --link", async () => {
      const path = dockerfile([
        "FROM busybox",
        "RUN echo me:x:7:8::/: >> /etc/passwd && ln -s /tmp /place",
        "COPY --link --chown=12:13 file /number",
        "COPY --link --chown=root file /root-owned",
        "COPY --link --chown=me file /place/name",
        "RUN stat -c '%u:%g %n' /number /root-owned /tmp/name",
      ], { file: "" });
      const output = await build(path);
      for (const line of ["12:13 /number", "0:0 /root-owned", "7:8 /tmp/name"]) {
        expect(output).toContain(line);
      }
    });

    it("copies into an empty image, from stages, and nothing at all", async () => {
      const path = dockerfile([
        "FROM busybox AS made",
        "RUN mkdir -p /out/sub /empty && echo deep > /out/sub/file && chown 5:6 /out/sub/file && ln -s sub/file /out/link",
        "FROM scratch AS small",
        "COPY --link --from=made /out /",
        "FROM busybox",
        "COPY --link --from=made /empty/ /",
        "COPY --link --from=small / /copy/",
      ]);
      await build(path, "-t", "nested");
      expect(await run("nested", "sh", "-c", "cat /copy/link; stat -c %u:%g /copy/sub/file")).toBe(
        "deep\n5:6\n",
      );
    });

    it("saves and loads like any other image", async () => {
      const path = dockerfile(["FROM busybox", "RUN mkdir -p /usr/app", "COPY --link file /usr/app/"], {
        file: "content\n",
      });
      await build(path, "-t", "given");
      const before = await layers("given");
      const archive = `${fixture.engine.dir}/given.tar`;
      await berth(["save", "-o", archive, "given"]);
      await berth(["rmi", "given"]);
      await berth(["builder", "prune", "-af"]);
      await berth(["load", "-i", archive]);
      expect(await layers("given")).toEqual(before);
      expect(await run("given", "cat", "/usr/app/file")).toBe("content\n");
    });
  });
});
