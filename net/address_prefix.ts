/** Where prefixes were before the command line needed them as well. */
export * from "../base/address_prefix.ts";
