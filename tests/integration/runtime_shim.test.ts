/** The shim itself: logs, attach, engines that come and go, and what it leaves behind. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyboxRootfs, hasBusybox } from "../support/busybox_image.ts";
import { containerSpec, DEFAULT_CAPS, DEFAULT_MOUNTS, processSpec } from "../support/container_spec.ts";
import { ShimClient, withDeadline } from "../support/shim_client.ts";
import type { MountSpec } from "../../runtime/spec.ts";
import { BUSYBOX, describeWith } from "../support/needs.ts";
import { lexists } from "../../base/exists.ts";

let rootfs: string;
beforeAll(async () => {
  rootfs = await Deno.makeTempDir({ prefix: "berth-rootfs-" });
  await Deno.chmod(rootfs, 0o755);
  if (hasBusybox()) await busyboxRootfs(rootfs);
});
afterAll(async () => {
  await Deno.remove(rootfs, { recursive: true });
});
const NAMESPACES = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
const sh = (script: string) => containerSpec(rootfs, ["sh", "-c", script]);

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const poll = async (): Promise<void> => {
    while (!await holds()) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  await withDeadline(poll(), what);
}

describeWith(BUSYBOX)("the log", () => {
  it("is byte for byte that of Docker's json-file driver", async () => {
    await using shim = await ShimClient.start();
    const script = String
      .raw`printf 'a"b\\c\t<&>\r\n\001\177 \303\244 \342\202\254 \360\237\220\263 \342\200\250\342\200\251 \377 \303\n'; printf 'no end'`;
    await shim.run(sh(script), { log: { attrs: { "b": "2<", "a": "1" } } });
    const text = (await Deno.readTextFile(shim.logFile)).replaceAll(/"time":"[^"]*"/g, '"time":T');
    const rest = '"stream":"stdout","attrs":{"a":"1","b":"2\\u003c"},"time":T}\n';
    expect(text).toBe(
      `{"log":"a\\"b\\\\c\\u0009\\u003c\\u0026\\u003e\\r\\n",${rest}` +
        `{"log":"\\u0001\x7f ä € 🐳 \\u2028\\u2029 \\ufffd \\ufffd\\n",${rest}` +
        `{"log":"no end",${rest}`,
    );
    expect((await Deno.stat(shim.logFile)).mode! & 0o777).toBe(0o640);
  });

  it.each([
    [16383, [16384]],
    [16384, [16384, 1]],
    [16385, [16384, 2]],
    [40000, [16384, 16384, 40000 - 32768 + 1]],
  ])("splits a line of %i bytes as Docker does", async (length, expected) => {
    await using shim = await ShimClient.start();
    await shim.run(sh(`head -c ${length} /dev/zero | tr '\\0' x; echo; echo after`));
    const entries = await shim.log();
    expect(entries.map(({ log }) => log.length)).toEqual([...expected, 6]);
    expect(new Set(entries.slice(0, -1).map(({ time }) => time)).size).toBe(1);
  });

  it("loses none of 100,000 lines from two streams", async () => {
    await using shim = await ShimClient.start();
    await shim.run(sh("seq 1 50000 & seq 100001 150000 >&2; wait"));
    const entries = await shim.log();
    const of = (stream: string) => entries.filter((e) => e.stream === stream).map((e) => Number(e.log));
    expect(of("stdout")).toEqual(Array.from({ length: 50000 }, (_, index) => index + 1));
    expect(of("stderr")).toEqual(Array.from({ length: 50000 }, (_, index) => index + 100001));
  });

  it("is rotated by size, whole entries each, and compressed when asked for", async () => {
    for (const compress of [false, true]) {
      await using shim = await ShimClient.start();
      await shim.run(sh("seq 1 2000"), { log: { maxSize: 20_000, maxFile: 3, compress } });
      const suffix = compress ? ".gz" : "";
      const names = [`${shim.logFile}.2${suffix}`, `${shim.logFile}.1${suffix}`, shim.logFile];
      const numbers: number[] = [];
      for (const name of names) {
        const bytes = await Deno.readFile(name);
        const text = name.endsWith(".gz") ? await gunzip(bytes) : new TextDecoder().decode(bytes);
        if (name !== shim.logFile) {
          expect(text.length).toBeGreaterThanOrEqual(20_000);
          expect(text.length).toBeLessThan(20_100);
        }
        for (const line of text.trimEnd().split("\n")) numbers.push(Number(JSON.parse(line).log));
      }
      expect(lexists(`${shim.logFile}.3${suffix}`)).toBe(false);
      expect(numbers.at(-1)).toBe(2000);
      expect(numbers).toEqual(
        Array.from({ length: numbers.length }, (_, index) => 2001 - numbers.length + index),
      );
    }
  });

  it("starts again from nothing when only one file is kept", async () => {
    await using shim = await ShimClient.start();
    await shim.run(sh("seq 1 2000"), { log: { maxSize: 20_000, maxFile: 1 } });
    expect((await Deno.stat(shim.logFile)).size).toBeLessThan(20_100);
    expect((await shim.log()).at(-1)?.log).toBe("2000\n");
    expect(lexists(`${shim.logFile}.1`)).toBe(false);
  });

  it("on a full disk loses entries, not the container, and never half an entry", async () => {
    await using shim = await ShimClient.start();
    const { stdout, record } = await shim.run(sh("seq 1 1000"), { log: { path: "/dev/full" } });
    expect(record.exitCode).toBe(0);
    expect(stdout.split("\n").length).toBe(1001);
    expect(await shim.shimLog()).toMatch(/entries are lost: write: no space left on device\n$/);
  });

  it("is not written by driver none", async () => {
    await using shim = await ShimClient.start();
    await shim.run(sh("echo hi"), { log: { driver: "none" } });
    expect(lexists(shim.logFile)).toBe(false);
  });

  it("that cannot be opened fails the start", async () => {
    await using shim = await ShimClient.start();
    expect(await shim.start(sh("true"), { log: { path: "/nowhere/log" } })).toMatchObject({
      ok: false,
      error: { errno: 2, message: "open /nowhere/log: no such file or directory" },
    });
  });
});

describeWith(BUSYBOX)("attach", () => {
  it("selects streams", async () => {
    await using shim = await ShimClient.start();
    const out = await shim.attach({ stderr: false });
    const err = await shim.attach({ stdout: false });
    await shim.start(sh("echo o; echo e >&2"));
    expect(await out.output()).toEqual({ stdout: "o\n", stderr: "" });
    expect(await err.output()).toEqual({ stdout: "", stderr: "e\n" });
  });

  it("gives every client everything from when it came", async () => {
    await using shim = await ShimClient.start();
    const clients = await Promise.all([shim.attach(), shim.attach(), shim.attach()]);
    await shim.start(sh("seq 1 1000"));
    const outputs = await Promise.all(clients.map((client) => client.output()));
    expect(new Set(outputs.map(({ stdout }) => stdout)).size).toBe(1);
    expect(outputs[0]?.stdout.endsWith("\n1000\n")).toBe(true);
    expect(await (await shim.attach()).raw()).toBe("");
  });

  it("a client that goes away does not disturb", async () => {
    await using shim = await ShimClient.start();
    const stays = await shim.attach();
    const goes = await shim.attach();
    await shim.start(sh("mkfifo /dev/shm/f; read x </dev/shm/f; seq 1 20000"));
    goes.connection.close();
    const go = "until [ -p /dev/shm/f ]; do :; done; echo >/dev/shm/f";
    await shim.runExec(processSpec(["sh", "-c", go]));
    expect((await stays.output()).stdout).toMatch(/\n20000\n$/);
    expect((await shim.exit()).exitCode).toBe(0);
  });

  it("a client that reads nothing stops neither the process nor others, and gets all of it later", async () => {
    await using shim = await ShimClient.start();
    const slow = await shim.attach();
    const other = await shim.attach();
    const others = other.output();
    await shim.start(sh("seq 1 1000000 | head -c 6000000"), { log: { driver: "none" } });
    expect((await shim.exit()).exitCode).toBe(0);
    expect((await others).stdout.length).toBe(6_000_000);
    expect((await slow.output()).stdout).toBe((await others).stdout);
  });

  it("a client of an exec that reads nothing does not stop it either", async () => {
    await using shim = await ShimClient.start();
    await shim.start(sh("sleep 60"));
    const slow = await shim.attach({ execId: "loud" });
    expect((await shim.exec("loud", processSpec(["sh", "-c", "seq 1 1000000 | head -c 6000000"]), false)).ok)
      .toBe(true);
    await shim.event("exec-exit");
    expect((await slow.output()).stdout.length).toBe(6_000_000);
    await shim.request({ op: "signal", signal: 9 });
  });

  it("stdin goes on after a client without stdinOnce, and that client's attach is over", async () => {
    await using shim = await ShimClient.start();
    const first = await shim.attach({ stdin: true });
    await shim.start(sh("read a; echo $a; read b; echo $b"), { openStdin: true, stdinOnce: false });
    await first.write("one\n");
    expect(await first.until("one\n")).toContain("one\n");
    await first.closeWrite();
    expect(await first.raw()).toBe("");
    const second = await shim.attach({ stdin: true });
    await second.write("two\n");
    expect((await second.output()).stdout).toBe("two\n");
    await shim.exit();
  });

  it("stdin that comes with the header, and before the start, is not lost", async () => {
    await using shim = await ShimClient.start();
    const connection = await Deno.connect({ transport: "unix", path: `${shim.dir}/attach.sock` });
    await connection.write(new TextEncoder().encode('{"stdin":true,"stdout":true,"stderr":true}\nearly\n'));
    await connection.closeWrite();
    const buffer = new Uint8Array(12);
    await connection.read(buffer);
    await shim.start(sh("cat"), { openStdin: true });
    expect(new TextDecoder().decode(await new Response(connection.readable).bytes())).toContain("early\n");
    await shim.exit();
  });

  it("a process that does not read its stdin blocks its client only", async () => {
    await using shim = await ShimClient.start();
    const attached = await shim.attach({ stdin: true });
    await shim.start(sh("mkfifo /dev/shm/f; read x </dev/shm/f"), { openStdin: true });
    const writing = attached.write(new Uint8Array(4_000_000)).catch(() => "closed");
    expect((await shim.runExec(processSpec(["echo", "alive"]))).stdout).toBe("alive\n");
    await shim.request({ op: "signal", signal: 9 });
    await shim.exit();
    // cut off, or taken by nobody: which of the two comes first is chance
    await withDeadline(writing, "end of the write");
  });

  it("a header that is none is refused", async () => {
    await using shim = await ShimClient.start();
    const connection = await Deno.connect({ transport: "unix", path: `${shim.dir}/attach.sock` });
    await connection.write(new TextEncoder().encode("nonsense\n"));
    expect(await new Response(connection.readable).text()).toContain('"ok":false');
  });
});

describeWith(BUSYBOX)("a shim", () => {
  it("ends when its engine has died between hearing that it is ready and connecting", async () => {
    await using shim = await ShimClient.start(undefined, undefined, false);
    await until("the shim's end", () => !lexists(`/proc/${shim.pid}/ns/pid`) && !lexists(shim.dir));
  });

  it("outlives its engine, and tells the next one what has happened", async () => {
    await using shim = await ShimClient.start();
    const started = await shim.start(sh("sleep 0.2; echo later; exit 4"));
    shim.disconnect();
    await until("exit record", () => lexists(shim.exitFile));
    await shim.connect();
    const record = await shim.exit();
    expect(record.exitCode).toBe(4);
    expect((await shim.log()).map(({ log }) => log)).toEqual(["later\n"]);
    expect(await shim.request({ op: "status" })).toMatchObject({
      ok: true,
      state: { containerId: "0123456789abcdef", pid: started.ok ? started.pid : 0, shimPid: shim.pid },
    });
    // Until it is dismissed it tells each engine that comes.
    shim.disconnect();
    await shim.connect();
    expect(await shim.exit()).toEqual(record);
    expect(await shim.shutdown()).toBe(true);
  });

  it("whose container has ended waits a while for an engine that wants to know, then ends", async () => {
    await using shim = await ShimClient.start();
    await shim.start(sh("exit 4"));
    shim.disconnect();
    await until("the shim's end", () => !lexists(`/proc/${shim.pid}/ns/pid`) && !lexists(shim.dir));
    expect(JSON.parse(await Deno.readTextFile(shim.exitFile)).exitCode).toBe(4);
  });

  it("whose container has ended stays for a client that has not read everything, with an engine or without", async () => {
    await using shim = await ShimClient.start();
    const slow = await shim.attach();
    await shim.start(sh("seq 1 1000000 | head -c 6000000"), { log: { driver: "none" } });
    await shim.exit();
    shim.disconnect();
    await until("the moment when it would have ended", () => !lexists(shim.dir));
    expect((await slow.output()).stdout.length).toBe(6_000_000);
    await until("the shim's end", () => !lexists(`/proc/${shim.pid}/ns/pid`));
  });

  it("keeps on disk how to find it", async () => {
    await using shim = await ShimClient.start();
    const reply = await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    if (!reply.ok) throw new Error(reply.error.message);
    const state = JSON.parse(await Deno.readTextFile(`${shim.dir}/state.json`));
    const stat = (pid: number) => Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]?.split(" ")[19];
    expect(state).toEqual({
      shimPid: shim.pid,
      shimStartTime: stat(shim.pid),
      containerId: "0123456789abcdef",
      init: null,
      pid: reply.pid,
      startTime: stat(reply.pid ?? 0),
      startedAt: reply.startedAt,
      exitFile: shim.exitFile,
    });
  });

  it("names the process that waits, and executes the program of a start with hold after go only", async () => {
    await using shim = await ShimClient.start();
    const status = await shim.request({ op: "status" });
    const init = status.ok ? status.state?.init : undefined;
    const started = shim.start(sh("cat /proc/sys/net/ipv4/ip_default_ttl; exit 3"), { hold: true });
    // Made from outside, in the network namespace that the container will have.
    const network = `--net=/proc/${init?.pid}/ns/net`;
    const user = [`--user=/proc/${init?.pid}/ns/user`, "--preserve-credentials"];
    const command = ["sh", "-c", "echo 77 >/proc/sys/net/ipv4/ip_default_ttl"];
    await new Deno.Command("nsenter", { args: [...user, network, ...command] }).output();
    expect(await shim.request({ op: "go" })).toMatchObject({ ok: true });
    expect(await started).toMatchObject({ ok: true, ...init });
    expect((await shim.exit()).exitCode).toBe(3);
    expect((await shim.log()).map(({ log }) => log)).toEqual(["77\n"]);
  });

  it("takes go together with the start, and nothing is left of one that is refused", async () => {
    await using shim = await ShimClient.start();
    const [started, gone] = await Promise.all([
      shim.start(sh("exit 4"), { hold: true }),
      shim.request({ op: "go", refusal: "no network today" }),
    ]);
    expect(gone.ok).toBe(true);
    expect(started).toMatchObject({ ok: false, error: { stage: "network", message: "no network today" } });
    await shim.again();
    const [second] = await Promise.all([
      shim.start(sh("exit 5"), { hold: true }),
      shim.request({ op: "go" }),
    ]);
    expect(second.ok).toBe(true);
    expect((await shim.exit()).exitCode).toBe(5);
  });

  it("ends with its process when its engine dies during a start with hold", async () => {
    await using shim = await ShimClient.start();
    const status = await shim.request({ op: "status" });
    const init = status.ok ? status.state?.init?.pid : undefined;
    void shim.start(sh("sleep 1000"), { hold: true }).catch(() => {});
    const mounts = (pid: number | undefined) => Deno.readLinkSync(`/proc/${pid}/ns/mnt`);
    await until("the start has begun", () => mounts(init) !== mounts(shim.pid));
    shim.disconnect();
    await until("both are gone", () => !lexists(`/proc/${init}`) && !lexists(shim.dir));
  });

  it.each(["0", "7"])(
    "that is killed takes the process of a start with hold along, of user %s too",
    async (user) => {
      await using shim = await ShimClient.start();
      const status = await shim.request({ op: "status" });
      const init = status.ok ? status.state?.init?.pid ?? 0 : 0;
      const field = (name: string) =>
        new RegExp(`^${name}:\\t(\\S+)`, "m").exec(Deno.readTextFileSync(`/proc/${init}/status`))?.[1];
      const before = field("Uid");
      void shim.start(containerSpec(rootfs, ["sleep", "1000"], { process: { user } }), { hold: true }).catch(
        () => {},
      );
      await until(
        "it has given up its rights",
        () => field("CapBnd") === DEFAULT_CAPS && (user === "0" || field("Uid") !== before),
      );
      // It is answered where the start waits.
      await shim.request({ op: "status" });
      Deno.kill(shim.pid, "SIGKILL");
      try {
        await until("the process is gone", () => !lexists(`/proc/${init}`));
      } finally {
        if (lexists(`/proc/${init}`)) Deno.kill(init, "SIGKILL");
      }
    },
  );

  it("whose directory is on a full disk starts containers all the same", async () => {
    await using shim = await ShimClient.start();
    // Nothing can be written there, whoever tries.
    await Deno.mkdir(`${shim.dir}/state.json.tmp`);
    expect(await shim.start(sh("exit 6"))).toMatchObject({ ok: true });
    expect((await shim.exit()).exitCode).toBe(6);
    expect(await shim.shimLog()).toContain("state.json");
    await Deno.remove(`${shim.dir}/state.json.tmp`);
  });

  it.each([
    ["sh -c 'kill -9 $$'; exit $?", true],
    ["exit 1", false],
  ])(
    "learns from the cgroup above why a shell has ended by %s, when its own has gone",
    async (end, killed) => {
      await using shim = await ShimClient.start();
      const above = await Deno.makeTempDir({ prefix: "berth-cgroup-" });
      const cgroupPath = `${above}/own`;
      await Deno.mkdir(cgroupPath);
      for (const dir of [above, cgroupPath]) await Deno.writeTextFile(`${dir}/memory.events`, "oom_kill 0\n");
      await Deno.writeTextFile(`${cgroupPath}/cgroup.procs`, "");
      const mounts: MountSpec[] = [...DEFAULT_MOUNTS, {
        type: "bind",
        source: above,
        target: "/above",
        flags: [],
      }];
      // Plain files cannot be watched, as if the cgroup went at once.
      const script = `echo oom_kill 1 >/above/memory.events; ${end}`;
      const { record } = await shim.run(containerSpec(rootfs, ["sh", "-c", script], { mounts, cgroupPath }));
      expect(record.oomKilled).toBe(killed);
      await Deno.remove(above, { recursive: true });
    },
  );

  it("without a container ends with its engine's connection", async () => {
    await using shim = await ShimClient.start();
    shim.disconnect();
    await until("end of the shim", () => !lexists(shim.dir));
  });

  it("whose waiting init is killed ends as well, so that nobody takes it for a warm one", async () => {
    await using shim = await ShimClient.start();
    const init = Deno.readTextFileSync(`/proc/${shim.pid}/task/${shim.pid}/children`).trim();
    Deno.kill(Number(init), "SIGKILL");
    await until("the shim's end", () => !lexists(shim.dir));
  });

  it("whose start has failed ends with its engine's connection too, and its namespaces with it", async () => {
    await using shim = await ShimClient.start();
    expect((await shim.start(containerSpec(rootfs, ["nosuch"]))).ok).toBe(false);
    shim.disconnect();
    await until("end of the shim", () => !lexists(shim.dir));
  });

  it("ignores what would end other processes", async () => {
    await using shim = await ShimClient.start();
    await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) Deno.kill(shim.pid, signal);
    expect(await shim.request({ op: "status" })).toMatchObject({ ok: true });
  });

  it("does not stumble over nonsense on its control socket", async () => {
    await using shim = await ShimClient.start();
    const connection = await Deno.connect({ transport: "unix", path: `${shim.dir}/ctl.sock` });
    await connection.write(new TextEncoder().encode('}{\n{"seq":1,"op":"dance"}\n'));
    const buffer = new Uint8Array(1000);
    const count = await connection.read(buffer);
    expect(new TextDecoder().decode(buffer.subarray(0, count ?? 0))).toContain("unknown request");
    connection.close();
  });

  it("has no more descriptors after many execs and attaches than before", async () => {
    await using shim = await ShimClient.start();
    await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    const count = () => [...Deno.readDirSync(`/proc/${shim.pid}/fd`)].length;
    await shim.runExec(processSpec(["true"]));
    const before = count();
    for (let index = 0; index < 5; index++) {
      await shim.runExec(processSpec(["cat"]), "x");
      await shim.runExec(processSpec(["echo"], { tty: true }));
      await shim.exec(`missing${index}`, processSpec(["nosuch"]));
      (await shim.attach()).connection.close();
    }
    await until("descriptors to be closed", () => count() <= before);
    const children = await Deno.readTextFile(`/proc/${shim.pid}/task/${shim.pid}/children`);
    expect(children.trim().split(" ").length).toBe(1);
  });

  it("begins anew when it is told to, with nothing of the container before in it", async () => {
    await using shim = await ShimClient.start();
    const descriptors = () => [...Deno.readDirSync(`/proc/${shim.pid}/fd`)].length;
    // Answered: the connection is among those that are counted.
    await shim.request({ op: "status" });
    const before = descriptors();
    for (let life = 0; life < 5; life++) {
      const old = shim.dir;
      const { stdout, record } = await shim.run(sh(`
        for ns in ${NAMESPACES.join(" ")}; do readlink /proc/self/ns/$ns; done
        hostname; hostname changed; sleep 1000 & echo $$; exit ${life}`));
      const lines = stdout.trim().split("\n");
      const shims = NAMESPACES.map((name) => Deno.readLinkSync(`/proc/${shim.pid}/ns/${name}`));
      expect(lines.slice(0, 6).filter((line) => shims.includes(line))).toEqual([]);
      expect([record.exitCode, ...lines.slice(6)]).toEqual([life, "test", "1"]);
      await shim.again();
      expect(lexists(old)).toBe(false);
    }
    // The connection of the life before is closed when the shim has seen its end.
    await until("descriptors to be closed", () => descriptors() <= before);
    const children = await Deno.readTextFile(`/proc/${shim.pid}/task/${shim.pid}/children`);
    expect(children.trim().split(" ").length).toBe(1);
    const oom = (pid: number | string) => Deno.readTextFileSync(`/proc/${pid}/oom_score_adj`);
    expect(await shim.run(sh("cat /proc/self/oom_score_adj"))).toMatchObject({ stdout: oom("self") });
  });

  it("begins anew without having had a container, and keeps nothing of the process that waited", async () => {
    await using shim = await ShimClient.start();
    await shim.request({ op: "status" });
    const descriptors = () => [...Deno.readDirSync(`/proc/${shim.pid}/fd`)].length;
    const mappings = () => Deno.readTextFileSync(`/proc/${shim.pid}/maps`).split("berth-stub").length;
    const before = [descriptors(), mappings()];
    for (let life = 0; life < 5; life++) await shim.again();
    await until("descriptors to be closed", () => descriptors() <= (before[0] ?? 0));
    expect(mappings()).toBe(before[1]);
  });

  it("begins anew after a failed start too, and ends when its engine dies meanwhile", async () => {
    await using shim = await ShimClient.start();
    expect((await shim.start(containerSpec(rootfs, ["nosuch"]))).ok).toBe(false);
    await shim.again();
    expect((await shim.run(sh("echo hi"))).stdout).toBe("hi\n");
    const dir = await Deno.makeTempDir();
    await shim.request({ op: "shutdown", again: dir });
    shim.disconnect();
    await until("the shim's end", () => !lexists(dir));
  });

  it("does not begin anew while a client has not read everything, and says so", async () => {
    await using shim = await ShimClient.start();
    const slow = await shim.attach();
    await shim.start(sh("seq 1 1000000 | head -c 900000"), { log: { driver: "none" } });
    await shim.exit();
    const dir = await Deno.makeTempDir();
    expect(await shim.request({ op: "shutdown", again: dir })).toMatchObject({ ok: true, heldUp: true });
    shim.disconnect();
    expect((await slow.output()).stdout.length).toBe(900_000);
    await until("the shim's end", () => !lexists(`/proc/${shim.pid}/fd/0`));
    expect([...Deno.readDirSync(dir)]).toEqual([]);
    await Deno.remove(dir);
  });

  it("does not begin anew while its container runs", async () => {
    await using shim = await ShimClient.start();
    await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
    expect(await shim.request({ op: "shutdown", again: shim.dir })).toMatchObject({
      ok: false,
      error: { message: "container is running" },
    });
  });

  it("ends everything that a container in the host's PID namespace has started", async () => {
    await using shim = await ShimClient.start(undefined, { pid: { kind: "host" } });
    const spec = sh("setsid sh -c 'sleep 1111 & sleep 1112' & sleep 1113 & echo started; exit 6");
    const namespaces = { ...spec.namespaces, pid: { kind: "host" } as const };
    const { stdout, record } = await shim.run({ ...spec, namespaces });
    expect({ stdout, code: record.exitCode }).toEqual({ stdout: "started\n", code: 6 });
    expect((await Deno.readTextFile(`/proc/${shim.pid}/task/${shim.pid}/children`)).trim()).toBe("");
    expect(await shim.shutdown()).toBe(true);
  });

  it("tells of execs that end with such a container, and of adopted children takes leave in time", async () => {
    await using shim = await ShimClient.start(undefined, { pid: { kind: "host" } });
    const spec = containerSpec(rootfs, ["sleep", "1000"]);
    await shim.start({ ...spec, namespaces: { ...spec.namespaces, pid: { kind: "host" } } });
    await shim.runExec(processSpec(["sh", "-c", "(sleep 0.1 &) >/dev/null 2>&1 </dev/null"]));
    await shim.exec("e1", processSpec(["sh", "-c", "sleep 1000 & wait"]));
    const children = () =>
      Deno.readTextFileSync(`/proc/${shim.pid}/task/${shim.pid}/children`).trim().split(" ");
    await until("reaping of the orphan", () => children().length === 2);
    await shim.request({ op: "signal", signal: 15, execId: "e1" });
    expect(await shim.event("exec-exit", ({ execId }) => execId === "e1")).toMatchObject({ exitCode: 143 });
    await shim.exec("e2", processSpec(["sh", "-c", "sleep 1000 & wait"]));
    await shim.request({ op: "signal", signal: 9 });
    expect(await shim.event("exec-exit", ({ execId }) => execId === "e2")).toMatchObject({ exitCode: 137 });
    await shim.exit();
    expect(children()).toEqual([""]);
  });

  it("shares namespaces of another container", async () => {
    await using first = await ShimClient.start();
    const started = await first.start(containerSpec(rootfs, ["sleep", "1000"], { hostname: "first" }));
    if (!started.ok) throw new Error(started.error.message);
    const inside = ["nsenter", "--user", "--mount", `--target=${first.pid}`, "--preserve-credentials"];
    const path = (name: string) => ({ kind: "path", path: `/proc/${started.pid}/ns/${name}` }) as const;
    const joined = { pid: path("pid"), net: path("net"), ipc: path("ipc"), uts: path("uts") };
    await using second = await ShimClient.start(inside, joined);
    const spec = containerSpec(rootfs, [
      "sh",
      "-c",
      "hostname; cat /proc/1/comm; for n in pid net ipc uts; do readlink /proc/self/ns/$n; done",
    ]);
    const { stdout } = await second.run({ ...spec, namespaces: { ...spec.namespaces, ...joined } });
    const links = Object.keys(joined).map((name) => Deno.readLinkSync(`/proc/${started.pid}/ns/${name}`));
    expect(stdout).toBe(`first\nsleep\n${links.join("\n")}\n`);
  });
});

async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
