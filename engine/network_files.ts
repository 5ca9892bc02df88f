/** The files by which a container finds names: hostname, hosts and resolv.conf, bound over the image's. */
import { rewriteInPlace, updateResolvConf } from "../net/dns/container_files.ts";
import { type HostsRow, newHosts, replaceRows } from "../net/dns/hosts_file.ts";
import {
  bridgeResolvConf,
  hostNetworkResolvConf,
  type ResolvConfInput,
  serversOf,
  userNetworkResolvConf,
} from "../net/dns/resolv_conf.ts";
import type { SandboxDns } from "../net/netd/protocol.ts";
import {
  HOST_ADDRESS,
  HOST_ADDRESS6,
  RESOLVER_ADDRESS,
  RESOLVER_ADDRESS6,
} from "../net/netd/rootless_host.ts";
import type { ContainerConfig, HostConfig } from "./types.ts";

/** Where the files of a container are on the host. */
export interface NetworkFiles {
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
}

/** What daemon.json says for containers that do not say themselves. */
export interface NameSettings {
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** What `host-gateway` becomes; empty: berth's own address for the host. */
  readonly hostGateways: readonly string[];
}

export const NO_NAME_SETTINGS: NameSettings = { dns: [], dnsSearch: [], dnsOptions: [], hostGateways: [] };

/** The part of a container that the files come from. */
export interface NamedContainer {
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
}

