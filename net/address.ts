/** Where addresses were before the command line needed them as well. */
export * from "../base/address.ts";
