import type { DatabaseSync } from "node:sqlite";
import type { CgroupManager } from "../cgroups/manager.ts";
import type { Syscalls } from "../ffi/syscalls.ts";
import type { TreeThreads } from "../fs/tree_threads.ts";
import type { GraphDriver, LayerRef } from "../fs/graph_driver.ts";
import type { Image } from "../image/types.ts";
import type { MountSpec } from "../runtime/spec.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { ContainerTable } from "./container_table.ts";
import type { EventLog } from "./events.ts";
import type { ExecTable } from "./exec_table.ts";
import type { Logger } from "./log.ts";
import type { SecurityDefaults } from "./security_options.ts";
import type { Networks } from "./networks.ts";
import type { ShimPool } from "./shim_pool.ts";
import type { HostFacts } from "./host_facts.ts";
import type { VolumeTable } from "./volume_table.ts";

/** What the life of a container needs of the image store. */
export interface ImageSource {
  /** @throws {EngineError} not-found. */
  get(reference: string): Image;
  /** The image of a container that exists, be it removed by force since. @throws {EngineError} not-found. */
  getForContainer(id: string): Image;
  /** Gives up images that were removed by force while containers had them, once none has. */
  collectHidden(inUse: (imageId: string) => boolean): void;
  /** Topmost first. */
  layers(image: Image): LayerRef[];
  /** Directories of this machine that belong to the image (berth/host). */
  hostMounts(image: Image, containerDir: string): MountSpec[];
}

/** Defaults for new containers, from daemon.json. */
export interface ContainerDefaults {
  readonly shmSize: number;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly init: boolean;
  readonly logDriver: string;
  /** "private" or "shareable"; "": Docker's default. */
  readonly ipcMode?: string;
  /** One of Docker's names for berth's own, or that. */
  readonly runtime?: string;
  readonly security?: SecurityDefaults;
  /** Of containers that do not say; "" is the driver's own default. */
  readonly cgroupParent?: string;
  /** "private" or "host"; undefined: Docker's default. */
  readonly cgroupnsMode?: string | undefined;
  readonly logOpts: Readonly<Record<string, string>>;
  /** RLIMIT_NOFILE that berth itself was started with, before Deno raised it. Decimal strings, "-1" unlimited. */
  readonly nofile: { readonly soft: string; readonly hard: string };
}

/** What the operations of the engine share. One for each engine. */
export interface EngineContext {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly kernel: Syscalls;
  /** `<data-root>/berth.db`: rooms keep tables of their own in it. */
  readonly db: DatabaseSync;
  readonly driver: GraphDriver;
  /** undefined: nothing is delegated. */
  readonly cgroups: CgroupManager | undefined;
  readonly images: ImageSource;
  readonly containers: ContainerTable;
  readonly events: EventLog;
  readonly execs: ExecTable;
  readonly volumes: VolumeTable;
  /** Threads that look into containers. */
  readonly trees: TreeThreads;
  readonly pool: Pick<ShimPool, "acquire" | "release" | "refillSoon" | "resize">;
  readonly networks: Networks;
  readonly facts: HostFacts;
  readonly defaults: ContainerDefaults;
  readonly log: Logger;
}

/** `<data-root>/containers/<id>` */
export function containerDir(ctx: Pick<EngineContext, "dataRoot">, id: string): string {
  return `${ctx.dataRoot}/containers/${id}`;
}

/** Publishes a container event with Docker's attributes: labels, image, name, and what the event adds. */
export function containerEvent(
  ctx: Pick<EngineContext, "events">,
  record: ContainerRecord,
  action: string,
  extra: Readonly<Record<string, string>> = {},
): void {
  ctx.events.publish("container", action, record.id, {
    ...record.config.Labels,
    image: record.imageRef,
    name: record.name,
    ...extra,
  });
}
