import type { LayerRef } from "../../fs/graph_driver.ts";
import type { Image } from "../../image/types.ts";
import type { ImageStore } from "../../image/image_store.ts";
import type { Container } from "../container.ts";
import { ContainerTable } from "../container_table.ts";
import type { EngineContext, ImageSource } from "../context.ts";
import { EventLog } from "../events.ts";
import { ExecTable } from "../exec_table.ts";
import { Store } from "../store.ts";

/** Layers as a container's root, with nothing else of an image. */
export interface LayerStack {
  /** Chain ids, bottom first. */
  readonly chainIds: readonly string[];
  /** Of berth/host and what is built on it; empty otherwise. */
  readonly hostDirs: readonly string[];
}

/** Stacks of layers under made-up names, where the life of a container asks for images. */
class StackImages implements ImageSource {
  readonly #store: ImageStore;
  readonly #stacks = new Map<string, Image>();

  constructor(store: ImageStore) {
    this.#store = store;
  }

  /** Makes a stack known until the answer is disposed of. */
  add(reference: string, { chainIds, hostDirs }: LayerStack, architecture: string): Disposable {
    this.#stacks.set(reference, {
      id: reference,
      config: { architecture, os: "linux", rootfs: { type: "layers", diff_ids: [] } },
      configJson: "",
      chainIds,
      size: 0,
      createdAt: "",
      repoTags: [],
      repoDigests: [],
      lastTagTime: undefined,
      parent: "",
      hostDirs,
    });
    return { [Symbol.dispose]: () => void this.#stacks.delete(reference) };
  }

  get(reference: string): Image {
    const known = this.#stacks.get(reference);
    if (known === undefined) throw new TypeError(`no stack of layers ${reference}`);
    return known;
  }

  /** Layers, topmost first. */
  refs(chainIds: readonly string[]): LayerRef[] {
    return chainIds.map((chainId) => this.#store.internals.layers.ref(chainId)).reverse();
  }

  getForContainer(id: string): Image {
    return this.get(id);
  }

  collectHidden(): void {}

  layers(image: Image): ReturnType<ImageSource["layers"]> {
    return this.#store.layers(image);
  }

  hostMounts(image: Image, containerDir: string): ReturnType<ImageSource["hostMounts"]> {
    return this.#store.hostMounts(image, containerDir);
  }
}

/** Containers that nobody else finds; `--network container:x` finds the others. */
class BuildContainers extends ContainerTable {
  readonly #others: ContainerTable;

  constructor(store: Store, others: ContainerTable) {
    super(store);
    this.#others = others;
  }

  override find(reference: string): Container {
    return this.get(reference) ?? this.#others.find(reference);
  }
}

export interface BuildContext extends EngineContext {
  readonly images: StackImages;
}

/**
 * The engine's context as the containers of builds have it: shims, networks, cgroups and the graph driver are the engine's own,
 * containers and events are nobody's business. Their rows are in memory: of what an engine that was killed has left, shims and
 * directories without a row, the next one ends and removes everything (reconcile.ts).
 */
export function buildContext(ctx: EngineContext, images: ImageStore): BuildContext & Disposable {
  const store = new Store(":memory:");
  const pool = patientPool(ctx.pool);
  return {
    ...ctx,
    get defaults() {
      return ctx.defaults;
    },
    images: new StackImages(images),
    containers: new BuildContainers(store, ctx.containers),
    events: new EventLog(),
    execs: new ExecTable(() => {}),
    pool,
    [Symbol.dispose]: () => {
      pool.close();
      store.close();
    },
  };
}

/** A command that takes longer than this leaves others time to want a shim. */
const REFILL_MS = 1000;

/**
 * The engine's pool for commands that follow each other: the shim of one that was brief comes back and serves the next, where booting another one
 * meanwhile would keep a processor busy for nothing.
 */
function patientPool(pool: EngineContext["pool"]): EngineContext["pool"] & { close(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    acquire: (namespaces) => pool.acquire(namespaces),
    release: (shim) => pool.release(shim),
    resize: (size) => pool.resize(size),
    refillSoon: () => {
      clearTimeout(timer);
      timer = setTimeout(() => pool.refillSoon(), REFILL_MS);
    },
    close: () => clearTimeout(timer),
  };
}
