/** How registries are spoken to: the engine's configuration, in the terms of dockerd's daemon.json. */
export interface RegistrySettings {
  /** `registry-mirrors`: base URLs that are asked before Docker Hub. */
  readonly mirrors: readonly string[];
  /** `insecure-registries`: `host`, `host:port` or CIDR. Loopback addresses are insecure without being listed. */
  readonly insecure: readonly string[];
  /** Directories with one directory for each `host[:port]`, in order of preference: `certs.d`. */
  readonly certDirs: readonly string[];
  readonly maxDownloads: number;
  readonly maxUploads: number;
  readonly maxAttempts: number;
  /** Wait before the second attempt, doubled with each further one. */
  readonly retryDelayMs: number;
  /** A transfer of which nothing comes for so long is given up and tried again. */
  readonly stallMs: number;
}

/** dockerd's numbers (moby: daemon/config) where it has them. */
export const DEFAULT_REGISTRY_SETTINGS: RegistrySettings = {
  mirrors: [],
  insecure: [],
  certDirs: ["/etc/docker/certs.d"],
  maxDownloads: 3,
  maxUploads: 5,
  maxAttempts: 5,
  retryDelayMs: 1000,
  stallMs: 60_000,
};

/** Who the user is to a registry; the fields of Docker's AuthConfig. */
export interface RegistryAuth {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Stands for user and password (OAuth2 refresh token). */
  readonly identityToken?: string | undefined;
  /** Sent as it is. */
  readonly registryToken?: string | undefined;
}
