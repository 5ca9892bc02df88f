import { afterAll, describe, expect, it } from "vitest";
import { currentUser, environmentOf, runAs, usersToTest } from "../support/users.ts";
import { describeWith, itWith, need, ROOT } from "../support/needs.ts";
import { exists } from "../../base/exists.ts";

const CHILD = new URL("../support/graph_driver_child.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

const FUSE = need(
  exists("/usr/bin/fuse-overlayfs") && exists("/dev/fuse"),
  "fuse-overlayfs is not installed, or there is no /dev/fuse: sudo apt-get install fuse-overlayfs",
);

describe.each(usersToTest())("as $name", (user) => {
  const roots: string[] = [];
  afterAll(async () => {
    // files of subordinate ids: only their user namespace may remove them
    for (const root of roots) await runAs(user, [...namespaces, "rm", "-rf", root]);
  });
  const namespaces = user.uid === 0
    ? ["unshare", "--mount", "--propagation", "private"]
    : ["unshare", "--user", "--map-root-user", "--map-auto", "--mount"];

  for (const [name, ...needs] of [["overlay"], ["fuse-overlayfs", FUSE], ["vfs"]] as const) {
    itWith(...needs)(`the graph driver ${name} does what it must`, async () => {
      const root = `${environmentOf(user)["HOME"]}/graph-${name}`;
      roots.push(root);
      const deno = [Deno.execPath(), "run", "-A", `--config=${CONFIG}`, "--no-lock", "--quiet"];
      const run = await runAs(user, [...namespaces, ...deno, CHILD, name, root], {
        env: { BERTH_TEST_CONFIG: CONFIG },
      });
      expect(run.stderr).toBe("");
      const { driver, results } = JSON.parse(run.stdout) as {
        driver: string;
        results: Record<string, string | null>;
      };
      expect(driver).toBe(name);
      expect(Object.keys(results)).toHaveLength(16);
      expect(results).toEqual(Object.fromEntries(Object.keys(results).map((title) => [title, null])));
    });
  }
});

describeWith(ROOT)("probeGraphDriver()", () => {
  const probe = async (root: string, forced?: string) => {
    const script = `
      import { probeGraphDriver } from ${JSON.stringify(new URL("../../fs/probe.ts", import.meta.url).href)};
      try {
        const { driver } = await probeGraphDriver({ root: Deno.args[0], forced: Deno.args[1] });
        console.log(JSON.stringify({ name: driver.name, reason: driver.reason }));
      } catch (error) {
        console.log(JSON.stringify({ kind: error.kind, message: error.message, hint: error.hint }));
      }`;
    const me = currentUser();
    const args = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet", "-", root];
    const run = await runAs(me, ["unshare", "--mount", ...args, ...(forced ? [forced] : [])], {
      stdin: script,
    });
    return JSON.parse(run.stdout) as Record<string, string>;
  };

  it("prefers overlay, records it, and refuses another driver for what it has written", async () => {
    const root = await Deno.makeTempDir();
    try {
      expect(await probe(root)).toMatchObject({ name: "overlay", reason: "first choice, and it works here" });
      expect([...Deno.readDirSync(root)].map(({ name }) => name)).toEqual(["driver"]);
      expect(await probe(root, "overlay2")).toMatchObject({ name: "overlay" });
      Deno.mkdirSync(`${root}/layers/x`, { recursive: true });
      expect(await probe(root)).toMatchObject({ name: "overlay", reason: "recorded in the data root" });
      expect(await probe(root, "fuse-overlayfs")).toMatchObject({
        kind: "invalid",
        message: expect.stringContaining("prior storage driver overlay"),
        hint: expect.stringContaining("--data-root"),
      });
      expect(await probe(root, "zfs")).toMatchObject({
        kind: "invalid",
        message: "unknown storage driver: zfs",
      });
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  });

  it("names the refusal where overlay does not work", async () => {
    // overlay cannot have its upper directory on overlay with these options, and proc takes no directories
    const me = currentUser();
    const deno = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet"].join(" ");
    const probeUrl = new URL("../../fs/probe.ts", import.meta.url).href;
    const dir = await Deno.makeTempDir();
    Deno.writeTextFileSync(
      `${dir}/probe.ts`,
      `import { probeGraphDriver } from ${JSON.stringify(probeUrl)};
       try { await probeGraphDriver({ root: Deno.args[0], forced: "overlay" }); }
       catch (error) { console.log(JSON.stringify({ kind: error.kind, message: error.message, hint: error.hint })); }`,
    );
    for (const sub of ["l", "u", "w", "m"]) Deno.mkdirSync(`${dir}/${sub}`);
    try {
      const script = `mount -t overlay -o lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w x ${dir}/m &&
        ${deno} ${dir}/probe.ts ${dir}/m/root; ls ${dir}/u/root`;
      const run = await runAs(me, ["unshare", "--mount", "sh", "-c", script]);
      const refusal = JSON.parse(run.stdout.split("\n")[0] ?? "") as Record<string, string>;
      expect(refusal["kind"]).toBe("unavailable");
      expect(refusal["message"]).toMatch(/^no storage driver works here: overlay: mount/);
      expect(refusal["hint"]).toContain("5.11");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
});
