import type { Platform } from "../image/platform.ts";
import type { RegistryAuth } from "../image/registry/settings.ts";
import type { Filters } from "./types.ts";

/** Takes one line of a progress stream, ready to be written as JSON. */
export type SendMessage = (message: Record<string, unknown>) => void;

export interface LoginRequest {
  readonly username: string;
  readonly password: string;
  readonly identityToken: string | undefined;
  /** As the user gave it: a host, or a URL; "" is Docker Hub. */
  readonly serverAddress: string;
}

/** The part of the engine that speaks to registries. */
export interface ImageTransfers {
  /** @param reference a name with tag or digest; with `allTags` a name without. */
  imagePull(
    options: {
      reference: string;
      allTags: boolean;
      platform: string | undefined;
      auth: RegistryAuth | undefined;
    },
    signal: AbortSignal,
    send: SendMessage,
  ): Promise<void>;
  /**
   * @param options.tag undefined: what the name says, or all tags.
   * @param options.platform refused when the image is for another one.
   */
  imagePush(
    name: string,
    options: { tag: string | undefined; platform: Platform | undefined; auth: RegistryAuth | undefined },
    signal: AbortSignal,
    send: SendMessage,
  ): Promise<void>;
  /** Whether a registry accepts the credentials. */
  registryLogin(request: LoginRequest, signal: AbortSignal): Promise<Record<string, string>>;
  /** What a registry has under a name, without getting it. */
  distributionInspect(
    name: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>>;
  imageSearch(
    options: { term: string; limit: number; filters: Filters; auth: RegistryAuth | undefined },
    signal: AbortSignal,
  ): Promise<Record<string, unknown>[]>;
}
