/** Network sockets: addresses, ancillary data and TUN by the real kernel, on loopback. */
import { describe, expect, it } from "vitest";
import { originalDestination, packetInfo, receivedPacketInfo } from "../../ffi/control_message.ts";
import * as c from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { kernel as k } from "../../ffi/kernel.ts";
import { network as net, networkCalls } from "../../ffi/kernel_network.ts";
import * as n from "../../ffi/network_constants.ts";
import {
  type InetAddress,
  readSocketAddress,
  type SocketAddress,
  writeSocketAddress,
} from "../../ffi/socket_address.ts";
import { StubProcess } from "../../ffi/stub_process.ts";
import { WOULD_BLOCK } from "../../ffi/syscalls.ts";

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const LOOPBACK6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const inet = (port: number, address = LOOPBACK): InetAddress => ({ family: "inet", address, port });
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const bytes = (data: string): Uint8Array => new TextEncoder().encode(data);

/** Descriptors of one test, closed at its end. */
function descriptors(onTestFinished: (close: () => void) => void): (fd: number) => number {
  const open: number[] = [];
  onTestFinished(() => open.forEach((fd) => k.close(fd)));
  return (fd) => {
    open.push(fd);
    return fd;
  };
}

function ready(fd: number, events: number): boolean {
  const epoll = k.epollCreate();
  try {
    k.epollAdd(epoll, fd, events);
    return k.epollWait(epoll, 5_000).length === 1;
  } finally {
    k.close(epoll);
  }
}

function portOf(fd: number): number {
  const address = net.getsockname(fd);
  if (address === undefined || !("port" in address)) throw new Error("no port");
  return address.port;
}

