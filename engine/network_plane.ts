/** The process that makes networks, as the engine asks it; see net/netd/. */
import type { NetdRequester } from "../net/netd/client.ts";

export interface NetworkPlane extends Pick<NetdRequester, "request" | "hello"> {
  close(): void;
}

/**
 * Finds the network process or starts it. `onRestart` is called with each new one, the first one as well, and sends it all that
 * it is to have; other requests wait for that.
 *
 * @throws {EngineError} unavailable: it cannot work on this machine
 */
export type OpenPlane = (
  onRestart: (netd: Pick<NetdRequester, "request" | "hello">) => Promise<void>,
) => Promise<NetworkPlane>;
