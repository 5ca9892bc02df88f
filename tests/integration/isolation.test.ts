/** What a process sees and may do inside a container: Docker's defaults, and nothing of the engine. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxArchive } from "../support/busybox_image.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { testDir, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

/** CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP */
const DEFAULT_CAPS = "00000000a80425fb";
const NO_CAPS = "0000000000000000";

describeWith(BUSYBOX).each(usersToTest())("inside a container of $name", (user) => {
  let engine: Engine;
  const run = (...args: string[]) => engine.berth(["run", "--rm", ...args]);
  const sh = async (script: string, ...flags: string[]) =>
    (await run(...flags, "busybox", "sh", "-c", script)).stdout.trim();
  const status = async (...flags: string[]): Promise<Record<string, string>> => {
    const text = (await run(...flags, "busybox", "cat", "/proc/self/status")).stdout;
    return Object.fromEntries(text.split("\n").map((line) => line.split(/:\s*/, 2) as [string, string]));
  };
  beforeAll(async () => {
    engine = await startEngine({ user });
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it("the command itself is PID 1", async () => {
    expect(await sh("echo $$; cat /proc/1/comm; true")).toBe("1\nsh");
    expect((await run("busybox", "cat", "/proc/1/cmdline")).stdout).toBe("cat\0/proc/1/cmdline\0");
  });

  it("root has exactly Docker's fourteen capabilities, bounding set included", async () => {
    expect(await status()).toMatchObject({
      CapInh: NO_CAPS,
      CapPrm: DEFAULT_CAPS,
      CapEff: DEFAULT_CAPS,
      CapBnd: DEFAULT_CAPS,
      CapAmb: NO_CAPS,
      Seccomp: "2",
      NoNewPrivs: "0",
    });
  });

  it("options change exactly what they say", async () => {
    expect(await status("--user", "1000")).toMatchObject({
      CapPrm: NO_CAPS,
      CapEff: NO_CAPS,
      CapBnd: DEFAULT_CAPS,
      Uid: "1000\t1000\t1000\t1000",
    });
    expect(await status("--cap-drop", "ALL", "--cap-add", "NET_RAW")).toMatchObject({
      CapEff: "0000000000002000",
      CapBnd: "0000000000002000",
    });
    expect(await status("--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"))
      .toMatchObject({ NoNewPrivs: "1", Seccomp: "0" });
    expect((await status("--privileged")).CapEff).toMatch(/^000001f{10}$/);
    expect((await status("--privileged")).Seccomp).toBe("0");
    expect(await sh("id", "--user", "app")).toBe(
      "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),2001(more)",
    );
    expect(await sh("id -u; id -g", "--user", "12:34")).toBe("12\n34");
    const unknown = await run("--user", "nobody-here", "busybox", "true");
    expect(unknown.stderr).toContain("unable to find user nobody-here: no matching entries in passwd file");
    expect(unknown.code).not.toBe(0);
  });

  it("the dangerous calls are refused as in Docker", async () => {
    expect(await sh("unshare -U true 2>&1; echo $?")).toMatch(/Operation not permitted\n1$/);
    expect(await sh("mount -t tmpfs none /tmp 2>&1; echo $?")).toMatch(
      /(Operation not permitted|permission denied).*\n[1-9]\d*$/,
    );
    expect(await sh("mknod /tmp/null c 1 3 2>&1; echo $?")).toMatch(/not permitted\n1$/);
    expect(
      await sh("(echo 1 >/proc/sys/kernel/domainname) 2>&1; (echo x >/proc/sysrq-trigger) 2>&1; echo $?"),
    )
      .toMatch(/Read-only file system[^]*1$/);
    // keyctl and bpf need programs that busybox lacks: berth/host has the machine's.
    const python =
      "import ctypes,os;c=ctypes.CDLL(None,use_errno=True);r=c.syscall(NR,0,0,0,0,0);print(r,ctypes.get_errno())";
    const numbers = Deno.build.arch === "aarch64" ? { keyctl: 219, bpf: 280 } : { keyctl: 250, bpf: 321 };
    const perl = (nr: number) => `my $r = syscall(${nr},0,0,0,0,0); print $r, " ", $!+0`;
    for (const nr of Object.values(numbers)) {
      const out = await run("berth/host", "perl", "-e", perl(nr));
      expect(out, python).toMatchObject({ stdout: "-1 1" });
    }
  });

  it("the masked paths are masked, the read-only ones read-only", async () => {
    expect(await sh("cat /proc/keys /proc/kcore /proc/timer_list 2>/dev/null | wc -c")).toBe("0");
    expect(await sh("ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | tr -d '\\n'")).toBe("");
    expect(
      await sh(
        'for p in bus fs irq sys sysrq-trigger; do [ -e /proc/$p ] || continue; grep -q " /proc/$p [^ ]* ro" /proc/self/mounts || echo $p; done',
      ),
    ).toBe("");
    expect(await sh("grep -E '^[^ ]+ /sys ' /proc/self/mounts | cut -d' ' -f4 | cut -d, -f1")).toBe("ro");
  });

  it("only descriptors 0, 1 and 2 are open", async () => {
    expect(await sh("ls /proc/self/fd | sort -n | tr '\\n' ' '; ls -l /proc/$$/fd | grep -c -v total"))
      .toMatch(/^0 1 2 3 /);
    // The shell's own view: /proc/1/fd without the descriptor that ls opens on the directory.
    const fds = await run("busybox", "sh", "-c", "exec busybox find /proc/1/fd -type l");
    expect(fds.stdout.trim().split("\n").map((line) => line.split("/").pop()).filter((fd) => Number(fd) > 3))
      .toEqual([]);
    const tool = await engine.berth(["run", "-d", "--name", "fds", "busybox", "sleep", "1000"]);
    expect(tool.code).toBe(0);
    expect((await engine.berth(["exec", "fds", "ls", "/proc/1/fd"])).stdout).toBe("0\n1\n2\n");
    await engine.berth(["rm", "-f", "fds"]);
  });

  it("signals are as a fresh process has them", async () => {
    const seen = await status();
    expect(seen).toMatchObject({ SigBlk: NO_CAPS, SigIgn: NO_CAPS, SigCgt: NO_CAPS, ShdPnd: NO_CAPS });
  });

  it("environment, limits and mounts hold nothing of the engine", async () => {
    const env = (await run("-e", "MINE=1", "busybox", "env")).stdout.trim().split("\n").map((line) =>
      line.split("=")[0]
    ).sort();
    expect(env).toEqual(["HOME", "HOSTNAME", "MINE", "PATH"]);
    const limits = (await engine.berth(["run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn"]))
      .stdout.trim().split("\n");
    const outside = Deno.readTextFileSync(`/proc/${Deno.ppid}/limits`).match(/^Max open files\s+(\d+)/m);
    expect(Number(limits[0])).toBeLessThanOrEqual(Number(limits[1]));
    expect(outside).not.toBeNull();
    const mounts = (await run("busybox", "cat", "/proc/self/mountinfo")).stdout;
    const roots = mounts.trim().split("\n").map((line) => line.split(" ")[4]);
    expect(
      roots.filter((path) => !/^\/($|proc|dev|sys|etc\/(hosts|hostname|resolv\.conf)$)/.test(path ?? "")),
    ).toEqual([]);
    expect(mounts).not.toContain("/oldroot");
    expect(await sh("ulimit -n", "--ulimit", "nofile=77:88")).toBe("77");
  });

  it("namespaces: own by default, shared when asked", async () => {
    const host = (kind: string) => Deno.readLinkSync(`/proc/self/ns/${kind}`);
    const inside = async (kind: string, ...flags: string[]) =>
      await sh(`readlink /proc/self/ns/${kind}`, ...flags);
    for (const kind of ["pid", "net", "ipc", "uts", "mnt", "user"]) {
      expect(await inside(kind)).not.toBe(host(kind));
    }
    expect(await inside("pid", "--pid", "host")).toBe(host("pid"));
    expect(await inside("net", "--network", "host")).toBe(host("net"));
    expect(await inside("ipc", "--ipc", "host")).toBe(host("ipc"));
    expect(await inside("uts", "--uts", "host")).toBe(host("uts"));
    await engine.berth(["run", "-d", "--name", "peer", "--ipc", "shareable", "busybox", "sleep", "1000"]);
    const peer = async (kind: string) =>
      (await engine.berth(["exec", "peer", "readlink", `/proc/self/ns/${kind}`])).stdout.trim();
    for (const kind of ["pid", "ipc"]) {
      expect(await inside(kind, `--${kind}`, "container:peer")).toBe(await peer(kind));
    }
    expect(await inside("net", "--network", "container:peer")).toBe(await peer("net"));
    await engine.berth(["rm", "-f", "peer"]);
    expect(await sh("ip -o link | cut -d' ' -f2 | tr '\\n' ' '", "--network", "none")).toBe("lo:");
    expect(await sh("ip -o addr show lo | grep -c 127.0.0.1/8")).toBe("1");
  });

  it("--ipc: what is shared includes /dev/shm, and only with those who may", async () => {
    const start = (name: string, ...flags: string[]) =>
      engine.berth(["run", "-d", "--name", name, ...flags, "busybox", "sleep", "1000"]);
    const exec = async (name: string, script: string) =>
      (await engine.berth(["exec", name, "sh", "-c", script])).stdout.trim();
    expect((await start("donor", "--ipc", "shareable", "--shm-size", "3m")).code).toBe(0);
    await exec("donor", "echo from donor >/dev/shm/note");
    expect(await sh("cat /dev/shm/note; echo answer >/dev/shm/back", "--ipc", "container:donor")).toBe(
      "from donor",
    );
    expect(await exec("donor", "cat /dev/shm/back; df -P /dev/shm | tail -1 | awk '{print $1, $2}'")).toBe(
      "answer\nshm 3072",
    );
    expect(await exec("donor", "stat -c %a /dev/shm; grep ' /dev/shm ' /proc/self/mountinfo | cut -d' ' -f6"))
      .toBe("1777\nrw,nosuid,nodev,noexec,relatime");
    // One that joined shares further.
    expect((await start("joined", "--ipc", "container:donor")).code).toBe(0);
    expect(await sh("cat /dev/shm/note", "--ipc", "container:joined")).toBe("from donor");
    // What is mounted outlives a restart of the engine, and its owner as long as somebody has it.
    await engine.kill9();
    await engine.restart();
    expect(await sh("cat /dev/shm/note", "--ipc", "container:donor")).toBe("from donor");
    await engine.berth(["rm", "-f", "donor"]);
    expect(await exec("joined", "cat /dev/shm/note")).toBe("from donor");
    const gone = await run("--ipc", "container:donor", "busybox", "true");
    expect(gone.stderr).toContain("No such container: donor");
    await engine.berth(["rm", "-f", "joined"]);

    expect((await start("own")).code).toBe(0);
    const id = (await engine.berth(["inspect", "-f", "{{.Id}}", "own"])).stdout.trim();
    const refused = await run("--ipc", "container:own", "busybox", "true");
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain(
      `container ${id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
    await engine.berth(["rm", "-f", "own"]);
    expect(await sh("grep -c ' /dev/shm ' /proc/self/mountinfo", "--ipc", "none")).toBe("0");
    const ns = (await sh("stat -c %d /dev/shm", "--ipc", "host")).trim();
    expect(ns).toBe(String(Deno.statSync("/dev/shm").dev));
  });

  it("files: read-only root, tmpfs, shm, bind mounts, working directory", async () => {
    expect(
      await sh(
        "touch /x 2>&1; echo $?; touch /t/x && df -P /t | tail -1 | cut -d' ' -f1",
        "--read-only",
        "--tmpfs",
        "/t:size=1m",
      ),
    ).toMatch(/Read-only file system\n1\ntmpfs$/);
    expect(await sh("df -kP /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "--shm-size", "2m")).toBe(
      "2048",
    );
    expect(await sh("pwd", "-w", "/made/for/it")).toBe("/made/for/it");
    const dir = `${engine.dir}/bind`;
    Deno.mkdirSync(dir);
    Deno.chownSync(dir, user.uid, user.gid);
    expect(await sh("echo a >/b/f && cat /b/f", "-v", `${dir}:/b`)).toBe("a");
    expect(Deno.statSync(`${dir}/f`).uid).toBe(user.uid);
    expect(await sh("(echo a >/b/g) 2>&1; echo $?", "-v", `${dir}:/b:ro`)).toMatch(
      /Read-only file system\n1$/,
    );
    expect(await sh("cat /b", "--mount", `type=bind,source=${dir}/f,target=/b,readonly`)).toBe("a");
    const missing = await run("--mount", `type=bind,source=${dir}/none,target=/b`, "busybox", "true");
    expect(missing.code).toBe(125);
    expect(missing.stderr).toContain(`bind source path does not exist: ${dir}/none`);
  });

  it("an image's symlinks cannot lead a mount out of the container", async () => {
    const outside = `${engine.dir}/outside`;
    Deno.mkdirSync(outside);
    Deno.chownSync(outside, user.uid, user.gid);
    const links = { "var": outside, "home": `../../../../../..${outside}` };
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir(), { reference: "evil:1", links })]);
    const inside = await run(
      "-v",
      `${engine.dir}/log:/home/file`,
      "--tmpfs",
      "/var/x",
      "-w",
      "/home/w",
      "evil:1",
      "ls",
      "/",
    );
    expect(inside.code).toBe(0);
    expect([...Deno.readDirSync(outside)]).toEqual([]);
  });

  it("--init reaps, --hostname names, --sysctl sets", async () => {
    expect(await sh("hostname; cat /etc/hostname", "--hostname", "boat")).toBe("boat\nboat");
    expect(await sh("cat /proc/sys/net/ipv4/ip_forward", "--sysctl", "net.ipv4.ip_forward=1")).toBe("1");
    const bad = await run("--sysctl", "kernel.panic=1", "busybox", "true");
    expect(bad.code).toBe(125);
    expect(bad.stderr).toMatch(/sysctl/);
  });
});
