/** Which ways of networking work on this machine, and what to type for those that do not: `berth network doctor`. */
import { AF_INET, AF_INET6, RLIMIT_NOFILE, SOCK_DGRAM, SOCK_NONBLOCK } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import { network } from "../../ffi/kernel_network.ts";
import { IPPROTO_ICMP, IPPROTO_TCP } from "../../ffi/network_constants.ts";
import type { Syscalls } from "../../ffi/syscalls.ts";
import { bytes, type Ground } from "./ground.ts";
import * as nl from "../netlink/mod.ts";
import type { PathReport } from "./protocol.ts";
import type { RootlessNamespace } from "./rootless_namespace.ts";
import { refusalOfKind } from "./vlan_driver.ts";

export interface ProbeDeps {
  readonly kernel: Syscalls;
  readonly host: RootlessNamespace;
  readonly ground: Ground;
}

/** Each connection from or to a container has two descriptors. */
const ENOUGH_FILES = 20_000;
/** Ports below are the machine's, unless it says otherwise. */
const WEB_PORT = 80;
/** An address of the documentation prefix, for which a route is looked for. */
const SOMEWHERE6 = "2001:db8::1";

export function probePaths(deps: ProbeDeps): PathReport[] {
  const { host, ground } = deps;
  return [
    tproxy(host, ground),
    ground.tunMissing === undefined
      ? works("tun", "the TUN device is there")
      : fails("tun", `no TUN device: ${ground.tunMissing}`, tunHint(ground.tunMissing)),
    ipv6(deps.kernel, ground),
    ping(deps.kernel),
    lowPorts(deps.kernel),
    openFiles(deps.kernel),
    linkKind(host, "macvlan"),
    linkKind(host, "ipvlan"),
    program(deps.kernel, "pasta", "passt"),
    program(deps.kernel, "slirp4netns", "slirp4netns"),
  ];
}

type Name = PathReport["name"];

const works = (name: Name, detail: string): PathReport => ({ name, works: true, detail });
const fails = (name: Name, detail: string, hint: string): PathReport => ({
  name,
  works: false,
  detail,
  hint,
});

/** Runs `probe`; the kernel's refusal is the answer. */
function refusal(probe: () => void): SysError | undefined {
  try {
    probe();
    return undefined;
  } catch (error) {
    if (error instanceof SysError) return error;
    throw error;
  }
}

function tproxy({ filter }: RootlessNamespace, { rulesMissing }: Ground): PathReport {
  const hint = "Load the kernel's modules:  sudo modprobe -a nf_tables nft_tproxy nft_socket\n" +
    "For good:  printf 'nf_tables\\nnft_tproxy\\nnft_socket\\n' | sudo tee /etc/modules-load.d/berth.conf";
  if (rulesMissing !== undefined) {
    return fails("tproxy", `nf_tables refuses the rules: ${rulesMissing}`, hint);
  }
  const table = { family: "inet", name: "berth-probe" } as const;
  const error = refusal(() =>
    nl.commit(filter, [
      nl.newTable(table),
      nl.newChain({ table, name: "probe", hook: { at: "prerouting", priority: 0 } }),
      nl.newRule(
        table,
        "probe",
        nl.markIs(0xb37e),
        nl.familyIs("ip"),
        nl.protocolIs(IPPROTO_TCP),
        nl.tproxy("ip", 1),
      ),
      nl.deleteTable(table),
    ])
  );
  return error === undefined
    ? works("tproxy", "nf_tables hands connections over to netd")
    : fails("tproxy", `nf_tables has no tproxy: ${error.message}`, hint);
}

function tunHint(reason: string): string {
  return reason.includes("no such") || reason.includes("device")
    ? "Load the kernel's module:  sudo modprobe tun\nFor good:  echo tun | sudo tee /etc/modules-load.d/berth.conf"
    : "Let everybody open the device:  sudo chmod 0666 /dev/net/tun";
}

