/** Networks as the API shows them, field for field (moby 28: daemon/network.go, buildNetworkResource). */
import type { EndpointAddress, SubnetAllocation, SubnetConfig } from "./ipam_network.ts";
import type { EndpointRecord, IpamConfigBody, NetworkRecord } from "./network_types.ts";

/** The body of GET /networks/{id}; lists show the same with `Containers` empty. */
export function networkView(network: NetworkRecord, endpoints: readonly EndpointRecord[]) {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: network.scope,
    Driver: network.driver,
    EnableIPv4: network.enableIPv4,
    EnableIPv6: network.enableIPv6,
    IPAM: {
      Driver: network.ipamDriver,
      Options: network.ipamOptions,
      Config: [
        ...subnetViews(network.v4, network.addresses.v4),
        ...subnetViews(network.v6, network.addresses.v6),
      ],
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: network.ingress,
    ConfigFrom: { Network: network.configFrom },
    ConfigOnly: network.configOnly,
    Containers: Object.fromEntries(endpoints.map((endpoint) => [endpoint.containerId, {
      Name: endpoint.name,
      EndpointID: endpoint.id,
      MacAddress: endpoint.mac,
      IPv4Address: withLength(endpoint.addresses.ipv4),
      IPv6Address: withLength(endpoint.addresses.ipv6),
    }])),
    Options: network.options,
    Labels: network.labels,
  };
}

/** `172.18.0.2/16`; empty for none. */
const withLength = (address: EndpointAddress | undefined): string =>
  address ? `${address.address}/${address.bits}` : "";

/** What was asked for, completed by what was given; a configuration network has been given nothing. */
function subnetViews(
  configs: readonly SubnetConfig[],
  allocations: readonly SubnetAllocation[],
): IpamConfigBody[] {
  return Array.from({ length: Math.max(configs.length, allocations.length) }, (_, i): IpamConfigBody => {
    const [config, allocation] = [configs[i], allocations[i]];
    const subnet = allocation?.pool.subnet ?? config?.subnet ?? "";
    const gateway = config?.gateway ?? allocation?.gateway;
    const auxiliary = config?.auxiliary ?? {};
    return {
      Subnet: subnet,
      ...(config?.range ? { IPRange: config.range } : {}),
      ...(gateway ? { Gateway: gateway } : {}),
      ...(Object.keys(auxiliary).length > 0 ? { AuxiliaryAddresses: auxiliary } : {}),
    };
  });
}
