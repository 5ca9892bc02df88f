/** The rootless host as netd has it: a network namespace, and the stub that lives there. */
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  CLONE_NEWNET,
  MNT_DETACH,
  MS_BIND,
  NSFS_MAGIC,
  O_CREAT,
  O_RDONLY,
  O_WRONLY,
  PR_SET_DUMPABLE,
  SO_REUSEADDR,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../ffi/constants.ts";
import { ERRNO, SysError } from "../../ffi/errno.ts";
import { network, networkCalls, type NetworkSyscalls } from "../../ffi/kernel_network.ts";
import { IP_TRANSPARENT, IPV6_TRANSPARENT, SOL_IP, SOL_IPV6 } from "../../ffi/network_constants.ts";
import { check } from "../../ffi/libc.ts";
import { setOption } from "../../ffi/stream_calls.ts";
import { SIGKILL } from "../../ffi/signals.ts";
import { STUB_SOCKET, StubProcess } from "../../ffi/stub_process.ts";
import { type ProcessSyscalls, type Syscalls, WOULD_BLOCK } from "../../ffi/syscalls.ts";
import { note } from "../../base/note.ts";
import type { NetlinkCalls } from "../netlink/connection.ts";
import { Netlink, NETLINK_NETFILTER, NETLINK_ROUTE } from "../netlink/mod.ts";
import type { Inside } from "./parts.ts";
import type { RootlessHost, SocketKind } from "./rootless_host.ts";

export interface NamespaceOptions {
  readonly kernel: Syscalls;
  /** A mount of the namespace, so that it outlives netd; undefined: it does not. */
  readonly mountPoint?: string;
  /** What netlink connections are made of: tests put in calls that fail. */
  readonly netlink?: NetlinkCalls;
}

/** A call of the stub that takes longer than this has met a broken kernel, not a slow one. */
const STUCK_MS = 10_000;
/** Sockets that one refill makes. A message can carry 253 descriptors. */
const REFILL = 32;

// deno-fmt-ignore
const KINDS: Readonly<Record<SocketKind, { domain: number; type: number; level: number; transparent: number }>> = {
  tcp4: { domain: AF_INET, type: SOCK_STREAM, level: SOL_IP, transparent: IP_TRANSPARENT },
  tcp6: { domain: AF_INET6, type: SOCK_STREAM, level: SOL_IPV6, transparent: IPV6_TRANSPARENT },
  udp4: { domain: AF_INET, type: SOCK_DGRAM, level: SOL_IP, transparent: IP_TRANSPARENT },
  udp6: { domain: AF_INET6, type: SOCK_DGRAM, level: SOL_IPV6, transparent: IPV6_TRANSPARENT },
};

interface Stub {
  readonly process: StubProcess;
  readonly files: ProcessSyscalls;
  readonly calls: NetworkSyscalls;
  /** Its descriptor of the rootless host's namespace. */
  readonly home: number;
}

export class RootlessNamespace implements RootlessHost, Disposable {
  readonly #kernel: Syscalls;
  readonly #options: NamespaceOptions;
  /** netd's own descriptor of the namespace: a new stub enters it by this. */
  readonly #fd: number;
  #stub: Stub;
  readonly #pools: Record<SocketKind, number[]> = { tcp4: [], tcp6: [], udp4: [], udp6: [] };
  #waitingSince = 0;
  #disposed = false;
  readonly route: Netlink;
  readonly filter: Netlink;
  /** It was there already: a netd before this one has made it. */
  readonly found: boolean;

  /** @throws {SysError} EPERM: no namespaces here. */
  constructor(options: NamespaceOptions) {
    this.#options = options;
    this.#kernel = options.kernel;
    const mounted = this.#openMounted();
    this.found = mounted !== undefined;
    this.#stub = this.#start(mounted);
    this.#fd = mounted ?? this.#kernel.open(`/proc/${this.#stub.process.pid}/ns/net`, O_RDONLY);
    if (mounted === undefined) this.#mount();
    this.route = this.#netlink(NETLINK_ROUTE);
    this.filter = this.#netlink(NETLINK_NETFILTER);
  }

  get pid(): number {
    return this.#stub.process.pid;
  }

