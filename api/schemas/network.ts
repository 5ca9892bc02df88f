import * as z from "zod/mini";
import { bool, int64, list, map, opt, struct, text, textMap, texts } from "./go.ts";

const driverOptions = opt(textMap);

/** `network.EndpointSettings`: what a client says about a container's place in a network. */
export const endpoint = struct("network.EndpointSettings", {
  IPAMConfig: opt(struct("network.EndpointIPAMConfig", {
    IPv4Address: opt(text),
    IPv6Address: opt(text),
    LinkLocalIPs: opt(texts),
  })),
  Links: opt(texts),
  Aliases: opt(texts),
  MacAddress: opt(text),
  DriverOpts: driverOptions,
  GwPriority: opt(int64),
});

const ipamConfig = struct("network.IPAMConfig", {
  Subnet: opt(text),
  IPRange: opt(text),
  Gateway: opt(text),
  AuxiliaryAddresses: opt(textMap),
});

/** Body of POST /networks/create. */
export const networkCreateBody = struct("network.CreateRequest", {
  Name: z._default(text, ""),
  Driver: opt(text),
  Scope: opt(text),
  EnableIPv4: opt(bool),
  EnableIPv6: opt(bool),
  IPAM: opt(struct("network.IPAM", {
    Driver: opt(text),
    Options: driverOptions,
    Config: opt(list(ipamConfig, {}, "[]network.IPAMConfig")),
  })),
  Internal: opt(bool),
  Attachable: opt(bool),
  Ingress: opt(bool),
  ConfigOnly: opt(bool),
  ConfigFrom: opt(struct("network.ConfigReference", { Network: opt(text) })),
  Options: driverOptions,
  Labels: opt(textMap),
});

/** Body of POST /networks/{id}/connect. */
export const networkConnectBody = struct("network.ConnectOptions", {
  Container: z._default(text, ""),
  EndpointConfig: opt(endpoint),
});

/** Body of POST /networks/{id}/disconnect. */
export const networkDisconnectBody = struct("network.DisconnectOptions", {
  Container: z._default(text, ""),
  Force: opt(bool),
});

/** `NetworkingConfig` of POST /containers/create. */
export const networkingConfig = struct("network.NetworkingConfig", {
  EndpointsConfig: opt(map(endpoint, {}, "map[string]*network.EndpointSettings")),
});
