import type { RootfsSpec } from "../runtime/spec.ts";

export type GraphDriverName = "overlay" | "fuse-overlayfs" | "vfs";

/** One unpacked layer: its directory holds whiteouts and opaque marks in the form the driver reads. */
export interface LayerRef {
  readonly chainId: string;
  /** `<data-root>/layers/<chain id hex>/diff` */
  readonly dir: string;
}

/**
 * How a layer archive's whiteouts are written on disk for this driver: in the form of one of the union file systems, as
 * the archive has them (`files`: empty files named `.wh.…`), or not at all, since the archive is unpacked over what
 * they hide (`apply`).
 */
export type WhiteoutFormat = "overlay-userxattr" | "overlay-trusted" | "fuse-overlayfs" | "files" | "apply";

/**
 * Copy-on-write storage for containers. One instance per engine; calls for one container id never overlap.
 * Layer directories are immutable once a LayerRef names them.
 */
export interface GraphDriver {
  readonly name: GraphDriverName;
  /** Why probing chose it (or that it was forced); shown in `info`. */
  readonly reason: string;
  readonly whiteouts: WhiteoutFormat;
  /** [key, value] rows for `info`'s DriverStatus. */
  readonly status: readonly (readonly [string, string])[];
  /** Makes a container's writable layer. Idempotent. `layers` topmost first. @throws {MissingLayer} */
  create(containerId: string, layers: readonly LayerRef[]): Promise<void>;
  /** What init mounts as root; a driver that needs a daemon (fuse) has mounted when this answers. @throws {MissingLayer} */
  acquire(containerId: string, layers: readonly LayerRef[]): Promise<RootfsSpec>;
  /** After the container ended: unmounts and ends a daemon. Idempotent, also after an engine crash. */
  release(containerId: string): Promise<void>;
  /**
   * Takes the writable layer and everything of the container away, `<root>/containers/<id>` with what others have put
   * there included; the space is freed after that, in the background.
   * Idempotent.
   */
  remove(containerId: string): Promise<void>;
  /** Bytes in the writable layer (apparent). */
  usage(containerId: string): Promise<number>;
}
