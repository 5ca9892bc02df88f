/** Hosts that lack something: the engine works all the same, or says what to type. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { berthExecutable } from "../support/engine.ts";
import { describeWith, MACHINE_ROOT } from "../support/needs.ts";
import { leftovers, processExists, waitFor } from "../support/processes.ts";
import { makeShortDirectory, removeTree } from "../support/run_directory.ts";
import { argvAs, currentUser, runAs, spawnAs, type User, usersToTest } from "../support/users.ts";

interface Outcome {
  /** What a container has printed; undefined: the engine did not start. */
  readonly ran: string | undefined;
  /** Exit code of `berth serve`. */
  readonly code: number;
  /** What it has printed, without its ordinary messages. */
  readonly said: string;
}

let dir: string;
beforeEach(() => {
  dir = makeShortDirectory("b");
});
afterEach(async () => {
  await waitFor(() => leftovers(dir).length === 0, 20_000, () => `left: ${JSON.stringify(leftovers(dir))}`);
  await removeTree(dir);
});

/**
 * Starts an engine as `user`, runs a container, and stops it.
 *
 * @param prepare shell commands that root runs before, in a mount namespace of their own; "" when there are none.
 */
async function serve(
  user: User,
  prepare: string,
  env: Record<string, string>,
  args: readonly string[] = ["--data-root", `${dir}/d`, "--exec-root", `${dir}/e`],
): Promise<Outcome> {
  Deno.chownSync(dir, user.uid, user.gid);
  const socket = `${dir}/s`;
  const host = args.includes("-H") ? [] : ["-H", `unix://${socket}`];
  const words = [berthExecutable(), "serve", ...host, ...args];
  const script = 'exec "$@" >"$0" 2>&1';
  const inside = ["unshare", "--mount", "sh", "-c", `{ ${prepare}; } && ${script}`, `${dir}/log`];
  const child = prepare === ""
    ? spawnAs(user, ["sh", "-c", script, `${dir}/log`, ...words], {
      env,
      cwd: "/",
      stdout: "null",
      stderr: "null",
    })
    : spawnAs(currentUser(), [...inside, ...argvAs(user, words)], {
      env: { ...homeOf(user), ...env },
      cwd: "/",
      stdout: "null",
      stderr: "null",
    });
  let ended = false;
  void child.status.then(() => ended = true);
  const listens = () => {
    try {
      return Deno.lstatSync(socket).isSocket ?? false;
    } catch {
      return false;
    }
  };
  await waitFor(() => ended || listens(), 60_000, () => "the engine neither starts nor ends");
  let ran: string | undefined;
  if (!ended) {
    const run = await runAs(user, [
      ...[berthExecutable(), "-H", `unix://${socket}`, "run", "--rm", "berth/host"],
      ...["sh", "-c", "echo works"],
    ]);
    ran = `${run.stdout}${run.stderr}`;
    child.kill("SIGTERM");
  }
  const { code } = await child.status;
  expect(processExists(child.pid)).toBe(false);
  const log = Deno.readTextFileSync(`${dir}/log`).split("\n");
  const said = log.filter((line) => !line.includes("level=info") && !line.startsWith("export ")).join("\n");
  return { ran, code, said };
}

const homeOf = (user: User): Record<string, string> => ({
  HOME: dir,
  XDG_RUNTIME_DIR: dir,
  XDG_CACHE_HOME: `${dir}/c`,
  USER: user.name,
  LOGNAME: user.name,
});
const WORKS = { ran: "works\n", code: 0 };

