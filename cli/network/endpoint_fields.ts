/** What the engine decides of an endpoint. docker's command line sends these fields empty, as Go writes a struct that has them. */
export const UNDECIDED = {
  NetworkID: "",
  EndpointID: "",
  Gateway: "",
  IPAddress: "",
  IPPrefixLen: 0,
  IPv6Gateway: "",
  GlobalIPv6Address: "",
  GlobalIPv6PrefixLen: 0,
  DNSNames: null,
} as const;
