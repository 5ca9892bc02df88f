import { EngineError, invalid } from "../base/errors.ts";
import { parsePlatform, requirePlatform } from "../image/platform.ts";
import { nowRfc3339 } from "./clock.ts";
import { checkBindSources } from "./container_mounts.ts";
import { commandOf, mergeImageConfig } from "./container_config.ts";
import { type ContainerRecord, CREATED_STATE } from "./container_record.ts";
import { containerDir, containerEvent, type EngineContext } from "./context.ts";
import { goArch } from "./host_facts.ts";
import { withLayers } from "./image_layers.ts";
import { populateVolumes, type ResolvedMounts, resolveMounts } from "./container_volumes.ts";
import { logFile, withLogDefaults } from "./log_options.ts";
import type { MountPoint } from "./mount_points.ts";
import { checkName, generateName, newContainerId } from "./names.ts";
import { joinedContainer } from "./namespaces.ts";
import { resolveLinks } from "./links.ts";
import { orderedHostConfig } from "./field_order.ts";
import { createNetworkFiles } from "./network_files.ts";
import { attachmentsOf } from "./network_join.ts";
import type { CreateRequest, HostConfig } from "./types.ts";
import { validateCreate } from "./validate.ts";

/**
 * Creates a container: its directories and writable layer first, its row in the store last. The row is what makes it
 * exist; directories without a row are swept at the next start of the engine.
 *
 * @throws {EngineError} not-found (image), invalid, conflict (name).
 */
export async function createContainer(
  ctx: EngineContext,
  request: CreateRequest,
): Promise<{ Id: string; Warnings: string[] }> {
  const wanted = request.name === undefined || request.name === "" ? undefined : checkName(request.name);
  const imageRef = request.config.Image ?? "";
  if (imageRef === "") throw invalid("invalid reference format");
  const image = ctx.images.get(imageRef);
  const platform = request.platform ? parsePlatform(request.platform) : undefined;
  // 404 makes the docker command line pull the image for the platform that was asked for
  requirePlatform(imageRef, image.config, platform);
  const { hostConfig: checked, warnings } = validateCreate(
    withDefaults(ctx, request),
    ctx.facts,
    (name) => ctx.networks.table.tryFind(name),
  );
  const hostConfig = orderedHostConfig(withContainerIds(ctx, checked));
  const id = newContainerId();
  const config = mergeImageConfig(
    withHostname(request, hostConfig),
    image.config.config,
    id,
    joinedContainer(hostConfig.NetworkMode) === undefined,
  );
  if (platform === undefined && image.config.architecture !== goArch(ctx.facts.machine)) {
    warnings.push(
      `The requested image's platform (linux/${image.config.architecture}) does not match the detected host ` +
        `platform (linux/${goArch(ctx.facts.machine)}) and no specific platform was requested`,
    );
  }
  const endpoints = request.networkingConfig?.EndpointsConfig ?? {};
  const attachments = attachmentsOf(ctx, { config, hostConfig }, endpoints);
  const links = resolveLinks(ctx, hostConfig);
  const { problem } = ctx.networks;
  if (problem && Object.keys(attachments).some((network) => network !== "host" && network !== "none")) {
    warnings.push(`The container will have no network but loopback: ${problem.message}`);
  }
  const name = wanted ?? generateName((candidate) => ctx.containers.hasName(candidate));
  ctx.containers.reserve(name, id);
  const dir = containerDir(ctx, id);
  let resolved: ResolvedMounts | undefined;
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o710 });
    const joined = joinedContainer(hostConfig.NetworkMode);
    const shared = joined === undefined ? undefined : ctx.containers.find(joined).record;
    const files = createNetworkFiles(dir, { config, hostConfig }, ctx.networks.settings, shared);
    await withLayers(image, () => ctx.driver.create(id, ctx.images.layers(image)));
    resolved = await resolveMounts(ctx, config, hostConfig);
    checkBindSources(resolved.mounts, ctx.facts);
    const mounts = request.readOnlyAtTop ? resolved.mounts.map(readOnlyAtTop) : resolved.mounts;
    await populateVolumes(ctx, image, { id, dir, mounts });
    const { path, args } = commandOf(config);
    const record: ContainerRecord = {
      id,
      name,
      createdAt: nowRfc3339(),
      imageId: image.id,
      imageRef,
      path,
      args,
      config,
      hostConfig,
      network: { attachments, links, sandbox: null },
      mounts,
      driver: ctx.driver.name,
      platform: "linux",
      state: CREATED_STATE,
      dir,
      logPath: hostConfig.LogConfig?.Type === "json-file" ? logFile({ hostConfig, dir, id }) : "",
      ...files,
      exitFile: "",
      shim: null,
      restartCount: 0,
      starts: 0,
      warnings,
    };
    // The image may have been removed while the layer was made.
    ctx.images.get(image.id);
    // A container that removes itself is no loss when the machine loses power: no fsync on the way of `run --rm`.
    const container = ctx.containers.add(record, hostConfig.AutoRemove === true ? "process" : "durable");
    containerEvent(ctx, container.record, "create");
    return { Id: id, Warnings: warnings };
  } catch (error) {
    ctx.containers.release(name, id);
    await sweepContainer(ctx, id);
    resolved?.release();
    for (const volume of resolved?.made ?? []) await ctx.volumes.remove(volume, []).catch(() => {});
    throw error;
  } finally {
    resolved?.release();
  }
}