  /** Where the namespace is mounted, if it is. */
  get path(): string | undefined {
    return this.#options.mountPoint;
  }

  make(make: (calls: NetworkSyscalls) => number): number {
    const [fd] = this.#with((stub) => this.#fetch(stub, [make(stub.calls)]));
    if (fd === undefined) throw new SysError("stub", ERRNO.EBADF);
    return fd;
  }

  takeSocket(kind: SocketKind): number {
    const pool = this.#pools[kind];
    if (pool.length === 0) this.#refill(kind);
    const fd = pool.pop();
    if (fd === undefined) throw new SysError("socket", ERRNO.EMFILE);
    return fd;
  }

  sysctl(name: string, value: string): void {
    this.#with((stub) => writeSysctl(stub.files, name, value));
  }

  /** Closes what {@link make} has answered. */
  closeDescriptor(fd: number): void {
    this.#kernel.close(fd);
  }

  /** Several at once. */
  sysctls(values: Readonly<Record<string, string>>): void {
    this.#with((stub) => {
      for (const [name, value] of Object.entries(values)) writeSysctl(stub.files, name, value);
    });
  }

  /** A process of the container's, as a path of its network namespace that the caller has made sure of, and what to do inside. */
  enter<T>(namespace: string, work: (inside: Inside, files: ProcessSyscalls) => T): T {
    return this.#with((stub) => {
      const target = stub.files.open(namespace, O_RDONLY);
      try {
        stub.files.setns(target, CLONE_NEWNET);
      } finally {
        stub.files.close(target);
      }
      try {
        return work({
          make: (make) => this.#fetch(stub, make(stub.calls, stub.files)),
          sysctl: (name, value) => writeSysctl(stub.files, name, value),
        }, stub.files);
      } finally {
        this.#goHome(stub);
      }
    });
  }

  /** Another connection than {@link route}; the caller's. */
  connect(): Netlink {
    return this.#netlink(NETLINK_ROUTE);
  }

  /** A netlink connection of the namespace that `inside` is in. */
  netlinkInside(inside: Inside): Netlink {
    const [fd] = inside.make((calls) => [calls.socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)]);
    return this.#wrap(fd);
  }

  /** Gives the namespace up for good: it ends with netd. */
  unmount(): void {
    const { mountPoint } = this.#options;
    if (mountPoint === undefined) return;
    try {
      this.#kernel.umount2(mountPoint, MNT_DETACH);
      this.#kernel.unlink(mountPoint);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }

  /** Closes what is netd's. The namespace stays as long as it is mounted. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const pool of Object.values(this.#pools)) {
      for (const fd of pool.splice(0)) this.#kernel.close(fd);
    }
    this.route.close();
    this.filter.close();
    this.#kernel.close(this.#fd);
    this.#end(this.#stub);
  }

  #netlink(protocol: number): Netlink {
    return this.#wrap(this.make((calls) => calls.socket(AF_NETLINK, SOCK_RAW, protocol)));
  }

  #wrap(fd: number | undefined): Netlink {
    if (fd === undefined) throw new SysError("netlink", ERRNO.EBADF);
    try {
      return new Netlink(fd, this.#options.netlink ?? network);
    } catch (error) {
      this.#kernel.close(fd);
      throw error;
    }
  }

  /** With the stub on netd's processor: a call is a change of tasks there, and takes many times as long on another that has to wake up. */
  #with<T>(work: (stub: Stub) => T): T {
    const attempt = (): T => {
      this.#waitingSince = 0;
      const stub = this.#stub;
      return stub.process.together(() => work(stub));
    };
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof SysError && error.op === "stub")) throw error;
      note(`the process in the rootless host's network has ended (${error.message}): another is started`);
      this.#end(this.#stub);
      this.#stub = this.#start(this.#fd);
      return attempt();
    }
  }

  #start(namespace: number | undefined): Stub {
    const process = new StubProcess({ stderr: 2, onSlow: () => this.#onSlow() });
    try {
      const files = process.calls;
      const calls = networkCalls(process.machine, files);
      // nothing of it is anybody's business; with netd it ends by itself
      files.prctl(PR_SET_DUMPABLE, 0);
      if (namespace === undefined) {
        files.unshare(CLONE_NEWNET);
      } else {
        this.#kernel.sendmsg(process.socket, new Uint8Array(1), [namespace]);
        const [entered] = files.recvmsg(STUB_SOCKET, new Uint8Array(1)).fds;
        if (entered === undefined) throw new SysError("setns", ERRNO.EBADF);
        files.setns(entered, CLONE_NEWNET);
        return { process, files, calls, home: entered };
      }
      return { process, files, calls, home: files.open("/proc/self/ns/net", O_RDONLY) };
    } catch (error) {
      this.#kill(process);
      throw error;
    }
  }

  #onSlow(): void {
    const now = performance.now();
    this.#waitingSince ||= now;
    if (now - this.#waitingSince > STUCK_MS) throw new SysError("stub", ERRNO.ETIMEDOUT);
  }

  #end({ process }: Stub): void {
    this.#kill(process);
  }

  #kill(process: StubProcess): void {
    try {
      this.#kernel.kill(process.pid, SIGKILL);
      this.#kernel.wait(process.pid, false);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
    process[Symbol.dispose]();
  }

  /** A stub that cannot come back is of no use: the next call starts another. */
  #goHome(stub: Stub): void {
    try {
      stub.files.setns(stub.home, CLONE_NEWNET);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#end(stub);
      this.#stub = this.#start(this.#fd);
    }
  }

  /** Brings descriptors of the stub over to netd, and closes the stub's. */
  #fetch(stub: Stub, fds: readonly number[]): number[] {
    if (fds.length === 0) return [];
    try {
      stub.files.sendmsg(STUB_SOCKET, new Uint8Array(1), fds);
      const { length, fds: received } = this.#kernel.recvmsg(stub.process.socket, new Uint8Array(1));
      if (length === WOULD_BLOCK || received.length !== fds.length) {
        for (const fd of received) this.#kernel.close(fd);
        throw new SysError("recvmsg", ERRNO.EMFILE);
      }
      return received;
    } finally {
      for (const fd of fds) stub.files.close(fd);
      // a netlink socket keeps a container's namespace, and a listener its port
      stub.process.closeNow();
    }
  }

  #refill(kind: SocketKind): void {
    const { domain, type, level, transparent } = KINDS[kind];
    const fds = this.#with((stub) =>
      this.#fetch(
        stub,
        Array.from({ length: REFILL }, () => stub.calls.socket(domain, type | SOCK_NONBLOCK)),
      )
    );
    for (const fd of fds) {
      // whoever has the right in the namespace's user namespace may set it, from anywhere
      check(setOption(fd, level, transparent, 1), "setsockopt");
      check(setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1), "setsockopt");
    }
    this.#pools[kind].push(...fds);
  }

  /** The namespace that an earlier netd has mounted. */
  #openMounted(): number | undefined {
    const { mountPoint } = this.#options;
    if (mountPoint === undefined) return undefined;
    try {
      if (this.#kernel.statfs(mountPoint).type !== NSFS_MAGIC) return undefined;
      return this.#kernel.open(mountPoint, O_RDONLY);
    } catch (error) {
      if (error instanceof SysError && error.is("ENOENT")) return undefined;
      throw error;
    }
  }

  #mount(): void {
    const { mountPoint } = this.#options;
    if (mountPoint === undefined) return;
    this.#kernel.close(this.#kernel.open(mountPoint, O_WRONLY | O_CREAT, 0o600));
    this.#kernel.mount(`/proc/${this.pid}/ns/net`, mountPoint, null, MS_BIND, null);
  }
}

/**
 * `/proc/sys/net/<name>` of the network namespace that the caller is in: `ipv4.ip_forward`, or `ipv4/conf/eth0.7/rp_filter` where a name has
 * dots.
 */
function writeSysctl(files: ProcessSyscalls, name: string, value: string): void {
  const parts = name.split(name.includes("/") ? "/" : ".");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new SysError("sysctl", ERRNO.EINVAL, name);
  }
  const fd = files.open(`/proc/sys/net/${parts.join("/")}`, O_WRONLY);
  try {
    files.write(fd, new TextEncoder().encode(value));
  } finally {
    files.close(fd);
  }
}
