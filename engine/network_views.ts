/** The networks of a container as inspect and the list show them (moby 28: daemon/inspect.go, container/view.go). */
import { dnsNamesOf, isUserDefined } from "../net/network_endpoint.ts";
import { portsView } from "../net/network_host_ports.ts";
import { parseContainerPort } from "../net/network_ports.ts";
import type { Attachment } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";

/** What of an endpoint only exists while it runs. */
function addressView({ endpoint }: Attachment): Record<string, unknown> {
  const { ipv4, ipv6 } = endpoint?.addresses ?? {};
  return {
    EndpointID: endpoint?.id ?? "",
    Gateway: ipv4 ? endpoint?.gateway4 ?? "" : "",
    IPAddress: ipv4?.address ?? "",
    IPPrefixLen: ipv4?.bits ?? 0,
    IPv6Gateway: ipv6 ? endpoint?.gateway6 ?? "" : "",
    GlobalIPv6Address: ipv6?.address ?? "",
    GlobalIPv6PrefixLen: ipv6?.bits ?? 0,
  };
}

const macOf = ({ endpoint, settings }: Attachment): string => endpoint?.mac ?? settings.MacAddress ?? "";

function endpointView(
  record: ContainerRecord,
  name: string,
  attachment: Attachment,
): Record<string, unknown> {
  const { settings, endpoint, networkId } = attachment;
  const named = isUserDefined(name) && networkId !== "";
  const names = () =>
    dnsNamesOf(
      { id: record.id, name: record.name, hostname: record.config.Hostname ?? "" },
      settings.Aliases ?? [],
    );
  return {
    IPAMConfig: settings.IPAMConfig ?? null,
    Links: settings.Links ?? null,
    Aliases: settings.Aliases ?? null,
    MacAddress: macOf(attachment),
    DriverOpts: settings.DriverOpts ?? null,
    GwPriority: settings.GwPriority ?? 0,
    NetworkID: networkId,
    ...addressView(attachment),
    DNSNames: named ? endpoint?.dnsNames ?? names() : null,
  };
}

/** `NetworkSettings.Networks` of inspect. */
export function networksView(record: ContainerRecord): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record.network.attachments).map(([name, one]) => [name, endpointView(record, name, one)]),
  );
}

/** The same in the list of containers, which has less. */
export function networksSummary({ network }: ContainerRecord): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(network.attachments).map(([name, attachment]) => [name, {
      IPAMConfig: attachment.settings.IPAMConfig ?? null,
      Links: null,
      Aliases: null,
      MacAddress: macOf(attachment),
      DriverOpts: null,
      GwPriority: attachment.settings.GwPriority ?? 0,
      NetworkID: attachment.networkId,
      ...addressView(attachment),
      DNSNames: null,
    }]),
  );
}

/** Published ports, and exposed ones of a container that has its own network; nothing of one that does not run. */
function portsOf({ config, network, state }: ContainerRecord): ReturnType<typeof portsView> {
  const { sandbox } = network;
  const onBridge = Object.values(network.attachments).some(({ endpoint }) =>
    endpoint && endpoint.interface !== ""
  );
  if (state.status !== "running" || sandbox === null || !onBridge) return {};
  return portsView(Object.keys(config.ExposedPorts ?? {}).map(parseContainerPort), sandbox.published);
}

/** `NetworkSettings` of inspect. Its addresses beside `Networks` are those on the default bridge. */
export function networkSettingsView(record: ContainerRecord): Record<string, unknown> {
  const { sandbox, attachments } = record.network;
  const bridge = attachments["bridge"];
  const { EndpointID = "", Gateway = "", IPAddress = "", IPPrefixLen = 0, ...v6 } = bridge
    ? addressView(bridge)
    : {};
  const { IPv6Gateway = "", GlobalIPv6Address = "", GlobalIPv6PrefixLen = 0 } = v6;
  const running = record.state.status === "running" && sandbox !== null;
  return {
    Bridge: "",
    SandboxID: running ? sandbox.id : "",
    // Docker's is a file that the namespace is mounted on; this path serves the same purpose (nsenter --net=…).
    SandboxKey: running ? `/proc/${record.state.pid}/ns/net` : "",
    Ports: portsOf(record),
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID,
    Gateway,
    GlobalIPv6Address,
    GlobalIPv6PrefixLen,
    IPAddress,
    IPPrefixLen,
    IPv6Gateway,
    MacAddress: bridge ? macOf(bridge) : "",
    Networks: networksView(record),
  };
}

/** `Ports` of the list. */
export function portList(record: ContainerRecord): Record<string, unknown>[] {
  return Object.entries(portsOf(record)).flatMap(([key, bindings]) => {
    const { port: PrivatePort, protocol: Type } = parseContainerPort(key);
    if (bindings === null) return [{ PrivatePort, Type }];
    return bindings.map(({ HostIp, HostPort }) => ({
      IP: HostIp,
      PrivatePort,
      PublicPort: Number(HostPort),
      Type,
    }));
  });
}
