import { messageOf } from "../../base/errors.ts";
import { splitReference } from "../output/names.ts";
import { printError } from "../stdio.ts";
import { ConfigFile, type Credentials, HUB_SERVER } from "./config_file.ts";

/** The server, as the configuration file names it, that an image's name leads to. */
export function serverOf(image: string): string {
  const [first = "", ...rest] = splitReference(image).repository.split("/");
  const isHost = rest.length > 0 &&
    (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  return !isHost || /^(?:index\.)?docker\.io$/.test(first) ? HUB_SERVER : first;
}

/** JSON in the form of X-Registry-Auth. */
export function encodeAuth(server: string, credentials: Credentials | undefined): string {
  const { username = "", password = "", identityToken = "" } = credentials ?? {};
  const json = {
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
    ...(credentials === undefined ? {} : { serveraddress: server }),
    ...(identityToken === "" ? {} : { identitytoken: identityToken }),
  };
  return new TextEncoder().encode(JSON.stringify(json)).toBase64({ alphabet: "base64url" });
}

/** The headers that tell the engine who the user is to the registry of an image. */
export async function registryAuthHeaders(image: string): Promise<Record<string, string>> {
  return { "X-Registry-Auth": encodeAuth(serverOf(image), await registryCredentials(image)) };
}

/** Who the user is to the registry of an image; undefined when nobody is logged in. */
export async function registryCredentials(image: string): Promise<Credentials | undefined> {
  const server = serverOf(image);
  try {
    return await ConfigFile.load().credentials(server);
  } catch (error) {
    // as docker: most images need no credentials, and a helper is often named by a file from another machine
    printError(`WARNING: going on without credentials for ${server}: ${messageOf(error)}`);
    return undefined;
  }
}
