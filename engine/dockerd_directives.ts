/**
 * dockerd's directives that this engine takes no value from (moby: daemon/config, 20.10 to 29): accepted, so that one file serves both. Where a file asks for
 * what happens here anyway nothing is said; of everything else a warning says that it has no effect.
 */

/** Names of Docker's runtime; all of them mean berth's own. */
export const RUNTIMES: readonly string[] = ["berth", "runc", "io.containerd.runc.v2"];

type Satisfied = (value: unknown) => boolean;

const is = (...values: readonly unknown[]): Satisfied => (value) => values.includes(value);
const isEmpty: Satisfied = (value) =>
  value === "" || value === 0 ||
  typeof value === "object" && value !== null && Object.keys(value).length === 0;
const never: Satisfied = () => false;

/** What of BuildKit's switches holds here. */
const FEATURES: Readonly<Record<string, boolean>> = {
  buildkit: true,
  "containerd-snapshotter": false,
  cdi: false,
};
const featuresHold: Satisfied = (value) =>
  typeof value === "object" && value !== null &&
  Object.entries(value).every(([name, on]) => FEATURES[name] === on);

const DIRECTIVES: Readonly<Record<string, Satisfied>> = {
  "allow-direct-routing": is(false),
  "allow-nondistributable-artifacts": isEmpty,
  "api-cors-header": isEmpty,
  "authorization-plugins": isEmpty,
  "bridge-accept-fwmark": isEmpty,
  "cdi-spec-dirs": isEmpty,
  "containerd": isEmpty,
  "containerd-namespace": never,
  "containerd-plugin-namespace": never,
  "cpu-rt-period": isEmpty,
  "cpu-rt-runtime": isEmpty,
  "cri-containerd": is(false),
  "default-stop-timeout": is(10),
  "experimental": is(false),
  "features": featuresHold,
  "firewall-backend": is("", "nftables"),
  "group": isEmpty,
  "init-path": isEmpty,
  "ip-forward": is(true),
  "ip-forward-no-drop": is(false),
  "ip6tables": is(true),
  "iptables": is(true),
  // Containers outlive the engine.
  "live-restore": is(true),
  "metrics-addr": isEmpty,
  "min-api-version": is("", "1.24"),
  "network-control-plane-mtu": never,
  "network-diagnostic-port": isEmpty,
  "node-generic-resources": isEmpty,
  "nri-opts": isEmpty,
  "oom-score-adjust": isEmpty,
  "raw-logs": is(false),
  "resolv-conf": isEmpty,
  // Said of dockerd itself.
  "rootless": () => true,
  "runtimes": isEmpty,
  "selinux-enabled": is(false),
  "shutdown-timeout": never,
  "storage-opts": isEmpty,
  "swarm-default-advertise-addr": isEmpty,
  "swarm-raft-election-tick": never,
  "swarm-raft-heartbeat-tick": never,
  "userland-proxy": is(true),
  "userland-proxy-path": isEmpty,
  "userns-remap": isEmpty,
};

export const isDockerdDirective = (key: string): boolean => Object.hasOwn(DIRECTIVES, key);

/** Names of the directives in `file` that ask for something that does not happen. */
export function withoutEffect(file: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(file)
    .filter(([key, value]) => value !== null && isDockerdDirective(key) && DIRECTIVES[key]?.(value) !== true)
    .map(([key]) => key);
}
