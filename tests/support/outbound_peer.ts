/**
 * Both ends of outbound connections, as a program: `serve` runs servers in the host's network, anything else is a list of steps in JSON that
 * a client takes in a container's network, one after the other, with blocking sockets. It prints what each has met.
 */
import * as c from "../../ffi/constants.ts";
import { errnoName, SysError } from "../../ffi/errno.ts";
import { kernel as k } from "../../ffi/kernel.ts";
import { network as net } from "../../ffi/kernel_network.ts";
import * as n from "../../ffi/network_constants.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import { addWords, checksumOf } from "../../net/outbound/checksum.ts";

/** The byte at `offset` of everything that is sent. */
const pattern = (offset: number): number => (offset * 7 + (offset >> 8)) & 0xff;

function patterned(start: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = pattern(start + index);
  return bytes;
}

const isPatterned = (bytes: Uint8Array, start = 0): boolean =>
  bytes.every((byte, index) => byte === pattern(start + index));

export type Step =
  /** Connects and tells who the server says that we are; the errno's name otherwise, "timeout" after `ms`. `from` is a port. */
  | {
    readonly op: "connect";
    readonly to: string;
    readonly port: number;
    readonly from?: number;
    readonly ms?: number;
  }
  /** Opens so many connections and answers how many came. */
  | {
    readonly op: "many";
    readonly to: string;
    readonly port: number;
    readonly count: number;
    readonly ms: number;
  }
  | { readonly op: "upload" | "download"; readonly to: string; readonly port: number; readonly bytes: number }
  /** Datagrams of these sizes, each echoed. */
  | {
    readonly op: "udp";
    readonly to: string;
    readonly port: number;
    readonly sizes: readonly number[];
    readonly ms?: number;
    readonly dontFragment?: boolean;
    readonly hops?: number;
  }
  | {
    readonly op: "ping";
    readonly to: string;
    readonly size: number;
    readonly ms?: number;
    readonly hops?: number;
  }
  /** Datagrams from so many ports, without waiting for answers. */
  | { readonly op: "ports"; readonly to: string; readonly port: number; readonly count: number }
  /** SYNs from invented ports. */
  | {
    readonly op: "flood";
    readonly from: string;
    readonly to: string;
    readonly port: number;
    readonly count: number;
  }
  /** Packets as they are, in hexadecimal, past all checks. */
  | { readonly op: "raw"; readonly to: string; readonly packets: readonly string[] }
  | { readonly op: "dns"; readonly to: string; readonly transport: "udp" | "tcp"; readonly query: string };

const SO_RCVTIMEO = 20, SO_SNDTIMEO = 21, SO_SNDBUF = 7;

const at = (text: string, port: number): SocketAddress => {
  const address = addressBytes(parseAddress(text));
  return address.length === 4 ? { family: "inet", address, port } : { family: "inet6", address, port };
};
const domain = (text: string): number => text.includes(":") ? c.AF_INET6 : c.AF_INET;

function patience(fd: number, ms: number): void {
  const time = new Uint8Array(16);
  const view = new DataView(time.buffer);
  view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
  view.setBigInt64(8, BigInt((ms % 1000) * 1000), true);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) net.setsockopt(fd, c.SOL_SOCKET, option, time);
}

function connected(to: string, port: number, ms = 5_000, from?: number): number {
  const fd = net.socket(domain(to), c.SOCK_STREAM);
  patience(fd, ms);
  try {
    if (from !== undefined) net.bind(fd, at(to.includes(":") ? "::" : "0.0.0.0", from));
    if (!net.connect(fd, at(to, port))) throw new Error("timeout");
    return fd;
  } catch (error) {
    k.close(fd);
    throw error;
  }
}

/** Until the end; "timeout" when nothing comes. */
function readAll(fd: number, each: (bytes: Uint8Array) => void): void {
  const buffer = new Uint8Array(256 * 1024);
  for (;;) {
    const length = k.read(fd, buffer);
    if (length < 0) throw new Error("timeout");
    if (length === 0) return;
    each(buffer.subarray(0, length));
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let sent = 0; sent < bytes.length;) {
    const count = net.sendto(fd, bytes.subarray(sent));
    if (count < 0) throw new Error("timeout");
    sent += count;
  }
}

function readText(fd: number): string {
  let text = "";
  readAll(fd, (bytes) => text += new TextDecoder().decode(bytes));
  return text;
}

const SHUT_WR = 1;

