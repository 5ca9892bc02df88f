/** Where an engine is started: without subordinate ids, where namespaces are refused, below another engine's container. */
import { describe, expect, it } from "vitest";
import { busyboxArchive, hasBusybox } from "../support/busybox_image.ts";
import { berthExecutable, startEngine } from "../support/engine.ts";
import { currentUser, runAs, testDir, type User, usersToTest } from "../support/users.ts";
import { BUSYBOX, describeWith, ROOT } from "../support/needs.ts";
import { makeShortDirectory } from "../support/run_directory.ts";

/** No login, no entry in /etc/subuid: an id that nobody has. */
const STRANGER: User = { name: "54321", uid: 54321, gid: 54321 };

describeWith(ROOT, BUSYBOX)("a user without subordinate ids", () => {
  it("runs containers with the own id alone, and is told what that means and what to type", async () => {
    await using engine = await startEngine({ user: STRANGER });
    const run = await engine.berth([
      "run",
      "--rm",
      "berth/host",
      "sh",
      "-c",
      "id -u; cat /proc/self/uid_map; echo x >/tmp/x && cat /tmp/x",
    ]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/^0\n\s+0\s+54321\s+1\nx\n$/);
    const load = await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
    expect(load).toMatchObject({ code: 0 });
    expect(await engine.berth(["run", "--rm", "busybox", "echo", "hi"])).toMatchObject({
      code: 0,
      stdout: "hi\n",
    });
    const other = await engine.berth(["run", "--rm", "--user", "1000", "busybox", "id"]);
    expect(other.code).not.toBe(0);
    expect(other.stderr).toMatch(/single|mapped|subordinate/i);
    const warnings = (await engine.berth(["info", "--format", "{{json .Warnings}}"])).stdout;
    expect(warnings).toContain("usermod --add-subuids");
    expect(engine.log()).toContain("usermod --add-subuids");
  });
});

describe.each(usersToTest())("refusals as $name", (user) => {
  it("no user namespaces: says which setting, how to change it, and exits with 125", async () => {
    // The limit is the calling user namespace's own: the machine's stays as it is.
    const script =
      'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" serve -H "unix://$1/s" --data-root "$1/d" --exec-root "$1/e"';
    const dir = makeShortDirectory("b");
    Deno.chownSync(dir, user.uid, user.gid);
    const refused = await runAs(user, [
      "unshare",
      "--user",
      "--map-root-user",
      "sh",
      "-c",
      script,
      berthExecutable(),
      dir,
    ]);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain("berth: cannot make a user namespace");
    expect(refused.stderr).toContain("/proc/sys/user/max_user_namespaces is 0");
    expect(refused.stderr).toContain("sudo sysctl -w user.max_user_namespaces=");
    Deno.removeSync(dir, { recursive: true });
  });

  it("two engines on one data root: the second names the first and ends", async () => {
    await using engine = await startEngine({ user });
    const words = [
      "serve",
      "-H",
      `unix://${engine.dir}/s2`,
      "--data-root",
      engine.dataRoot,
      "--exec-root",
      `${engine.dir}/e2`,
    ];
    const second = await runAs(user, [berthExecutable(), ...words]);
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain(
      `another berth engine (pid ${engine.pid}) already uses ${engine.dataRoot}`,
    );
    expect((await engine.berth(["version"])).code).toBe(0);
  });

  it("fuse-overlayfs can be forced, and runs the same containers", async ({ skip }) => {
    if ((await runAs(user, ["sh", "-c", "command -v fuse-overlayfs && test -w /dev/fuse"])).code !== 0) {
      skip(
        "fuse-overlayfs is not installed, or /dev/fuse is closed: sudo apt-get install fuse-overlayfs; sudo chmod 0666 /dev/fuse",
      );
    }
    if (!hasBusybox()) skip("busybox-static is not installed");
    await using engine = await startEngine({ user, storageDriver: "fuse-overlayfs" });
    expect((await engine.berth(["info", "--format", "{{.Driver}}"])).stdout).toBe("fuse-overlayfs\n");
    await engine.berth(["load", "-q", "-i", await busyboxArchive(testDir())]);
    const script =
      "rm /etc/group && mkdir /etc/new && echo a >/etc/new/f && chown 1000:1000 /etc/new/f && ls -n /etc/new/f && ls /etc";
    const run = await engine.berth(["run", "--name", "ff", "busybox", "sh", "-c", script]);
    expect(run).toMatchObject({ code: 0, stderr: "" });
    expect(run.stdout).toMatch(/1000\s+1000/);
    expect(run.stdout).not.toContain("group");
    await engine.kill9();
    await engine.restart();
    expect(await engine.berth(["start", "-a", "ff"])).toMatchObject({ code: 1 });
    expect((await engine.berth(["rm", "ff"])).code).toBe(0);
    expect(await engine.berth(["run", "--rm", "berth/host", "echo", "hi"])).toMatchObject({
      code: 0,
      stdout: "hi\n",
    });
  });
});

describe("the engine that the command line starts", () => {
  const user = usersToTest()[0] ?? currentUser();
  it("berth run on a fresh account starts one engine, and four at once start one", async ({ skip }) => {
    if (user.uid === 0) skip("root's default engine is the machine's: tests leave it alone");
    const home = makeShortDirectory("b");
    Deno.mkdirSync(`${home}/run`, { mode: 0o700 });
    for (const dir of [home, `${home}/run`]) Deno.chownSync(dir, user.uid, user.gid);
    const env = { HOME: home, XDG_RUNTIME_DIR: `${home}/run`, XDG_CACHE_HOME: `${home}/.cache` };
    const berth = (...args: string[]) => runAs(user, [berthExecutable(), ...args], { env });
    const runs = await Promise.all(
      [1, 2, 3, 4].map((n) => berth("run", "--rm", "berth/host", "echo", String(n))),
    );
    runs.forEach((run, n) => expect(run).toMatchObject({ code: 0, stdout: `${n + 1}\n` }));
    const lock = Deno.readTextFileSync(`${home}/.local/share/berth/berth.lock`).trim();
    expect(lock).toMatch(/^\d+$/);
    Deno.kill(Number(lock), "SIGTERM");
    const { waitFor, leftovers } = await import("../support/processes.ts");
    await waitFor(() => leftovers(home).length === 0, 20_000, () => JSON.stringify(leftovers(home)));
    await runAs(user, [
      "unshare",
      "--user",
      "--map-root-user",
      "--map-auto",
      "--",
      "rm",
      "-rf",
      `${home}/.local`,
    ], { cwd: "/" });
    Deno.removeSync(home, { recursive: true });
  });
});
