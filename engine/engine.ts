import { conflict, EngineError } from "../base/errors.ts";
import type { ImageStore } from "../image/image_store.ts";
import type { RegistrySettings } from "../image/registry/settings.ts";
import { attachContainer } from "./attach.ts";
import type { GcSettings } from "./build_gc.ts";
import type { EngineBuilder } from "./build/builder.ts";
import type { Builder } from "./build/types.ts";
import type { Container } from "./container.ts";
import { selectContainers } from "./container_filters.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import { createContainer } from "./create.ts";
import { buildCacheUsage } from "./disk_usage.ts";
import { createExec, inspectExec, resizeExec, startExec } from "./exec.ts";
import { fileOperations } from "./file_operations.ts";
import { imageOperations } from "./image_operations.ts";
import { imageTransfers } from "./image_transfer.ts";
import { linksView, removeLink } from "./links.ts";
import { networkOperations } from "./network_operations.ts";
import { infoView, versionView } from "./info.ts";
import { containerLogs } from "./logs.ts";
import { pauseContainer, unpauseContainer } from "./pause.ts";
import { removeContainer } from "./remove.ts";
import { renameContainer } from "./rename.ts";
import { killContainer, stopContainer } from "./signals.ts";
import { startContainer } from "./start.ts";
import { StatsCollector } from "./stats.ts";
import { topView } from "./top.ts";
import type {
  AttachOptions,
  ClientStream,
  CreateRequest,
  Engine,
  EngineEvent,
  ExecCreateRequest,
  Filters,
  HostConfig,
  LogsOptions,
  StatsView,
  WaitCondition,
  WaitResult,
} from "./types.ts";
import { updateContainer } from "./update.ts";
import { inspectView, listView } from "./views.ts";
import { volumeOperations } from "./volumes.ts";

/** What `info` tells of this engine beside the machine. */
export interface EngineDescription {
  /** The same for as long as the data root lives. */
  readonly id: string;
  readonly labels: readonly string[];
  readonly debug: boolean;
  readonly registry: RegistrySettings;
  readonly buildGc: GcSettings;
  /** What the start found wanting. */
  readonly warnings: readonly string[];
}

/** The domain behind the API: each method finds what it is about and hands over to the file of the operation. */
export class BerthEngine implements Engine {
  readonly #ctx: EngineContext;
  readonly #images: ImageStore;
  readonly #description: EngineDescription;
  readonly #stats: StatsCollector;
  #builder: Promise<EngineBuilder> | undefined;
  readonly archiveStat: Engine["archiveStat"];
  readonly archiveRead: Engine["archiveRead"];
  readonly archiveWrite: Engine["archiveWrite"];
  readonly exportContainer: Engine["exportContainer"];
  readonly changes: Engine["changes"];
  readonly commit: Engine["commit"];
  readonly imageSave: Engine["imageSave"];
  readonly diskUsage: Engine["diskUsage"];
  readonly pruneContainers: Engine["pruneContainers"];
  readonly pruneImages: Engine["pruneImages"];
  readonly imageLoad: Engine["imageLoad"];
  readonly imageImport: Engine["imageImport"];
  readonly imageList: Engine["imageList"];
  readonly imageInspect: Engine["imageInspect"];
  readonly imageHistory: Engine["imageHistory"];
  readonly imageTag: Engine["imageTag"];
  readonly imagePull: Engine["imagePull"];
  readonly imagePush: Engine["imagePush"];
  readonly registryLogin: Engine["registryLogin"];
  readonly distributionInspect: Engine["distributionInspect"];
  readonly imageSearch: Engine["imageSearch"];
  readonly imageRemove: Engine["imageRemove"];
  readonly networkList: Engine["networkList"];
  readonly networkInspect: Engine["networkInspect"];
  readonly networkCreate: Engine["networkCreate"];
  readonly networkRemove: Engine["networkRemove"];
  readonly networkConnect: Engine["networkConnect"];
  readonly networkDisconnect: Engine["networkDisconnect"];
  readonly networkDoctor: Engine["networkDoctor"];
  readonly pruneNetworks: Engine["pruneNetworks"];
  readonly volumeCreate: Engine["volumeCreate"];
  readonly volumeInspect: Engine["volumeInspect"];
  readonly volumeList: Engine["volumeList"];
  readonly volumeRemove: Engine["volumeRemove"];
  readonly pruneVolumes: Engine["pruneVolumes"];

