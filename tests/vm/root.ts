/** The machine's root: limits by the machine's systemd, which also keeps containers to their devices. */
import { assert, check, equal, finish } from "./checks.ts";
import { Engine, IMAGE, type Output } from "./engine_support.ts";

const MB = 1024 * 1024;

{
  await using engine = await Engine.start(["--cgroup-driver", "systemd"]);
  const run = (...words: string[]): Promise<Output> =>
    engine.docker("run", "--rm", "--network", "none", ...words);

  await check("root: containers are scopes of the machine's systemd, with their limits", async () => {
    const id = await engine.run("sleep 1000", {
      Memory: 64 * MB,
      NanoCpus: 5e8,
      CpusetCpus: "1",
      PidsLimit: 9,
    });
    const path = await engine.cgroup(id);
    assert(path.endsWith(`/system.slice/berth-${id}.scope`), path);
    const files = ["memory.max", "cpu.max", "cpuset.cpus", "pids.max"];
    equal(
      await Promise.all(files.map((file) => engine.value(id, file))),
      [String(64 * MB), "50000 100000", "1", "9"],
      "limits",
    );
    equal(
      (await engine.docker("update", "--pids-limit", "12", "-m", "32m", "--memory-swap", "32m", id)).code,
      0,
      "update",
    );
    equal(
      [await engine.value(id, "pids.max"), await engine.value(id, "memory.max")],
      ["12", String(32 * MB)],
      "updated",
    );
    await engine.remove(id);
  });

  await check("root: a container uses its own devices and no other", async () => {
    const script =
      "echo >/dev/null && head -c 1 /dev/zero >/dev/full; head -c 1 /dev/urandom | wc -c; echo tty >/dev/tty";
    const { stdout, stderr } = await run("-t", IMAGE, "sh", "-c", script);
    assert(/write error/.test(stdout) && /1\r\ntty/.test(stdout), stdout + stderr);
    // With root's own rights it could read the disk through a bind mount.
    const other = await run("-v", "/dev:/host", IMAGE, "head", "-c", "1", "/host/vda");
    assert(other.code !== 0 && /Operation not permitted/.test(other.stderr), other.stderr);
    const id = await engine.run("sleep 1000", { Binds: ["/dev:/host"] });
    const exec = await engine.docker("exec", id, "head", "-c", "1", "/host/vda");
    assert(exec.code !== 0 && /Operation not permitted/.test(exec.stderr), exec.stderr);
    await engine.remove(id);
  });

  await check(
    "root: --device with permissions, --device-cgroup-rule and --privileged give what they say",
    async () => {
      const tries =
        "head -c 1 /dev/disk >/dev/null && echo read; dd if=/dev/null of=/dev/disk count=0 status=none && echo write";
      const given = async (access: string) => {
        const { stdout, stderr } = await run(
          "--device",
          `/dev/vda:/dev/disk:${access}`,
          IMAGE,
          "sh",
          "-c",
          tries,
        );
        assert(!/discarded|may be used/.test(stderr), stderr);
        return stdout.trim().split("\n").join(" ");
      };
      equal(
        [await given("r"), await given("rw"), await given("w")],
        ["read", "read write", "write"],
        "access",
      );
      const [major = ""] = Deno.readTextFileSync("/sys/block/vda/dev").split(":");
      const read = ["-v", "/dev:/host", IMAGE, "head", "-c", "1", "/host/vda"];
      const ruled = await run("--device-cgroup-rule", `b ${major}:* r`, ...read);
      equal([ruled.code, ruled.stderr], [0, ""], "a rule");
      equal((await run("--privileged", ...read)).code, 0, "privileged");
    },
  );
}

await check("root: without systemd's help devices are not filtered, which is told", async () => {
  const scope = ["systemd-run", "--scope", "--quiet", "-p", "Delegate=yes"];
  await using engine = await Engine.start(["--cgroup-driver", "cgroupfs"], scope);
  const { Id, Warnings } = await engine.create(["true"], {
    PidsLimit: 9,
    DeviceCgroupRules: ["c 1:3 r"],
    Devices: [{ PathOnHost: "/dev/vda", PathInContainer: "/dev/vda", CgroupPermissions: "r" }],
  });
  equal(Warnings.length, 2, Warnings.join(" "));
  await engine.ask("POST", `/containers/${Id}/start`);
  equal(await engine.wait(Id), 0, "exit code");
  await engine.remove(Id);
});

finish();
