/** The flags that `run` and `create` share: everything that describes a container. */

import {
  attachStream,
  deviceCgroupRule,
  dnsSearch,
  envVariable,
  extraHost,
  ipAddress,
  label,
  link,
  sysctl,
} from "../flags/checks.ts";
import { contentTrustFlag } from "../registry/content_trust.ts";
import { bool, custom, type Flag, type FlagValues, list, map, spelledAs, text } from "../flags/spec.ts";
import { bytes, decimal, duration, int, uint } from "../flags/values.ts";
import {
  parseBytesRate,
  parseDeviceWeight,
  parseGpus,
  parseOperationsRate,
  parseUlimit,
  type Ulimit,
} from "./devices.ts";
import { type Mount, parseMount } from "./mounts.ts";
import { type NetworkAttachment, parseNetwork } from "./networks.ts";

/** A list whose elements are parsed when the flag is. */
function parsedList<T>(
  help: string,
  label: string,
  parse: (text: string) => T,
  options: { defaultText?: string; completes?: Flag["completes"] } = {},
): Flag<T[]> {
  return custom<T[]>(help, {
    ...options,
    label,
    initial: [],
    parse: (value, current) => [...current, parse(value)],
  });
}

const EMPTY_LIST = { defaultText: "[]" };
const NETWORK = parsedList<NetworkAttachment>("Connect a container to a network", "network", parseNetwork, {
  completes: "network",
});
const NETWORK_ALIAS = list("Add network-scoped alias for the container");
const DNS_OPTION = list("Set DNS options");

const CGROUPNS_HELP = `Cgroup namespace to use (host|private)
'host':    Run the container in the Docker host's cgroup namespace
'private': Run the container in its own private cgroup namespace
'':        Use the cgroup namespace as configured by the
           default-cgroupns-mode option on the daemon (default)`;

