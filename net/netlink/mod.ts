export * from "./addresses.ts";
export { NetlinkFormatError } from "./codec.ts";
export { Netlink, NetlinkError } from "./connection.ts";
export { NETLINK_NETFILTER, NETLINK_ROUTE } from "./constants.ts";
export * from "./links.ts";
export * from "./neighbours.ts";
export * from "./routes.ts";
export * from "./rules.ts";
