/** What berth's engine tells of its networks (`GET /berth/network`); a real Docker has no such route. */

import { hints } from "../../base/hints.ts";
import type { ApiClient } from "../api_client.ts";
import { ApiError, CliError } from "../errors.ts";

/** One way that works here, or why it does not and what to type. */
export interface NetworkPath {
  readonly name: string;
  readonly works: boolean;
  readonly detail: string;
  readonly hint?: string;
}

export interface NetworkPaths {
  /** A process in the rootless host's network namespace. */
  readonly hostPid: number;
  /** The way that connections to the outside take: `tproxy`, `pasta`, `slirp4netns`, `none`. */
  readonly outbound: string;
  readonly paths: readonly NetworkPath[];
}

/** `fresh`: as they are now. @throws {CliError} the engine is not berth's; {@link ApiError} its networks cannot work, and why */
export async function networkPaths(client: ApiClient, { fresh = false } = {}): Promise<NetworkPaths> {
  try {
    return await client.json<NetworkPaths>("GET", "/berth/network", {
      query: { fresh: fresh ? "true" : undefined },
    });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    throw new CliError(`${client.endpoint.url} is no engine of berth's\n\n${hints.notBerthsEngine}`);
  }
}
