/** A volume, as the store keeps it. Its files are in `<data-root>/volumes/<name>/_data`. */
export interface VolumeRecord {
  readonly name: string;
  readonly driver: "local";
  /** RFC 3339, UTC. */
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Options of the driver, as given. */
  readonly options: Readonly<Record<string, string>>;
}

/** What a volume is to be made with. */
export interface VolumeRequest {
  /** "" or undefined: a name of 64 hexadecimal digits, and the label of anonymous ones. */
  readonly name?: string | undefined;
  readonly driver?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly options?: Readonly<Record<string, string>> | undefined;
}

/** Label of volumes that nobody has named (moby: volume/service). */
export const ANONYMOUS_LABEL = "com.docker.volume.anonymous";