/** A bind of the request's own as {@link CreateRequest.readOnlyAtTop} wants it. */
function readOnlyAtTop(point: MountPoint): MountPoint {
  const own = point.from === "Binds" || point.from === "Mounts";
  return own && point.type === "bind" && point.readOnly && point.recursive === "default"
    ? { ...point, recursive: "off" }
    : point;
}

/** Deletes whatever a container that does not exist has left on disk. Never throws: the next start of the engine tries again. */
export async function sweepContainer(
  ctx: Pick<EngineContext, "dataRoot" | "driver" | "log">,
  id: string,
): Promise<void> {
  try {
    await ctx.driver.remove(id);
    Deno.removeSync(containerDir(ctx, id), { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    ctx.log.warn("cannot remove what is left of a container", { id, error: String(error) });
  }
}

/** The engine's defaults (daemon.json) where the request says nothing. */
function withDefaults(ctx: EngineContext, request: CreateRequest): CreateRequest {
  const { hostConfig } = request;
  const { defaults } = ctx;
  const named = new Set((hostConfig.Ulimits ?? []).map((limit) => limit.Name));
  const ulimits = [
    ...(hostConfig.Ulimits ?? []),
    ...defaults.ulimits.filter((limit) => !named.has(limit.Name)),
  ];
  return {
    ...request,
    hostConfig: {
      ...hostConfig,
      ...(hostConfig.IpcMode || !defaults.ipcMode ? {} : { IpcMode: defaults.ipcMode }),
      ...(hostConfig.Runtime || !defaults.runtime ? {} : { Runtime: defaults.runtime }),
      ...(hostConfig.ShmSize ? {} : { ShmSize: defaults.shmSize }),
      ...(ulimits.length > 0 ? { Ulimits: ulimits } : {}),
      ...(hostConfig["CgroupParent"] || !defaults.cgroupParent
        ? {}
        : { CgroupParent: defaults.cgroupParent }),
      ...(hostConfig.CgroupnsMode || !defaults.cgroupnsMode ? {} : { CgroupnsMode: defaults.cgroupnsMode }),
      LogConfig: withLogDefaults(hostConfig.LogConfig, defaults),
    },
  };
}

/** A name may be given to another container later: what is joined is written down by id. */
function withContainerIds(ctx: EngineContext, hostConfig: HostConfig): HostConfig {
  const pin = (mode: string | undefined) => {
    const other = joinedContainer(mode);
    if (other === undefined) return undefined;
    try {
      return `container:${ctx.containers.find(other).id}`;
    } catch (error) {
      // 404 would make the docker command line pull the image.
      throw error instanceof EngineError && error.kind === "not-found" ? invalid(error.message) : error;
    }
  };
  const [net, pid, ipc] = [pin(hostConfig.NetworkMode), pin(hostConfig.PidMode), pin(hostConfig.IpcMode)];
  return {
    ...hostConfig,
    ...(net === undefined ? {} : { NetworkMode: net }),
    ...(pid === undefined ? {} : { PidMode: pid }),
    ...(ipc === undefined ? {} : { IpcMode: ipc }),
  };
}

/** With the host's network or UTS namespace the container has the host's name unless it asks for another. */
function withHostname(request: CreateRequest, hostConfig: HostConfig): CreateRequest["config"] {
  const hosts = hostConfig.NetworkMode === "host" || hostConfig.UTSMode === "host";
  return hosts && !request.config.Hostname
    ? { ...request.config, Hostname: Deno.hostname() }
    : request.config;
}
