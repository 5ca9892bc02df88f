/** Volumes through the docker command line: named, anonymous, copied from the image, shared, with options, removed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { BUSYBOX, describeWith, program } from "../support/needs.ts";
import { testDir, usersToTest } from "../support/users.ts";

const DOCKERFILE_CHANGES = ['VOLUME ["/data"]'];

describe.each(usersToTest())("volumes, $name", (user) => {
  describeWith(BUSYBOX, program("docker", "docker.io"))("with docker", () => {
    let engine: Engine;
    const docker = async (...args: string[]) => {
      const result = await engine.docker(args);
      if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${result.stderr}`);
      return result.stdout.trim();
    };
    const run = (...args: string[]) => docker("run", "--rm", ...args);

    beforeAll(async () => {
      engine = await startEngine({ user });
      expect((await engine.berth(["load", "-i", await busyboxArchive(testDir())])).code).toBe(0);
      // An image with a volume that has files, owned by somebody.
      const script =
        "mkdir -p /data/sub && echo image > /data/file && chown 12:13 /data && chmod 0750 /data && echo f > /plain";
      await docker("run", "--name", "maker", "busybox", "sh", "-c", script);
      await docker(
        "commit",
        ...DOCKERFILE_CHANGES.flatMap((line) => ["--change", line]),
        "maker",
        "withdata",
      );
      await docker("rm", "maker");
    });
    afterAll(async () => {
      await engine?.[Symbol.asyncDispose]();
    });

    it("keeps a named volume's files when containers come and go", async () => {
      await run("-v", "keep:/v", "busybox", "sh", "-c", "echo one > /v/f");
      expect(await run("-v", "keep:/v:ro", "busybox", "cat", "/v/f")).toBe("one");
      const refused = await engine.docker(["run", "--rm", "-v", "keep:/v:ro", "busybox", "touch", "/v/x"]);
      expect(refused.stderr).toContain("Read-only file system");
      const view = JSON.parse(await docker("volume", "inspect", "keep"))[0];
      expect(view).toMatchObject({
        Driver: "local",
        Name: "keep",
        Scope: "local",
        Labels: null,
        Options: null,
      });
      expect(view.Mountpoint).toMatch(/\/volumes\/keep\/_data$/);
      expect(await docker("volume", "rm", "keep")).toBe("keep");
      expect((await engine.docker(["volume", "inspect", "keep"])).stderr).toContain(
        "get keep: no such volume",
      );
    });

    it("fills a new volume with what the image has there, owner and mode included", async () => {
      const look = "stat -c '%u:%g %a' /v && cat /v/file && ls /v";
      expect(await run("-v", "filled:/data", "withdata", "sh", "-c", look.replaceAll("/v", "/data"))).toBe(
        "12:13 750\nimage\nfile\nsub",
      );
      // once there is something in it, it stays as it is
      await run("-v", "filled:/data", "withdata", "rm", "-r", "/data/sub");
      expect(await run("-v", "filled:/data", "withdata", "ls", "/data")).toBe("file");
      expect(await run("-v", "bare:/data:nocopy", "withdata", "ls", "/data")).toBe("");
      expect(await run("--mount", "type=volume,src=bare2,dst=/data,volume-nocopy", "withdata", "ls", "/data"))
        .toBe("");
      const over = await engine.docker(["run", "--rm", "-v", "new:/plain", "withdata", "true"]);
      expect(over.stderr).toContain("cannot mount volume over existing file, file exists /plain");
      expect((await engine.docker(["volume", "inspect", "new"])).code).toBe(1);
      await docker("volume", "rm", "filled", "bare", "bare2");
    });

    it("makes anonymous volumes of the image's VOLUME, and removes them with --rm or rm -v", async () => {
      expect(await run("withdata", "cat", "/data/file")).toBe("image");
      expect(await docker("volume", "ls", "-q")).toBe("");
      const id = await docker("create", "-v", "/more", "withdata", "true");
      const mounts = JSON.parse(await docker("inspect", "-f", "{{json .Mounts}}", id));
      expect(mounts).toHaveLength(2);
      for (const mount of mounts) {
        expect(mount).toMatchObject({ Type: "volume", Driver: "local", RW: true, Propagation: "" });
        expect(mount.Name).toMatch(/^[0-9a-f]{64}$/);
        const volume = JSON.parse(await docker("volume", "inspect", mount.Name))[0];
        expect(volume.Labels).toEqual({ "com.docker.volume.anonymous": "" });
      }
      await docker("rm", id);
      expect((await docker("volume", "ls", "-q", "-f", "dangling=true")).split("\n")).toHaveLength(2);
      expect(await docker("volume", "prune", "-f")).toContain("Total reclaimed space");
      expect(await docker("volume", "ls", "-q")).toBe("");
      await docker("create", "--name", "anon", "withdata", "true");
      await docker("rm", "-v", "anon");
      expect(await docker("volume", "ls", "-q")).toBe("");
    });

    it("shares the volumes of another container", async () => {
      await docker("run", "-d", "--name", "donor", "-v", "shared:/s", "withdata", "sleep", "1000");
      await run(
        "--volumes-from",
        "donor",
        "busybox",
        "sh",
        "-c",
        "echo there > /s/f; echo more > /data/more",
      );
      expect(await docker("exec", "donor", "cat", "/s/f", "/data/more")).toBe("there\nmore");
      const refused = await engine.docker([
        "run",
        "--rm",
        "--volumes-from",
        "donor:ro",
        "busybox",
        "touch",
        "/s/x",
      ]);
      expect(refused.stderr).toContain("Read-only file system");
      const used = await engine.docker(["volume", "rm", "shared"]);
      expect(used.stderr).toMatch(/remove shared: volume is in use - \[[0-9a-f]{64}\]/);
      await docker("rm", "-fv", "donor");
      expect(await docker("volume", "ls", "-q")).toBe("shared");
      await docker("volume", "rm", "shared");
    });

    it("takes options of the local driver: tmpfs, bind; refuses others with Docker's words", async () => {
      await docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "ram");
      const script = "head -c 2000000 /dev/zero > /v/f; stat -f -c %T /v; echo kept > /v/k";
      const result = await engine.docker(["run", "--rm", "-v", "ram:/v", "busybox", "sh", "-c", script]);
      expect(result.stderr).toContain("No space left on device");
      expect(result.stdout.trim()).toBe("tmpfs");
      // its mount goes with the last container
      expect(await run("-v", "ram:/v", "busybox", "ls", "/v")).toBe("");
      const dir = `${engine.dir}/bound`;
      Deno.mkdirSync(dir);
      Deno.chownSync(dir, user.uid, user.gid);
      await docker("volume", "create", "-o", "type=none", "-o", `device=${dir}`, "-o", "o=bind", "bound");
      await run("-v", "bound:/v", "busybox", "sh", "-c", "echo x > /v/f");
      expect(Deno.readTextFileSync(`${dir}/f`)).toBe("x\n");
      await docker("volume", "rm", "ram", "bound");
      expect(Deno.readTextFileSync(`${dir}/f`)).toBe("x\n");
      const bad = await engine.docker(["volume", "create", "-o", "bogus=1", "x1"]);
      expect(bad.stderr).toContain('create x1: invalid option: "bogus"');
      const driver = await engine.docker(["volume", "create", "-d", "bogus", "x1"]);
      expect(driver.stderr).toContain('error looking up volume plugin bogus: plugin "bogus" not found');
      const name = await engine.docker(["volume", "create", "a/b"]);
      expect(name.stderr).toContain('"a/b" includes invalid characters for a local volume name');
      expect(await docker("volume", "ls", "-q")).toBe("");
    });

    it("mounts a directory of a volume, and nothing that a link in it leads to", async () => {
      await run(
        "-v",
        "tree:/t",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /t/a/b; echo deep > /t/a/b/f; ln -s /etc /t/link",
      );
      const mount = (path: string) => `type=volume,src=tree,dst=/m,volume-subpath=${path}`;
      expect(await run("--mount", mount("a/b"), "busybox", "cat", "/m/f")).toBe("deep");
      const link = await engine.docker(["run", "--rm", "--mount", mount("link"), "busybox", "ls", "/m"]);
      expect(link.stderr).toContain("no such file or directory");
      await docker("volume", "rm", "tree");
    });

    it("lists, filters and measures; events tell of it", async () => {
      await docker("volume", "create", "--label", "kind=a", "one");
      await docker("volume", "create", "--label", "kind=b", "two");
      expect(await docker("volume", "ls", "-q", "-f", "label=kind=a")).toBe("one");
      expect(await docker("volume", "ls", "-q", "-f", "name=w")).toBe("two");
      await run("-v", "one:/v", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /v/f");
      expect(await docker("system", "df", "-v")).toMatch(/one\s+0\s+100kB/);
      const events = await docker(
        "events",
        "--since",
        "1h",
        "--until=-1s",
        "--filter",
        "volume=one",
        "--format",
        "{{.Action}}",
      );
      expect(events.split("\n")).toEqual(["create", "mount", "unmount"]);
      expect(await docker("volume", "prune", "-af", "--filter", "label=kind=b")).toContain("two");
      expect(await docker("volume", "ls", "-q")).toBe("one");
      await docker("volume", "rm", "one");
    });

    it("has the same commands as docker's command line", async () => {
      const both = async (...args: string[]) => {
        const [ours, theirs] = [await engine.berth(args), await engine.docker(args)];
        expect(ours).toEqual(theirs);
        return ours;
      };
      const berth = await engine.berth(["volume", "create", "--label", "a=b", "mine"]);
      expect(berth).toMatchObject({ code: 0, stdout: "mine\n" });
      await both("volume", "ls");
      await both("volume", "ls", "--format", "{{json .}}");
      await both("volume", "ls", "--format", '{{.Name}} {{.Links}} {{.Label "a"}}');
      await both("volume", "ls", "-f", "bogus=1");
      await both("volume", "inspect", "mine");
      await both("volume", "inspect", "mine", "none");
      await both("volume", "inspect", "-f", "{{.Mountpoint}}", "mine");
      await both("inspect", "mine");
      await both("volume", "rm", "none");
      await both("volume", "prune", "-f");
      // the ages of images would be another second's
      const volumes = (text: string) => text.slice(text.indexOf("Local Volumes space usage"));
      const [ours, theirs] = [
        await engine.berth(["system", "df", "-v"]),
        await engine.docker(["system", "df", "-v"]),
      ];
      expect(volumes(ours.stdout)).toBe(volumes(theirs.stdout));
      expect(await engine.berth(["volume", "prune", "-af"])).toMatchObject({
        stdout: "Deleted Volumes:\nmine\n\nTotal reclaimed space: 0B\n",
      });
    });

    it("finds volumes again after the engine was killed", async () => {
      await docker(
        "run",
        "-d",
        "--name",
        "writer",
        "-v",
        "long:/v",
        "busybox",
        "sh",
        "-c",
        "while :; do echo x >> /v/f; sleep 0.05; done",
      );
      await engine.kill9();
      await engine.restart();
      expect(await docker("volume", "ls", "-q")).toBe("long");
      expect(await docker("exec", "writer", "head", "-1", "/v/f")).toBe("x");
      await docker("rm", "-f", "writer");
      await docker("volume", "rm", "long");
    });
  });
});
