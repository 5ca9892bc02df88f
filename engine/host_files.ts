import type { ContainerConfig, HostConfig } from "./types.ts";

/** Paths of the files that the engine makes for a container and binds over the image's. */
export interface HostFiles {
  readonly hostnamePath: string;
  readonly hostsPath: string;
  readonly resolvConfPath: string;
}

/** Docker's answer when the host has only loopback resolvers, which a container cannot reach. */
const PUBLIC_RESOLVERS = ["8.8.8.8", "8.8.4.4"];
/** Where systemd-resolved keeps the real servers behind its stub (moby: resolvconf). */
const RESOLVED_CONF = "/run/systemd/resolve/resolv.conf";

/** Writes hostname, hosts and resolv.conf into the container's directory. */
export function writeHostFiles(dir: string, config: ContainerConfig, hostConfig: HostConfig): HostFiles {
  const host = hostConfig.NetworkMode === "host";
  const files: HostFiles = {
    hostnamePath: `${dir}/hostname`,
    hostsPath: `${dir}/hosts`,
    resolvConfPath: `${dir}/resolv.conf`,
  };
  write(files.hostnamePath, `${config.Hostname ?? ""}\n`);
  write(files.hostsPath, hostsText(config, hostConfig, host ? readText("/etc/hosts") : undefined));
  const own = readText("/etc/resolv.conf") ?? "";
  const behindStub = onlyLoopback(own) ? readText(RESOLVED_CONF) ?? own : own;
  write(files.resolvConfPath, resolvConfText(host ? own : behindStub, hostConfig, host));
  return files;
}

function write(path: string, text: string): void {
  Deno.writeTextFileSync(path, text, { mode: 0o644 });
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/**
 * /etc/hosts in Docker's form. Without a network of its own the container's name stands for a loopback address, so that
 * programs that look up their own name find it.
 *
 * @param hostText the host's file, for `--network host`.
 */
export function hostsText(
  config: ContainerConfig,
  hostConfig: HostConfig,
  hostText: string | undefined,
): string {
  const lines: string[] = [];
  for (const extra of hostConfig.ExtraHosts ?? []) {
    const at = extra.search(/[:=]/);
    const [name, address] = [extra.slice(0, at), extra.slice(at + 1).replace(/^\[(.*)\]$/, "$1")];
    if (address === "host-gateway") {
      if (hostText !== undefined) lines.push(`127.0.0.1\t${name}`);
      continue;
    }
    lines.push(`${address}\t${name}`);
  }
  if (hostText !== undefined) {
    const body = hostText === "" || hostText.endsWith("\n") ? hostText : `${hostText}\n`;
    return body + lines.map((line) => `${line}\n`).join("");
  }
  const name = config.Hostname ?? "";
  const own = name === "" ? [] : [
    `127.0.1.1\t${config.Domainname ? `${name}.${config.Domainname} ${name}` : name}`,
  ];
  return [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
    ...lines,
    ...own,
    "",
  ].join("\n");
}

function serversOf(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1] ?? "");
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

function onlyLoopback(text: string): boolean {
  return serversOf(text).every(isLoopback);
}

/** resolv.conf: the host's without resolvers that only the host can reach, then the user's --dns, --dns-search and --dns-option. */
export function resolvConfText(hostText: string, hostConfig: HostConfig, keepLoopback: boolean): string {
  const dns = hostConfig.Dns ?? [];
  const search = hostConfig.DnsSearch ?? [];
  const options = hostConfig.DnsOptions ?? [];
  if (keepLoopback && dns.length === 0 && search.length === 0 && options.length === 0) return hostText;
  const found = serversOf(hostText).filter((address) => keepLoopback || !isLoopback(address));
  const servers = dns.length > 0 ? dns : found.length > 0 ? found : PUBLIC_RESOLVERS;
  const hostLine = (word: string) =>
    new RegExp(`^\\s*${word}\\s+(.+)$`, "m").exec(hostText)?.[1]?.trim().split(/\s+/) ?? [];
  const searches = search.length > 0 ? search.filter((domain) => domain !== ".") : hostLine("search");
  const flags = options.length > 0 ? options : hostLine("options");
  return [
    ...servers.map((server) => `nameserver ${server}`),
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...(flags.length > 0 ? [`options ${flags.join(" ")}`] : []),
    "",
  ].join("\n");
}
