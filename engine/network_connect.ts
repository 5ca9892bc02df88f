/** `docker network connect` and `disconnect`, of containers that run and of those that do not. */
import { conflict, EngineError } from "../base/errors.ts";
import { checkConnect, checkDisconnect, type NamedNetwork, planEndpoint } from "../net/network_endpoint.ts";
import type { EndpointSettings, NetworkRecord } from "../net/network_types.ts";
import type { Container } from "./container.ts";
import type { Attachment, ContainerNetwork, Sandbox } from "./container_network.ts";
import type { EngineContext } from "./context.ts";
import { updateFiles } from "./network_container_files.ts";
import { endpointNames, networkEvent, sandboxOf, takePlace } from "./network_join.ts";
import { newContainerId } from "./names.ts";

/**
 * Adds a container to a network.
 *
 * @throws {EngineError} in Docker's words
 */
export async function connectContainer(
  ctx: EngineContext,
  container: Container,
  reference: string,
  settings: EndpointSettings,
): Promise<void> {
  const target = ctx.networks.table.find(reference);
  await container.mutex.run(async () => {
    refuseRemoved(container);
    const { record } = container;
    const { attachments } = record.network;
    const running = record.state.status === "running";
    const fresh = checkConnect(record.hostConfig.NetworkMode || "bridge", attached(ctx, attachments), target);
    if (!running) {
      planEndpoint(target.name, settings, target);
      const attachment: Attachment = { networkId: target.id, settings, endpoint: null };
      saveNetwork(ctx, container, {
        ...record.network,
        attachments: { ...attachments, [target.name]: attachment },
      });
      return;
    }
    if (!fresh && attachments[target.name]?.endpoint) {
      throw new EngineError(
        "forbidden",
        `endpoint with name ${record.name} already exists in network ${target.name}`,
      );
    }
    const attachment = takePlace(ctx, record, target, settings, attachments);
    const network = {
      ...record.network,
      attachments: { ...attachments, [target.name]: attachment },
      sandbox: record.network.sandbox ?? { id: newContainerId(), published: [] },
    };
    try {
      await apply(ctx, container, network);
    } catch (error) {
      if (attachment.endpoint) ctx.networks.table.release(attachment.endpoint);
      throw error;
    }
    networkEvent(ctx, "connect", target, { container: container.id });
  });
}

/**
 * Takes a container out of a network. With `force` neither of them has to exist any more.
 *
 * @throws {EngineError} in Docker's words
 */
export async function disconnectContainer(
  ctx: EngineContext,
  reference: string,
  containerReference: string,
  force: boolean,
): Promise<void> {
  const { table } = ctx.networks;
  const container = ctx.containers.find(containerReference);
  const target = force ? table.tryFind(reference) : table.find(reference);
  await container.mutex.run(async () => {
    refuseRemoved(container);
    const { record } = container;
    const { [target?.name ?? reference]: left, ...others } = record.network.attachments;
    const network = { ...record.network, attachments: others };
    if (record.state.status !== "running" || target === undefined) {
      if (left === undefined) {
        throw new EngineError(
          "system",
          `container ${record.id} is not connected to the network ${target?.name ?? reference}`,
        );
      }
      saveNetwork(ctx, container, network);
    } else {
      const mode = record.hostConfig.NetworkMode || "bridge";
      checkDisconnect({ id: record.id, mode, attached: Object.keys(record.network.attachments) }, target);
      await apply(ctx, container, network);
    }
    if (left?.endpoint) table.release(left.endpoint);
    if (target) networkEvent(ctx, "disconnect", target, { container: container.id });
  });
}

/** A running container's new name, in DNS as well. The caller holds the mutex and has changed the record's name. */
export async function renameEndpoints(ctx: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  const { network } = record;
  if (network.sandbox === null) return;
  const attachments = Object.fromEntries(
    Object.entries(network.attachments).map(([name, attachment]): [string, Attachment] => {
      const { endpoint, settings } = attachment;
      if (endpoint === null) return [name, attachment];
      const dnsNames = endpointNames(record, name, settings.Aliases ?? []);
      return [name, { ...attachment, endpoint: { ...endpoint, name: record.name, dnsNames } }];
    }),
  );
  await apply(ctx, container, { ...network, attachments });
}

/** Makes it so, first in the kernel, then in the books. */
async function apply(ctx: EngineContext, container: Container, network: ContainerNetwork): Promise<void> {
  const { record } = container;
  const process = { pid: record.state.pid, startTime: record.state.pidStartTime };
  const wanted = sandboxOf(ctx, { ...record, network }, process);
  let sandbox: Sandbox | null = network.sandbox;
  if (wanted !== undefined || ctx.networks.has(record.id)) {
    const nothing = { containerId: record.id, name: record.name, ...process, endpoints: [], publish: EMPTY };
    const published = await ctx.networks.change(wanted ?? nothing);
    if (sandbox !== null) sandbox = { ...sandbox, published };
  }
  saveNetwork(ctx, container, { ...network, sandbox });
  for (const { endpoint } of Object.values(network.attachments)) {
    if (endpoint) ctx.networks.table.register(endpoint);
  }
  updateFiles(ctx, container.record);
}

const EMPTY = { ports: [], assigned: [] };

function saveNetwork(ctx: EngineContext, container: Container, network: ContainerNetwork): void {
  ctx.containers.save(container, { network });
}

function attached(ctx: EngineContext, attachments: ContainerNetwork["attachments"]): NamedNetwork[] {
  return Object.keys(attachments).map((name) => {
    const network: NetworkRecord | undefined = ctx.networks.table.byName(name);
    return { name, driver: network?.driver ?? "" };
  });
}

function refuseRemoved({ id, removed, record }: Container): void {
  if (removed || record.state.status === "removing" || record.state.status === "dead") {
    throw conflict(
      `container ${id} is marked for removal and cannot be connected or disconnected to the network`,
    );
  }
}
