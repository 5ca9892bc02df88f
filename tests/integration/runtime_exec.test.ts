/** Further processes in a container, and terminals, through a real shim. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { busyboxRootfs, hasBusybox } from "../support/busybox_image.ts";
import { containerSpec, DEFAULT_CAPS, DEFAULT_MOUNTS, processSpec } from "../support/container_spec.ts";
import { ShimClient } from "../support/shim_client.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";

const PTRACE = 1n << 19n;
const SYS_ADMIN = 1n << 21n;

let rootfs: string;
let volume: string;
beforeAll(async () => {
  rootfs = await Deno.makeTempDir({ prefix: "berth-rootfs-" });
  volume = await Deno.makeTempDir({ prefix: "berth-volume-" });
  await Deno.chmod(rootfs, 0o755);
  if (hasBusybox()) await busyboxRootfs(rootfs);
});
afterAll(async () => {
  await Deno.remove(rootfs, { recursive: true });
  await Deno.remove(volume, { recursive: true });
});

const DEFAULT = BigInt(`0x${DEFAULT_CAPS}`);
const TRACING_CAPS = (DEFAULT | PTRACE).toString(16).padStart(16, "0");
const TRACING = {
  capabilities: {
    bounding: TRACING_CAPS,
    permitted: TRACING_CAPS,
    effective: TRACING_CAPS,
    inheritable: "",
    ambient: "",
  },
};

/** A container that looks at every process it can see: has it the host's files, and which rights? What it finds is in /dev/shm. */
async function watchful(): Promise<{ shim: ShimClient; pid: number } & AsyncDisposable> {
  const shim = await ShimClient.start();
  const watch = `while :; do for p in /proc/[0-9]*; do
      [ -e $p/root${rootfs}/bin/sh ] && echo "root of $p" >>/dev/shm/seen
      grep CapPrm $p/status >>/dev/shm/rights
    done 2>/dev/null; done`;
  const started = await shim.start(
    containerSpec(rootfs, [], { process: processSpec(["sh", "-c", watch], TRACING) }),
  );
  if (!started.ok) throw new Error(started.error.message);
  return { shim, pid: started.pid ?? -1, [Symbol.asyncDispose]: () => shim[Symbol.asyncDispose]() };
}

async function expectNothingSeen(shim: ShimClient): Promise<void> {
  const { stdout } = await shim.runExec(
    processSpec(["sh", "-c", "cat /dev/shm/seen; sort -u /dev/shm/rights"], TRACING),
  );
  const rights = [...stdout.matchAll(/^CapPrm:\t([0-9a-f]+)$/gm)].map(([, hex]) => BigInt(`0x${hex}`));
  expect(stdout).not.toContain("root of");
  expect(rights).toContain(DEFAULT | PTRACE);
  for (const right of rights) expect(right & ~(DEFAULT | PTRACE | SYS_ADMIN)).toBe(0n);
}

