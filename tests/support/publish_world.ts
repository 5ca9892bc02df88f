/**
 * A world for published ports: containers behind the rootless host, and clients in network namespaces that reach the host over a line of their
 * own. Everything that talks lives in one process and one loop; a thread may make its sockets in any of the namespaces. To be used in a
 * child of `inNetwork` only.
 */
import { CLONE_NEWNET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, SHUT_WR, SOL_SOCKET } from "../../ffi/constants.ts";
import { AF_INET, AF_INET6, SO_ERROR, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM } from "../../ffi/constants.ts";
import { errnoName, SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel as k } from "../../ffi/kernel.ts";
import { network as net } from "../../ffi/kernel_network.ts";
import { SO_LINGER } from "../../ffi/network_constants.ts";
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../base/address.ts";
import type { PublishState, SandboxState } from "../../net/netd/protocol.ts";
import type { PublishedPort } from "../../net/network_host_ports.ts";
import type { PortRequest } from "../../net/network_ports.ts";
import { socketAddress } from "../../net/publish/host_socket.ts";
import { Publisher, type PublisherDeps } from "../../net/publish/publisher.ts";
import { SpliceRelay } from "../../net/relay/splice_relay.ts";
import { type Container, World } from "./outbound_world.ts";

/** A network namespace, as sockets are made in it. */
export interface Place {
  readonly fd: number;
}

export interface ClientPlace extends Place {
  readonly address: string;
  readonly address6: string;
  /** The host's end of the line. */
  readonly host: string;
  readonly host6: string;
}

export interface PublishWorldOptions extends Pick<PublisherDeps, "limits"> {
  readonly maxPipes?: number;
  /** Containers have a way outside, and to the host by their gateways. */
  readonly outbound?: boolean;
}

export class PublishWorld extends World {
  readonly publisher: Publisher;
  readonly #home = k.open("/proc/thread-self/ns/net", 0);
  #lines = 0;

  constructor({ maxPipes, outbound = false, ...options }: PublishWorldOptions = {}) {
    super({ bare: !outbound });
    const { loop, host, topology } = this;
    const relay = maxPipes === undefined ? this.relay : new SpliceRelay(loop, { maxPipes });
    this.publisher = new Publisher({ loop, host, relay, calls: net, topology, ...options });
  }