  constructor(ctx: EngineContext, images: ImageStore, description: EngineDescription) {
    this.#ctx = ctx;
    this.#images = images;
    this.#description = description;
    this.#stats = new StatsCollector(ctx);
    const files = fileOperations(ctx, images, ctx.trees);
    this.archiveStat = files.archiveStat;
    this.archiveRead = files.archiveRead;
    this.archiveWrite = files.archiveWrite;
    this.exportContainer = files.exportContainer;
    this.changes = files.changes;
    this.commit = files.commit;
    this.imageSave = files.imageSave;
    this.diskUsage = async (objects) => ({
      ...await files.diskUsage(objects),
      ...(objects.has("build-cache") ? buildCacheUsage((await this.builder()).cacheRecords()) : {}),
    });
    this.pruneContainers = files.pruneContainers;
    this.pruneImages = files.pruneImages;
    const operations = imageOperations(ctx, images);
    this.imageLoad = operations.imageLoad;
    this.imageImport = operations.imageImport;
    this.imageList = operations.imageList;
    this.imageInspect = operations.imageInspect;
    this.imageHistory = operations.imageHistory;
    this.imageTag = operations.imageTag;
    const transfers = imageTransfers(ctx, images, description.registry);
    this.imagePull = transfers.imagePull;
    this.imagePush = transfers.imagePush;
    this.registryLogin = transfers.registryLogin;
    this.distributionInspect = transfers.distributionInspect;
    this.imageSearch = transfers.imageSearch;
    this.imageRemove = operations.imageRemove;
    const networks = networkOperations(ctx);
    this.networkList = networks.networkList;
    this.networkInspect = networks.networkInspect;
    this.networkCreate = networks.networkCreate;
    this.networkRemove = networks.networkRemove;
    this.networkConnect = networks.networkConnect;
    this.networkDisconnect = networks.networkDisconnect;
    this.networkDoctor = networks.networkDoctor;
    this.pruneNetworks = networks.pruneNetworks;
    const volumes = volumeOperations(ctx);
    this.volumeCreate = volumes.volumeCreate;
    this.volumeInspect = volumes.volumeInspect;
    this.volumeList = volumes.volumeList;
    this.volumeRemove = volumes.volumeRemove;
    this.pruneVolumes = volumes.pruneVolumes;
  }

