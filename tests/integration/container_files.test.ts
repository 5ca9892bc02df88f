/** cp, diff, export, commit, save and prune: docker's command line and berth's, on every driver, as both users. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { SLOWNESS, waitFor } from "../support/processes.ts";
import { runAs, testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";

const hasFuse =
  (await new Deno.Command("sh", { args: ["-c", "command -v fuse-overlayfs && test -w /dev/fuse"] }).output())
    .success;
const drivers = ["overlay", ...(hasFuse ? ["fuse-overlayfs"] : []), "vfs"];
const combinations = usersToTest().flatMap((user) => drivers.map((driver) => ({ user, driver })));

/** What a container does to its files in these tests. */
const CHANGES = [
  "mkdir -p /d/sub /home2",
  "echo one > /d/f",
  "ln /d/f /d/hard",
  "ln -s ../etc/passwd /d/link",
  "ln -s / /d/up",
  "mkfifo /d/p",
  "rm /etc/group",
  "rm -r /home && mkdir /home && echo z > /home/z",
  "chmod 4751 /d/f",
  "chmod 1777 /d/sub",
  "echo changed >> /etc/passwd",
].join(" && ");

describeWith(program("docker", "docker.io"), BUSYBOX).each(combinations)(
  "the files of containers, on $driver as $user.name",
  ({ user, driver }) => {
    let engine: Engine;
    let dir = "";
    const docker = (...args: string[]) => engine.docker(args);

    beforeAll(async () => {
      dir = await Deno.makeTempDir({ dir: testDir(), prefix: "files-" });
      await Deno.chmod(dir, 0o777);
      engine = await startEngine({ user, storageDriver: driver });
      const archive = await busyboxArchive(dir);
      expect((await docker("load", "-i", archive)).code).toBe(0);
      const ran = await docker("run", "--name", "changed", "busybox", "sh", "-c", CHANGES);
      expect([ran.code, ran.stderr]).toEqual([0, ""]);
    }, 60_000 * SLOWNESS);

    afterAll(async () => await engine?.[Symbol.asyncDispose]());

    it("diff tells what was added, changed and deleted, and nothing of berth's own", async () => {
      const { stdout } = await docker("diff", "changed");
      expect(stdout.trim().split("\n")).toEqual([
        "A /d",
        "A /d/f",
        "A /d/hard",
        "A /d/link",
        "A /d/p",
        "A /d/sub",
        "A /d/up",
        "C /etc",
        "D /etc/group",
        "C /etc/passwd",
        "C /home",
        "D /home/app",
        "A /home/z",
        "A /home2",
      ]);
      expect((await engine.berth(["diff", "changed"])).stdout).toBe(stdout);
    });

    it("an exported tree and a committed image are the same tree", async () => {
      const committed = await docker(
        "commit",
        "-m",
        "message",
        "-a",
        "me",
        "-c",
        "ENV X=1",
        "changed",
        "img:1",
      );
      expect(committed.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
      await docker("create", "--name", "again", "img:1", "true");
      const list = async (name: string) => {
        const { stdoutBytes } = await docker("export", name);
        const { stdout, code } = await runAs(user, ["tar", "--numeric-owner", "-tvf", "-"], {
          stdin: stdoutBytes,
        });
        expect(code).toBe(0);
        // mount points that only a container that ran has
        const stub = / (etc|dev|proc|sys|etc\/host(s|name)|etc\/resolv.conf)\/?$/;
        return stdout.split("\n").filter((line) => !stub.test(line));
      };
      const before = await list("changed");
      expect(before.length).toBeGreaterThan(100);
      expect(await list("again")).toEqual(before);
      const { stdout } = await docker(
        "inspect",
        "-f",
        "{{.Author}} {{.Comment}} {{json .Config.Env}} {{.Parent}}",
        "img:1",
      );
      expect(stdout).toMatch(/^me message \["PATH=[^"]*","X=1"\] sha256:[0-9a-f]{64}\n$/);
      const history = await docker("history", "--format", "{{.Comment}}|{{.CreatedBy}}", "img:1");
      expect(history.stdout.split("\n").slice(0, 2)).toEqual([
        expect.stringMatching(/^message\|sh -c mkdir/),
        "|ADD rootfs /",
      ]);
      expect((await engine.berth(["history", "-q", "--no-trunc", "img:1"])).stdout).toBe(
        (await docker("history", "-q", "--no-trunc", "img:1")).stdout,
      );
      await docker("rm", "again");
    });

    it("saved images come back with the same ids, and are saved again to the same bytes", async () => {
      const first = await docker("save", "img:1", "busybox");
      const ids = (await docker("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}")).stdout;
      await docker("rm", "changed");
      const removed = await docker("rmi", "img:1", "busybox");
      expect(removed.stderr).toBe("");
      expect([...Deno.readDirSync(`${engine.dataRoot}/blobs/sha256`)]).toEqual([]);
      const loaded = await engine.docker(["load"], { stdin: first.stdoutBytes });
      expect(loaded.stdout).toBe("Loaded image: img:1\nLoaded image: busybox:latest\n");
      expect((await docker("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}")).stdout).toBe(ids);
      const second = await engine.berth(["save", "img:1", "busybox"]);
      expect(second.stdoutBytes).toEqual(first.stdoutBytes);
      const { stdout } = await runAs(user, ["tar", "-xOf", "-", "manifest.json"], {
        stdin: first.stdoutBytes,
      });
      expect(JSON.parse(stdout)).toMatchObject([{ RepoTags: ["img:1"] }, { RepoTags: ["busybox:latest"] }]);
    });

    it("cp brings a tree there and back unchanged, running or not", async () => {
      await docker("run", "-d", "--name", "copies", "busybox", "sleep", "1000");
      const source = `${dir}/tree`;
      await Deno.mkdir(`${source}/sub/empty`, { recursive: true });
      await Deno.writeTextFile(`${source}/a`, "text\n");
      await Deno.writeTextFile(`${source}/sub/b`, "x".repeat(300_000));
      await Deno.symlink("../a", `${source}/sub/l`);
      await Deno.link(`${source}/a`, `${source}/hard`);
      await Deno.chmod(`${source}/a`, 0o640);
      await Deno.utime(`${source}/a`, 1e9, 1e9);
      await runAs(user, ["chmod", "-R", "a+rX", source], {});
      await new Deno.Command("chown", { args: ["-R", `${user.uid}:${user.gid}`, source] }).output();
      const list = async (path: string) =>
        (await runAs(user, ["find", path, "-printf", "%P %y %m %s %l %n %Ts\n"])).stdout
          .split("\n").filter((line) => !line.startsWith(" ")).map((line) =>
            line.replace(/( d .*) \d+$/, "$1")
          ).sort();
      const wanted = await list(source);
      for (const state of ["running", "stopped"]) {
        for (const cli of ["docker", "berth"] as const) {
          const there = await engine[cli](["cp", source, `copies:/${state}-${cli}`]);
          expect([there.code, there.stderr]).toEqual([0, ""]);
          const back = `${dir}/${state}-${cli}`;
          expect((await engine[cli](["cp", `copies:/${state}-${cli}`, back])).code).toBe(0);
          expect(await list(back)).toEqual(wanted);
        }
        if (state === "running") await docker("stop", "-t", "0", "copies");
      }
      const missing = await engine.berth(["cp", "copies:/nope", dir]);
      expect(missing.stderr).toContain("Could not find the file /nope in container copies");
      const said = await engine.berth(["cp", "-q=false", `${source}/a`, "copies:/tmp"]);
      expect(said.stderr).toContain("Successfully copied 2.05kB to copies:/tmp");
      await docker("rm", "-f", "copies");
    });

    it("cp never leaves the container by a link", async () => {
      await Deno.writeTextFile(`${dir}/secret`, "of the host");
      await Deno.chmod(`${dir}/secret`, 0o644);
      const links =
        `ln -s ${dir} /out; ln -s ../../../../../../..${dir} /up; ln -s ${dir}/secret /file; sleep 1000`;
      await docker("run", "-d", "--name", "hostile", "busybox", "sh", "-c", links);
      await waitFor(
        async () => (await docker("exec", "hostile", "test", "-L", "/file")).code === 0,
        10_000,
        () => "the links are not made",
      );
      for (const path of ["/out/secret", "/up/secret"]) {
        const answer = await docker("cp", `hostile:${path}`, "-");
        expect(answer.stderr).toContain("Could not find the file");
      }
      expect((await docker("cp", "-L", "hostile:/file", "-")).code).toBe(1);
      for (const path of ["/out", "/out/x", "/up"]) {
        expect((await docker("cp", `${dir}/secret`, `hostile:${path}/evil`)).code).toBe(1);
      }
      // an archive that makes a link and writes through it
      const stage = await Deno.makeTempDir({ dir, prefix: "evil-" });
      await Deno.symlink(dir, `${stage}/l`);
      await Deno.mkdir(`${stage}/x`);
      await Deno.writeTextFile(`${stage}/x/evil`, "evil");
      const tar = new Deno.Command("tar", {
        args: ["-C", stage, "--transform", "s,^x/,l/,", "-cf", "-", "l", "x/evil"],
      });
      const { stdout: bytes } = await tar.output();
      await engine.docker(["cp", "-", "hostile:/tmp"], { stdin: bytes });
      expect([...Deno.readDirSync(dir)].map(({ name }) => name)).not.toContain("evil");
      await docker("rm", "-f", "hostile");
    });

    it("cp sees binds, keeps to read-only ones, and answers what went wrong", async () => {
      await Deno.mkdir(`${dir}/bound`, { recursive: true });
      await Deno.chmod(`${dir}/bound`, 0o777);
      await Deno.writeTextFile(`${dir}/bound/inside`, "bound");
      const args = ["-v", `${dir}/bound:/rw`, "-v", `${dir}/bound:/ro:ro`, "busybox", "sleep", "1000"];
      await docker("run", "-d", "--name", "binds", ...args);
      for (const state of ["running", "stopped"]) {
        const { stdoutBytes } = await docker("cp", "binds:/rw/inside", "-");
        const { stdout } = await runAs(user, ["tar", "-xOf", "-"], { stdin: stdoutBytes });
        expect(stdout).toBe("bound");
        await docker("cp", `${dir}/secret`, `binds:/rw/${state}`);
        expect(await Deno.readTextFile(`${dir}/bound/${state}`)).toBe("of the host");
        expect((await docker("cp", `${dir}/secret`, "binds:/ro/x")).stderr).toContain(
          "mounted volume is marked read-only",
        );
        expect((await docker("cp", `${dir}/secret`, "binds:/etc/passwd/x")).code).toBe(1);
        if (state === "running") await docker("stop", "-t", "0", "binds");
      }
      await docker("rm", "binds");
    });

    it("save and export refuse what no file can be made of, as docker does", async () => {
      Deno.writeTextFileSync(`${dir}/plain`, "");
      Deno.symlinkSync("plain", `${dir}/link`);
      const places = ["nowhere/x", "nowhere/", "plain/x", "link", "."].map((name) => `${dir}/${name}`);
      for (const place of [...places, "/dev/null"]) {
        for (const command of [["save", "busybox"], ["export", "changed"]]) {
          const [verb = "", subject = ""] = command;
          const [mine, theirs] = await Promise.all(
            (["berth", "docker"] as const).map((cli) => engine[cli]([verb, "-o", place, subject])),
          );
          expect(mine).toMatchObject({ code: 1, stderr: theirs?.stderr });
          expect(theirs).toMatchObject({ code: 1, stderr: expect.stringMatching(/^failed to /) });
        }
      }
    });

    it("rmi takes only the name of an image that others were committed from", async () => {
      await docker("tag", "busybox", "parent:1");
      const made = await docker("run", "--name", "heir", "parent:1", "touch", "/heir");
      expect(made.code).toBe(0);
      await docker("commit", "heir", "middle:1");
      const middle = (await docker("image", "inspect", "-f", "{{.Id}}", "middle:1")).stdout.trim();
      await docker("run", "--name", "grandheir", "middle:1", "touch", "/grandheir");
      await docker("commit", "grandheir", "child:1");
      await docker("rm", "heir", "grandheir");
      expect(await docker("rmi", "middle:1")).toMatchObject({ code: 0, stdout: "Untagged: middle:1\n" });
      expect((await docker("image", "inspect", "-f", "{{.RepoTags}}", middle)).stdout).toBe("[]\n");
      expect((await docker("rmi", middle)).stderr).toContain("image has dependent child images");
      const last = await docker("rmi", "child:1");
      expect(last.stdout).toContain(`Deleted: ${middle}`);
      expect(await docker("rmi", "parent:1")).toMatchObject({ code: 0, stdout: "Untagged: parent:1\n" });
    });

    it("df counts, prune takes what nobody uses and leaves what containers need", async () => {
      await docker("create", "--name", "user", "busybox", "true");
      const df = await engine.berth(["system", "df"]);
      // what images would give back is more exact here than docker computes it
      const rest = (table: string) => table.replace(/^(Images .*B) +\S+ \(\d+%\)$/m, "$1");
      expect(rest(df.stdout)).toBe(rest((await docker("system", "df")).stdout));
      expect(df.stdout).toMatch(/^Images +\d+ +1 +/m);
      expect((await docker("image", "prune", "-af")).stdout).toContain("untagged: img:1");
      expect((await docker("images", "-q", "busybox")).stdout).not.toBe("");
      expect((await engine.berth(["container", "prune", "-f"])).stdout).toMatch(
        /^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: /,
      );
      expect((await engine.berth(["system", "prune", "-af"])).stdout).toContain("untagged: busybox:latest");
      expect((await docker("images", "--format", "{{.Repository}}")).stdout).toBe("berth/host\n");
      await waitFor(
        () => [...Deno.readDirSync(`${engine.dataRoot}/trash`)].length === 0,
        10_000,
        () => "the trash is not emptied",
      );
      expect([...Deno.readDirSync(`${engine.dataRoot}/layers`)].length).toBe(1);
      expect([...Deno.readDirSync(`${engine.dataRoot}/blobs/sha256`)]).toEqual([]);
    });
  },
);
