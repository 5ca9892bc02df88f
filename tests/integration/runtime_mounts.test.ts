/** A container's root and mounts, through a real shim and init. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MountSpec } from "../../runtime/spec.ts";
import { busyboxRootfs } from "../support/busybox_image.ts";
import { removeTree } from "../support/run_directory.ts";
import { containerSpec, DEFAULT_MOUNTS } from "../support/container_spec.ts";
import { ShimClient } from "../support/shim_client.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

type Overrides = Parameters<typeof containerSpec>[2];

describeWith(BUSYBOX)("a container's file systems", () => {
  let base: string;
  let rootfs: string;
  beforeAll(async () => {
    base = await Deno.makeTempDir({ prefix: "berth-mounts-" });
    await Deno.chmod(base, 0o755);
    rootfs = `${base}/rootfs`;
    await busyboxRootfs(rootfs);
    await Deno.mkdir(`${base}/host`);
    await Deno.writeTextFile(`${base}/host/file`, "from the host\n");
    await Deno.mkdir(`${rootfs}/seed/sub`, { recursive: true });
    await Deno.writeTextFile(`${rootfs}/seed/sub/file`, "seed\n");
    await Deno.symlink("sub/file", `${rootfs}/seed/link`);
  });
  afterAll(async () => {
    await removeTree(base);
  });

  async function sh(script: string, overrides: Overrides = {}) {
    await using shim = await ShimClient.start();
    const { stdout, stderr, record } = await shim.run(containerSpec(rootfs, ["sh", "-c", script], overrides));
    expect(await shim.shimLog()).toBe("");
    return { stdout, stderr, exitCode: record.exitCode };
  }
  const withMount = (...mounts: MountSpec[]): Overrides => ({ mounts: [...DEFAULT_MOUNTS, ...mounts] });
  const bind = (target: string, flags: string[] = ["rbind"], source = `${base}/host`): MountSpec => ({
    type: "bind",
    source,
    target,
    flags,
  });

  it("are Docker's default ones, with their options", async () => {
    const { stdout } = await sh("cat /proc/mounts");
    // An ordinary user's tmpfs says whose its root is, and some kernels how wide their inodes are.
    const own = /(,uid=\d+,gid=\d+)?(,inode64)?$/;
    const found = stdout.split("\n").map((line) => line.split(" ").slice(1, 4).join(" ").replace(own, ""));
    expect(found).toEqual(expect.arrayContaining([
      "/proc proc rw,nosuid,nodev,noexec,relatime",
      "/sys sysfs ro,nosuid,nodev,noexec,relatime",
      "/dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime",
      "/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
    ]));
    expect(stdout).toMatch(/ \/dev tmpfs rw,nosuid,size=65536k,mode=755/);
    // The kernel shows the group as the initial user namespace has it: another number for an ordinary user.
    const group = Deno.uid() === 0 ? "5" : "\\d+";
    const options = `rw,nosuid,noexec,relatime,gid=${group},mode=620,ptmxmode=666`;
    expect(stdout).toMatch(new RegExp(` /dev/pts devpts ${options}`));
  });

  it("have the usual devices and links, and they work", async () => {
    const { stdout } = await sh(
      "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done; echo x >/dev/null; " +
        "head -c 3 /dev/zero | wc -c; for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done",
    );
    expect(stdout).toBe(
      "3\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n",
    );
  });

  it("hide masked paths and protect read-only ones", async () => {
    const { stdout, stderr } = await sh(
      "cat /proc/keys /proc/timer_list; ls /sys/firmware; echo 1 >/proc/sys/kernel/panic; touch /sys/x; echo done",
    );
    expect(stdout).toBe("done\n");
    expect(stderr).toMatch(/panic: Read-only file system/);
    expect(stderr).toMatch(/\/sys\/x: Read-only file system/);
  });

  it("are all below a read-only root, volumes excepted", async () => {
    const { stdout, stderr } = await sh("touch /x; touch /dev/shm/y && touch /vol/made && echo ok", {
      ...withMount(bind("/vol")),
      readonlyRootfs: true,
    });
    expect(stdout).toBe("ok\n");
    expect(stderr).toMatch(/\/x: Read-only file system/);
    await Deno.remove(`${base}/host/made`);
  });

  it("an overlay of layers keeps them untouched, and hides where they are", async () => {
    for (const name of ["upper", "work", "low,er:1"]) await Deno.mkdir(`${base}/${name}`);
    await Deno.writeTextFile(`${base}/low,er:1/only`, "lower\n");
    const { stdout, stderr } = await sh(
      "cat /only; echo new >/created; rm /plain 2>/dev/null; rm -r /home; cat /proc/mounts",
      {
        rootfs: {
          kind: "overlay",
          overlay: {
            lower: [`${base}/low,er:1`, rootfs],
            upper: `${base}/upper`,
            work: `${base}/work`,
            options: ["userxattr"],
          },
        },
      },
    );
    expect({ stderr, first: stdout.split("\n")[0] }).toEqual({ stderr: "", first: "lower" });
    expect(stdout).not.toContain(base);
    expect(await Deno.readTextFile(`${base}/upper/created`)).toBe("new\n");
    expect((await Deno.stat(`${rootfs}/home`)).isDirectory).toBe(true);
    expect((await Deno.lstat(`${base}/upper/home`)).isCharDevice).toBe(true);
  });

  it("an overlay may have more layers than one page of options holds paths", async () => {
    const layers = Array.from(
      { length: 120 },
      (_, index) => `${base}/a-rather-long-name-for-a-layer-directory-${index}`,
    );
    for (const [index, layer] of layers.entries()) {
      await Deno.mkdir(layer);
      await Deno.writeTextFile(`${layer}/layer${index}`, "");
    }
    const { stdout } = await sh("ls -d /layer* | wc -l", {
      rootfs: { kind: "overlay", overlay: { lower: [...layers, rootfs], options: ["userxattr"] } },
    });
    expect(stdout).toBe("120\n");
  });

  it("a bind mount shows the host's directory, writable or not", async () => {
    const { stdout, stderr } = await sh(
      "cat /rw/file /ro/file /one; touch /rw/made; touch /ro/made; echo x >/one",
      {
        ...withMount(
          bind("/rw"),
          bind("/ro", ["rbind", "ro"]),
          bind("/one", ["bind", "ro"], `${base}/host/file`),
        ),
      },
    );
    expect(stdout).toBe("from the host\n".repeat(3));
    expect(stderr).toMatch(/\/ro\/made: Read-only file system/);
    expect(stderr).toMatch(/\/one: Read-only file system/);
    expect((await Deno.stat(`${base}/host/made`)).isFile).toBe(true);
    await Deno.remove(`${base}/host/made`);
    for (const name of ["rw", "ro", "one"]) await Deno.remove(`${rootfs}/${name}`);
  });

  it("a volume of the host's root does not hold the container's root once more", async () => {
    const { stdout } = await sh(
      "cat /host/etc/hostname >/dev/null; cat /proc/mounts",
      withMount(bind("/host", ["rbind", "ro"], "/")),
    );
    expect(stdout).not.toContain("berth-shim-");
    await Deno.remove(`${rootfs}/host`);
  });

  it("options of a bind mount are those asked for, and it is private", async () => {
    const { stdout } = await sh(
      "grep ' /vol ' /proc/self/mountinfo",
      withMount(bind("/vol", ["rbind", "nosuid", "nodev", "noexec"])),
    );
    // noatime is the machine's own, and stays.
    expect(stdout).toMatch(/ \/vol rw,nosuid,nodev,noexec,(relatime|noatime) - /);
  });

  it("a tmpfs is empty, or a copy of what it covers", async () => {
    const { stdout } = await sh(
      "ls -A /empty; cat /seed/link; ls -A /seed; echo more >/seed/more; stat -c %a /seed",
      {
        ...withMount(
          { type: "tmpfs", target: "/empty", flags: ["nosuid"], data: "size=1m" },
          { type: "tmpfs", target: "/seed", flags: [], data: "mode=0750", copyUp: true },
        ),
      },
    );
    expect(stdout).toBe("seed\nlink\nsub\n750\n");
    await expect(Deno.stat(`${rootfs}/seed/more`)).rejects.toThrow(Deno.errors.NotFound);
  });

  it("a read-only tmpfs that was copied to is read-only", async () => {
    const { stdout, stderr } = await sh("cat /seed/sub/file; touch /seed/x", {
      ...withMount({ type: "tmpfs", target: "/seed", flags: ["ro"], copyUp: true }),
    });
    expect(stdout).toBe("seed\n");
    expect(stderr).toMatch(/Read-only file system/);
  });

  it("a missing host directory, a bad option, a directory over a file: no start, and it is said why", async () => {
    const failure = async (mount: MountSpec) => {
      await using shim = await ShimClient.start();
      const reply = await shim.start(containerSpec(rootfs, ["true"], withMount(mount)));
      expect(await shim.shutdown()).toBe(true);
      return reply.ok ? undefined : reply.error;
    };
    expect(await failure(bind("/x", ["rbind"], `${base}/nowhere`))).toMatchObject({
      stage: "mount",
      message: `open ${base}/nowhere: no such file or directory`,
    });
    expect(await failure(bind("/x", ["rbind", "sparkling"]))).toMatchObject({
      message: expect.stringContaining("invalid mount option sparkling"),
    });
    expect(await failure(bind("/etc/passwd"))).toMatchObject({
      message: expect.stringContaining("are you trying to mount a directory onto a file (or vice-versa)?"),
    });
  });

  it("nothing but proc is mounted at /proc, and below it what lxcfs puts there, by whatever path", async () => {
    const failure = async (...mounts: MountSpec[]) => {
      await using shim = await ShimClient.start();
      const reply = await shim.start(containerSpec(rootfs, ["true"], withMount(...mounts)));
      expect(await shim.shutdown()).toBe(reply.ok ? undefined : true);
      return reply.ok ? undefined : reply.error.message;
    };
    await Deno.remove(`${rootfs}/to-proc`).catch(() => {});
    await Deno.symlink("proc/sys", `${rootfs}/to-proc`);
    const notProc = '"/proc" cannot be mounted because it is not of type proc';
    expect(await failure(bind("/proc"))).toContain(notProc);
    expect(await failure({ type: "tmpfs", target: "/x/../proc/", flags: [] })).toContain(notProc);
    expect(await failure(bind("/to-proc/kernel"))).toContain(
      '"/proc/sys/kernel" cannot be mounted because it is inside /proc',
    );
    expect(await failure(bind("/proc/self"))).toContain("cannot be mounted because it is inside /proc");
    const { stdout } = await sh(
      "cat /proc/meminfo; ls /proc/self/stat",
      withMount(bind("/proc", ["rbind"], "/proc"), bind("/proc/meminfo", ["bind"], `${base}/host/file`)),
    ).catch((error) => ({ stdout: String(error) }));
    expect(stdout).toContain("from the host\n");
  });

  describe("of a hostile image", () => {
    let hostile: string;
    beforeAll(async () => {
      hostile = `${base}/hostile`;
      await busyboxRootfs(hostile, {
        links: {
          "dev": `${base}/host`,
          "escape": "/../../../../../../../../tmp",
          "data": `${base}/host/../host`,
          "loop": "loop",
          "dangling": "/made/by/mount",
          "etc/passwd": "/proc/self/environ",
        },
      });
    });

    async function run(overrides: Overrides = {}) {
      await using shim = await ShimClient.start();
      return await shim.run(containerSpec(hostile, ["sh", "-c", "cat /proc/mounts; id -u"], overrides));
    }

    it("no mount and no device reaches the host through its symbolic links", async () => {
      const before = [...Deno.readDirSync(`${base}/host`)].map(({ name }) => name);
      const { stdout } = await run(withMount(
        { type: "tmpfs", target: "/escape/../data/deep", flags: [] },
        bind("/data/../../x/./y"),
      ));
      expect([...Deno.readDirSync(`${base}/host`)].map(({ name }) => name)).toEqual(before);
      expect(stdout).toContain(` ${base}/host/null devtmpfs`);
      expect(stdout).toContain(` ${base}/host/deep tmpfs`);
      expect(stdout).toMatch(/ \/x\/y /);
      // The same paths exist inside the image's directory now, and nowhere else.
      expect((await Deno.stat(`${hostile}${base}/host`)).isDirectory).toBe(true);
    });

    it("a link to what does not exist is followed inside", async () => {
      const { stdout } = await run(withMount(bind("/dangling")));
      expect(stdout).toMatch(/ \/made\/by\/mount /);
    });

    it.each(["proc", "sys"])("/%s must be a directory", async (name) => {
      const image = `${base}/linked-${name}`;
      await busyboxRootfs(image, { links: { [name]: "/tmp" } });
      await using shim = await ShimClient.start();
      expect(await shim.start(containerSpec(image, ["true"]))).toMatchObject({
        ok: false,
        error: { message: expect.stringContaining("must be mounted on ordinary directory") },
      });
    });

    it("a link to itself is an error, and files that are none are not read", async () => {
      await expect(run(withMount(bind("/loop/x")))).rejects.toThrow("too many levels of symbolic links");
      expect((await run()).stdout).toMatch(/\n0\n$/);
    });
  });

  it("nothing of them is left on the host's side", async () => {
    await using shim = await ShimClient.start();
    await shim.run(containerSpec(rootfs, ["true"]));
    const mounts = await Deno.readTextFile(`/proc/${shim.pid}/mountinfo`);
    expect(mounts).not.toContain(shim.dir);
    expect(await Deno.readTextFile("/proc/self/mountinfo")).not.toContain(base);
  });
});