describeWith(BUSYBOX)("exec", () => {
  let shim: ShimClient;
  beforeEach(async () => {
    shim = await ShimClient.start();
    const mounts = [
      ...DEFAULT_MOUNTS,
      { type: "bind", source: volume, target: "/vol", flags: ["rbind"] } as const,
    ];
    const reply = await shim.start(
      containerSpec(rootfs, ["sh", "-c", "echo 1 >/dev/shm/x; sleep 1000"], { mounts }),
    );
    if (!reply.ok) throw new Error(reply.error.message);
  });
  afterEach(async () => {
    await shim[Symbol.asyncDispose]();
  });
  const sh = (script: string, overrides: Parameters<typeof processSpec>[1] = {}, stdin?: string) =>
    shim.runExec(processSpec(["sh", "-c", script], overrides), stdin);

  it("runs in all namespaces of the container", async () => {
    const script =
      "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; readlink /proc/1/ns/$n; done | sort -u | wc -l; hostname; cat /dev/shm/x";
    expect(await sh(script)).toEqual({ stdout: "6\ntest\n1\n", stderr: "", exitCode: 0 });
  });

  it("shows no process of the engine's to a container that may trace processes", async () => {
    await using tracer = await watchful();
    for (let round = 0; round < 30; round++) {
      expect((await tracer.shim.runExec(processSpec(["true"], TRACING))).exitCode).toBe(0);
    }
    await expectNothingSeen(tracer.shim);
  });

  it("nor does the start of a container that shares its PID namespace", async () => {
    await using tracer = await watchful();
    const inside = ["nsenter", "--user", "--mount", `--target=${tracer.shim.pid}`, "--preserve-credentials"];
    const pid = { kind: "path", path: `/proc/${tracer.pid}/ns/pid` } as const;
    for (let round = 0; round < 8; round++) {
      await using joining = await ShimClient.start(inside, { pid });
      const spec = containerSpec(rootfs, ["sh", "-c", "cat /proc/1/comm; grep -c / /proc/self/mounts"]);
      const { stdout, record } = await joining.run({ ...spec, namespaces: { ...spec.namespaces, pid } });
      expect([stdout.split("\n")[0], record.exitCode]).toEqual(["sh", 0]);
    }
    await expectNothingSeen(tracer.shim);
  });

  it("gives streams and exit code", async () => {
    expect(await sh("cat; echo e >&2; exit 7", {}, "in\n")).toEqual({
      stdout: "in\n",
      stderr: "e\n",
      exitCode: 7,
    });
  });

  it("has the container's rights, its own user and directory, and nothing of the shim", async () => {
    const { stdout } = await sh(
      "id -u; pwd; grep CapBnd /proc/self/status; ls /proc/$$/fd | tr '\\n' ' '; env",
      {
        user: "app",
        cwd: "/tmp",
        env: ["PATH=/bin", "A=b"],
      },
    );
    expect(stdout.split("\n").slice(0, 4)).toEqual([
      "1000",
      "/tmp",
      `CapBnd:\t${DEFAULT_CAPS}`,
      expect.stringMatching(/^0 1 2 /),
    ]);
    expect(stdout).not.toMatch(/DENO|BERTH/);
  });

  it("fails with Docker's words, and the container goes on", async () => {
    expect(await shim.exec("e1", processSpec(["nosuch"]))).toMatchObject({
      ok: false,
      error: { stage: "exec", errno: 2, message: 'exec: "nosuch": executable file not found in $PATH' },
    });
    expect((await sh("echo alive")).stdout).toBe("alive\n");
  });

  it("does not make its working directory", async () => {
    expect(await shim.exec("e1", processSpec(["true"], { cwd: "/nowhere" }))).toMatchObject({
      ok: false,
      error: {
        stage: "cwd",
        message: 'chdir to cwd ("/nowhere") set in config.json failed: no such file or directory',
      },
    });
  });

  it("gets signals by its id", async () => {
    await shim.exec("e1", processSpec(["sleep", "1000"]));
    expect(await shim.request({ op: "signal", signal: 15, execId: "e1" })).toMatchObject({ ok: true });
    expect(await shim.event("exec-exit")).toMatchObject({ execId: "e1", exitCode: 143 });
    expect(await shim.request({ op: "signal", signal: 15, execId: "e1" })).toMatchObject({ ok: false });
  });

  it("is over when its process is, whatever that has left in the background", async () => {
    expect(await sh("sleep 1000 & echo started")).toEqual({ stdout: "started\n", stderr: "", exitCode: 0 });
  });

  it("several at once do not mix", async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) => sh(`cat; exit ${index}`, {}, `${index}\n`.repeat(1000))),
    );
    for (const [index, { stdout, exitCode }] of results.entries()) {
      expect(exitCode).toBe(index);
      expect(stdout).toBe(`${index}\n`.repeat(1000));
    }
  });

  it("ends with the container, and so do its clients' streams", async () => {
    const attached = await shim.attach({ execId: "e1" });
    await shim.exec("e1", processSpec(["sleep", "1000"]));
    await shim.request({ op: "signal", signal: 9 });
    expect(await shim.event("exec-exit")).toMatchObject({ execId: "e1", exitCode: 137 });
    expect(await attached.raw()).toBe("");
    await shim.exit();
    expect(await shim.exec("e2", processSpec(["true"]))).toMatchObject({ ok: false });
  });

  it("an attach to one that has ended ends at once", async () => {
    await shim.exec("e1", processSpec(["true"]));
    await shim.event("exec-exit");
    expect(await (await shim.attach({ execId: "e1" })).raw()).toBe("");
  });

  it("a terminal has a size, a controlling process, and can be resized", async () => {
    const attached = await shim.attach({ execId: "t", stdin: true });
    const process = processSpec(["sh"], { tty: true, consoleSize: [33, 111], env: ["PATH=/bin", "PS1=$ "] });
    expect(await shim.exec("t", process, true)).toMatchObject({ ok: true });
    await attached.until("$ ");
    await attached.write("stty size; tty; ls -l /proc/self/fd/0 | sed 's/.*-> //'; echo end\n");
    expect(await attached.until("\r\nend\r\n")).toMatch(/33 111\r\n\/dev\/pts\/\d\r\n\/dev\/pts\/\d\r\n/);
    await shim.request({ op: "resize", rows: 50, cols: 77, execId: "t" });
    await attached.write("stty size; exit 9\n");
    expect(await attached.raw()).toContain("50 77\r\n");
    expect(await shim.event("exec-exit")).toMatchObject({ exitCode: 9 });
  });

  it("a terminal device that the container has replaced is not opened", async () => {
    await Deno.writeTextFile(`${volume}/marker`, "");
    // Root of a container without CAP_SYS_ADMIN can rename what is in its /dev, but not its mounts.
    await sh("rm -f /dev/ptmx; ln -s /vol/marker /dev/ptmx");
    expect((await sh("echo hi", { tty: true })).stdout).toBe("hi\r\n");
  });
});

