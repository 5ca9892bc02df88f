import type { NetdHello } from "../net/netd/protocol.ts";
import type { EndpointSettings, NetworkCreateBody } from "../net/network_types.ts";
import type { Filters } from "./types.ts";

/** The part of the engine that is about networks. `id` takes an id, a unique prefix, or a name. */
export interface NetworkOperations {
  /** @param detailed with the containers that are in each; default false. */
  networkList(filters: Filters, detailed?: boolean): Promise<Record<string, unknown>[]>;
  /** With the containers that are in it. `scope`: only a network of that one. */
  networkInspect(id: string, options: { scope: string | undefined }): Promise<Record<string, unknown>>;
  networkCreate(body: NetworkCreateBody): Promise<{ Id: string; Warning: string }>;
  networkRemove(id: string): Promise<void>;
  networkConnect(id: string, container: string, settings: EndpointSettings | undefined): Promise<void>;
  networkDisconnect(id: string, container: string, force: boolean): Promise<void>;
  pruneNetworks(filters: Filters, signal: AbortSignal): Promise<{ NetworksDeleted: string[] | null }>;
  /** What works on this machine, of berth's own; the reason as an error when nothing does. */
  networkDoctor(fresh: boolean): Promise<NetdHello>;
}
