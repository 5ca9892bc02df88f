import { HUB_SERVER } from "./config_file.ts";

/** How the configuration file names the server that a user means: Docker Hub without an address, else its host. */
export function serverKey(address: string): string {
  const host = address.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "" || host === "docker.io" || host === "index.docker.io" ? HUB_SERVER : host;
}
