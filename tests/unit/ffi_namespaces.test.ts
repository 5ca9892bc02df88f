import { describe, expect, it } from "vitest";
import { inChild } from "../support/ffi_child.ts";
import { describeWith, MACHINE_ROOT, ROOT } from "../support/needs.ts";

describeWith(ROOT)("namespaces of one thread", () => {
  it("unshare(CLONE_NEWUTS) and sethostname() stay inside, and a spawned child is inside too", async () => {
    const outside = Deno.hostname();
    expect(
      await inChild(`
      const before = ns("uts");
      k.unshare(c.CLONE_NEWUTS);
      k.sethostname("berth-tést");
      k.setdomainname("example");
      return { moved: ns("uts") !== before, child: run("/bin/hostname").out, domain: Deno.readTextFileSync("/proc/sys/kernel/domainname").trim() };
    `),
    ).toEqual({ moved: true, child: "berth-tést", domain: "example" });
    expect(Deno.hostname()).toBe(outside);
  });

  it("after unshare(CLONE_NEWPID) the first spawned child is PID 1 and is reaped", async () => {
    expect(
      await inChild(`
      k.unshare(c.CLONE_NEWPID);
      return run("/bin/sh", "-c", "echo $$; exit 3");
    `),
    ).toEqual({ code: 3, out: "1" });
  });

  it("interfaceUp() raises lo in a new network namespace", async () => {
    expect(
      await inChild(`
      k.unshare(c.CLONE_NEWNET);
      const up = () => (parseInt(run("/bin/cat", "/sys/class/net/lo/flags").out, 16) & 1) === 1;
      const listing = () => Deno.readTextFileSync("/proc/thread-self/net/if_inet6").includes("lo");
      const before = listing();
      k.interfaceUp("lo");
      return { before, after: listing(), missing: code(() => k.interfaceUp("nope0")) };
    `),
    ).toEqual({ before: false, after: true, missing: "ENODEV" });
  });

  it("mounts: the classic call, the descriptor API, attributes and pivot_root in a private namespace", async ({ onTestFinished }) => {
    const dir = Deno.makeTempDirSync();
    onTestFinished(() => Deno.removeSync(dir));
    expect(
      await inChild(`
      const dir = "${dir}";
      const options = (path: string) => Deno.readTextFileSync("/proc/thread-self/mountinfo").split("\\n")
        .map((line) => line.split(" ")).find((fields) => fields[4] === path)?.[5];
      k.unshare(c.CLONE_NEWNS);
      k.mount(null, "/", null, c.MS_REC | c.MS_PRIVATE, null);
      k.mount("tmpfs", dir, "tmpfs", c.MS_NOSUID, "size=1m,mode=700");
      const magic = k.statfs(dir).type === c.TMPFS_MAGIC;
      for (const name of ["a", "b", "root"]) k.mkdir(dir + "/" + name, 0o755);
      // fsopen … fsmount … move_mount
      const fs = k.fsopen("tmpfs", 0);
      k.fsconfigString(fs, "size", "2m");
      const bad = code(() => k.fsconfigString(fs, "no-such-option", "1"));
      k.fsconfigFlag(fs, "ro");
      k.fsconfigCreate(fs);
      const mnt = k.fsmount(fs, 0, c.MOUNT_ATTR_NODEV);
      k.moveMount(mnt, "", c.AT_FDCWD, dir + "/a", c.MOVE_MOUNT_F_EMPTY_PATH);
      // a copy of the tree, read-only and nosuid by mount_setattr
      const tree = k.openTree(c.AT_FDCWD, dir, c.OPEN_TREE_CLONE);
      k.mountSetattr(tree, "", c.AT_EMPTY_PATH, { set: c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOEXEC, clear: c.MOUNT_ATTR_NOSUID });
      k.moveMount(tree, "", c.AT_FDCWD, dir + "/b", c.MOVE_MOUNT_F_EMPTY_PATH);
      const seen = { a: options(dir + "/a"), b: options(dir + "/b"), write: code(() => k.mkdir(dir + "/b/x", 0o755)) };
      k.close(mnt);
      k.umount2(dir + "/a", 0);
      k.umount2(dir + "/b", c.MNT_DETACH);
      const gone = options(dir + "/a") ?? "gone";
      // pivot_root(".", ".")
      k.mount("tmpfs", dir + "/root", "tmpfs", 0, null);
      k.mkdir(dir + "/root/inside", 0o755);
      k.chdir(dir + "/root");
      k.pivotRoot(".", ".");
      k.umount2(".", c.MNT_DETACH);
      k.chdir("/");
      return { magic, bad, seen, gone, entries: k.stat("/inside", true).mode === 0o40755, etc: code(() => k.stat("/etc", true)) };
    `),
    ).toEqual({
      magic: true,
      bad: "EINVAL",
      seen: { a: "rw,nodev,relatime", b: "ro,noexec,relatime", write: "EROFS" },
      gone: "gone",
      entries: true,
      etc: "ENOENT",
    });
  });

  it("setns() joins another process's namespace", async () => {
    expect(
      await inChild(`
      const [r, w] = k.pipe2(0);
      const pid = k.spawn({ path: "/usr/bin/unshare", args: ["unshare", "--uts", "sh", "-c", "hostname joined; echo; exec sleep 60"], env: ["PATH=/usr/bin:/bin"], fds: { 1: w } });
      k.read(r, new Uint8Array(1));
      const pidfd = k.pidfdOpen(pid, 0);
      k.setns(pidfd, c.CLONE_NEWUTS);
      const name = run("/bin/hostname").out;
      const fetched = k.readlink("/proc/self/fd/" + k.pidfdGetfd(pidfd, 1)).startsWith("pipe:");
      k.kill(pid, 9);
      k.wait(pid, false);
      return { name, fetched };
    `),
    ).toEqual({ name: "joined", fetched: true });
  });
});

