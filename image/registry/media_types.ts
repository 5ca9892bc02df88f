/** Media types of the OCI image specification and of Docker's schema 2. */
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
export const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";
export const DOCKER_LAYER_PLAIN = "application/vnd.docker.image.rootfs.diff.tar";
export const OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
export const OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
export const OCI_LAYER_PLAIN = "application/vnd.oci.image.layer.v1.tar";

const SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/** What a registry may answer when it is asked for a manifest. Schema 1 is asked for so that it can be refused by name. */
export const MANIFEST_ACCEPT: readonly string[] = [
  OCI_INDEX,
  OCI_MANIFEST,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  SCHEMA1_SIGNED,
  SCHEMA1,
];

export const isIndex = (type: string): boolean => type === OCI_INDEX || type === DOCKER_LIST;
export const isManifest = (type: string): boolean => type === OCI_MANIFEST || type === DOCKER_MANIFEST;
export const isSchema1 = (type: string): boolean => type === SCHEMA1 || type === SCHEMA1_SIGNED;
export const isImageConfig = (type: string): boolean => type === OCI_CONFIG || type === DOCKER_CONFIG;