function failure(action: () => unknown): string {
  try {
    action();
    return "ok";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("socket addresses", () => {
  const round = (address: SocketAddress): unknown => {
    const view = new DataView(new ArrayBuffer(128));
    return readSocketAddress(view, writeSocketAddress(view, address));
  };

  it("come back as they were written", () => {
    const hardware = Uint8Array.of(2, 0x42, 0, 0, 0, 1);
    for (
      const address of [
        inet(65535),
        { family: "inet6", address: LOOPBACK6, port: 53, scope: 7, flowInfo: 9 },
        { family: "netlink", port: 4_000_000_000, groups: 1 },
        { family: "packet", protocol: 0x0800, interface: 3, packetType: 4, hardware },
      ] as const
    ) expect(round(address)).toEqual(address);
  });

  it("are refused when they are none, and not read when they are cut", () => {
    expect(() => round(inet(65536))).toThrow(RangeError);
    expect(() => round(inet(1.5))).toThrow(RangeError);
    expect(() => round(inet(1, LOOPBACK6))).toThrow(RangeError);
    expect(() => round({ family: "inet6", address: LOOPBACK, port: 1 })).toThrow(RangeError);
    const view = new DataView(new ArrayBuffer(128));
    writeSocketAddress(view, { family: "inet6", address: LOOPBACK6, port: 1 });
    expect([readSocketAddress(view, 20), readSocketAddress(view, 0)]).toEqual([undefined, undefined]);
    view.setUint16(0, 99, true);
    expect(readSocketAddress(view, 128)).toBeUndefined();
  });
});

describe("TCP", () => {
  it("connects without waiting, and accept answers who it is", ({ onTestFinished }) => {
    const own = descriptors(onTestFinished);
    const listener = own(net.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK));
    net.setsockopt(listener, c.SOL_SOCKET, c.SO_REUSEADDR, 1);
    net.bind(listener, inet(0));
    net.listen(listener, 16);
    expect(net.acceptFrom(listener)).toBeUndefined();
    const client = own(net.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK));
    net.setsockopt(client, n.SOL_TCP, n.TCP_NODELAY, 1);
    expect(net.getsockopt(client, n.SOL_TCP, n.TCP_NODELAY)).toBe(1);
    net.connect(client, inet(portOf(listener)));
    expect(ready(client, c.EPOLLOUT)).toBe(true);
    expect(net.socketError(client)).toBe(0);
    expect(ready(listener, c.EPOLLIN)).toBe(true);
    const accepted = net.acceptFrom(listener);
    if (accepted === undefined) throw new Error("nobody");
    own(accepted.fd);
    expect(accepted.peer).toEqual(inet(portOf(client)));
    expect(net.getpeername(client)).toEqual(inet(portOf(listener)));
    expect(net.recvfrom(accepted.fd, new Uint8Array(9)).length).toBe(WOULD_BLOCK);
    expect(net.sendto(client, bytes("hello"))).toBe(5);
    const buffer = new Uint8Array(9);
    expect(ready(accepted.fd, c.EPOLLIN)).toBe(true);
    expect(net.recvfrom(accepted.fd, buffer, n.MSG_PEEK).length).toBe(5);
    expect(text(buffer.subarray(0, net.recvfrom(accepted.fd, buffer).length))).toBe("hello");
    expect(net.getsockoptBytes(client, n.SOL_TCP, n.TCP_INFO, 400).length).toBeGreaterThan(100);
    const linger = new Uint8Array(8);
    linger[0] = 1;
    net.setsockopt(client, c.SOL_SOCKET, n.SO_LINGER, linger);
    expect(net.getsockoptBytes(client, c.SOL_SOCKET, n.SO_LINGER, 8)).toEqual(linger);
  });

  it("tells refused from connected, by the socket's error", ({ onTestFinished }) => {
    const own = descriptors(onTestFinished);
    const bound = own(net.socket(c.AF_INET, c.SOCK_STREAM));
    net.bind(bound, inet(0));
    const client = own(net.socket(c.AF_INET, c.SOCK_STREAM | c.SOCK_NONBLOCK));
    const refused = (): number => {
      try {
        if (net.connect(client, inet(portOf(bound)))) return 0;
      } catch (error) {
        // loopback answers at once
        if (error instanceof SysError) return error.errno;
        throw error;
      }
      ready(client, c.EPOLLOUT);
      return net.socketError(client);
    };
    expect(refused()).toBe(ERRNO.ECONNREFUSED);
    expect(failure(() => net.bind(own(net.socket(c.AF_INET, c.SOCK_STREAM)), inet(portOf(bound))))).toBe(
      "bind: address already in use",
    );
    expect(failure(() => net.bind(client, inet(0, Uint8Array.of(192, 0, 2, 1))))).toBe(
      "bind: cannot assign requested address",
    );
    expect(failure(() => net.getpeername(bound))).toBe("getpeername: transport endpoint is not connected");
    expect(failure(() => net.socket(c.AF_INET, c.SOCK_STREAM, n.IPPROTO_UDP))).toBe(
      "socket: protocol not supported",
    );
  });
});

