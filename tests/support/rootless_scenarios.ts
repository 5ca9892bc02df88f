/**
 * Runs containers as an ordinary user and prints what they say, as one JSON object. Started by
 * tests/integration/runtime_rootless.test.ts as that user; argument: a directory of the user's own.
 */
import type { ContainerSpec } from "../../runtime/spec.ts";
import { busyboxRootfs } from "./busybox_image.ts";
import { containerSpec, DEFAULT_MOUNTS, processSpec } from "./container_spec.ts";
import { AS_USER, ShimClient } from "./shim_client.ts";

const base = Deno.args[0] ?? "";
const rootfs = `${base}/rootfs`;
await busyboxRootfs(rootfs);
for (const name of ["upper", "work"]) await Deno.mkdir(`${base}/${name}`);

const results: Record<string, unknown> = {};

async function run(
  name: string,
  script: string,
  overrides: Parameters<typeof containerSpec>[2] = {},
  prefix: readonly string[] = AS_USER,
  host: readonly ("pid" | "net")[] = [],
): Promise<void> {
  const shared = Object.fromEntries(host.map((each) => [each, { kind: "host" }] as const));
  await using shim = await ShimClient.start(prefix, shared);
  const spec: ContainerSpec = containerSpec(rootfs, ["sh", "-c", script], overrides);
  try {
    const namespaces = { ...spec.namespaces, ...shared };
    const { stdout, stderr, record } = await shim.run({ ...spec, namespaces });
    results[name] = { stdout, stderr, exitCode: record.exitCode };
  } catch (error) {
    results[name] = { error: error instanceof Error ? error.message : String(error) };
  }
  await shim.shutdown();
}

await run(
  "status",
  "id; grep -E 'Cap|Sig[BIC]' /proc/self/status; echo x >/dev/null; touch /tmp/x; chown 1000:1000 /tmp/x; stat -c %u:%g /tmp/x",
);
await run("user", "id; echo $HOME; echo a >/dev/stdout", { process: { user: "app" } });
await run("overlay", "echo new >/created; rm -r /home; chown 5:5 /etc/passwd; stat -c %u /etc/passwd", {
  rootfs: {
    kind: "overlay",
    overlay: { lower: [rootfs], upper: `${base}/upper`, work: `${base}/work`, options: ["userxattr"] },
  },
});
await run("host", "ls /host/bin/env; touch /host/x; true", {
  mounts: [...DEFAULT_MOUNTS, {
    type: "image-dir",
    source: "/usr",
    target: "/host",
    flags: ["rbind", "ro"],
    recursiveReadOnly: true,
  }],
});
await run("refused", "mount -t tmpfs x /tmp; umount /proc; mknod /tmp/sda b 8 0; true");
await run("host network", "cat /proc/mounts | grep ' /sys '", {}, AS_USER, ["net"]);
await run("host pid", "echo $PPID", {}, AS_USER, ["pid"]);
// A single id, as without newuidmap: setgroups is forbidden, the group tty does not exist.
const single = ["unshare", "--user", "--map-root-user", "--mount", "--propagation=slave"];
await run("single id", "id -u; grep devpts /proc/mounts", {}, single);
await run("single id, other user", "id", { process: { user: "app" } }, single);
{
  await using shim = await ShimClient.start(AS_USER);
  await shim.start(containerSpec(rootfs, ["sleep", "1000"]));
  results["exec"] = await shim.runExec(processSpec(["sh", "-c", "cat; tty; hostname"]), "in\n");
  results["exec tty"] = await shim.runExec(processSpec(["tty"], { tty: true }));
}
console.log(JSON.stringify(results));
