/** What the graph drivers cost containers that work with files. */

import { startEngine } from "../tests/support/engine.ts";
import { runAs, type User } from "../tests/support/users.ts";
import { DEADLINE } from "./beside_podman.ts";
import { lastLine } from "./peers.ts";

/** Hundredths of a second by label, as the script in the container takes them from the kernel's uptime. */
const WORK = `
now() { read -r up _ </proc/uptime; echo "\${up%.*}\${up#*.}"; }
t() { label=$1; shift; s=$(now); "$@" >/dev/null 2>&1; e=$(now); echo "$label $(( e - s ))"; }
read_all() { for i in 1 2 3 4 5 6 7 8; do dd if=big of=/dev/null bs=1M; done; }
make() { mkdir -p small; i=0; while [ $i -lt 10000 ]; do : >small/$i; i=$((i+1)); done; }
look() { for i in 1 2 3 4; do ls -l small; done; }
gone() { rm -r small; }
cd "$1" || exit 1
t write dd if=/dev/zero of=big bs=1M count=256 conv=fsync
t read read_all
t create make
t list look
t remove gone
rm big`;

/** What file work costs in a container's root on each driver, against the same file system bare (a bind mount). */
export async function printDrivers(user: User, dir: string, imageTar: string, rounds: number): Promise<void> {
  console.log(
    "\nFile work in a container, as ratios to the bare file system (a bind mount in the same container)\n",
  );
  const labels = ["write", "read", "create", "list", "remove"];
  console.log(`  ${"".padEnd(16)}${labels.map((label) => label.padStart(9)).join("")}`);
  for (const driver of ["overlay", "fuse-overlayfs", "vfs"]) {
    const bare = `${dir}/bare-${driver}`;
    await runAs(user, ["mkdir", "-p", bare]);
    await using engine = await startEngine({ user, storageDriver: driver }).catch(() => undefined);
    if (engine === undefined) {
      console.log(`  ${driver.padEnd(16)} does not work here`);
      continue;
    }
    // every directory to work in at a place of the disk of its own: where the run before has removed its files, ext4 is slow
    await runAs(user, ["sh", "-c", `chattr +T '${bare}' '${engine.dataRoot}/containers' 2>/dev/null`]);
    await engine.berth(["import", imageTar, "bench"]);
    const measured = new Map<string, number[]>();
    for (let round = 0; round < rounds; round++) {
      // ext4 chooses the place by the name
      const name = crypto.randomUUID();
      await runAs(user, ["mkdir", `${bare}/${name}`]);
      for (const place of ["/bare", "/work"]) {
        const args = [
          "run",
          "--rm",
          "--network",
          "none",
          "-v",
          `${bare}/${name}:/bare`,
          "--workdir",
          "/work",
          "bench",
        ];
        const run = await engine.berth([...args, "sh", "-c", WORK, "sh", place], { timeout: DEADLINE });
        if (run.code !== 0) throw new Error(`${driver}: ${lastLine(run.stderr)}`);
        for (const line of run.stdout.trim().split("\n")) {
          const [label = "", hundredths] = line.split(" ");
          const key = `${place} ${label}`;
          measured.set(key, [...measured.get(key) ?? [], Math.max(1, Number(hundredths))]);
        }
      }
    }
    const ratios = labels.map((label) => {
      const of = (place: string) => Math.min(...measured.get(`${place} ${label}`) ?? []);
      return (of("/work") / of("/bare")).toFixed(2).padStart(9);
    });
    console.log(`  ${driver.padEnd(16)}${ratios.join("")}`);
    await runAs(user, ["rm", "-rf", bare]);
  }
  console.log(
    "  (256 MB in pieces of 1 MB, with fsync; 10,000 empty files; the best of all runs; more than 1 is slower)",
  );
}
