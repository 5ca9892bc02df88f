/** dockerd's flags about TLS that were given; paths as the user wrote them. */
export interface TlsFlags {
  readonly tls?: boolean;
  readonly tlsverify?: boolean;
  readonly tlscacert?: string;
  readonly tlscert?: string;
  readonly tlskey?: string;
}

/** Options of `berth serve` that go to the engine as they were given. */
export interface GivenOptions {
  readonly storageDriver?: string;
  readonly pidfile?: string;
  readonly debug: boolean;
  readonly logLevel: string;
  /** "text" or "json". */
  readonly logFormat?: string;
  readonly tls?: TlsFlags;
  /** A directory that holds this engine alone: everything goes, the directory too, when standard input or the engine ends. */
  readonly ephemeral?: string;
  /** Warm shims kept ready; undefined = default 1. */
  readonly shimPool?: number;
  readonly insecureRegistries?: readonly string[];
  readonly registryMirrors?: readonly string[];
  /** Flags about networks that were given, by their keys in daemon.json. */
  readonly network?: Readonly<Record<string, unknown>>;
  readonly cgroupDriver?: string;
  readonly cgroupParent?: string;
  readonly cgroupnsMode?: string;
  /** dockerd's: "native.cgroupdriver=systemd". */
  readonly execOptions?: readonly string[];
}

/** What `berth serve` hands to the engine that it starts inside the user namespace, as one JSON argument. */
export interface EngineOptions extends GivenOptions {
  /** Listen addresses (`unix:///…`, `tcp://127.0.0.1:…`); empty = the default socket. */
  readonly hosts: readonly string[];
  readonly dataRoot: string;
  readonly execRoot: string;
  /** The default socket, listened on when `hosts` is empty. */
  readonly socket: string;
  /** Where Docker's clients look by themselves; listened on beside the default socket when it is free. */
  readonly probedSocket?: string;
  readonly configFile: string;
  /** True when --config-file was given: then the file must exist. */
  readonly configFileGiven: boolean;
  /** Names of the options that were given as flags (dockerd refuses the same setting in flag and file). */
  readonly flagsGiven: readonly string[];
  /** The user outside of the namespace. */
  readonly uid: number;
  readonly gid: number;
  /** full: subordinate ids mapped; single: only the user's own id; root: identity map. */
  readonly idMap: "full" | "single" | "root";
  /** What the bootstrap found wanting; shown by `info` and printed once at start. */
  readonly warnings: readonly string[];
  /** RLIMIT_NOFILE before Deno raised it: what containers get by default. Decimal strings, "-1" unlimited. */
  readonly nofile: { readonly soft: string; readonly hard: string };
}
