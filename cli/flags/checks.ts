/** Checks of single flag values, with docker's messages. Each returns the value to keep or throws. */
import { tryParseAddress } from "../../base/address.ts";
import { IPC_SYSCTLS } from "../../base/ipc_sysctls.ts";

/** `-e NAME` takes the value from our own environment when it has one; without, NAME alone removes the variable. */
export function envVariable(text: string): string {
  if (text === "" || text.startsWith("=")) throw new Error(`invalid environment variable: ${text}`);
  if (text.includes("=")) return text;
  const value = Deno.env.get(text);
  return value === undefined ? text : `${text}=${value}`;
}

export function label(text: string): string {
  const key = (text.split("=", 1)[0] ?? "").trimStart();
  if (key === "") throw new Error(`invalid label '${text}': empty name`);
  if (/[ \t]/.test(key)) throw new Error(`label '${key}' contains whitespaces`);
  return text;
}

/** IPv4 or IPv6 address; returned without blanks around it. */
export function ipAddress(text: string): string {
  const trimmed = text.trim();
  if (isAddress(trimmed)) return trimmed;
  throw new Error(`IP address is not correctly formatted: ${text}`);
}

/** Whether Go's net.ParseIP takes it: no zone. */
function isAddress(text: string): boolean {
  return tryParseAddress(text)?.zone === "";
}

/** Throws unless Go's net.ParseMAC takes it: 6, 8 or 20 bytes with colons, dashes, or two by two with dots. */
export function checkMacAddress(text: string): void {
  const trimmed = text.trim();
  if (trimmed === "") return;
  const digits = trimmed.replace(/[:.-]/g, "").length;
  const shape = /^[0-9a-f]{2}(:[0-9a-f]{2})+$|^[0-9a-f]{2}(-[0-9a-f]{2})+$|^[0-9a-f]{4}(\.[0-9a-f]{4})+$/i;
  if (!shape.test(trimmed) || ![12, 16, 40].includes(digits)) {
    throw new Error(`${text} is not a valid mac address`);
  }
}

export function dnsSearch(text: string): string {
  const domain = text.trim();
  if (domain === ".") return domain;
  const parts = domain.replace(/\.$/, "").split(".");
  const valid = domain.length <= 255 &&
    parts.every((part) => /^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$/.test(part));
  if (!valid || !/[a-zA-Z]/.test(domain)) throw new Error(`${text} is not a valid domain`);
  return domain;
}

/** `name:ip` or `name=ip`; "host-gateway" stands for the host. Kept as `name:ip`. */
export function extraHost(text: string): string {
  const equals = text.indexOf("=");
  const at = equals >= 0 ? equals : text.indexOf(":");
  const name = text.slice(0, Math.max(at, 0)).trim();
  // a name has no colon: what stands before "=" here is a name and an address already
  if (name === "" || name.includes(":")) throw new Error(`bad format for add-host: ${JSON.stringify(text)}`);
  const given = text.slice(at + 1).trim();
  const address = /^\[.+\]$/.test(given) ? given.slice(1, -1) : given;
  if (address === "host-gateway" || isAddress(address)) return `${name}:${address}`;
  throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`);
}

export function link(text: string): string {
  if (text === "") throw new Error("empty string specified for links");
  if (text.split(":").length > 2) throw new Error(`bad format for links: ${text}`);
  return text;
}

/** Only sysctls that belong to a namespace of the container's. */
export function sysctl(text: string): string {
  const at = text.indexOf("=");
  const key = text.slice(0, Math.max(at, 0));
  if (key !== "" && (IPC_SYSCTLS.includes(key) || key.startsWith("net.") || key.startsWith("fs.mqueue."))) {
    return text;
  }
  throw new Error(`sysctl '${text}' is not allowed`);
}

export function attachStream(text: string): string {
  const name = text.toLowerCase();
  if (["stdin", "stdout", "stderr"].includes(name)) return name;
  throw new Error("valid streams are STDIN, STDOUT and STDERR");
}

/** `type major:minor mode`, for example "c 1:3 rwm". */
export function deviceCgroupRule(text: string): string {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) return text;
  throw new Error(`invalid device cgroup format '${text}'`);
}
