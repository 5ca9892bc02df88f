/** Flags of `berth serve` about networks, with dockerd's names and two of berth's own. */

import { dnsSearch, ipAddress } from "../flags/checks.ts";
import { bool, custom, type FlagValues, list, text } from "../flags/spec.ts";
import { int } from "../flags/values.ts";

interface Pool {
  readonly base: string;
  readonly size: number;
}

type OptionsByDriver = Readonly<Record<string, Readonly<Record<string, string>>>>;

export const NETWORK_SERVE_FLAGS = {
  "bip": text("IPv4 address for the default bridge"),
  "bip6": text("IPv6 address for the default bridge"),
  "bridge": text(`Default bridge: "docker0", or "none" for no default network`, {
    short: "b",
    completes: ["docker0", "none"],
  }),
  "default-address-pool": custom<readonly Pool[]>("Default address pools for node specific local networks", {
    label: "pool-options",
    initial: [],
    parse: (value, pools) => [...pools, parsePool(value)],
  }),
  "default-gateway": text("Default gateway IPv4 address", { label: "ip", check: ipAddress }),
  "default-gateway-v6": text("Default gateway IPv6 address", { label: "ip", check: ipAddress }),
  "default-network-opt": custom<OptionsByDriver>("Default network options", {
    label: "mapmap",
    initial: {},
    defaultText: "map[]",
    parse: addDefaultOption,
  }),
  "dns": list("DNS server to use", { check: ipAddress }),
  "dns-opt": list("DNS options to use"),
  "dns-search": list("DNS search domains to use", { check: dnsSearch }),
  "fixed-cidr": text("IPv4 subnet for the default bridge network"),
  "fixed-cidr-v6": text("IPv6 subnet for the default bridge network"),
  "host-gateway-ip": list(
    "IP addresses that the special 'host-gateway' string in --add-host resolves to. Defaults to the address of the host in the rootless network",
    { check: ipAddress },
  ),
  "host-loopback": bool("Let containers reach the host's 127.0.0.1 by their gateway and by host-gateway"),
  "icc": bool("Enable inter-container communication for the default bridge network", { default: true }),
  "ip": text("Host IP for port publishing from the default bridge network", {
    label: "ip",
    defaultText: "0.0.0.0",
    check: ipAddress,
  }),
  "ip-masq": bool("Enable IP masquerading for the default bridge network", { default: true }),
  "ipv6": bool("Enable IPv6 networking for the default bridge network"),
  "mtu": int("Set the MTU for the default bridge network", { default: 1500 }),
  "outbound": text("How containers reach other hosts", {
    default: "auto",
    completes: ["auto", "tproxy", "pasta", "slirp4netns", "none"],
  }),
} as const;

/** Keys of daemon.json where they differ from the flag. */
const KEYS: Readonly<Record<string, string>> = {
  "default-address-pool": "default-address-pools",
  "default-network-opt": "default-network-opts",
  "dns-opt": "dns-opts",
  "host-gateway-ip": "host-gateway-ips",
};

/** The flags that were given, as daemon.json would say them; undefined for none. */
export function networkOptions(
  values: FlagValues<typeof NETWORK_SERVE_FLAGS>,
  changed: ReadonlySet<string>,
): Record<string, unknown> | undefined {
  const given = Object.entries(values).filter(([name]) => name in NETWORK_SERVE_FLAGS && changed.has(name));
  if (given.length === 0) return undefined;
  return Object.fromEntries(given.map(([name, value]) => [KEYS[name] ?? name, value]));
}

/** `base=10.10.0.0/16,size=24`. Throws with dockerd's messages. */
function parsePool(text: string): Pool {
  const fields = new Map<string, string>();
  for (const field of text.split(",")) {
    const equals = field.indexOf("=");
    if (equals < 0) throw new Error(`invalid field '${field}' must be a key=value pair`);
    fields.set(field.slice(0, equals).toLowerCase(), field.slice(equals + 1));
  }
  for (const key of fields.keys()) {
    if (key !== "base" && key !== "size") throw new Error(`unexpected key '${key}' in '${text}'`);
  }
  const [base = "", size = ""] = [fields.get("base"), fields.get("size")];
  if (base === "") throw new Error(`invalid base pool in '${text}'`);
  if (!/^\d+$/.test(size)) throw new Error(`invalid size value: ${size} (must be integer)`);
  return { base, size: Number(size) };
}

/** `bridge=com.docker.network.driver.mtu=1400`. */
function addDefaultOption(text: string, current: OptionsByDriver): OptionsByDriver {
  const match = /^([^=]+)=([^=]+)=(.*)$/s.exec(text);
  if (!match) throw new Error(`invalid option '${text}': must be driver=option=value`);
  const [, driver = "", option = "", value = ""] = match;
  return { ...current, [driver]: { ...current[driver], [option]: value } };
}