function ipv6(kernel: Syscalls, { ipv6 }: Ground): PathReport {
  const hint =
    "Containers reach each other by IPv6 all the same. For a way outside the host needs an address and a route:  ip -6 route show default";
  if (!ipv6) return fails("ipv6", "the kernel has no IPv6", "Boot without ipv6.disable=1.");
  const error = refusal(() => {
    const fd = network.socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK);
    try {
      network.connect(fd, { family: "inet6", address: bytes(SOMEWHERE6), port: 9 });
    } finally {
      kernel.close(fd);
    }
  });
  return error === undefined
    ? works("ipv6", "the host has an IPv6 route")
    : fails("ipv6", `the host has no way outside by IPv6: ${error.message}`, hint);
}

function ping(kernel: Syscalls): PathReport {
  const error = refusal(() =>
    kernel.close(network.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_ICMP))
  );
  return error === undefined ? works("ping", "containers can ping outside") : fails(
    "ping",
    `the machine does not let its users ping without privileges: ${error.message}`,
    'Permit it:  sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"\n' +
      'For good:   echo "net.ipv4.ping_group_range=0 2147483647" | sudo tee /etc/sysctl.d/90-berth-ping.conf',
  );
}

function lowPorts(kernel: Syscalls): PathReport {
  const text = readSmall(kernel, "/proc/sys/net/ipv4/ip_unprivileged_port_start");
  const first = Number(text ?? 1024);
  // root's engine is root in a user namespace, which the host's ports do not ask about
  return first <= WEB_PORT ? works("low-ports", `ports from ${first} on can be published`) : fails(
    "low-ports",
    `ports below ${first} cannot be published`,
    `Permit them from ${WEB_PORT} on:  sudo sysctl -w net.ipv4.ip_unprivileged_port_start=${WEB_PORT}\n` +
      `For good:  echo net.ipv4.ip_unprivileged_port_start=${WEB_PORT} | sudo tee /etc/sysctl.d/90-berth-ports.conf`,
  );
}

function openFiles(kernel: Syscalls): PathReport {
  const { hard } = kernel.getrlimit(RLIMIT_NOFILE);
  const connections = hard / 2n;
  const text = `${hard} descriptors, for about ${connections} connections at a time`;
  return hard >= BigInt(ENOUGH_FILES) ? works("open-files", text) : fails(
    "open-files",
    text,
    "Raise the limit:  echo '* hard nofile 524288' | sudo tee /etc/security/limits.d/90-berth.conf\n" +
      "It holds from the next login on; then start the engine again.",
  );
}

function linkKind({ route }: RootlessNamespace, kind: "macvlan" | "ipvlan"): PathReport {
  const error = refusalOfKind(route, kind);
  return error === undefined ? works(kind, `the kernel has ${kind}`) : fails(
    kind,
    `the kernel has no ${kind} (CONFIG_${kind.toUpperCase()})`,
    `Load its module:  sudo modprobe ${kind}`,
  );
}

function program(kernel: Syscalls, name: "pasta" | "slirp4netns", debianPackage: string): PathReport {
  for (const dir of (Deno.env.get("PATH") ?? "").split(":")) {
    if (!dir.startsWith("/")) continue;
    try {
      kernel.stat(`${dir}/${name}`, true);
      return works(name, `${dir}/${name}`);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }
  return fails(
    name,
    `${name} is not installed: only needed where tproxy is missing; it needs the TUN device as well`,
    `sudo apt-get install ${debianPackage}`,
  );
}

function readSmall(kernel: Syscalls, path: string): string | undefined {
  try {
    const fd = kernel.open(path, 0);
    try {
      const buffer = new Uint8Array(64);
      return new TextDecoder().decode(buffer.subarray(0, Math.max(0, kernel.read(fd, buffer)))).trim();
    } finally {
      kernel.close(fd);
    }
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
