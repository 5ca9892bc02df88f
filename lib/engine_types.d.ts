/** Types of berth's library, for those who use the built package. `lib/engine.ts` has the words. */
export interface EngineStart {
  /** The program; default: `BERTH_EXECUTABLE`, then the one of this package, then `berth` on PATH. */
  readonly executable?: string;
  /** Below it the engine's directory is made; default: the system's temporary directory. */
  readonly directory?: string;
  /** More flags for `berth serve`. */
  readonly args?: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long the engine may take until it answers, in milliseconds; default 60,000. */
  readonly timeout?: number;
}

/** A private engine in a temporary directory, which ends when the process that has started it does. */
export declare class Engine {
  private constructor();
  /** Starts an engine and waits until it answers. */
  static start(options?: EngineStart): Promise<Engine>;
  /** Everything the engine has. */
  readonly directory: string;
  readonly socketPath: string;
  /** For DOCKER_HOST. */
  get host(): string;
  /** What docker's command line and testcontainers need to find this engine. */
  get env(): { DOCKER_HOST: string; TESTCONTAINERS_RYUK_DISABLED: string };
  get pid(): number;
  /** What the engine has printed so far. */
  log(): string;
  /** Removes everything the engine has, and ends it. */
  [Symbol.asyncDispose](): Promise<void>;
}