/** Addresses of a container in one network, without lengths. */
export interface NamedEndpoint {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** A container's place in its networks. */
export interface NetworkPlace {
  readonly endpoints: readonly NamedEndpoint[];
  /** One of its networks has been made by the user: names are answered at 127.0.0.11. */
  readonly userNetwork: boolean;
  /** Of the default bridge; see {@link linkRows}. */
  readonly links?: readonly HostsRow[];
}

/** Where the host's resolvers are written. */
export interface HostPaths {
  readonly hosts: string;
  readonly resolvConf: string;
  /** Where systemd-resolved keeps the servers behind its own at 127.0.0.53 (moby: resolvconf.Path). */
  readonly resolvedConf: string;
}

const HOST_PATHS: HostPaths = {
  hosts: "/etc/hosts",
  resolvConf: "/etc/resolv.conf",
  resolvedConf: "/run/systemd/resolve/resolv.conf",
};

/** Networks that are no user's. */
const PREDEFINED_MODES = new Set(["", "default", "bridge", "none", "host"]);

/** The network mode names a network that a user has made. */
export function isUserNetwork(mode: string | undefined): boolean {
  return !PREDEFINED_MODES.has(mode ?? "") && !(mode ?? "").startsWith("container:");
}

/**
 * Writes a new container's files into its directory. What depends on its addresses comes at the start, by {@link updateNetworkFiles}; until then it has its
 * own name for 127.0.1.1.
 *
 * @param joined the files of the container whose network this one shares: they are its own as well, as in Docker.
 */
export function createNetworkFiles(
  dir: string,
  container: NamedContainer,
  settings: NameSettings = NO_NAME_SETTINGS,
  joined?: NetworkFiles,
  paths: HostPaths = HOST_PATHS,
): NetworkFiles {
  if (joined !== undefined) {
    const { hostnamePath, hostsPath, resolvConfPath } = joined;
    return { hostnamePath, hostsPath, resolvConfPath };
  }
  const files: NetworkFiles = {
    hostnamePath: `${dir}/hostname`,
    hostsPath: `${dir}/hosts`,
    resolvConfPath: `${dir}/resolv.conf`,
  };
  const { config, hostConfig } = container;
  Deno.writeTextFileSync(files.hostnamePath, `${config.Hostname ?? ""}\n`, { mode: 0o644 });
  const place = {
    endpoints: hostConfig.NetworkMode === "none" ? [] : [{ ipv4: "127.0.1.1" }],
    userNetwork: isUserNetwork(hostConfig.NetworkMode),
  };
  writeHosts(files, container, settings, place, paths);
  writeResolvConf(files, container, settings, place, paths);
  return files;
}

/**
 * Brings a container's files to its present networks: at its start, and when it is connected or disconnected while it runs. What users have
 * edited stays: all of hosts but the engine's own rows, and a resolv.conf that is not as the engine has left it.
 *
 * Nothing is done for `--network host`, whose files are the host's as they were at creation, and `container:x`, whose files are x's.
 */
export function updateNetworkFiles(
  files: NetworkFiles,
  container: NamedContainer,
  settings: NameSettings,
  place: NetworkPlace,
  paths: HostPaths = HOST_PATHS,
): void {
  const mode = container.hostConfig.NetworkMode ?? "";
  if (mode === "host" || mode.startsWith("container:") || files.hostsPath === "") return;
  writeHosts(files, container, settings, place, paths);
  writeResolvConf(files, container, settings, place, paths);
}

/** What the DNS server of a container's sandbox is to know, for a container in a network of a user's. */
export function sandboxDns(
  { hostConfig }: NamedContainer,
  settings: NameSettings,
  paths: HostPaths = HOST_PATHS,
): SandboxDns {
  const input = resolvConfInput(hostConfig, settings, [], paths.resolvConf);
  const { upstreams, ndotsSet } = userNetworkResolvConf(input);
  return {
    // the host's own are looked up when they are asked: a VPN or another wireless network changes them
    upstreams: (input.dns ?? []).length > 0 ? upstreams : [RESOLVER_ADDRESS],
    ...(ndotsSet ? { ndotsSet } : {}),
  };
}

/**
 * The rows of a `--link` on the default bridge: alias, host name, and the name where it is another (moby: buildSandboxOptions).
 *
 * @param target the container that is linked to; `name` without a slash.
 */
export function linkRows(
  alias: string,
  target: { readonly name: string; readonly hostname: string },
  { ipv4, ipv6 }: NamedEndpoint,
): HostsRow[] {
  const names = [alias, target.hostname, ...(alias === target.name ? [] : [target.name])]
    .filter((name, index, all) => name !== "" && all.indexOf(name) === index);
  return [ipv4, ipv6].flatMap((address) => address === undefined ? [] : [{ address, names }]);
}

function writeHosts(
  { hostsPath }: NetworkFiles,
  container: NamedContainer,
  settings: NameSettings,
  place: NetworkPlace,
  paths: HostPaths,
): void {
  const current = readText(hostsPath);
  const rows = ownRows(container, settings, place);
  const text = current === undefined
    ? freshHosts(container, settings, rows, paths)
    : replaceRows(current, rows);
  if (text !== current) rewriteInPlace(hostsPath, text);
}

/** A new container's /etc/hosts: Docker's rows, or the host's file for the host's network; then `--add-host`. */
function freshHosts(
  { hostConfig }: NamedContainer,
  settings: NameSettings,
  rows: readonly HostsRow[],
  paths: HostPaths,
): string {
  const extra = extraRows(hostConfig, settings);
  if (hostConfig.NetworkMode !== "host") return newHosts({ ipv6: hasIpv6(hostConfig), extra, rows });
  const own = readText(paths.hosts) ?? "";
  const body = own === "" || own.endsWith("\n") ? own : `${own}\n`;
  return body + extra.map(({ address, names }) => `${address}\t${names.join(" ")}\n`).join("");
}

function extraRows(hostConfig: HostConfig, { hostGateways }: NameSettings): HostsRow[] {
  const gateways = hostGateways.length > 0
    ? hostGateways
    // the host's network has no other address for the host than its own
    : [hostConfig.NetworkMode === "host" ? "127.0.0.1" : HOST_ADDRESS];
  return extraHosts(hostConfig).flatMap(({ name, address }) =>
    (address === "host-gateway" ? gateways : [address]).map((one) => ({ address: one, names: [name] }))
  );
}

function extraHosts({ ExtraHosts }: HostConfig): { name: string; address: string }[] {
  return (ExtraHosts ?? []).map((entry) => {
    const at = entry.search(/[:=]/);
    return { name: entry.slice(0, at), address: entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1") };
  });
}

/** Links, then the container's own name at each of its addresses. */
function ownRows(
  { config, hostConfig }: NamedContainer,
  { hostGateways }: NameSettings,
  { endpoints, links = [] }: NetworkPlace,
): HostsRow[] {
  if (hostConfig.NetworkMode === "host") return [];
  const addresses = endpoints.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]).filter((one) => one !== undefined);
  const names = ownNames(config);
  // 10.0.2.2 is out of reach without IPv4
  const only6 = hostGateways.length === 0 && addresses.length > 0 &&
    addresses.every((one) => one.includes(":"));
  const gateways = only6 ? extraHosts(hostConfig).filter(({ address }) => address === "host-gateway") : [];
  return [
    ...links,
    ...gateways.map(({ name }) => ({ address: HOST_ADDRESS6, names: [name] })),
    ...(names.length === 0 ? [] : addresses.map((address) => ({ address, names }))),
  ];
}

