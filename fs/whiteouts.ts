/** Names with which a layer archive says that something below is gone (OCI image-spec, layer.md; AUFS before it). */
export const WHITEOUT_PREFIX = ".wh.";
export const OPAQUE_MARKER = ".wh..wh..opq";
/** AUFS's own bookkeeping (`.wh..wh.aufs`, `.wh..wh.plnk/…`): no content. */
export const WHITEOUT_META_PREFIX = ".wh..wh.";

/** Values of the extended attributes that mark an opaque directory, by the driver that reads them. */
export const OPAQUE_XATTRS = {
  "overlay-userxattr": ["user.overlay.opaque"],
  "overlay-trusted": ["trusted.overlay.opaque"],
  // fuse-overlayfs also reads the sentinel file OPAQUE_MARKER
  "fuse-overlayfs": ["user.fuseoverlayfs.opaque"],
} as const;

export const OPAQUE_VALUE: Uint8Array<ArrayBuffer> = new Uint8Array([0x79]); // "y"

/**
 * Attributes that a union file system takes for its own: one that came out of an archive could make a file show
 * what it does not hold, or change an owner. They are left out of layers.
 */
const DRIVER_XATTRS = [
  "user.overlay.",
  "trusted.overlay.",
  "user.fuseoverlayfs.",
  "user.containers.",
  "security.fuseoverlayfs.",
];

export function isDriverXattr(name: string): boolean {
  return DRIVER_XATTRS.some((prefix) => name.startsWith(prefix));
}