  #find(id: string): Container {
    return this.#ctx.containers.find(id);
  }

  create(request: CreateRequest): Promise<{ Id: string; Warnings: string[] }> {
    return createContainer(this.#ctx, request);
  }

  async start(id: string): Promise<void> {
    await startContainer(this.#ctx, this.#find(id));
  }

  async attach(
    id: string,
    options: AttachOptions,
    onReady: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void> {
    await attachContainer(this.#ctx, this.#find(id), options, onReady);
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async wait(
    id: string,
    condition: WaitCondition,
    signal: AbortSignal,
  ): Promise<{ result: Promise<WaitResult> }> {
    const container = this.#find(id);
    const { status } = container.record.state;
    if (condition === "removed") return { result: container.removal(signal) };
    const over = condition === "not-running" && !container.running && status !== "starting";
    return { result: over ? Promise.resolve(container.outcome()) : container.nextExit(signal) };
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async logs(
    id: string,
    options: LogsOptions,
    signal: AbortSignal,
  ): Promise<{ tty: boolean; chunks: AsyncIterable<Uint8Array> }> {
    return containerLogs(this.#find(id), options, signal);
  }

  async inspect(id: string, size: boolean): Promise<Record<string, unknown>> {
    const container = this.#find(id);
    return inspectView(container.record, {
      execIds: this.#ctx.execs.idsOf(container.id),
      links: linksView(this.#ctx, container.record),
      ...(size ? await this.#sizes(container) : {}),
    });
  }

  async #sizes(container: Container): Promise<{ sizeRw: number; sizeRootFs: number }> {
    const sizeRw = await this.#ctx.driver.usage(container.id);
    return { sizeRw, sizeRootFs: sizeRw + this.#imageSize(container) };
  }

  #imageSize(container: Container): number {
    try {
      return this.#images.get(container.record.imageId).size;
    } catch {
      return 0;
    }
  }

  async list(
    options: { all: boolean; limit: number | undefined; size: boolean; filters: Filters },
  ): Promise<Record<string, unknown>[]> {
    const records = this.#ctx.containers.all().map((container) => container.record);
    const shown = selectContainers(records, options, (reference) => {
      const image = this.#images.get(reference);
      return [image.id, ...this.#images.descendants(image)];
    });
    return await Promise.all(shown.map(async (record) => {
      const container = options.size ? this.#ctx.containers.get(record.id) : undefined;
      const image = this.#imageName(record.imageRef, record.imageId);
      return listView(record, {
        ...(image === undefined ? {} : { image }),
        ...(container === undefined ? {} : await this.#sizes(container)),
      });
    }));
  }

  /** A name that leads to another image by now would lie: then the id is shown, as Docker does. */
  #imageName(reference: string, imageId: string): string | undefined {
    try {
      return this.#images.get(reference).id === imageId ? reference : imageId;
    } catch {
      return imageId;
    }
  }

  async stop(
    id: string,
    options: { timeout: number | undefined; signal: string | undefined },
  ): Promise<void> {
    await stopContainer(this.#ctx, this.#find(id), options);
  }

  async kill(id: string, signal: string | undefined): Promise<void> {
    await killContainer(this.#ctx, this.#find(id), signal);
  }

  async restart(
    id: string,
    options: { timeout: number | undefined; signal: string | undefined },
  ): Promise<void> {
    const container = this.#find(id);
    const keep = container.hold();
    try {
      await stopContainer(this.#ctx, container, options).catch((error) => {
        if (!(error instanceof EngineError && error.kind === "not-modified")) throw error;
      });
      await startContainer(this.#ctx, container);
    } finally {
      keep();
    }
    containerEvent(this.#ctx, container.record, "restart");
  }

  async remove(id: string, options: { force: boolean; volumes: boolean; link: boolean }): Promise<void> {
    if (options.link) return removeLink(this.#ctx, id);
    await removeContainer(this.#ctx, this.#find(id), options);
  }

  async rename(id: string, name: string): Promise<void> {
    await renameContainer(this.#ctx, this.#find(id), name);
  }

  async resize(id: string, size: { rows: number; cols: number }): Promise<void> {
    const container = this.#find(id);
    if (container.record.state.status !== "running" || container.shim === null) {
      throw conflict(`container ${container.id} is not running`);
    }
    // Without a terminal there is nothing to do, and it is no mistake either, as in Docker.
    if (container.record.config.Tty) await container.shim.request({ op: "resize", ...size });
    containerEvent(this.#ctx, container.record, "resize", {
      height: String(size.rows),
      width: String(size.cols),
    });
  }

  async top(id: string, psArgs: string | undefined): Promise<{ Titles: string[]; Processes: string[][] }> {
    const container = this.#find(id);
    const table = await topView(container.record, psArgs);
    containerEvent(this.#ctx, container.record, "top");
    return table;
  }

  async pause(id: string): Promise<void> {
    await pauseContainer(this.#ctx, this.#find(id));
  }

  async unpause(id: string): Promise<void> {
    await unpauseContainer(this.#ctx, this.#find(id));
  }

  async update(id: string, request: HostConfig): Promise<{ Warnings: string[] }> {
    return await updateContainer(this.#ctx, this.#find(id), request);
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async stats(id: string, signal: AbortSignal): Promise<AsyncIterable<StatsView>> {
    return this.#stats.stream(this.#find(id), signal);
  }

  async statsOnce(id: string, oneShot: boolean, signal: AbortSignal): Promise<StatsView> {
    return await this.#stats.once(this.#find(id), oneShot, signal);
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async execCreate(id: string, request: ExecCreateRequest): Promise<{ Id: string }> {
    return { Id: createExec(this.#ctx, this.#find(id), request).id };
  }

  async execStart(
    execId: string,
    options: { detach: boolean; tty: boolean | undefined; consoleSize: readonly number[] | undefined },
    onReady: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void> {
    await startExec(this.#ctx, this.#ctx.execs.find(execId), options, onReady);
  }

  // deno-lint-ignore require-await -- failures are to reach the caller as a rejection
  async execInspect(execId: string): Promise<Record<string, unknown>> {
    return inspectExec(this.#ctx.execs.find(execId));
  }

  async execResize(execId: string, size: { rows: number; cols: number }): Promise<void> {
    await resizeExec(this.#ctx, this.#ctx.execs.find(execId), size);
  }

  info(): Promise<Record<string, unknown>> {
    const containers = this.#ctx.containers.all();
    const paused = containers.filter(({ record }) => record.state.paused === true).length;
    const running = containers.filter((container) => container.running).length - paused;
    const view = infoView({
      facts: this.#ctx.facts,
      id: this.#description.id,
      driver: this.#ctx.driver,
      dataRoot: this.#ctx.dataRoot,
      containers: { running, paused, stopped: containers.length - running - paused },
      images: this.#images.list().length,
      debug: this.#description.debug,
      logDriver: this.#ctx.defaults.logDriver,
      defaultRuntime: this.#ctx.defaults.runtime,
      security: this.#ctx.defaults.security,
      eventListeners: this.#ctx.events.listeners,
      registry: this.#description.registry,
      warnings: this.#description.warnings,
      networks: this.#ctx.networks,
    });
    return Promise.resolve({ ...view, Labels: this.#description.labels });
  }

  async builder(): Promise<Builder> {
    return await this.#loadBuilder();
  }

  async #loadBuilder(): Promise<EngineBuilder> {
    return await (this.#builder ??= import("./build/builder.ts").then(({ EngineBuilder }) =>
      new EngineBuilder({
        ctx: this.#ctx,
        images: this.#images,
        registry: this.#description.registry,
        gc: () => this.#description.buildGc,
      })
    ));
  }

  /** Ends the builds under way, and waits until nothing is left of them. To be called when the engine stops. */
  async endBuilds(): Promise<void> {
    if (this.#builder !== undefined) await (await this.#builder).close();
  }

  version(): Promise<Record<string, unknown>> {
    return Promise.resolve(versionView(this.#ctx.facts));
  }

  events(
    options: { since: bigint | undefined; until: bigint | undefined; filters: Filters },
    signal: AbortSignal,
  ): AsyncIterable<EngineEvent> {
    return this.#ctx.events.stream(options, signal);
  }
}
