/** A real Debian as an image: imported, loaded, and lived in, by root and by an ordinary user. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asDockerArchive, debianRootfs } from "../support/debian_rootfs.ts";
import { type Engine, startEngine } from "../support/engine.ts";
import { testDir, usersToTest } from "../support/users.ts";
import { describeWith, need } from "../support/needs.ts";

const debian = await debianRootfs();
const tar = "tar" in debian ? debian.tar : "";
const drivers = ["overlay", "fuse-overlayfs", "vfs"].filter((name) =>
  name !== "fuse-overlayfs" || exists("/usr/bin/fuse-overlayfs")
);

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
}

describeWith(need(tar !== "", "missing" in debian ? debian.missing : "")).each(usersToTest())(
  "a Debian root file system as $name",
  (user) => {
    // copying it whole for each container takes its time: once is enough
    describe.each(drivers.filter((name) => name !== "vfs" || user.name === usersToTest()[0]?.name))(
      "on %s",
      (storageDriver) => {
        let engine: Engine;
        beforeAll(async () => {
          engine = await startEngine({ user, storageDriver });
          const imported = await engine.berth(
            ["import", "--change", 'CMD ["bash"]', "-", "debian:imported"],
            {
              stdin: Deno.readFileSync(tar),
            },
          );
          expect(imported).toMatchObject({ code: 0, stderr: "" });
          expect(imported.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
        });
        afterAll(async () => {
          await engine?.[Symbol.asyncDispose]();
        });
        const sh = async (script: string, ...flags: string[]) => {
          const run = await engine.berth(["run", "--rm", ...flags, "debian:imported", "bash", "-c", script]);
          return `${run.stdout}${run.stderr}`;
        };

        it("knows its packages", async () => {
          const packages = await sh(
            "dpkg -l | grep -c ^ii; dpkg -s bash | grep ^Status; apt list --installed 2>&1",
          );
          expect(Number(packages.split("\n")[0])).toBeGreaterThan(50);
          expect(packages).toContain("Status: install ok installed\n");
          expect(packages).toMatch(/^libc6\/.* \[installed/m);
          expect(await sh("dpkg --verify && echo unchanged")).toBe("unchanged\n");
        });

        it("has its users, groups and owners", async () => {
          const owners = "stat -c '%n %A %U %G' /usr/bin/passwd /usr/bin/chage /var/mail /tmp /etc/shadow";
          expect(await sh(`id _apt; ${owners}`)).toBe(
            "uid=42(_apt) gid=65534(nogroup) groups=65534(nogroup)\n".replace("42", String(aptUid())) +
              "/usr/bin/passwd -rwsr-xr-x root root\n/usr/bin/chage -rwxr-sr-x root shadow\n" +
              "/var/mail drwxrwsr-x root mail\n/tmp drwxrwxrwt root root\n/etc/shadow -rw-r----- root shadow\n",
          );
          expect(await sh("id -un; cat /etc/shadow", "--user", "nobody")).toBe(
            "nobody\ncat: /etc/shadow: Permission denied\n",
          );
        });

        it("lets set-user-ID programs change the user, unless new privileges are forbidden", async () => {
          const script =
            "passwd -qd root; setpriv --reuid=nobody --regid=nogroup --clear-groups su -c 'id -u' </dev/null";
          expect(await sh(script)).toBe("0\n");
          expect(await sh("su -s /bin/sh -c 'id -un' games")).toBe("games\n");
          expect(await sh(script, "--security-opt", "no-new-privileges")).toContain(
            "su: Authentication failure",
          );
        });

        it("adds a user, whose files are his, and removes a package", async () => {
          const script = "useradd -m -s /bin/bash ann && su - ann -c 'touch f; ls -l f' | cut -c1-17; " +
            "apt-get remove -y -q tzdata >/dev/null 2>&1; dpkg -s tzdata 2>&1 | grep -c 'ok installed'; " +
            "ls /usr/share/zoneinfo 2>&1 | wc -l";
          expect(await sh(script)).toBe("-rw-r--r-- 1 ann \n0\n1\n");
          expect(await sh("ls /usr/share/zoneinfo | grep -c Europe; id ann")).toMatch(
            /^1\nid: .ann.: no such user\n$/,
          );
        });

        it("is the same from an archive of docker save", async () => {
          const archive = await asDockerArchive(tar, testDir(), "debian:loaded");
          try {
            const loaded = await engine.berth(["load", "-i", archive]);
            expect(loaded.stdout).toBe("Loaded image: debian:loaded\n");
          } finally {
            await Deno.remove(archive);
          }
          const run = await engine.berth(["run", "--rm", "debian:loaded", "cat", "/etc/debian_version"]);
          expect(run.stdout).toMatch(/^\d+\.\d+\n$|\/sid\n$/);
          const layers = async (name: string) =>
            (await engine.berth(["image", "inspect", "--format", "{{json .RootFS.Layers}}", name])).stdout;
          expect(await layers("debian:loaded")).toBe(await layers("debian:imported"));
        });
      },
    );
  },
);

/** Given out in order of installation, so it differs between releases. */
function aptUid(): number {
  const { stdout } = new Deno.Command("tar", { args: ["-xOf", tar, "./etc/passwd"] }).outputSync();
  return Number(/^_apt:x:(\d+):/m.exec(new TextDecoder().decode(stdout))?.[1]);
}
