/** A container's first process, through a real shim and init: what it is given, and how it ends. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ContainerSpec, MountSpec, ProcessSpec } from "../../runtime/spec.ts";
import { compileSeccomp, defaultProfile } from "../../runtime/seccomp/mod.ts";
import { busyboxRootfs } from "../support/busybox_image.ts";
import { containerSpec, DEFAULT_CAPS, DEFAULT_MOUNTS } from "../support/container_spec.ts";
import { ShimClient, type StartOptions } from "../support/shim_client.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

const none = "0".repeat(16);

type Overrides = Parameters<typeof containerSpec>[2];

describeWith(BUSYBOX)("a container's process", () => {
  let rootfs: string;
  beforeAll(async () => {
    rootfs = await Deno.makeTempDir({ prefix: "berth-rootfs-" });
    await Deno.chmod(rootfs, 0o755);
    await busyboxRootfs(rootfs);
    await Deno.mkdir(`${rootfs}/locked`, { mode: 0o700 });
    await Deno.writeTextFile(`${rootfs}/plain`, "no program\n", { mode: 0o644 });
    await Deno.writeTextFile(`${rootfs}/noexec`, "no format", { mode: 0o755 });
    await Deno.writeTextFile(`${rootfs}/nointerp`, "#!/does/not/exist\n", { mode: 0o755 });
    await Deno.writeTextFile(`${rootfs}/rootonly`, "#!/bin/sh\necho ran\n", { mode: 0o700 });
  });
  afterAll(async () => {
    await Deno.remove(rootfs, { recursive: true });
  });

  async function run(
    args: readonly string[],
    overrides?: Overrides,
    options?: StartOptions & { stdin?: string },
  ) {
    await using shim = await ShimClient.start();
    const result = await shim.run(containerSpec(rootfs, args, overrides), options);
    expect(await shim.shimLog()).toBe("");
    expect(await shim.shutdown()).toBe(true);
    return result;
  }
  const sh = (script: string, overrides?: Overrides) => run(["sh", "-c", script], overrides);
  const process = (process: Partial<ProcessSpec>): Overrides => ({ process });
  async function failure(args: readonly string[], overrides?: Overrides) {
    await using shim = await ShimClient.start();
    const reply = await shim.start(containerSpec(rootfs, args, overrides));
    await shim.shutdown();
    if (reply.ok) throw new Error("started");
    return reply.error;
  }

  it("writes to stdout and stderr", async () => {
    const { stdout, stderr, record } = await sh("echo hi; echo oops >&2");
    expect({ stdout, stderr, code: record.exitCode, signal: record.signal }).toEqual({
      stdout: "hi\n",
      stderr: "oops\n",
      code: 0,
      signal: null,
    });
  });

  it("ends with its exit code, which is on disk before it is told", async () => {
    await using shim = await ShimClient.start();
    const { record } = await shim.run(containerSpec(rootfs, ["sh", "-c", "exit 42"]));
    expect(record.exitCode).toBe(42);
    expect(JSON.parse(await Deno.readTextFile(shim.exitFile))).toEqual(record);
    expect(record.startedAt < record.finishedAt).toBe(true);
  });

  it("ends with 128 and the signal's number", async () => {
    await using shim = await ShimClient.start();
    await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    expect((await shim.request({ op: "signal", signal: 9 })).ok).toBe(true);
    const { record } = await shim.event("exit");
    expect(record).toMatchObject({ exitCode: 137, signal: 9 });
    const late = await shim.request({ op: "signal", signal: 15 });
    expect(late).toMatchObject({ ok: false, error: { errno: 3 } });
  });

  it("gets signals that it handles", async () => {
    await using shim = await ShimClient.start();
    const attached = await shim.attach();
    await shim.start(
      containerSpec(rootfs, ["sh", "-c", "trap 'echo got; exit 5' TERM; echo up; sleep 1000 & wait"]),
    );
    await attached.until("up\n");
    await shim.request({ op: "signal", signal: 15 });
    expect(await attached.raw()).toContain("got\n");
    expect((await shim.exit()).exitCode).toBe(5);
  });

  it("reads stdin to its end", async () => {
    const { stdout, record } = await run(["cat"], {}, { stdin: "one\ntwo\n" });
    expect({ stdout, code: record.exitCode }).toEqual({ stdout: "one\ntwo\n", code: 0 });
  });

  it("takes and gives a megabyte through stdin and stdout", async () => {
    const text = "0123456789abcdef".repeat(65536);
    const { stdout } = await run(["cat"], {}, { stdin: text, log: { driver: "none" } });
    expect(stdout.length).toBe(text.length);
    expect(stdout === text).toBe(true);
  });

  it("has an empty stdin when none was asked for", async () => {
    expect((await run(["wc", "-c"])).stdout).toBe("0\n");
  });

  it("is PID 1, alone with its children, and leads its session", async () => {
    const { stdout } = await sh(
      "echo $$; ps -o pid= | tr -d ' ' | head -1; ps -o sid= | head -1 | tr -d ' '",
    );
    expect(stdout).toBe("1\n1\n1\n");
  });

  it("inherits nothing: descriptors, signals, limits, environment", async () => {
    const signals = await run(["grep", "Sig[BIC]", "/proc/self/status"]);
    expect(signals.stdout).toBe(`SigBlk:\t${none}\nSigIgn:\t${none}\nSigCgt:\t${none}\n`);
    const { stdout } = await sh(
      "ls /proc/1/fd; ulimit -n; ulimit -Hn; tr '\\0' '\\n' </proc/1/environ; umask; " +
        "cat /proc/1/timerslack_ns /proc/1/personality",
    );
    expect(stdout).toBe(
      "0\n1\n2\n1024\n4096\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=test\nHOME=/root\n0022\n50000\n00000000\n",
    );
  });

  it("has no more than is permitted of a limit that is a default, and fails for one that was asked for", async () => {
    const script = "ulimit -n; ulimit -Hn";
    const [resource, soft, hard] = [7, "-1", "-1"];
    const permitted = (await new Deno.Command("sh", { args: ["-c", "ulimit -Hn"] }).output()).stdout;
    const most = new TextDecoder().decode(permitted);
    expect((await sh(script, { process: { rlimits: [{ resource, soft, hard, atMost: true }] } })).stdout)
      .toBe(most + most);
    await expect(sh(script, { process: { rlimits: [{ resource, soft, hard }] } })).rejects.toThrow(
      "error setting rlimit type 7: setrlimit: operation not permitted",
    );
  });

  it("has exactly Docker's capabilities, bounding set included", async () => {
    const { stdout } = await sh("grep Cap /proc/self/status");
    expect(stdout).toBe(
      `CapInh:\t${none}\nCapPrm:\t${DEFAULT_CAPS}\nCapEff:\t${DEFAULT_CAPS}\nCapBnd:\t${DEFAULT_CAPS}\nCapAmb:\t${none}\n`,
    );
  });

  it("as another user has none, but keeps the bounding set", async () => {
    const { stdout } = await sh("grep Cap /proc/self/status; touch /locked/x", process({ user: "1000" }));
    expect(stdout).toBe(
      `CapInh:\t${none}\nCapPrm:\t${none}\nCapEff:\t${none}\nCapBnd:\t${DEFAULT_CAPS}\nCapAmb:\t${none}\n`,
    );
  });

  it("has ambient capabilities when they are asked for", async () => {
    const capabilities = {
      bounding: "400",
      permitted: "400",
      effective: "400",
      inheritable: "400",
      ambient: "400",
    };
    const { stdout } = await sh(
      "grep -E 'Cap(Eff|Amb)' /proc/self/status",
      process({ user: "1000", capabilities }),
    );
    expect(stdout).toBe("CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n");
  });

  it.each(
    [["root", "", false], ["root without new privileges", "", true], ["a user", "1000", false]] as const,
  )(
    "runs under the default seccomp profile as %s",
    async (_, user, noNewPrivileges) => {
      const kernel = Deno.osRelease().split(".").map(Number);
      const program = compileSeccomp(defaultProfile(), {
        arch: Deno.build.arch,
        caps: ["CAP_CHOWN", "CAP_SYS_CHROOT"],
        kernel: [kernel[0] ?? 5, kernel[1] ?? 0],
      });
      const seccomp = btoa(String.fromCharCode(...program));
      const { stdout } = await sh(
        "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; unshare -r true 2>&1; mount -t tmpfs x /tmp 2>&1",
        process({ seccomp, user, noNewPrivileges }),
      );
      expect(stdout).toContain(`NoNewPrivs:\t${noNewPrivileges ? 1 : 0}\nSeccomp:\t2\n`);
      expect(stdout).toMatch(/unshare.*not permitted/);
      expect(stdout).toMatch(/mount: permission denied|not permitted/);
    },
  );

  it.each([
    ["", "uid=0(root) gid=0(root) groups=0(root)"],
    ["app", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),2001(more)"],
    ["1000", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),2001(more)"],
    ["app:nogroup", "uid=1000(app) gid=65534(nogroup) groups=65534(nogroup)"],
    ["4242", "uid=4242 gid=0(root) groups=0(root)"],
    ["4242:4343", "uid=4242 gid=4343 groups=4343"],
  ])("user %j is looked up in the image", async (user, expected) => {
    expect((await sh("id", process({ user }))).stdout.trim()).toBe(expected);
  });

  it("gets additional groups by name and number", async () => {
    const { stdout } = await sh("id -G", process({ user: "4242:7", additionalGroups: ["extra", "99"] }));
    expect(stdout).toBe("7 99 2000\n");
  });

  it("gets HOME from the image, but never instead of its own", async () => {
    expect((await sh("echo $HOME", process({ user: "app" }))).stdout).toBe("/home/app\n");
    expect((await sh("echo $HOME", process({ user: "4242" }))).stdout).toBe("/\n");
    expect((await sh("echo $HOME", process({ user: "app", env: ["PATH=/bin", "HOME=/x"] }))).stdout).toBe(
      "/x\n",
    );
  });

  it("may open its standard streams by name as any user", async () => {
    const { stdout, stderr } = await sh("echo a >/dev/stdout; echo b >/dev/stderr", process({ user: "app" }));
    expect({ stdout, stderr }).toEqual({ stdout: "a\n", stderr: "b\n" });
  });

  it("starts in its working directory, made when missing", async () => {
    expect((await sh("pwd", process({ cwd: "/tmp/new/dir" }))).stdout).toBe("/tmp/new/dir\n");
    await Deno.remove(`${rootfs}/tmp/new`, { recursive: true });
  });

  it.each([
    [["nosuch"], {}, 2, 'exec: "nosuch": executable file not found in $PATH'],
    [["/no/such"], {}, 2, 'exec: "/no/such": stat /no/such: no such file or directory'],
    [["/etc"], {}, 21, 'exec: "/etc": is a directory'],
    [["/plain"], {}, 13, 'exec: "/plain": permission denied'],
    [["/etc/passwd/x"], {}, 20, 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'],
    [["/rootonly"], { user: "1000" }, 13, 'exec: "/rootonly": permission denied'],
    [["true"], { env: ["HOME=/"] }, 2, 'exec: "true": executable file not found in $PATH'],
  ])("%j fails with Docker's words", async (args, overrides, errno, message) => {
    expect(await failure(args, process(overrides))).toEqual({ stage: "exec", errno, message });
  });

  it("a program on a mount with noexec is refused before it is started", async () => {
    const mounts: MountSpec[] = [
      ...DEFAULT_MOUNTS,
      { type: "bind", source: `${rootfs}/bin`, target: "/opt", flags: ["bind", "noexec"] },
    ];
    expect(await failure(["/opt/busybox"], { mounts })).toEqual({
      stage: "exec",
      errno: 13,
      message: 'exec: "/opt/busybox": permission denied',
    });
  });

  it.each([
    ["/noexec", "exec /noexec: exec format error\n"],
    ["/nointerp", "exec /nointerp: no such file or directory\n"],
  ])("%s is started, and fails by itself as with runc", async (path, message) => {
    const { stdout, stderr, record } = await run([path]);
    expect({ stdout, stderr, code: record.exitCode }).toEqual({ stdout: "", stderr: message, code: 255 });
  });

  it.each([
    ["nobody2", "unable to find user nobody2: no matching entries in passwd file"],
    ["app:nosuch", "unable to find group nosuch: no matching entries in group file"],
    ["-1", "uids and gids must be in range 0-2147483647"],
  ])("user %s does not start", async (user, message) => {
    expect(await failure(["true"], process({ user }))).toEqual({ stage: "user", errno: 0, message });
  });

  it("does not start outside of its root by way of a descriptor", async () => {
    for (let fd = 3; fd < 40; fd += 4) {
      const { stage } = await failure(["true"], process({ cwd: `/proc/self/fd/${fd}` }));
      expect(stage).toBe("cwd");
    }
  });

  it("has its own host name, and sysctls of its own namespaces only", async () => {
    const { stdout } = await sh(
      "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_unprivileged_port_start",
      {
        hostname: "box",
        domainname: "example.org",
        sysctls: { "net.ipv4.ip_unprivileged_port_start": "0" },
      },
    );
    expect(stdout).toBe("box\nexample.org\n0\n");
    expect(await failure(["true"], { sysctls: { "kernel.panic": "1" } })).toMatchObject({
      stage: "sysctl",
      message: 'sysctl "kernel.panic" is not in a separate kernel namespace',
    });
    expect(await failure(["true"], { sysctls: { "net/../kernel/panic": "1" } })).toMatchObject({
      stage: "sysctl",
    });
  });

  it("has the network of a namespace of its own, with loopback", async () => {
    expect((await sh("ip -o addr | awk '{print $2, $4}'")).stdout).toContain("lo 127.0.0.1/8\n");
  });

  it("runs below an init program when one is given", async () => {
    await using program = await temporaryProgram();
    const { stdout } = await sh(
      "cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/mounts | grep docker-init",
      {
        init: program.path,
      },
    );
    expect(stdout).toMatch(/^\/bin\/sh \/sbin\/docker-init -- sh -c /);
    expect(stdout).toMatch(/ \/sbin\/docker-init \S+ ro/);
  });

  it("leaves nothing of the host in its root, mounts included", async () => {
    const { stdout } = await sh("cat /proc/self/mountinfo | awk '{print $5}'; ls -a /proc/1/root /..");
    const targets = stdout.split("\n").filter((line) => /^\/./.test(line) && !line.endsWith(":"));
    expect(targets.every((target) => /^\/(proc|dev|sys)(\/|$)/.test(target))).toBe(true);
  });

  it("an order longer than any datagram arrives whole", async () => {
    const env = ["PATH=/bin", ...Array.from({ length: 2000 }, (_, index) => `V${index}=${"x".repeat(400)}`)];
    expect((await sh("env | grep -c '^V'", process({ env }))).stdout).toBe("2000\n");
  });

  it("a second container is refused", async () => {
    await using shim = await ShimClient.start();
    const spec: ContainerSpec = containerSpec(rootfs, ["sleep", "1000"]);
    await shim.start(spec);
    expect(await shim.start(spec)).toMatchObject({ ok: false });
    expect(await shim.request({ op: "shutdown" })).toMatchObject({ ok: false });
  });
});

/** A script that stands in for tini: /sbin/docker-init -- program args. */
async function temporaryProgram(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempFile({ prefix: "berth-init-" });
  await Deno.writeTextFile(path, '#!/bin/sh\nshift; "$@"\n');
  await Deno.chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}