describe("UDP", () => {
  it("carries addresses and ancillary data both ways", ({ onTestFinished }) => {
    const own = descriptors(onTestFinished);
    const server = own(net.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK));
    for (const name of [n.IP_PKTINFO, n.IP_ORIGDSTADDR, n.IP_RECVTTL]) {
      net.setsockopt(server, n.SOL_IP, name, 1);
    }
    net.bind(server, inet(0, Uint8Array.of(0, 0, 0, 0)));
    const client = own(net.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK));
    net.bind(client, inet(0));
    const asked = Uint8Array.of(127, 0, 0, 7);
    expect(net.sendto(client, bytes("ping"), inet(portOf(server), asked))).toBe(4);
    expect(ready(server, c.EPOLLIN)).toBe(true);
    const buffer = new Uint8Array(3);
    const received = net.recvMessage(server, buffer);
    expect([received.length, received.truncated, text(buffer)]).toEqual([3, true, "pin"]);
    expect(received.from).toEqual(inet(portOf(client)));
    expect(receivedPacketInfo(received.control)).toEqual({ interface: 1, address: asked });
    expect(originalDestination(received.control)).toEqual(inet(portOf(server), asked));
    expect(received.control.find(({ type }) => type === n.IP_TTL)?.data[0]).toBe(64);
    // the answer comes from the address that was asked
    net.sendMessage(server, {
      data: bytes("pong"),
      to: inet(portOf(client)),
      control: [packetInfo({ interface: 0, address: asked })],
    });
    expect(ready(client, c.EPOLLIN)).toBe(true);
    const answer = new Uint8Array(9);
    expect(net.recvfrom(client, answer)).toEqual({ length: 4, from: inet(portOf(server), asked) });
    expect(net.recvMessage(client, answer).length).toBe(WOULD_BLOCK);
    // a datagram may be empty
    expect(net.sendto(client, new Uint8Array(), inet(portOf(server)))).toBe(0);
    expect(ready(server, c.EPOLLIN)).toBe(true);
    expect(net.recvfrom(server, buffer)).toEqual({ length: 0, from: inet(portOf(client)) });
  });

  it("works over IPv6 alike", ({ onTestFinished }) => {
    const own = descriptors(onTestFinished);
    const server = own(net.socket(c.AF_INET6, c.SOCK_DGRAM | c.SOCK_NONBLOCK));
    net.setsockopt(server, n.SOL_IPV6, n.IPV6_V6ONLY, 1);
    for (const name of [n.IPV6_RECVPKTINFO, n.IPV6_ORIGDSTADDR]) net.setsockopt(server, n.SOL_IPV6, name, 1);
    net.bind(server, { family: "inet6", address: new Uint8Array(16), port: 0 });
    const client = own(net.socket(c.AF_INET6, c.SOCK_DGRAM | c.SOCK_NONBLOCK));
    net.bind(client, { family: "inet6", address: LOOPBACK6, port: 0 });
    const to: SocketAddress = { family: "inet6", address: LOOPBACK6, port: portOf(server) };
    net.sendMessage(client, {
      data: bytes("six"),
      to,
      control: [packetInfo({ interface: 0, address: LOOPBACK6 })],
    });
    expect(ready(server, c.EPOLLIN)).toBe(true);
    const { from, control, length } = net.recvMessage(server, new Uint8Array(9));
    expect([length, from]).toMatchObject([3, { family: "inet6", address: LOOPBACK6, port: portOf(client) }]);
    expect(receivedPacketInfo(control)).toEqual({ interface: 1, address: LOOPBACK6 });
    expect(originalDestination(control)).toMatchObject(to);
  });

  it("a closed port is an error of the connected socket", ({ onTestFinished }) => {
    const own = descriptors(onTestFinished);
    const taken = net.socket(c.AF_INET, c.SOCK_DGRAM);
    net.bind(taken, inet(0));
    const port = portOf(taken);
    k.close(taken);
    const client = own(net.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK));
    expect(net.connect(client, inet(port))).toBe(true);
    net.sendto(client, bytes("x"));
    expect(ready(client, c.EPOLLIN)).toBe(true);
    expect(failure(() => net.recvfrom(client, new Uint8Array(9)))).toBe("recvfrom: connection refused");
  });
});

describe("a stub's sockets", () => {
  it("are made in the stub, with its memory", () => {
    const stub = new StubProcess({ stderr: 2, onSlow: () => {} });
    try {
      const theirs = networkCalls(stub.machine, stub.calls);
      const socket = theirs.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_NONBLOCK);
      theirs.setsockopt(socket, n.SOL_IP, n.IP_PKTINFO, 1);
      theirs.bind(socket, inet(0));
      const name = theirs.getsockname(socket);
      expect(name).toMatchObject({ family: "inet", address: LOOPBACK });
      expect(Deno.readLinkSync(`/proc/${stub.pid}/fd/${socket}`)).toMatch(/^socket:/);
      if (name?.family !== "inet") throw new Error("no address");
      expect(theirs.sendto(socket, bytes("to itself"), name)).toBe(9);
      const buffer = new Uint8Array(20_000);
      const received = theirs.recvMessage(socket, buffer);
      expect([received.length, received.from, text(buffer.subarray(0, 9))]).toEqual([9, name, "to itself"]);
      expect(receivedPacketInfo(received.control)?.interface).toBe(1);
    } finally {
      stub[Symbol.dispose]();
      k.kill(stub.pid, 9);
      k.wait(stub.pid, false);
    }
  });
});
