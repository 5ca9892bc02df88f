/**
 * The way outside by another program, for kernels without tproxy: pasta (passt) or slirp4netns at a TAP device of the rootless host. IPv4 only;
 * 10.0.2.2 and 10.0.2.3 mean the same as ever.
 */
import { EPOLLIN, O_RDONLY, O_RDWR } from "../../ffi/constants.ts";
import { SysError } from "../../ffi/errno.ts";
import type { EventLoop } from "../../ffi/event_loop.ts";
import { kernel } from "../../ffi/kernel.ts";
import { SIGKILL } from "../../ffi/signals.ts";
import { note } from "../../base/note.ts";
import { addressBytes, parseAddress } from "../../base/address.ts";
import {
  addAddress,
  commit,
  deleteLink,
  deleteTable,
  getLink,
  linkIndex,
  newChain,
  newRule,
  newTable,
  type NfExpressions,
  outputIs,
  setLink,
} from "../netlink/mod.ts";
import { HOST_ADDRESS, RESOLVER_ADDRESS, type RootlessHost, TUN_ADDRESS } from "../netd/rootless_host.ts";

export type FallbackProgram = "pasta" | "slirp4netns";

export const FALLBACK_LINK = "berth1";
/** The most that slirp4netns takes; also pasta's own. */
const MTU = 65520;
/** A program that ends is started again: at first after this, each time after twice as long up to the second number. */
const RESTART_MS = 500, LONGEST_RESTART_MS = 60_000;
/** One that has run for so long has worked. */
const SETTLED_MS = 60_000;

const NAT_TABLE = { family: "ip", name: "berth-outside" } as const;
const bytesOf = (text: string): Uint8Array => addressBytes(parseAddress(text));

/** Where `name` is on PATH. */
export function findProgram(name: string, path = Deno.env.get("PATH") ?? ""): string | undefined {
  for (const dir of path.split(":")) {
    if (!dir.startsWith("/")) continue;
    try {
      if ((kernel.stat(`${dir}/${name}`, true).mode & 0o111) !== 0) return `${dir}/${name}`;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }
  return undefined;
}

export interface FallbackDeps {
  readonly loop: EventLoop;
  readonly host: RootlessHost;
  readonly program: FallbackProgram;
  /** Of the program. */
  readonly path: string;
  readonly hostLoopback: boolean;
  /** Path of the rootless host's network namespace, if it is mounted somewhere. */
  readonly namespace?: string | undefined;
}

export class Fallback implements Disposable {
  readonly #deps: FallbackDeps;
  #child: { readonly pid: number; readonly pidfd: number } | undefined;
  /** Its closing ends slirp4netns, also when netd is killed. */
  #exit = -1;
  #timer: number | undefined;
  #pause = RESTART_MS;
  #started = 0;

  /** @throws {SysError} no TAP device, no NAT, or the program cannot be started. */
  constructor(deps: FallbackDeps) {
    this.#deps = deps;
    try {
      prepareLink(deps.host, deps.program);
      this.#start();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get name(): FallbackProgram {
    return this.#deps.program;
  }

  /** The program's process, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  [Symbol.dispose](): void {
    const { host, loop } = this.#deps;
    loop.cancel(this.#timer);
    const child = this.#child;
    if (child !== undefined) {
      try {
        kernel.kill(child.pid, SIGKILL);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
      }
      this.#reap(child);
    }
    takeDown(host);
  }

  #start(): void {
    const { host, loop, path, namespace = "/proc/self/fd/4" } = this.#deps;
    using inherited = new DisposableStack();
    using kept = new DisposableStack();
    const until = (stack: DisposableStack, fd: number): number =>
      stack.adopt(fd, (number) => kernel.close(number));
    const nothing = until(inherited, kernel.open("/dev/null", O_RDWR));
    // not by its path: the process there is not to be looked at, and the program may have fewer rights than netd
    const entrance = until(inherited, kernel.open(`/proc/${host.pid}/ns/net`, O_RDONLY));
    const [held, given] = kernel.pipe2(0);
    until(inherited, held);
    until(kept, given);
    const command = [...endsWithUs(), path, ...argumentsFor(this.#deps, namespace)];
    const pid = kernel.spawn({
      path: command[0] ?? path,
      args: command,
      env: [`PATH=${Deno.env.get("PATH") ?? "/usr/bin:/bin"}`],
      fds: { 0: nothing, 1: nothing, 2: 2, 3: held, 4: entrance },
      setsid: true,
    });
    kept.defer(() => {
      kernel.kill(pid, SIGKILL);
      kernel.wait(pid, false);
    });
    const child = { pid, pidfd: until(kept, kernel.pidfdOpen(pid, 0)) };
    loop.add(child.pidfd, EPOLLIN, () => this.#ended(child));
    kept.move();
    this.#child = child;
    this.#exit = given;
    this.#started = performance.now();
  }

  #reap({ pid, pidfd }: { readonly pid: number; readonly pidfd: number }): void {
    this.#child = undefined;
    this.#deps.loop.remove(pidfd);
    kernel.close(pidfd);
    kernel.close(this.#exit);
    this.#exit = -1;
    kernel.wait(pid, false);
  }

  #ended(child: { readonly pid: number; readonly pidfd: number }): void {
    this.#reap(child);
    const settled = performance.now() - this.#started > SETTLED_MS;
    if (settled) this.#pause = RESTART_MS;
    note(
      `${this.name}, the way of containers to the outside, has ended and is started again in ${this.#pause} ms`,
    );
    this.#startLater();
  }

  /** Until it works: what is missing now, a descriptor or the program itself while it is upgraded, may be there next time. */
  #startLater(): void {
    const pause = this.#pause;
    this.#pause = Math.min(2 * pause, LONGEST_RESTART_MS);
    this.#timer = this.#deps.loop.after(pause, () => {
      try {
        this.#start();
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        note(`${this.name} cannot be started: ${error.message}`);
        this.#startLater();
      }
    });
  }
}