  /** A client's machine, on a line to the host: `192.168.(80+n).2` and `2001:db8:(80+n)::2`, the host is 1. */
  client(): ClientPlace {
    const n = 80 + this.#lines++;
    const running = this.start(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 600"]);
    this.until(() => running.output.includes("ready"));
    const pid = String(running.pid);
    this.run(`set -e
      ip link add line${n} type veth peer name eth0 netns ${pid}
      ip addr add 192.168.${n}.1/24 dev line${n}; ip -6 addr add 2001:db8:${n}::1/64 dev line${n} nodad
      ip link set line${n} up
      nsenter -t ${pid} -n sh -ec 'ip link set lo up; ip link set eth0 up; ip addr add 192.168.${n}.2/24 dev eth0
        ip -6 addr add 2001:db8:${n}::2/64 dev eth0 nodad; ip route add default via 192.168.${n}.1'`);
    return {
      fd: k.open(`/proc/${pid}/ns/net`, 0),
      address: `192.168.${n}.2`,
      address6: `2001:db8:${n}::2`,
      host: `192.168.${n}.1`,
      host6: `2001:db8:${n}::1`,
    };
  }

  /** The host itself. */
  get self(): Place {
    return { fd: this.#home };
  }

  placeOf({ pid }: Container): Place {
    return { fd: k.open(`/proc/${pid}/ns/net`, 0) };
  }

  at<T>({ fd }: Place, work: () => T): T {
    k.setns(fd, CLONE_NEWNET);
    try {
      return work();
    } finally {
      k.setns(this.#home, CLONE_NEWNET);
    }
  }

  /** Publishes for a container: `0.0.0.0:8080:80/tcp`, `[::]:0-0:80/udp`; all of one container replace what it had. */
  publish(
    container: Container,
    ports: readonly string[],
    more: Partial<PublishState> = {},
  ): string[] {
    return this.publisher.publish(sandboxOf(container, ports.map(requestOf), more)).map(textOf);
  }

  /** The error's text, and its hint's first line. */
  refusal(container: Container, ...ports: string[]): string {
    try {
      this.publish(container, ports);
    } catch (error) {
      const { message, hint = "" } = error as { message: string; hint?: string };
      return `${message} | ${hint.split("\n")[0]}`;
    }
    return "published";
  }

  listen(place: Place, port: number, address = "0.0.0.0"): Listener {
    const fd = this.at(place, () => {
      const socket = net.socket(familyOf(address), SOCK_STREAM | SOCK_NONBLOCK);
      net.setsockopt(socket, SOL_SOCKET, 2, 1);
      net.bind(socket, socketAddress(bytesOf(address), port));
      net.listen(socket, 4096);
      return socket;
    });
    return new Listener(this.loop, fd);
  }

  /** Does not wait for the connection. */
  connect(place: Place, address: string, port: number, from = 0): Stream {
    const fd = this.at(place, () => {
      const socket = net.socket(familyOf(address), SOCK_STREAM | SOCK_NONBLOCK);
      if (from !== 0) {
        net.setsockopt(socket, SOL_SOCKET, 2, 1);
        net.bind(socket, socketAddress(address.includes(":") ? new Uint8Array(16) : new Uint8Array(4), from));
      }
      try {
        net.connect(socket, socketAddress(bytesOf(address), port));
      } catch (error) {
        // is told by the stream
        if (!(error instanceof SysError)) throw error;
        return -error.errno;
      }
      return socket;
    });
    return new Stream(this.loop, fd, "");
  }

  datagrams(place: Place, address: string, port: number): Datagrams {
    const fd = this.at(place, () => {
      const socket = net.socket(familyOf(address), SOCK_DGRAM | SOCK_NONBLOCK);
      net.bind(socket, socketAddress(bytesOf(address), port));
      return socket;
    });
    return new Datagrams(this.loop, fd);
  }

  /** Lets everything go on for so long, where the test is that nothing happens. */
  turnFor(ms: number): void {
    const end = performance.now() + ms;
    while (performance.now() < end) this.loop.turn(Math.max(0, Math.ceil(end - performance.now())));
  }

  override [Symbol.dispose](): void {
    this.publisher[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

const bytesOf = (address: string): Uint8Array => addressBytes(parseAddress(address));
const familyOf = (address: string): number => address.includes(":") ? AF_INET6 : AF_INET;

/** An end of a TCP connection. What comes is counted, and kept as text up to 1 KiB. */
export class Stream {
  readonly fd: number;
  /** Who the other one is: `192.0.2.1 80`. */
  readonly peer: string;
  readonly #loop: EventLoop;
  /** Bytes that came; every one is what {@link pattern} says when the sender uses {@link sendPattern}. */
  received = 0;
  damaged = false;
  text = "";
  connected = false;
  /** The other one has sent its FIN. */
  ended = false;
  /** Name of errno. */
  error = "";
  /** Nothing is read while it is false. */
  reading = true;
  #toSend = 0;
  sent = 0;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  constructor(loop: EventLoop, fd: number, peer: string) {
    this.#loop = loop;
    this.fd = fd;
    this.peer = peer;
    if (fd < 0) this.error = errnoName(-fd);
    else loop.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, (events) => this.#onEvents(events));
  }

  send(text: string): void {
    net.sendto(this.fd, new TextEncoder().encode(text));
  }

  /** Sends so many bytes, when they are taken, and then FIN if so wished. */
  sendPattern(length: number): void {
    this.#toSend += length;
    this.#watch();
  }

  pause(): void {
    this.reading = false;
    this.#watch();
  }

  resume(): void {
    this.reading = true;
    this.#watch();
  }

  shutdown(): void {
    k.shutdown(this.fd, SHUT_WR);
  }

  reset(): void {
    net.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, new Uint8Array(new Int32Array([1, 0]).buffer));
    this.close();
  }

  close(): void {
    this.#loop.remove(this.fd);
    k.close(this.fd);
  }

  /** Over, one way or the other. */
  get over(): boolean {
    return this.ended || this.error !== "";
  }

  #watch(): void {
    const reading = this.reading && !this.over ? EPOLLIN | EPOLLRDHUP : 0;
    const events = reading | (this.#toSend > 0 || !this.connected ? EPOLLOUT : 0);
    this.#loop.change(this.fd, events === 0 && this.over ? undefined : events);
  }

  #onEvents(events: number): void {
    try {
      if ((events & EPOLLOUT) !== 0) this.connected = true;
      if ((events & ~EPOLLOUT) !== 0 && this.reading) this.#read();
      if ((events & 0x18) !== 0 && !this.reading) {
        const errno = net.getsockopt(this.fd, SOL_SOCKET, SO_ERROR);
        if (errno !== 0) throw new SysError("", errno);
      }
      if (this.#toSend > 0) this.#write();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.error = error.code;
    }
    this.#watch();
  }

  #read(): void {
    const buffer = this.#buffer ??= new Uint8Array(65536);
    for (let count = 0; count < 16; count++) {
      const length = k.read(this.fd, buffer);
      if (length < 0) return;
      if (length === 0) {
        this.ended = true;
        return;
      }
      if (this.text.length < 1024) {
        this.text += new TextDecoder().decode(buffer.subarray(0, Math.min(length, 1024)));
      }
      this.damaged ||= !isPattern(buffer, length, this.received);
      this.received += length;
    }
  }

  #write(): void {
    while (this.#toSend > 0) {
      const start = this.sent % 251;
      const length = net.sendto(this.fd, PATTERN.subarray(start, start + Math.min(this.#toSend, 65536)));
      if (length < 0) return;
      this.sent += length;
      this.#toSend -= length;
    }
  }
}

const PATTERN = Uint8Array.from({ length: 65536 + 251 }, (_, index) => index % 251);

const isPattern = (bytes: Uint8Array, length: number, offset: number): boolean => {
  const start = offset % 251;
  for (let index = 0; index < length; index += 97) if (bytes[index] !== PATTERN[start + index]) return false;
  return true;
};

export class Listener {
  readonly fd: number;
  readonly #loop: EventLoop;
  readonly streams: Stream[] = [];

  constructor(loop: EventLoop, fd: number) {
    this.#loop = loop;
    this.fd = fd;
    loop.add(fd, EPOLLIN, () => {
      for (let accepted; (accepted = net.acceptFrom(fd)) !== undefined;) {
        const { peer } = accepted;
        const name = peer !== undefined && (peer.family === "inet" || peer.family === "inet6")
          ? `${formatAddress(addressFromBytes(peer.address))} ${peer.port}`
          : "";
        this.streams.push(new Stream(loop, accepted.fd, name));
      }
    });
  }

  get last(): Stream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error("nobody has connected");
    return stream;
  }

  close(): void {
    this.#loop.remove(this.fd);
    k.close(this.fd);
  }
}

export class Datagrams {
  readonly fd: number;
  readonly received: { from: string; length: number; text: string; address: Uint8Array; port: number }[] = [];
  /** Sends everything back, when it is set. */
  echoes = false;

  readonly #loop: EventLoop;

  constructor(loop: EventLoop, fd: number) {
    this.#loop = loop;
    this.fd = fd;
    const buffer = new Uint8Array(65536);
    loop.add(fd, EPOLLIN, () => {
      for (;;) {
        const { length, from } = net.recvfrom(fd, buffer);
        if (length < 0 || from === undefined) return;
        if (from.family !== "inet" && from.family !== "inet6") return;
        const { address, port } = from;
        const text = new TextDecoder().decode(buffer.subarray(0, Math.min(length, 64)));
        this.received.push({
          from: `${formatAddress(addressFromBytes(address))} ${port}`,
          length,
          text,
          address,
          port,
        });
        if (this.echoes) net.sendto(fd, buffer.subarray(0, length), from);
      }
    });
  }

  close(): void {
    this.#loop.remove(this.fd);
    k.close(this.fd);
  }

  send(address: string, port: number, data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    net.sendto(this.fd, bytes, socketAddress(bytesOf(address), port));
  }
}

/** `0.0.0.0,[::]:8080-8090:80/tcp`; host port 0 is any. */
export function requestOf(text: string): PortRequest {
  const [, hosts = "", first = "0", last = first, port = "0", protocol = "tcp"] =
    /^(.*):(\d+)(?:-(\d+))?:(\d+)\/(\w+)$/.exec(text) ?? [];
  return {
    hostAddresses: hosts.split(",").map((host) => host.replace(/^\[|\]$/g, "")),
    first: Number(first),
    last: Number(last),
    port: Number(port),
    protocol: protocol as PortRequest["protocol"],
  };
}

const textOf = ({ hostAddress, hostPort, port, protocol }: PublishedPort): string =>
  `${hostAddress} ${hostPort} ${port}/${protocol}`;

export function sandboxOf(
  container: Container,
  ports: readonly PortRequest[],
  more: Partial<PublishState> = {},
): SandboxState {
  return {
    containerId: `c${container.pid}`,
    name: "web",
    pid: container.pid,
    startTime: "0",
    endpoints: [{
      id: "e".repeat(64),
      ipv4: `${container.address}/16`,
    }] as unknown as SandboxState["endpoints"],
    publish: { ipv4: container.address, ipv6: container.address6, ports, assigned: [], ...more },
  };
}
