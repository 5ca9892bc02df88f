/**
 * Published ports: `PortBindings` of the API as the ports that have to be bound. The grammar of single values is in base/port_spec.ts.
 */
import { formatAddress, parseAddress } from "../base/address.ts";
import { invalid, messageOf } from "../base/errors.ts";
import {
  type ContainerPort,
  parseContainerPort,
  parsePortRange,
  type PortProtocol,
  readHostIp,
} from "../base/port_spec.ts";

export { type ContainerPort, parseContainerPort, type PortProtocol };

/** A member of `HostConfig.PortBindings["80/tcp"]`. Empty texts: any address, any port. */
export interface PortBinding {
  readonly HostIp?: string | null;
  readonly HostPort?: string | null;
}

export type PortMap = Readonly<Record<string, readonly PortBinding[] | null>>;

/** A port that is to be published. */
export interface PortRequest extends ContainerPort {
  /** All of them get the same host port. */
  readonly hostAddresses: readonly string[];
  /** Any port from `first` to `last`; both 0: any ephemeral one. */
  readonly first: number;
  readonly last: number;
}

/** An address without brackets, canonical; empty stays empty. @throws {EngineError} invalid */
function canonicalHostIp(text: string): string {
  const bare = readHostIp(text);
  return bare === "" ? "" : formatAddress(parseAddress(bare));
}

/** Any port of any address. */
const UNSPECIFIED = { HostIp: "", HostPort: "" };

/** Bindings with each empty list replaced by one for an ephemeral port, as Docker's engine writes them down (moby: backfillEmptyPBs). */
export function backFilledBindings<B extends PortBinding>(
  bindings: Readonly<Record<string, readonly B[] | null>>,
): Record<string, readonly (B | typeof UNSPECIFIED)[]> {
  return Object.fromEntries(
    Object.entries(bindings).map(([port, list]) => [port, list && list.length > 0 ? list : [UNSPECIFIED]]),
  );
}

/** {@link backFilledBindings} with both fields in each entry, as clients read them back. */
export function completeBindings(
  bindings: Readonly<Record<string, readonly PortBinding[] | null>>,
): Record<string, { readonly HostIp: string; readonly HostPort: string }[]> {
  return Object.fromEntries(
    Object.entries(backFilledBindings(bindings)).map(([port, list]) => [
      port,
      list.map(({ HostIp, HostPort }) => ({ HostIp: HostIp ?? "", HostPort: HostPort ?? "" })),
    ]),
  );
}

/** The same by canonical names of ports: `80` is `80/tcp`. @throws {EngineError} invalid */
function bindingsByPort(bindings: PortMap): Record<string, PortBinding[]> {
  const result: Record<string, PortBinding[]> = {};
  for (const [text, list] of Object.entries(backFilledBindings(bindings))) {
    const { port, protocol } = parseContainerPort(text);
    (result[`${port}/${protocol}`] ??= []).push(...list);
  }
  return result;
}

export interface PublishContext {
  /** `Config.ExposedPorts`. */
  readonly exposed?: readonly string[];
  /** `-P`: publish what is exposed and not bound. */
  readonly publishAll?: boolean;
  /** The network's `host_binding_ipv4`, or the engine's `--ip`; empty: all addresses. */
  readonly defaultAddress?: string;
  /** The host has IPv6: where no address is named, `::` is bound as well. */
  readonly hostIpv6: boolean;
}

/**
 * What has to be published, single ports first, then ranges, then ephemeral ones, so that none takes what another one names.
 * @throws {EngineError} invalid; SCTP is refused where it was asked for by name
 */
export function portRequests(
  bindings: PortMap,
  context: PublishContext,
): { requests: PortRequest[]; warnings: string[] } {
  const warnings: string[] = [];
  const wanted = bindingsByPort(bindings);
  for (const text of context.publishAll ? context.exposed ?? [] : []) {
    const { port, protocol } = parseContainerPort(text);
    if (protocol !== "sctp") wanted[`${port}/${protocol}`] ??= [{}];
    else warnings.push(`Port ${port}/sctp is exposed and not published: berth publishes TCP and UDP`);
  }
  const requests = Object.entries(wanted).flatMap(([text, list]) => {
    const target = parseContainerPort(text);
    if (target.protocol === "sctp") {
      throw invalid(
        `cannot publish ${text}: SCTP cannot be published, only TCP and UDP (use --network host for SCTP)`,
      );
    }
    return requestsOf(target, list, context);
  });
  const kind = ({ first, last }: PortRequest) => first === 0 ? 2 : first === last ? 0 : 1;
  return { requests: requests.sort((a, b) => kind(a) - kind(b)), warnings };
}

/** Bindings of one container port; those that differ in address alone share a host port, as in Docker. */
function requestsOf(
  target: ContainerPort,
  bindings: readonly PortBinding[],
  { defaultAddress = "", hostIpv6 }: PublishContext,
): PortRequest[] {
  const requests: (PortRequest & { hostAddresses: string[] })[] = [];
  const all = defaultAddress === "" || defaultAddress === "0.0.0.0";
  for (const { HostIp, HostPort } of bindings) {
    const { first, last } = hostRange(HostPort ?? "");
    const address = canonicalHostIp(HostIp ?? "");
    const addresses = address !== ""
      ? [address]
      : !all
      ? [canonicalHostIp(defaultAddress)]
      : hostIpv6
      ? ["0.0.0.0", "::"]
      : ["0.0.0.0"];
    const same = requests.find((one) =>
      one.first === first && one.last === last && !addresses.some((text) => one.hostAddresses.includes(text))
    );
    if (same) same.hostAddresses.push(...addresses);
    else requests.push({ ...target, hostAddresses: addresses, first, last });
  }
  return requests;
}

/** "" and "0" are any port. */
function hostRange(text: string): { first: number; last: number } {
  if (text === "") return { first: 0, last: 0 };
  try {
    // The protocol that some clients append says nothing.
    return parsePortRange(text.split("/")[0] ?? "");
  } catch (error) {
    throw invalid(`Error parsing HostPort value(${text}):${messageOf(error)}`);
  }
}
