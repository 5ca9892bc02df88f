import { DEFAULT_DOMAIN } from "../../base/reference.ts";
import type { RegistrySettings } from "./settings.ts";

/** One server that may know a repository. */
export interface Endpoint {
  /** `https://registry-1.docker.io`, without a slash at the end. */
  readonly base: string;
  /** Stands in for the registry proper: is not told who the user is, and may fail. */
  readonly mirror: boolean;
  /** Its certificate is not looked at. */
  readonly insecureTls: boolean;
}

/** Where Docker Hub's registry lives (moby: registry/config.go). */
const HUB_HOST = "registry-1.docker.io";

/** The servers to ask for repositories of `domain`, in order. Pushes go to the registry itself. */
export function endpointsOf(domain: string, settings: RegistrySettings, push = false): Endpoint[] {
  const host = domain === DEFAULT_DOMAIN ? HUB_HOST : domain;
  const mirrors = domain === DEFAULT_DOMAIN && !push
    ? settings.mirrors.map((url) => ({
      base: url.replace(/\/+$/, ""),
      mirror: true,
      insecureTls: isInsecure(new URL(url).host, settings.insecure),
    }))
    : [];
  if (!isInsecure(host, settings.insecure)) {
    return [...mirrors, { base: `https://${host}`, mirror: false, insecureTls: false }];
  }
  return [
    ...mirrors,
    { base: `https://${host}`, mirror: false, insecureTls: true },
    { base: `http://${host}`, mirror: false, insecureTls: true },
  ];
}

/** Whether a registry may be spoken to in the clear, or with a certificate that proves nothing. */
export function isInsecure(host: string, listed: readonly string[]): boolean {
  const name = hostname(host);
  if (name === "localhost" || name === "::1" || /^127(?:\.\d+){3}$/.test(name)) return true;
  return listed.some((entry) => entry === host || entry === name || inNetwork(name, entry));
}

/** `example.com` of `example.com:5000`, `::1` of `[::1]:5000`. */
function hostname(host: string): string {
  const bracketed = /^\[(.*)\](?::\d+)?$/.exec(host)?.[1];
  return bracketed ?? host.replace(/:\d+$/, "");
}

/** IPv4 only: nobody names a registry by an IPv6 network. */
function inNetwork(address: string, cidr: string): boolean {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(cidr);
  const ip = numberOf(address), network = numberOf(match?.[1] ?? "");
  const bits = Number(match?.[2]);
  if (ip === undefined || network === undefined || bits > 32) return false;
  const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
  return (ip & mask) >>> 0 === (network & mask) >>> 0;
}

function numberOf(address: string): number | undefined {
  const parts = address.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}
