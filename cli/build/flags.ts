/** The flags of `berth build`: those of docker's, the classic builder's and buildx's. */
import { parseUlimit } from "../create/devices.ts";
import { extraHost, label } from "../flags/checks.ts";
import { bool, custom, type FlagValues, list, strings, text } from "../flags/spec.ts";
import { bytes, int } from "../flags/values.ts";

type Ulimit = ReturnType<typeof parseUlimit>;

const array = { label: "stringArray" };

export const BUILD_FLAGS = {
  "add-host": list(`Add a custom host-to-IP mapping (format: "host:ip")`, {
    label: "strings",
    check: extraHost,
  }),
  "allow": list(`Allow extra privileged entitlement (e.g., "network.host", "security.insecure")`, array),
  "annotation": list("Add annotation to the image", array),
  "attest": list(`Attestation parameters (format: "type=sbom,generator=image")`, array),
  "build-arg": list("Set build-time variables", array),
  "build-context": list("Additional build contexts (e.g., name=path)", array),
  "builder": text("Override the configured builder instance", { hidden: true }),
  "cache-from": list(`External cache sources (e.g., "user/app:cache")`, array),
  "cache-to": list("Cache export destinations", { ...array, hidden: true }),
  "call": text(`Set method for evaluating build ("check")`, {
    default: "build",
    completes: ["build", "check"],
  }),
  "cgroup-parent": text(`Set the parent cgroup for the "RUN" instructions during build`),
  "check": bool(`Shorthand for "--call=check"`),
  "compress": bool("Compress the build context using gzip", { hidden: true }),
  "cpu-period": int("Limit the CPU CFS (Completely Fair Scheduler) period", { hidden: true }),
  "cpu-quota": int("Limit the CPU CFS (Completely Fair Scheduler) quota", { hidden: true }),
  "cpu-shares": int("CPU shares (relative weight)", { short: "c", hidden: true }),
  "cpuset-cpus": text("CPUs in which to allow execution (0-3, 0,1)", { hidden: true }),
  "cpuset-mems": text("MEMs in which to allow execution (0-3, 0,1)", { hidden: true }),
  "debug": bool("Show warnings in full", { short: "D" }),
  "disable-content-trust": bool("Skip image verification", { default: true, hidden: true }),
  "file": text(`Name of the Dockerfile (default: "PATH/Dockerfile")`, { short: "f", completes: "file" }),
  "force-rm": bool("Always remove intermediate containers", { hidden: true }),
  "iidfile": text("Write the image ID to a file", { completes: "file" }),
  "isolation": text("Container isolation technology", { hidden: true }),
  "label": list("Set metadata for an image", { ...array, check: label }),
  "load": bool(`Shorthand for "--output=type=docker"`),
  "memory": bytes("Memory limit", { short: "m", hidden: true }),
  "memory-swap": bytes("Swap limit equal to memory plus swap: -1 to enable unlimited swap", {
    allowMinusOne: true,
    hidden: true,
  }),
  "metadata-file": text("Write build result metadata to a file", { completes: "file" }),
  "network": text(`Set the networking mode for the "RUN" instructions during build`, { default: "default" }),
  "no-cache": bool("Do not use cache when building the image"),
  "no-cache-filter": strings("Do not cache specified stages", array),
  "output": list(`Output destination (format: "type=local,dest=path")`, { ...array, short: "o" }),
  "platform": strings("Set target platform for build", array),
  "progress": text(
    `Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty"). Use plain to show container output`,
    { default: "auto", completes: ["auto", "none", "plain", "quiet", "rawjson", "tty"] },
  ),
  "provenance": text(`Shorthand for "--attest=type=provenance"`),
  "pull": bool("Always attempt to pull all referenced images"),
  "push": bool(`Shorthand for "--output=type=registry,unpack=false"`),
  "quiet": bool("Suppress the build output and print image ID on success", { short: "q" }),
  "rm": bool("Remove intermediate containers after a successful build", { default: true, hidden: true }),
  "sbom": text(`Shorthand for "--attest=type=sbom"`),
  "secret": list(`Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`, array),
  "security-opt": strings("Security options", { hidden: true }),
  "shm-size": bytes("Shared memory size for build containers"),
  "squash": bool("Squash newly built layers into a single new layer", { hidden: true }),
  "ssh": list(
    `SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")`,
    array,
  ),
  "tag": list(`Image identifier (format: "[registry/]repository[:tag]")`, { ...array, short: "t" }),
  "target": text("Set the target build stage to build"),
  "ulimit": custom<readonly Ulimit[]>("Ulimit options", {
    label: "ulimit",
    initial: [],
    defaultText: "[]",
    parse: (value, current) => [...current, parseUlimit(value)],
  }),
} as const;

export type BuildFlags = FlagValues<typeof BUILD_FLAGS>;