/** The full name, and the part before its first dot (moby: Sandbox.updateHostsFile). */
function ownNames({ Hostname, Domainname }: ContainerConfig): string[] {
  if (!Hostname) return [];
  const full = Domainname ? `${Hostname}.${Domainname}` : Hostname;
  const dot = full.indexOf(".");
  return dot < 0 ? [full] : [full, full.slice(0, dot)];
}

/** Loopback has ::1 in the container. */
function hasIpv6({ Sysctls }: HostConfig): boolean {
  const off = ["all", "default", "lo"].some((name) =>
    Sysctls?.[`net.ipv6.conf.${name}.disable_ipv6`] === "1"
  );
  return !off && readText("/proc/net/if_inet6") !== undefined;
}

function writeResolvConf(
  { resolvConfPath }: NetworkFiles,
  { hostConfig }: NamedContainer,
  settings: NameSettings,
  { endpoints, userNetwork }: NetworkPlace,
  paths: HostPaths,
): void {
  const own = resolvConfInput(hostConfig, settings, endpoints, paths.resolvConf);
  const ipv6 = endpoints.some((endpoint) => endpoint.ipv6 !== undefined);
  const text = hostConfig.NetworkMode === "host"
    ? hostNetworkResolvConf(own)
    : userNetwork
    ? userNetworkResolvConf(own).text
    : bridgeResolvConf(
      behindStub(own.hostText)
        ? resolvConfInput(hostConfig, settings, endpoints, paths.resolvedConf, own)
        : own,
      ipv6,
    );
  updateResolvConf(resolvConfPath, `${resolvConfPath}.hash`, text);
}

function resolvConfInput(
  hostConfig: HostConfig,
  settings: NameSettings,
  endpoints: readonly NamedEndpoint[],
  hostPath: string,
  otherwise?: ResolvConfInput,
): ResolvConfInput {
  const hostText = readText(hostPath);
  if (hostText === undefined && otherwise !== undefined) return otherwise;
  const given = (own: readonly string[] | null | undefined, daemon: readonly string[]) =>
    own && own.length > 0 ? own : daemon;
  const only6 = endpoints.length > 0 && endpoints.every(({ ipv4 }) => ipv4 === undefined);
  return {
    hostText: hostText ?? "",
    hostPath,
    dns: given(hostConfig.Dns, settings.dns),
    search: given(hostConfig.DnsSearch, settings.dnsSearch),
    options: given(hostConfig.DnsOptions, settings.dnsOptions),
    fallback: [only6 ? RESOLVER_ADDRESS6 : RESOLVER_ADDRESS],
  };
}

/** systemd-resolved's own server is all there is. */
function behindStub(hostText: string): boolean {
  const servers = serversOf(hostText);
  return servers.length > 0 && servers.every((server) => /^127\.0\.0\.5[34]$/.test(server));
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}