function take(step: Step): unknown {
  switch (step.op) {
    case "connect": {
      const fd = connected(step.to, step.port, step.ms, step.from);
      try {
        writeAll(fd, new TextEncoder().encode("W"));
        return readText(fd);
      } finally {
        k.close(fd);
      }
    }
    case "many": {
      const fds: number[] = [];
      try {
        while (fds.length < step.count) fds.push(connected(step.to, step.port, step.ms));
      } catch (error) {
        if (!(error instanceof Error && error.message === "timeout")) throw error;
      }
      const open = fds.length;
      for (const fd of fds) k.close(fd);
      return open;
    }
    case "upload": {
      const fd = connected(step.to, step.port, 20_000);
      writeAll(fd, new TextEncoder().encode("U"));
      const chunk = 256 * 1024;
      for (let sent = 0; sent < step.bytes; sent += chunk) {
        writeAll(fd, patterned(sent, Math.min(chunk, step.bytes - sent)));
      }
      k.shutdown(fd, SHUT_WR);
      const answer = readText(fd);
      k.close(fd);
      return answer;
    }
    case "download": {
      const fd = connected(step.to, step.port, 20_000);
      writeAll(fd, new TextEncoder().encode(`D${String(step.bytes).padStart(12, "0")}`));
      let received = 0;
      let good = true;
      readAll(fd, (bytes) => {
        good &&= isPatterned(bytes, received);
        received += bytes.length;
      });
      k.close(fd);
      return `${received} ${good}`;
    }
    case "udp": {
      const fd = net.socket(domain(step.to), c.SOCK_DGRAM);
      const v4 = domain(step.to) === c.AF_INET;
      try {
        patience(fd, step.ms ?? 5_000);
        if (v4) net.setsockopt(fd, n.SOL_IP, n.IP_RECVERR, 1);
        else net.setsockopt(fd, n.SOL_IPV6, n.IPV6_RECVERR, 1);
        net.setsockopt(fd, c.SOL_SOCKET, SO_SNDBUF, 1 << 20);
        if (v4) {
          net.setsockopt(
            fd,
            n.SOL_IP,
            n.IP_MTU_DISCOVER,
            step.dontFragment ? n.IP_PMTUDISC_DO : n.IP_PMTUDISC_DONT,
          );
          if (step.hops !== undefined) net.setsockopt(fd, n.SOL_IP, n.IP_TTL, step.hops);
        }
        net.connect(fd, at(step.to, step.port));
        const buffer = new Uint8Array(70_000);
        return step.sizes.map((size) =>
          outcome(() => {
            net.sendto(fd, patterned(0, size));
            const { length } = net.recvfrom(fd, buffer);
            if (length < 0) return "timeout";
            return isPatterned(buffer.subarray(0, length)) ? length : "damaged";
          })
        );
      } finally {
        k.close(fd);
      }
    }
    case "ping": {
      const v4 = domain(step.to) === c.AF_INET;
      const fd = net.socket(domain(step.to), c.SOCK_DGRAM, v4 ? n.IPPROTO_ICMP : n.IPPROTO_ICMPV6);
      try {
        patience(fd, step.ms ?? 5_000);
        if (v4) net.setsockopt(fd, n.SOL_IP, n.IP_RECVERR, 1);
        else net.setsockopt(fd, n.SOL_IPV6, n.IPV6_RECVERR, 1);
        if (step.hops !== undefined) net.setsockopt(fd, n.SOL_IP, n.IP_TTL, step.hops);
        net.connect(fd, at(step.to, 0));
        const request = new Uint8Array(8 + step.size);
        request[0] = v4 ? 8 : 128;
        request[7] = 77;
        request.set(patterned(0, step.size), 8);
        k.write(fd, request);
        const buffer = new Uint8Array(70_000);
        const { length } = net.recvfrom(fd, buffer);
        if (length < 0) return "timeout";
        const right = buffer[0] === (v4 ? 0 : 129) && buffer[7] === 77 &&
          isPatterned(buffer.subarray(8, length));
        return right ? length - 8 : "damaged";
      } finally {
        k.close(fd);
      }
    }
    case "ports": {
      for (let count = 0; count < step.count; count++) {
        const fd = net.socket(domain(step.to), c.SOCK_DGRAM);
        net.connect(fd, at(step.to, step.port));
        net.sendto(fd, new Uint8Array(8));
        k.close(fd);
      }
      return step.count;
    }
    case "flood": {
      const fd = net.socket(c.AF_INET, c.SOCK_RAW, n.IPPROTO_RAW);
      const packet = new Uint8Array(40);
      const view = new DataView(packet.buffer);
      view.setUint32(0, 0x45000028);
      packet[8] = 64;
      packet[9] = n.IPPROTO_TCP;
      packet.set(addressBytes(parseAddress(step.from)), 12);
      packet.set(addressBytes(parseAddress(step.to)), 16);
      view.setUint16(22, step.port);
      view.setUint16(32, 0x5002);
      view.setUint16(34, 64240);
      for (let count = 0; count < step.count; count++) {
        view.setUint16(20, 1024 + count % 64_000);
        view.setUint32(24, count);
        view.setUint16(36, 0);
        view.setUint16(
          36,
          checksumOf(addWords(addWords(n.IPPROTO_TCP + 20, packet, 12, 20), packet, 20, 40)),
        );
        while (net.sendto(fd, packet, at(step.to, 0)) < 0);
      }
      k.close(fd);
      return step.count;
    }
    case "raw": {
      const fd = net.socket(c.AF_INET, c.SOCK_RAW, n.IPPROTO_RAW);
      let sent = 0;
      for (const packet of step.packets) {
        try {
          net.sendto(
            fd,
            Uint8Array.from(packet.match(/../g) ?? [], (hex) => parseInt(hex, 16)),
            at(step.to, 0),
          );
          sent++;
        } catch (error) {
          // the kernel itself looks at some fields
          if (!(error instanceof SysError)) throw error;
        }
      }
      k.close(fd);
      return sent;
    }
    case "dns": {
      const query = Uint8Array.from(step.query.match(/../g) ?? [], (hex) => parseInt(hex, 16));
      const buffer = new Uint8Array(65_535);
      let answer: Uint8Array;
      if (step.transport === "udp") {
        const fd = net.socket(domain(step.to), c.SOCK_DGRAM);
        patience(fd, 5_000);
        net.connect(fd, at(step.to, 53));
        net.sendto(fd, query);
        const { length } = net.recvfrom(fd, buffer);
        k.close(fd);
        if (length < 0) return "timeout";
        answer = buffer.subarray(0, length);
      } else {
        const fd = connected(step.to, 53);
        writeAll(fd, Uint8Array.of(query.length >> 8, query.length & 255, ...query));
        let filled = 0;
        while (filled < 2 || filled < 2 + ((buffer[0] ?? 0) << 8 | (buffer[1] ?? 0))) {
          const length = k.read(fd, buffer.subarray(filled));
          if (length <= 0) return "timeout";
          filled += length;
        }
        k.close(fd);
        answer = buffer.subarray(2, filled);
      }
      return [...answer].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
  }
}

function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    if (error instanceof SysError) return errnoName(error.errno);
    if (error instanceof Error && error.message === "timeout") return "timeout";
    throw error;
  }
}

