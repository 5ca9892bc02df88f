/**
 * Messages between the engine and netd: newline-delimited JSON on `<exec-root>/netd/ctl.sock`, one engine at a time (a newer
 * one replaces the older). The engine's records are the truth. netd is told changes one by one, and everything at once after either of
 * the two has started anew ({@link NetdRequest} `sync`). Requests are answered in order.
 */
import type { ErrorKind } from "../../base/errors.ts";
import type { DriverOptions } from "../network_options.ts";
import type { PublishedPort } from "../network_host_ports.ts";
import type { PortRequest } from "../network_ports.ts";
import type { DriverName } from "../network_types.ts";

/** Changes with each incompatible change: an engine replaces a netd that speaks another one. */
export const NETD_PROTOCOL = 1;

/** Begins what a netd prints in place of "ready" when it cannot work on this machine, now or a moment later. */
export const REFUSED = "refused: ";

export interface SubnetState {
  /** `172.18.0.0/16` */
  readonly subnet: string;
  /** Given to the bridge. None: no gateway. */
  readonly gateway?: string;
}

/** A network that netd is to have. Those of the drivers `host` and `null` are never sent. */
export interface NetworkState {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly driver: DriverName;
  /** `docker0`, `br-0123456789ab`; for macvlan and ipvlan the parent link, made as a dummy when there is none of that name. */
  readonly link: string;
  readonly options: DriverOptions;
  /** No way outside. */
  readonly internal: boolean;
  readonly ipv6: boolean;
  readonly subnets: readonly SubnetState[];
}

/** One interface of a container. */
export interface EndpointState {
  readonly id: string;
  readonly networkId: string;
  /** `eth0` */
  readonly interface: string;
  /** `02:42:ac:11:00:02` */
  readonly mac: string;
  /** `172.17.0.2/16` */
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** Further addresses, `169.254.1.2`. */
  readonly linkLocal: readonly string[];
  /** The default route goes here, when this is the container's gateway endpoint. */
  readonly gateway4?: string;
  readonly gateway6?: string;
  /** Names in DNS, the first answers PTR. Empty on the default bridge. */
  readonly dnsNames: readonly string[];
  /** `--link`: alias → name of the other container. */
  readonly links: Readonly<Record<string, string>>;
  /** `net.ipv4.conf.IFNAME.log_martians` → `1` */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** The embedded DNS server of a sandbox. */
export interface SandboxDns {
  /** `--dns`, or what the host's resolv.conf names; `127.0.0.53` and the like are asked from the host's side. */
  readonly upstreams: readonly string[];
  /** `--dns-option ndots:N` with N above 0: names without a dot are not passed on. */
  readonly ndotsSet?: boolean;
}

/** A container's network namespace and what is to be in it. */
export interface SandboxState {
  readonly containerId: string;
  /** For messages. */
  readonly name: string;
  /** A process in the namespace, by number and field 22 of /proc/PID/stat. */
  readonly pid: number;
  readonly startTime: string;
  readonly endpoints: readonly EndpointState[];
  /** Only with a user-defined network: a server at 127.0.0.11. */
  readonly dns?: SandboxDns;
  readonly publish: PublishState;
}

/** What is reached from outside: `ports` are served on the host and lead to these addresses. */
export interface PublishState {
  /** The gateway endpoint's, without a length. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly ports: readonly PortRequest[];
  /** What was given out before: a restarted netd takes the same again. Empty at a container's start. */
  readonly assigned: readonly PublishedPort[];
}

export type NetdRequest =
  /**
   * Which paths work here, as they did when that was asked first. `fresh`: as they do now; what was missing at netd's start and is there now is taken
   * into use.
   */
  | { readonly seq: number; readonly op: "hello"; readonly fresh?: boolean }
  /** Replaces everything: what is not named is taken down, what is missing is made. Never fails as a whole; see `problems`. */
  | {
    readonly seq: number;
    readonly op: "sync";
    readonly settings: NetdSettings;
    readonly networks: readonly NetworkState[];
    readonly sandboxes: readonly SandboxState[];
  }
  | { readonly seq: number; readonly op: "network.add"; readonly network: NetworkState }
  | { readonly seq: number; readonly op: "network.remove"; readonly id: string }
  /** All or nothing. Publishes as well. */
  | { readonly seq: number; readonly op: "sandbox.add"; readonly sandbox: SandboxState }
  /** A live container's new state: the difference is made. All or nothing; used by connect, disconnect and rename. */
  | { readonly seq: number; readonly op: "sandbox.update"; readonly sandbox: SandboxState }
  /** The container has ended, or will not start. No error when it is not there. */
  | { readonly seq: number; readonly op: "sandbox.remove"; readonly containerId: string }
  /** Counters of each interface of a container. */
  | { readonly seq: number; readonly op: "stats"; readonly containerId: string }
  /** End, when no sandbox is left; answered with `left`. */
  | { readonly seq: number; readonly op: "shutdown" };

export interface NetdSettings {
  /** Connections to 10.0.2.2 and to gateways may reach the host's 127.0.0.1. */
  readonly hostLoopback: boolean;
  /** `auto` takes the first that works. */
  readonly outbound: "auto" | "tproxy" | "pasta" | "slirp4netns" | "none";
}

/** One way that works here, or why it does not and what to type. */
export interface PathReport {
  readonly name:
    | "tproxy"
    | "tun"
    | "ipv6"
    | "ping"
    | "low-ports"
    | "open-files"
    | "macvlan"
    | "ipvlan"
    | "pasta"
    | "slirp4netns";
  readonly works: boolean;
  readonly detail: string;
  readonly hint?: string;
}

export interface NetdHello {
  readonly protocol: number;
  /** Version of berth. */
  readonly version: string;
  readonly pid: number;
  /** A process in the rootless host's network namespace, to enter it with nsenter. */
  readonly hostPid: number;
  readonly outbound: string;
  readonly paths: readonly PathReport[];
}

export interface InterfaceStats {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

export type NetdAnswer =
  | { readonly seq: number; readonly ok: true; readonly hello: NetdHello }
  | { readonly seq: number; readonly ok: true; readonly ports: readonly PublishedPort[] }
  | {
    readonly seq: number;
    readonly ok: true;
    /** What could not be made again at a sync; those containers go on without it. */
    readonly problems: readonly {
      readonly containerId?: string;
      readonly networkId?: string;
      readonly message: string;
    }[];
    /** By container. */
    readonly published: Readonly<Record<string, readonly PublishedPort[]>>;
  }
  | { readonly seq: number; readonly ok: true; readonly stats: Readonly<Record<string, InterfaceStats>> }
  | { readonly seq: number; readonly ok: true; readonly left?: number }
  | {
    readonly seq: number;
    readonly ok: false;
    readonly error: { readonly kind: ErrorKind; readonly message: string; readonly hint?: string };
  };
