/** OCI image configuration (application/vnd.oci.image.config.v1+json) with Docker's additions, as stored: unknown fields are kept. */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly created?: string;
  readonly author?: string;
  readonly config?: ContainerDefaults;
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly string[] };
  readonly history?: readonly ImageHistory[];
  readonly [key: string]: unknown;
}

export interface ImageHistory {
  readonly created?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly author?: string;
  readonly empty_layer?: boolean;
}

/** `config` of the image configuration: the defaults that a container takes over. */
export interface ContainerDefaults {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly WorkingDir?: string;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>> | null;
  readonly Volumes?: Readonly<Record<string, Record<string, never>>> | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly StopSignal?: string;
  readonly Shell?: readonly string[];
  readonly Healthcheck?: unknown;
  readonly OnBuild?: readonly string[] | null;
  readonly [key: string]: unknown;
}

/** A stored image. `id` is the digest of the configuration, `sha256:…`. */
export interface Image {
  readonly id: string;
  readonly config: ImageConfig;
  /** The configuration's exact bytes hash to `id`. */
  readonly configJson: string;
  /** Chain ids, bottom first; one per diff id. */
  readonly chainIds: readonly string[];
  /** Unpacked apparent bytes of all layers (plus host directories are *not* counted). */
  readonly size: number;
  readonly createdAt: string;
  /** "name:tag" references in familiar form ("busybox:latest", "berth/host:latest"). */
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** Time of the last tag, RFC 3339. */
  readonly lastTagTime: string | undefined;
  readonly parent: string;
  /** berth/host only: system directories of this machine that belong to the image (["/usr", "/bin", …]); empty otherwise. */
  readonly hostDirs: readonly string[];
}
