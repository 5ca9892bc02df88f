/** The DNS servers that the host itself asks. */
import { serversOf } from "./resolv_conf.ts";
import type { Upstream } from "./resolver.ts";
import { upstreamsAt } from "./upstream.ts";

const PATH = "/etc/resolv.conf";
/** The file is looked at again after this: DHCP and VPNs write it while we run. */
const TRUSTED_MS = 1000;

/** As resolv.conf(5) says: without a server in the file it is the one at this machine. */
const DEFAULT: readonly Upstream[] = [{
  family: "inet",
  address: Uint8Array.of(127, 0, 0, 1),
  port: 53,
}];

/** Loopback servers count, since they are asked from the host's side. */
export class HostResolvers {
  readonly #path: string;
  #upstreams: readonly Upstream[] = DEFAULT;
  #text: string | undefined;
  #read = -Infinity;

  constructor(path = PATH) {
    this.#path = path;
  }

  upstreams(): readonly Upstream[] {
    const now = performance.now();
    if (now - this.#read < TRUSTED_MS) return this.#upstreams;
    this.#read = now;
    const text = readText(this.#path);
    if (text === this.#text) return this.#upstreams;
    this.#text = text;
    const found = upstreamsAt(serversOf(text), interfaceIndex);
    return this.#upstreams = found.length > 0 ? found : DEFAULT;
  }
}

/** Index of an interface of this process's network namespace. */
export function interfaceIndex(name: string): number | undefined {
  if (!/^[^/\s]{1,15}$/.test(name) || name.startsWith(".")) return undefined;
  const index = Number(readText(`/sys/class/net/${name}/ifindex`));
  return index > 0 ? index : undefined;
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