/** For a program that has no such thing itself: netd may be killed, and it would hold the device. */
function endsWithUs(): string[] {
  const setpriv = findProgram("setpriv");
  return setpriv === undefined ? [] : [setpriv, "--pdeathsig", "KILL", "--"];
}

function argumentsFor({ program, hostLoopback }: FallbackDeps, namespace: string): string[] {
  return program === "slirp4netns"
    ? [
      ...["--netns-type=path", `--mtu=${MTU}`, "--exit-fd=3"],
      ...(hostLoopback ? [] : ["--disable-host-loopback"]),
      namespace,
      FALLBACK_LINK,
    ]
    : [
      ...["--foreground", "--quiet", "--netns-only", "--netns", namespace, "--ns-ifname", FALLBACK_LINK],
      ...["--ipv4-only", "--mtu", `${MTU}`, "--address", TUN_ADDRESS, "--netmask", "24"],
      ...["--gateway", HOST_ADDRESS, "--dns-forward", RESOLVER_ADDRESS],
      ...(hostLoopback ? [] : ["--no-map-gw"]),
      // by default it would publish whatever listens
      ...["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"],
    ];
}

/** A TAP device that stays while the program is started again. */
function prepareLink(host: RootlessHost, program: FallbackProgram): void {
  takeDown(host);
  const { route, filter } = host;
  kernel.close(host.make((calls) => {
    const { fd } = calls.openTun({ name: FALLBACK_LINK, kind: "tap" });
    calls.setTunPersistent(fd, true);
    return fd;
  }));
  const link = linkIndex(route, FALLBACK_LINK);
  setLink(route, link, { mtu: MTU });
  host.sysctl(`ipv4.conf.${FALLBACK_LINK}.rp_filter`, "0");
  setLink(route, link, { up: true });
  addAddress(route, { link, address: bytesOf(TUN_ADDRESS), length: 24 });
  if (program === "slirp4netns") {
    // it asks for each container's address by ARP, and needs nothing else to tell them apart
    host.sysctl(`ipv4.conf.${FALLBACK_LINK}.proxy_arp`, "1");
    // the kernel lets others answer first, up to 0.8 s, but nobody else can: each container's first connection waited for that
    host.sysctl(`ipv4.neigh.${FALLBACK_LINK}.proxy_delay`, "0");
    return;
  }
  // pasta knows one client only
  const masquerade: NfExpressions = [{ name: "masq", data: new Uint8Array() }];
  commit(filter, [
    newTable(NAT_TABLE),
    newChain({ table: NAT_TABLE, name: "outside", hook: { at: "postrouting", priority: 100, type: "nat" } }),
    newRule(NAT_TABLE, "outside", outputIs(FALLBACK_LINK), masquerade),
  ]);
  // its resets and windows are not as conntrack counts
  host.sysctl("netfilter.nf_conntrack_tcp_be_liberal", "1");
}

function takeDown({ route, filter }: RootlessHost): void {
  if (getLink(route, FALLBACK_LINK) !== undefined) deleteLink(route, FALLBACK_LINK);
  try {
    commit(filter, [newTable(NAT_TABLE), deleteTable(NAT_TABLE)]);
  } catch (error) {
    // without nf_tables there is nothing to take away
    if (!(error instanceof SysError)) throw error;
  }
}
