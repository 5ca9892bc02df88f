/** netd's end of the rootless host's TUN device, and the rules for what it writes there. */
import { SysError } from "../../ffi/errno.ts";
import { kernel } from "../../ffi/kernel.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import {
  commit,
  familyIs,
  flushChain,
  newRule,
  setMark,
  tcpFlagsAre,
  tproxy,
  verdict,
} from "../netlink/mod.ts";
import {
  LOCAL_MARK,
  NFT_TABLE,
  OUTBOUND_CHAIN,
  type RootlessHost,
  TPROXY_ADDRESS,
  TPROXY_ADDRESS6,
  TPROXY_PORT,
  TUN_NAME,
} from "../netd/rootless_host.ts";
import type { PacketWriter } from "./context.ts";
import { type Packet, TCP_ACK, TCP_RST, TCP_SYN } from "./packet.ts";

const bytesOf = (text: string): Uint8Array => addressBytes(parseAddress(text));

export class Tun implements PacketWriter, Disposable {
  readonly fd: number;

  /** Takes hold of the device. @throws {SysError} it is not there, somebody else has it, or the kernel lacks tproxy. */
  constructor(host: RootlessHost) {
    // answers of gateways come in by the device
    host.sysctl(`ipv4.conf.${TUN_NAME}.accept_local`, "1");
    loadRules(host);
    this.fd = host.make((calls) => calls.openTun({ name: TUN_NAME, kind: "tun" }).fd);
  }

  /** Length of the next packet; 0 when there is none. */
  read(packet: Packet): number {
    const length = kernel.read(this.fd, packet.bytes);
    return length === WOULD_BLOCK ? 0 : length;
  }

  write(packet: Uint8Array): void {
    try {
      kernel.write(this.fd, packet);
    } catch (error) {
      // the device is down, or the kernel has no memory
      if (!(error instanceof SysError)) throw error;
    }
  }

  [Symbol.dispose](): void {
    kernel.close(this.fd);
  }
}

/** A SYN that is written to the device is for the transparent listener, whatever address it has. */
function loadRules({ filter }: RootlessHost): void {
  const rule = (family: "ip" | "ip6", address: string) =>
    newRule(
      NFT_TABLE,
      OUTBOUND_CHAIN,
      familyIs(family),
      tcpFlagsAre(TCP_SYN, TCP_SYN | TCP_ACK | TCP_RST),
      tproxy(family, TPROXY_PORT, bytesOf(address)),
      setMark(LOCAL_MARK),
      verdict("accept"),
    );
  commit(filter, [
    flushChain(NFT_TABLE, OUTBOUND_CHAIN),
    rule("ip", TPROXY_ADDRESS),
    rule("ip6", TPROXY_ADDRESS6),
  ]);
}