async function serveConnection(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  const { hostname } = conn.remoteAddr;
  try {
    const first = new Uint8Array(1);
    if (await conn.read(first) === null) return;
    const command = String.fromCharCode(...first);
    if (command === "W") await conn.write(new TextEncoder().encode(hostname));
    if (command === "U") {
      let received = 0;
      let good = true;
      for (let length; (length = await conn.read(buffer)) !== null;) {
        good &&= isPatterned(buffer.subarray(0, length), received);
        received += length;
      }
      await conn.write(new TextEncoder().encode(`${received} ${good}`));
    }
    if (command === "D") {
      const digits = new Uint8Array(12);
      for (let filled = 0; filled < 12;) filled += await conn.read(digits.subarray(filled)) ?? 12;
      const total = Number(new TextDecoder().decode(digits));
      for (let sent = 0; sent < total;) {
        const chunk = patterned(sent, Math.min(256 * 1024, total - sent));
        for (let at = 0; at < chunk.length;) at += await conn.write(chunk.subarray(at));
        sent += chunk.length;
      }
    }
  } catch {
    // the client is gone
  } finally {
    conn.close();
  }
}

async function serveTcp(hostname: string, port: number): Promise<void> {
  for await (const conn of Deno.listen({ hostname, port })) void serveConnection(conn as Deno.TcpConn);
}

/** Echoes; a datagram that begins with 0xff is not answered. */
async function serveUdp(hostname: string, port: number): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port });
  for await (const [data, from] of socket) void socket.send(data, from).catch(() => {});
}

/** `address:port` each, with `udp:` before it for datagrams. */
function serve(places: readonly string[]): void {
  for (const place of places) {
    const udp = place.startsWith("udp:");
    const text = udp ? place.slice(4) : place;
    const colon = text.lastIndexOf(":");
    const [hostname, port] = [text.slice(0, colon), Number(text.slice(colon + 1))];
    void (udp ? serveUdp(hostname, port) : serveTcp(hostname, port));
  }
  console.log("ready");
}

if (import.meta.main) {
  const [first = "", ...rest] = Deno.args;
  if (first === "serve") serve(rest);
  else console.log(JSON.stringify((JSON.parse(first) as Step[]).map((step) => outcome(() => take(step)))));
}
