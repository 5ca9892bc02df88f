/** What a new user types first: the embedded image, a loaded one, a pipe, a terminal. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { busyboxArchive, hasBusybox } from "../support/busybox_image.ts";
import { berthExecutable, type Engine, startEngine } from "../support/engine.ts";
import { waitFor } from "../support/processes.ts";
import { environmentOf, runAs, testDir, usersToTest } from "../support/users.ts";

describe.each(usersToTest())("first run as $name", (user) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine({ user });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  it("berth run --rm berth/host echo prints and leaves nothing", async () => {
    const run = await engine.berth(["run", "--rm", "berth/host", "echo", "hi"]);
    expect(run).toMatchObject({ code: 0, stdout: "hi\n", stderr: "" });
    expect((await engine.berth(["ps", "-aq"])).stdout).toBe("");
  });

  it("berth/host has the machine's programs and none of the user's files", async () => {
    const run = await engine.berth([
      "run",
      "--rm",
      "berth/host",
      "sh",
      "-c",
      "ps; hostname; ls -A /home /root /var/tmp",
    ]);
    expect(run.stderr).toBe("");
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^\s+1 /m);
    expect(run.stdout).toMatch(/^[0-9a-f]{12}$/m);
    expect(run.stdout).toMatch(/\/home:\n\n\/root:\n\n\/var\/tmp:\n$/);
    const images = await engine.berth(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    expect(images.stdout).toBe("berth/host:latest\n");
  });

  it("berth/host can be written to where an ordinary image can", async () => {
    const script = "echo x >/etc/new && echo y >/tmp/y && mkdir /opt/z && cat /etc/new";
    expect(await engine.berth(["run", "--rm", "berth/host", "sh", "-c", script])).toMatchObject({
      code: 0,
      stdout: "x\n",
    });
    const usr = await engine.berth([
      "run",
      "--rm",
      "berth/host",
      "sh",
      "-c",
      "touch /usr/new && rm /usr/bin/env",
    ]);
    if (user.uid === 0) {
      expect(usr).toMatchObject({ code: 0, stderr: "" });
      expect(Deno.statSync("/usr/bin/env").isFile).toBe(true);
    } else {
      expect(usr.code).not.toBe(0);
      expect(usr.stderr).toContain("Read-only file system");
    }
  });

  it("an image from a docker save archive is loaded and run", async ({ skip }) => {
    if (!hasBusybox()) skip("busybox-static is not installed");
    const archive = await busyboxArchive(testDir(), { reference: "example.com/bb:1.0" });
    const load = await engine.berth(["load", "-i", archive]);
    expect(load).toMatchObject({ code: 0, stdout: "Loaded image: example.com/bb:1.0\n" });
    const run = await engine.berth([
      "run",
      "--rm",
      "example.com/bb:1.0",
      "sh",
      "-c",
      "busybox | head -n1; id -u; exit 7",
    ]);
    expect(run.code).toBe(7);
    expect(run.stdout).toMatch(/^BusyBox v.*\n0\n$/);
    expect((await engine.berth(["rmi", "example.com/bb:1.0"])).stdout).toMatch(
      /^Untagged: .*\nDeleted: sha256:[0-9a-f]{64}\n/,
    );
  });

  it("standard input goes in to its end, output comes out whole", async () => {
    expect(await engine.berth(["run", "--rm", "-i", "berth/host", "cat"], { stdin: "hi\n" })).toMatchObject({
      code: 0,
      stdout: "hi\n",
    });
    const big = new Uint8Array(3_000_001).map((_, i) => (i * 31) & 255);
    const run = await engine.berth(["run", "--rm", "-i", "berth/host", "cat"], { stdin: big });
    expect(run.stdoutBytes.length).toBe(big.length);
    expect(run.stdoutBytes.every((byte, i) => byte === big[i])).toBe(true);
  });

  it("stdout and stderr stay apart", async () => {
    const run = await engine.berth(["run", "--rm", "berth/host", "sh", "-c", "echo out; echo err >&2"]);
    expect(run).toMatchObject({ stdout: "out\n", stderr: "err\n" });
  });

  it("a terminal session works as in a shell: prompt, size, control keys, detach and attach", async ({ skip }) => {
    if ((await runAs(user, ["sh", "-c", "command -v tmux"])).code !== 0) skip("tmux is not installed");
    const socket = `${environmentOf(user).XDG_RUNTIME_DIR}/tmux`;
    const tmux = (...args: string[]) => runAs(user, ["tmux", "-S", socket, "-f", "/dev/null", ...args]);
    const screen = async () => (await tmux("capture-pane", "-p", "-t", "s")).stdout;
    const see = (text: string | RegExp) => {
      let last = "";
      return waitFor(
        async () => {
          last = await screen();
          return typeof text === "string" ? last.includes(text) : text.test(last);
        },
        20_000,
        () => `no ${text} on the screen:\n${last}`,
      );
    };
    const type = (...keys: string[]) => tmux("send-keys", "-t", "s", ...keys);
    const berth = `${berthExecutable()} -H ${engine.host}`;
    await tmux("new-session", "-d", "-s", "s", "-x", "100", "-y", "30", "sh");
    try {
      await type(`${berth} run -it --name term -e PS1='i''n> ' berth/host sh`, "Enter");
      await see(/in>/);
      await type("stty size; tty", "Enter");
      await see("30 100");
      await see("/dev/pts/0");
      await tmux("resize-window", "-t", "s", "-x", "90", "-y", "20");
      await type("stty size", "Enter");
      await see("20 90");
      await type("sleep 100", "Enter");
      await waitFor(async () => (await engine.berth(["top", "term"])).stdout.includes("sleep 100"), 20_000);
      await type("C-c");
      await see(/\^C/);
      await type("echo code=$?", "Enter");
      await see("code=130");
      await type("C-p", "C-q");
      // Again and again as well: what is typed while the client goes may still be read by it.
      await waitFor(async () => {
        await type("clear", "Enter");
        return !(await screen()).includes("in>");
      }, 20_000);
      await type(`${berth} attach term`, "Enter");
      // Typed again and again: what comes before the client has the terminal is the outer shell's.
      await waitFor(async () => {
        await type("Enter");
        return (await screen()).includes("in>");
      }, 20_000);
      await type("echo again; exit 3", "Enter");
      await see(/(^|> )again$/m);
      await see(/again\n[#$]\s*$/);
      await type("echo left=$?", "Enter");
      await see("left=3");
      expect((await engine.berth(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "term"])).stdout)
        .toBe("exited 3\n");
    } finally {
      await tmux("kill-server");
      await engine.berth(["rm", "-f", "term"]);
    }
  });
});