describeWith(BUSYBOX)("a container with a terminal", () => {
  const spec = (script: string) =>
    containerSpec(rootfs, ["sh", "-c", script], { process: { tty: true, consoleSize: [24, 80] } });

  it("has it as stdin, stdout, stderr and console, and controls it", async () => {
    await using shim = await ShimClient.start();
    const attached = await shim.attach({ stdin: true });
    const script =
      "stty size; for n in 0 1 2; do readlink /proc/1/fd/$n; done; echo via console >/dev/console; " +
      "echo via tty >/dev/tty; ls -1 /proc/1/fd; echo listed; read line; echo got $line";
    expect((await shim.start(spec(script), { openStdin: true })).ok).toBe(true);
    const text = await attached.until("\r\n2\r\nlisted\r\n");
    expect(text).toContain(
      "24 80\r\n/dev/pts/0\r\n/dev/pts/0\r\n/dev/pts/0\r\nvia console\r\nvia tty\r\n0\r\n1\r\n2\r\nlisted",
    );
    await attached.write("typed\n");
    expect(await attached.raw()).toContain("got typed\r\n");
    expect((await shim.exit()).exitCode).toBe(0);
    expect((await shim.log()).at(-1)).toMatchObject({ log: "got typed\r\n", stream: "stdout" });
  });

  it("is interrupted by Ctrl-C and told of a new size", async () => {
    await using shim = await ShimClient.start();
    const attached = await shim.attach({ stdin: true });
    await shim.start(
      spec(
        "trap 'stty size' WINCH; trap 'echo int; exit 3' INT; echo up; while :; do sleep 1000 & wait; done",
      ),
      {
        openStdin: true,
      },
    );
    await attached.until("up\r\n");
    await shim.request({ op: "resize", rows: 40, cols: 100 });
    await attached.until("40 100\r\n");
    await attached.write("\x03");
    expect(await attached.raw()).toContain("int\r\n");
    expect((await shim.exit()).exitCode).toBe(3);
  });

  it("keeps going when its process closes and opens the terminal again", async () => {
    await using shim = await ShimClient.start();
    const attached = await shim.attach();
    await shim.start(spec("exec 3>/tmp/x 0<&3 1>&3 2>&3; sleep 0.3; exec >/dev/console; echo back"));
    expect(await attached.raw()).toBe("back\r\n");
    expect((await shim.exit()).exitCode).toBe(0);
  });

  it("a resize without a terminal is refused", async () => {
    await using shim = await ShimClient.start();
    await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    expect(await shim.request({ op: "resize", rows: 1, cols: 1 })).toMatchObject({ ok: false });
  });
});
