import type { EngineContext } from "../context.ts";
import { isEmulated, isNative } from "./emulation.ts";
import { EngineError, messageOf } from "../../base/errors.ts";
import { canonicalString, parseReference, withDefaultTag } from "../../base/reference.ts";
import type { ImageStore } from "../../image/image_store.ts";
import { formatPlatform, HOST_PLATFORM, matches, type Platform, platformOf } from "../../image/platform.ts";
import { ImagePuller, type TransferMessage } from "../../image/pull.ts";
import type { RegistrySettings } from "../../image/registry/settings.ts";
import type { Image } from "../../image/types.ts";
import type { BuildClient } from "./types.ts";

export interface BaseImageOptions {
  readonly platform: Platform;
  /** Ask the registry, whatever is here. */
  readonly pull: boolean;
  readonly client: BuildClient;
  readonly signal: AbortSignal;
  readonly report: (message: TransferMessage) => void;
}

/** Finds the images that builds begin with, and fetches those that are not here. */
export class BaseImages {
  readonly #images: ImageStore;
  readonly #puller: ImagePuller;

  constructor(images: ImageStore, settings: RegistrySettings) {
    this.#images = images;
    this.#puller = new ImagePuller(images.internals, settings);
  }

  /** @throws {EngineError} in the registry's words; invalid: not for the platform that is asked for. */
  async find(reference: string, options: BaseImageOptions): Promise<Image> {
    const local = this.#local(reference);
    // a made-up image of this machine, or one named by its id, is in no registry
    const isOurs = local !== undefined && (local.hostDirs.length > 0 || isId(reference, local));
    const fits = local !== undefined && matches(platformOf(local.config), options.platform);
    if (local !== undefined && (isOurs || (fits && !options.pull))) return local;
    const named = withDefaultTag(parseReference(reference));
    const { signal, report, platform } = options;
    try {
      const auth = await options.client.registryAuth(named.domain);
      const [pulled] = await this.#puller.pull({ reference: named, platform, auth, signal, report });
      if (pulled === undefined) throw new EngineError("not-found", `${reference}: not found`);
      return this.#images.get(pulled.id);
    } catch (error) {
      signal.throwIfAborted();
      // an image that is only here, and was asked for by --pull or for another platform
      if (fits && error instanceof EngineError && error.kind === "not-found") return local;
      throw new EngineError(
        error instanceof EngineError ? error.kind : "system",
        `failed to resolve source metadata for ${canonicalString(named)}: ${messageOf(error)}`,
        { cause: error, hint: error instanceof EngineError ? error.hint : undefined },
      );
    }
  }

  #local(reference: string): Image | undefined {
    try {
      return this.#images.get(reference);
    } catch (error) {
      if (error instanceof EngineError && error.kind === "not-found") return undefined;
      throw error;
    }
  }
}

function isId(reference: string, { id }: Image): boolean {
  return id.startsWith(reference) || id.startsWith(`sha256:${reference}`);
}

/**
 * Makes sure that programs for a platform run here: by the processor itself, or by an emulator.
 *
 * @throws {EngineError} invalid, and what to install.
 */
export function requireRunnable(
  ctx: Pick<EngineContext, "execRoot" | "kernel" | "log">,
  platform: Platform,
): void {
  const { architecture } = platform;
  if (isNative(architecture) || isEmulated(ctx, architecture)) return;
  throw new EngineError(
    "invalid",
    `cannot run programs for ${formatPlatform(platform)} on this machine (${formatPlatform(HOST_PLATFORM)})`,
    { hint: "Install an emulator that the kernel starts by itself:  sudo apt install qemu-user-static" },
  );
}