describe.each(usersToTest().filter(({ uid }) => uid !== 0))("directories of $name", (user) => {
  it("without HOME and XDG_RUNTIME_DIR the engine works", async () => {
    expect(await serve(user, "", { HOME: "", XDG_RUNTIME_DIR: "" })).toMatchObject(WORKS);
  });

  it("another user's XDG_RUNTIME_DIR, as su leaves it: says how to leave it out", async () => {
    for (
      const [runtime, reason] of [["/proc/1", "no such file or directory"], ["/usr", "permission denied"]]
    ) {
      const refused = await serve(user, "", { XDG_RUNTIME_DIR: runtime ?? "" }, []);
      expect(refused).toEqual({
        ran: undefined,
        code: 125,
        said:
          `berth: cannot use ${runtime}/berth: ${reason}\n\nXDG_RUNTIME_DIR is ${runtime}, which is no directory ` +
          "of yours; su and sudo keep another user's. Leave it out:  unset XDG_RUNTIME_DIR\n",
      });
    }
  });

  it("a data root that cannot be made: says how to choose another", async () => {
    const args = ["--exec-root", `${dir}/e`];
    const refused = await serve(user, "", { HOME: "/proc/nowhere", XDG_DATA_HOME: "" }, args);
    expect(refused).toMatchObject({
      ran: undefined,
      code: 125,
      said: expect.stringContaining("berth: cannot create /proc/nowhere/.local/share/berth: "),
    });
    expect(refused.said).toContain("berth serve --data-root DIRECTORY");
    const given = await serve(user, "", {}, ["--data-root", "/proc/nowhere", "--exec-root", `${dir}/e`]);
    expect(given.said).toContain("berth: cannot create /proc/nowhere: no such file or directory\n\nChoose");
  });

  it("paths as long as the kernel takes them work, longer ones are refused with what to type", async () => {
    const long = `${dir}/${"x".repeat(200)}/${"y".repeat(200)}/d`;
    expect(await serve(user, "", {}, ["--data-root", long, "--exec-root", `${dir}/e`])).toMatchObject(WORKS);
    const execRoot = await serve(user, "", {}, ["--data-root", `${dir}/d`, "--exec-root", long]);
    expect(execRoot).toMatchObject({ ran: undefined, code: 125 });
    expect(execRoot.said).toContain("Choose a shorter --exec-root.");
    const args = ["--data-root", `${dir}/d`, "--exec-root", `${dir}/e`, "-H", `unix://${long}`];
    const socket = await serve(user, "", {}, args);
    expect(socket).toMatchObject({ ran: undefined, code: 125 });
    expect(socket.said).toContain(
      `berth: socket path is longer than 107 bytes: ${long}\n\nChoose a shorter one:`,
    );
  });
});

/** A command that makes an empty file, to be bound over others. */
const NOTHING = "mount -t tmpfs none /mnt && touch /mnt/empty";

describeWith(MACHINE_ROOT).each(usersToTest())("what is missing for $name", (user) => {
  it("/dev/net/tun: containers work, without a way outside", async () => {
    expect(await serve(user, "mount -t tmpfs none /dev/net", {})).toMatchObject(WORKS);
  });

  it("/dev/fuse: nothing needs it unless it is asked for", async () => {
    const mask = `${NOTHING} && mount --bind /mnt/empty /dev/fuse`;
    expect(await serve(user, mask, {})).toMatchObject(WORKS);
  });

  it.each(["64k", "100k", "200k", "300k"])(
    "room on the disk: says so when it has %s",
    async (size) => {
      const small = `mkdir ${dir}/d && mount -t tmpfs -o size=${size},mode=777 none ${dir}/d`;
      const outcome = await serve(user, small, {});
      expect(outcome).toMatchObject({ ran: undefined, code: 125 });
      expect(outcome.said).toMatch(/^berth: .*no space left on device$/m);
      expect(outcome.said).not.toMatch(/^ +at |damaged|rollback/m);
    },
  );
});

describeWith(MACHINE_ROOT).each(usersToTest().filter(({ uid }) => uid !== 0))(
  "what is missing for $name alone",
  (user) => {
    it("newuidmap, or subordinate ids: the own id alone, and what to type", async () => {
      for (
        const [path, hint] of [
          ["/usr/bin/newuidmap", "sudo apt-get install uidmap"],
          [
            "/etc/subuid",
            `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user.name}`,
          ],
        ]
      ) {
        const outcome = await serve(user, `${NOTHING} && mount --bind /mnt/empty ${path}`, {});
        expect(outcome).toMatchObject({ ...WORKS, said: expect.stringContaining(hint ?? "") });
        await waitFor(() => leftovers(dir).length === 0, 20_000, () => "processes stay");
        await removeTree(`${dir}/d`);
      }
    });
  },
);
