/** What of daemon.json may change while the engine runs: SIGHUP reads it again, as dockerd does. */
import type { RegistrySettings } from "../image/registry/settings.ts";
import { type EngineSettings, mergeSettings } from "./daemon_config.ts";
import type { EngineOptions } from "./serve_options.ts";

/** Settings that are looked at once, when the engine starts. */
const AT_START = ["hosts", "dataRoot", "execRoot", "storageDriver", "pidfile", "proxies"] as const;

/** The settings in force. Whoever asks late enough gets what a reload has brought. */
export class LiveSettings {
  #current: EngineSettings;
  /** Mirrors, insecure registries and the number of transfers of the moment. */
  readonly registry: RegistrySettings;

  constructor(settings: EngineSettings) {
    this.#current = settings;
    const now = () => this.#current.registry;
    this.registry = {
      ...settings.registry,
      get mirrors() {
        return now().mirrors;
      },
      get insecure() {
        return now().insecure;
      },
      get maxDownloads() {
        return now().maxDownloads;
      },
      get maxUploads() {
        return now().maxUploads;
      },
      get maxAttempts() {
        return now().maxAttempts;
      },
    };
  }

  get current(): EngineSettings {
    return this.#current;
  }

  /**
   * Reads the configuration file again. Answers the settings that have changed there but count from the next start on.
   *
   * @throws {EngineError} invalid: the file is wrong; then everything stays as it was.
   */
  reload(options: EngineOptions): string[] {
    const before = this.#current;
    const next = mergeSettings(options);
    const later = AT_START.filter((key) => JSON.stringify(next[key]) !== JSON.stringify(before[key]));
    this.#current = next;
    const made = ({ network }: EngineSettings) =>
      JSON.stringify([network.hasBridge, network.bridge, network.pools, network.netd]);
    return made(next) === made(before) ? later : [...later, "networks"];
  }

  /** Attributes of the event `reload`, as dockerd gives them: the values in force, lists and objects as JSON. */
  reloadAttributes(): Record<string, string> {
    const { labels, logLevel, defaults, shimPool, registry } = this.#current;
    return {
      "debug": String(logLevel === "debug"),
      "default-cgroupns-mode": defaults.cgroupnsMode ?? "",
      "default-ipc-mode": defaults.ipcMode ?? "",
      "default-runtime": defaults.runtime ?? "",
      "default-shm-size": String(defaults.shmSize),
      "insecure-registries": JSON.stringify(registry.insecure),
      "labels": JSON.stringify(labels),
      "live-restore": "true",
      "max-concurrent-downloads": String(registry.maxDownloads),
      "max-concurrent-uploads": String(registry.maxUploads),
      "max-download-attempts": String(registry.maxAttempts),
      "registry-mirrors": JSON.stringify(registry.mirrors),
      "shim-pool": String(shimPool),
    };
  }
}