export const CONTAINER_FLAGS = {
  "add-host": list("Add a custom host-to-IP mapping (host:ip)", { check: extraHost }),
  "annotation": map("Add an annotation to the container (passed through to the OCI runtime)"),
  "attach": list("Attach to STDIN, STDOUT or STDERR", {
    short: "a",
    check: attachStream,
    completes: ["stdin", "stdout", "stderr"],
  }),
  "blkio-weight": uint(
    16,
    "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
  ),
  "blkio-weight-device": parsedList(
    "Block IO weight (relative device weight)",
    "list",
    parseDeviceWeight,
    EMPTY_LIST,
  ),
  "cap-add": list("Add Linux capabilities"),
  "cap-drop": list("Drop Linux capabilities"),
  "cgroup-parent": text("Optional parent cgroup for the container"),
  "cgroupns": text(CGROUPNS_HELP, { completes: ["host", "private"] }),
  "cidfile": text("Write the container ID to the file", { completes: "file" }),
  "cpu-count": int("CPU count (Windows only)", { hidden: true }),
  "cpu-percent": int("CPU percent (Windows only)", { hidden: true }),
  "cpu-period": int("Limit CPU CFS (Completely Fair Scheduler) period"),
  "cpu-quota": int("Limit CPU CFS (Completely Fair Scheduler) quota"),
  "cpu-rt-period": int("Limit CPU real-time period in microseconds"),
  "cpu-rt-runtime": int("Limit CPU real-time runtime in microseconds"),
  "cpu-shares": int("CPU shares (relative weight)", { short: "c" }),
  "cpus": decimal("Number of CPUs"),
  "cpuset-cpus": text("CPUs in which to allow execution (0-3, 0,1)"),
  "cpuset-mems": text("MEMs in which to allow execution (0-3, 0,1)"),
  "device": list("Add a host device to the container", { completes: "file" }),
  "device-cgroup-rule": list("Add a rule to the cgroup allowed devices list", { check: deviceCgroupRule }),
  "device-read-bps": parsedList(
    "Limit read rate (bytes per second) from a device",
    "list",
    parseBytesRate,
    EMPTY_LIST,
  ),
  "device-read-iops": parsedList(
    "Limit read rate (IO per second) from a device",
    "list",
    parseOperationsRate,
    EMPTY_LIST,
  ),
  "device-write-bps": parsedList(
    "Limit write rate (bytes per second) to a device",
    "list",
    parseBytesRate,
    EMPTY_LIST,
  ),
  "device-write-iops": parsedList(
    "Limit write rate (IO per second) to a device",
    "list",
    parseOperationsRate,
    EMPTY_LIST,
  ),
  "disable-content-trust": contentTrustFlag("Skip image verification", true),
  "dns": list("Set custom DNS servers", { check: ipAddress }),
  "dns-opt": spelledAs("dns-option", DNS_OPTION),
  "dns-option": DNS_OPTION,
  "dns-search": list("Set custom DNS search domains", { check: dnsSearch }),
  "domainname": text("Container NIS domain name"),
  "entrypoint": text("Overwrite the default ENTRYPOINT of the image"),
  "env": list("Set environment variables", { short: "e", check: envVariable }),
  "env-file": list("Read in a file of environment variables", { completes: "file" }),
  "expose": list("Expose a port or a range of ports"),
  "gpus": parsedList(
    "GPU devices to add to the container ('all' to pass all GPUs)",
    "gpu-request",
    parseGpus,
  ),
  "group-add": list("Add additional groups to join"),
  "health-cmd": text("Command to run to check health"),
  "health-interval": duration("Time between running the check (ms|s|m|h) (default 0s)"),
  "health-retries": int("Consecutive failures needed to report unhealthy"),
  "health-start-interval": duration(
    "Time between running the check during the start period (ms|s|m|h) (default 0s)",
  ),
  "health-start-period": duration(
    "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
  ),
  "health-timeout": duration("Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
  "help": bool("Print usage"),
  "hostname": text("Container host name", { short: "h" }),
  "init": bool("Run an init inside the container that forwards signals and reaps processes"),
  "interactive": bool("Keep STDIN open even if not attached", { short: "i" }),
  "io-maxbandwidth": bytes("Maximum IO bandwidth limit for the system drive (Windows only)", {
    hidden: true,
  }),
  "io-maxiops": uint(64, "Maximum IOps limit for the system drive (Windows only)", { hidden: true }),
  "ip": text("IPv4 address (e.g., 172.30.100.104)"),
  "ip6": text("IPv6 address (e.g., 2001:db8::33)"),
  "ipc": text("IPC mode to use"),
  "isolation": text("Container isolation technology"),
  "kernel-memory": bytes("Kernel memory limit", { hidden: true }),
  "label": list("Set meta data on a container", { short: "l", check: label }),
  "label-file": list("Read in a line delimited file of labels", { completes: "file" }),
  "link": list("Add link to another container", { check: link }),
  "link-local-ip": list("Container IPv4/IPv6 link-local addresses"),
  "log-driver": text("Logging driver for the container"),
  "log-opt": list("Log driver options"),
  "mac-address": text("Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
  "memory": bytes("Memory limit", { short: "m" }),
  "memory-reservation": bytes("Memory soft limit"),
  "memory-swap": bytes("Swap limit equal to memory plus swap: '-1' to enable unlimited swap", {
    allowMinusOne: true,
  }),
  "memory-swappiness": int("Tune container memory swappiness (0 to 100)", { default: -1 }),
  "mount": parsedList<Mount>("Attach a filesystem mount to the container", "mount", parseMount),
  "name": text("Assign a name to the container"),
  "net": spelledAs("network", NETWORK),
  "net-alias": spelledAs("network-alias", NETWORK_ALIAS),
  "network": NETWORK,
  "network-alias": NETWORK_ALIAS,
  "no-healthcheck": bool("Disable any container-specified HEALTHCHECK"),
  "oom-kill-disable": bool("Disable OOM Killer"),
  "oom-score-adj": int("Tune host's OOM preferences (-1000 to 1000)"),
  "pid": text("PID namespace to use"),
  "pids-limit": int("Tune container pids limit (set -1 for unlimited)"),
  "platform": text("Set platform if server is multi-platform capable"),
  "privileged": bool("Give extended privileges to this container"),
  "publish": list("Publish a container's port(s) to the host", { short: "p" }),
  "publish-all": bool("Publish all exposed ports to random ports", { short: "P" }),
  "pull": text(`Pull image before running ("always", "missing", "never")`, {
    default: "missing",
    completes: ["always", "missing", "never"],
  }),
  "quiet": bool("Suppress the pull output", { short: "q" }),
  "read-only": bool("Mount the container's root filesystem as read only"),
  "restart": text("Restart policy to apply when a container exits", {
    default: "no",
    completes: ["always", "no", "on-failure", "unless-stopped"],
  }),
  "rm": bool("Automatically remove the container and its associated anonymous volumes when it exits"),
  "runtime": text("Runtime to use for this container"),
  "security-opt": list("Security Options"),
  "shm-size": bytes("Size of /dev/shm"),
  "stop-signal": text("Signal to stop the container"),
  "stop-timeout": int("Timeout (in seconds) to stop a container"),
  "storage-opt": list("Storage driver options for the container"),
  "sysctl": map("Sysctl options", { check: sysctl }),
  "tmpfs": list("Mount a tmpfs directory"),
  "tty": bool("Allocate a pseudo-TTY", { short: "t" }),
  "ulimit": parsedList<Ulimit>("Ulimit options", "ulimit", parseUlimit, EMPTY_LIST),
  "use-api-socket": bool("Bind mount Docker API socket and required auth"),
  "user": text("Username or UID (format: <name|uid>[:<group|gid>])", { short: "u" }),
  "userns": text("User namespace to use"),
  "uts": text("UTS namespace to use"),
  "volume": list("Bind mount a volume", { short: "v", completes: "file" }),
  "volume-driver": text("Optional volume driver for the container"),
  "volumes-from": list("Mount volumes from the specified container(s)", { completes: "container" }),
  "workdir": text("Working directory inside the container", { short: "w" }),
} as const;

export type ContainerFlagValues = FlagValues<typeof CONTAINER_FLAGS>;
