/** The parts of netd that serve sandboxes, as its core calls them. */
import type { NetworkSyscalls } from "../../ffi/kernel_network.ts";
import type { ProcessSyscalls } from "../../ffi/syscalls.ts";
import type { PublishedPort } from "../network_host_ports.ts";
import type { SandboxState } from "./protocol.ts";

/** Makes published ports; see net/publish/. */
export interface SandboxPublisher {
  /**
   * Serves what the sandbox publishes, in place of what it has served for it before (connections under way go on where the port stays). All or nothing.
   *
   * @throws {EngineError} Docker's text: the port is taken, …
   */
  publish(sandbox: SandboxState): PublishedPort[];
  /** No error when there is nothing. Connections under way are left to their ends. */
  unpublish(containerId: string): void;
}

/** Answers DNS in sandboxes; see sandbox_dns.ts. */
export interface SandboxNames {
  /** `inside` is good during the call only. @throws {SysError | EngineError} then nothing of it is left. */
  add(sandbox: SandboxState, inside: Inside): void;
  /** Names, networks or upstreams have changed; also whether there is to be a server at all. */
  update(sandbox: SandboxState, inside: Inside): void;
  /** No error when there is nothing. Closes what belongs to the container's namespace. */
  remove(containerId: string): void;
}

/** A container's network namespace, entered by a stub whose descriptors are passed over to netd. */
export interface Inside {
  /** Runs `make` with calls that are made inside; answers the descriptors that it returned, as netd's own. */
  make(make: (calls: NetworkSyscalls, files: ProcessSyscalls) => readonly number[]): number[];
  /** Writes `/proc/sys/net/…` of the namespace: `ipv4.ip_unprivileged_port_start`, "0". @throws {SysError} */
  sysctl(name: string, value: string): void;
}
