/** Which way outside there is: netd's own where the kernel has what it takes, else another program, else none, and why. */
import { EngineError } from "../../base/errors.ts";
import { note } from "../../base/note.ts";
import { SysError } from "../../ffi/errno.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import type { NetdSettings } from "../netd/protocol.ts";
import { HOST_ADDRESS } from "../netd/rootless_host.ts";
import { Fallback, FALLBACK_LINK, type FallbackDeps, type FallbackProgram, findProgram } from "./fallback.ts";
import { Outbound, type OutboundDeps } from "./outbound.ts";

// slirp4netns comes first: it serves any number of addresses, where pasta has one client and needs NAT in front of it. The pasta of Debian 12
// (of March 2023) answers neither resets nor long uploads through that.

/** Where the routes of bridges lead to. */
export interface WayOut extends Disposable {
  readonly name: "tproxy" | FallbackProgram;
  /** Undefined: the TUN device, for both families. */
  readonly route?: { readonly link: string; readonly gateway4: Uint8Array };
}

const INSTALL =
  "Load the kernel's modules:  sudo modprobe -a nf_tables nft_tproxy nft_socket tun\nor install a program that does without:  sudo apt-get install slirp4netns";

/**
 * Opens the way that the settings name, or the first that works. Undefined: there is to be none.
 *
 * @throws {EngineError} unavailable, with what is wrong with each.
 */
export function openWayOut(
  deps: Omit<OutboundDeps, "settings"> & Pick<FallbackDeps, "namespace">,
  settings: NetdSettings,
): WayOut | undefined {
  const { outbound: wanted, hostLoopback } = settings;
  if (wanted === "none") return undefined;
  const reasons: string[] = [];
  const attempt = (name: WayOut["name"], open: () => WayOut): WayOut | undefined => {
    if (wanted !== "auto" && wanted !== name) return undefined;
    try {
      return open();
    } catch (error) {
      if (!(error instanceof SysError || error instanceof EngineError)) throw error;
      reasons.push(`${name}: ${error.message}`);
      return undefined;
    }
  };
  const fallback = (program: FallbackProgram) => (): WayOut => {
    const path = findProgram(program);
    if (path === undefined) throw new EngineError("unavailable", "not installed");
    const { host, loop, namespace } = deps;
    const running = new Fallback({ loop, host, program, path, hostLoopback, namespace });
    if (reasons.length > 0) note(`outbound connections go by ${program}, since ${reasons.join("; ")}`);
    return {
      name: program,
      route: { link: FALLBACK_LINK, gateway4: addressBytes(parseAddress(HOST_ADDRESS)) },
      [Symbol.dispose]: () => running[Symbol.dispose](),
    };
  };
  const way = attempt("tproxy", () => {
    const outbound = new Outbound({ ...deps, settings });
    return { name: "tproxy", [Symbol.dispose]: () => outbound[Symbol.dispose]() };
  }) ?? attempt("slirp4netns", fallback("slirp4netns")) ?? attempt("pasta", fallback("pasta"));
  if (way === undefined) throw new EngineError("unavailable", reasons.join("; "), { hint: INSTALL });
  return way;
}
