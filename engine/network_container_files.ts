/** A container's hosts and resolv.conf, brought to its present networks. */
import { messageOf } from "../base/errors.ts";
import { isUserDefined } from "../net/network_endpoint.ts";
import { endpointsOf } from "./container_network.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { EngineContext } from "./context.ts";
import { linkHosts } from "./links.ts";
import { updateNetworkFiles } from "./network_files.ts";

/** Never throws: a container without its own name in /etc/hosts is better than none. */
export function updateFiles(
  ctx: Pick<EngineContext, "networks" | "containers" | "log">,
  record: ContainerRecord,
): void {
  try {
    const { attachments } = record.network;
    const userNetwork = Object.entries(attachments).some(([name, { endpoint }]) =>
      endpoint !== null && isUserDefined(name)
    );
    updateNetworkFiles(record, record, ctx.networks.settings, {
      userNetwork,
      links: linkHosts(ctx, record),
      endpoints: endpointsOf(record.network).map(({ addresses: { ipv4, ipv6 } }) => ({
        ...(ipv4 ? { ipv4: ipv4.address } : {}),
        ...(ipv6 ? { ipv6: ipv6.address } : {}),
      })),
    });
  } catch (error) {
    ctx.log.warn("cannot write a container's hosts and resolv.conf", {
      id: record.id,
      error: messageOf(error),
    });
  }
}

/** Those of the containers that are linked to this one: its address has changed. */
export function updateLinkingFiles(
  ctx: Pick<EngineContext, "networks" | "containers" | "log">,
  { id }: ContainerRecord,
): void {
  for (const { record } of ctx.containers.all()) {
    const links = record.network.links.some(({ containerId }) => containerId === id);
    if (links && record.state.status === "running") updateFiles(ctx, record);
  }
}
