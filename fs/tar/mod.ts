/** The format lives in base/tar, which the command line reads and writes as well. */
export * from "../../base/tar/mod.ts";
