/**
 * Where the controllers are on cgroup version 1, the hierarchy of version 2 is there beside them, empty: what a cgroup costs to be made, entered, read and
 * removed can be measured in it, though no limit.
 */
import { hostProbe } from "../cgroups/detect.ts";
import type { User } from "../tests/support/users.ts";

/** The directory of a run, which ends with it; those of runs that were killed are swept. */
const NAME = "berth-bench";

const SCRIPT = `
set -eu
user=$1
shift
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
sweep() { find /sys/fs/cgroup/${NAME}* -depth -type d -exec rmdir {} + 2>/dev/null; }
sweep || true
own=/sys/fs/cgroup/${NAME}-$$
mkdir "$own"
chown "$user" "$own" "$own/cgroup.procs" "$own/cgroup.subtree_control"
status=0
(echo 0 >"$own/cgroup.procs" && exec "$@") || status=$?
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sweep || true
  [ -d "$own" ] || exit "$status"
  sleep 0.5
done
echo "$own is left" >&2
exit 1
`;

/** Whether {@link inCgroup2World} is needed and can be: root on a machine with version 1. */
export function hasCgroup2World(): boolean {
  const beside = / - cgroup2 /.test(hostProbe.read("/proc/self/mountinfo") ?? "");
  return Deno.uid() === 0 && beside && !hostProbe.exists("/sys/fs/cgroup/cgroup.controllers");
}

/**
 * Runs a command in a mount namespace with version 2 alone at /sys/fs/cgroup, in a cgroup of its own that `user` may change. The machine's other cgroups stay
 * as they are.
 *
 * @throws {Error} it ends with an error.
 */
export async function inCgroup2World(user: User, argv: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command("unshare", {
    args: ["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", String(user.uid), ...argv],
    env: { BERTH_TEST_DIR: "" },
  }).spawn().status;
  if (code !== 0) throw new Error(`on cgroup version 2: exit code ${code}`);
}