describeWith(ROOT)("credentials of one thread", () => {
  it("groups, ids, capabilities and no_new_privs change on the calling thread", async () => {
    // Beyond 31 bits where such ids are mapped.
    const high = MACHINE_ROOT.missing === "" ? 4_000_000_001 : 65_000;
    expect(
      await inChild(`
      k.prctl(c.PR_CAPBSET_DROP, 21);
      const bounding = k.prctl(c.PR_CAPBSET_READ, 21);
      k.prctl(c.PR_SET_KEEPCAPS, 1);
      k.setgroups([7, ${high}]);
      const groups = status("Groups");
      k.setgroups([]);
      k.setresgid(1234, 1234, 1234);
      k.setresuid(${high}, ${high}, ${high});
      const permitted = k.capget().permitted !== 0n;
      k.capset({ effective: 1n << 10n, permitted: (1n << 10n) | (1n << 38n), inheritable: 0n });
      k.prctl(c.PR_SET_NO_NEW_PRIVS, 1);
      return { bounding, groups, none: status("Groups"), gid: status("Gid"), uid: status("Uid"), permitted,
        eff: status("CapEff"), prm: status("CapPrm"), nnp: status("NoNewPrivs"), sets: k.capget(), denied: code(() => k.setresuid(0, 0, 0)) };
    `),
    ).toEqual({
      bounding: 0,
      groups: `7 ${high}`,
      none: "",
      gid: "1234\t1234\t1234\t1234",
      uid: `${high}\t${high}\t${high}\t${high}`,
      permitted: true,
      eff: "0000000000000400",
      prm: "0000004000000400",
      nnp: "1",
      sets: { effective: "1024", permitted: "274877907968", inheritable: "0" },
      denied: "EPERM",
    });
  });
});

describe("execve()", () => {
  it("replaces a multi-threaded Deno: limits set, descriptors closed", async () => {
    expect(
      await inChild(`
      const open = k.open("/dev/null", c.O_RDWR);
      k.setCloexec(open, false);
      k.setrlimit(c.RLIMIT_NOFILE, 77n, 99n);
      k.umask(0o27);
      k.cloexecFrom(3);
      const failed = code(() => k.execve("/nonexistent", ["x"], []));
      const script = 'printf "[%s,%s,%s,%s]" $X $(ulimit -Sn) $(ulimit -Hn) $(umask | sed s/^0*//) | sed s/]/,/;'
        + 'readlink /proc/$$/fd/' + open + ' >/dev/null && echo true] || echo false]';
      if (failed !== "ENOENT") return failed;
      k.execve("/bin/sh", ["sh", "-c", script], ["PATH=/usr/bin:/bin", "X=5"]);
    `),
    ).toEqual([5, 77, 99, 27, false]);
  });
});

describe("signalfd()", () => {
  it("receives signals to the process when it was born with them blocked", async () => {
    expect(
      await inChild(`
      if (Deno.args[0] !== "inner") {
        const pid = k.spawn({ path: Deno.execPath(), args: ["deno", "run", "-A", "--no-config", import.meta.filename!, "inner"],
          env: ["PATH=/usr/bin:/bin", "HOME=" + (Deno.env.get("HOME") ?? "/")], blockedSignals: [15, 17], fds: { 1: 1 } });
        const ended = k.wait(pid, false);
        Deno.exit(ended?.code ?? 99);
      }
      const fd = k.signalfd([15, 17]);
      const ep = k.epollCreate();
      k.epollAdd(ep, fd, c.EPOLLIN);
      const empty = k.read(fd, new Uint8Array(128));
      const seen: number[] = [];
      const take = () => {
        k.epollWait(ep, 10_000);
        const info = new Uint8Array(128);
        if (k.read(fd, info) === 128) seen.push(info[0] ?? 0);
      };
      k.kill(k.getpid(), 15);
      take();
      const pid = k.spawn({ path: "/bin/true", args: ["true"], env: [] });
      take();
      k.wait(pid, false);
      return { empty, seen };
    `),
    ).toEqual({ empty: -1, seen: [15, 17] });
  });
});

describe("controlling terminal", () => {
  it("is what setControllingTerminal() makes of a pty's slave in a new session", async () => {
    expect(
      await inChild(`
      if (Deno.env.get("INNER") === "1") {
        const before = code(() => k.open("/dev/tty", c.O_RDWR));
        k.setControllingTerminal(0);
        const after = code(() => k.open("/dev/tty", c.O_RDWR));
        Deno.exit(before === "ENXIO" && after === "ok" ? 0 : 1);
      }
      const master = k.open("/dev/ptmx", c.O_RDWR | c.O_NOCTTY);
      k.unlockPty(master);
      const slave = k.openPtyPeer(master);
      const pid = k.spawn({
        path: Deno.execPath(),
        args: ["deno", "run", "-A", "--no-config", import.meta.filename!],
        env: ["HOME=" + (Deno.env.get("HOME") ?? "/"), "INNER=1"],
        setsid: true,
        fds: { 0: slave },
      });
      k.close(slave);
      const ended = k.wait(pid, false);
      k.close(master);
      return ended?.code ?? ended;
    `),
    ).toBe(0);
  });
});
