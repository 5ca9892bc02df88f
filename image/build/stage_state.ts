import { invalid } from "../../base/errors.ts";
import type { ContainerDefaults } from "../types.ts";
import { LayeredMap } from "./layered_map.ts";
import type { SourceRange, StageState } from "./types.ts";

/** What a shell needs to find programs, when the base image says nothing (BuildKit, util/system). */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** All variables of a stage together, in characters: the kernel starts no program with more than 6 MiB. */
const MAX_ENVIRONMENT = 8 * 1024 * 1024;

interface Parts {
  /** The configuration without what the maps below hold. */
  readonly rest: ContainerDefaults;
  readonly author: string;
  /** ENV: what the image will have. */
  readonly imageEnv: LayeredMap<string>;
  /** ENV and ARG: what commands and variables see. */
  readonly scope: LayeredMap<string>;
  /** Of `scope`, in characters. */
  readonly scopeSize: number;
  /** Build arguments declared so far, with values where they have one. */
  readonly declared: LayeredMap<string | undefined>;
  readonly labels: LayeredMap<string>;
  readonly ports: LayeredMap<Record<string, never>>;
  readonly volumes: LayeredMap<Record<string, never>>;
  /** Whether this stage, not its base, has an instruction, and where the last one stands. */
  readonly seen: Readonly<Partial<Record<"CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "WORKDIR", SourceRange>>>;
}

/** State of a stage. Never changes: `with…` make the next one. */
export class WorkingState implements StageState {
  readonly parts: Parts;
  #config: ContainerDefaults | undefined;
  #env: readonly string[] | undefined;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /** A stage that begins with an image, or with nothing. */
  static fromImage(config: ContainerDefaults, author: string): WorkingState {
    const { Env, Labels, ExposedPorts, Volumes, OnBuild: _, ...rest } = config;
    let imageEnv = LayeredMap.of((Env ?? []).map(splitPair));
    if (imageEnv.get("PATH") === undefined) imageEnv = imageEnv.with("PATH", DEFAULT_PATH);
    return new WorkingState({
      rest,
      author,
      imageEnv,
      scope: imageEnv,
      scopeSize: Array.from(imageEnv.all(), ([name, value]) => sizeOf(name, value)).reduce(
        (a, b) => a + b,
        0,
      ),
      declared: LayeredMap.of<string | undefined>([]),
      labels: LayeredMap.of(Object.entries(Labels ?? {})),
      ports: LayeredMap.of(Object.entries(ExposedPorts ?? {})),
      volumes: LayeredMap.of(Object.entries(Volumes ?? {})),
      seen: {},
    });
  }

  /** A stage that begins with another one: arguments stay in scope, triggers do not. */
  static fromStage(base: WorkingState): WorkingState {
    const { OnBuild: _, ...rest } = base.parts.rest;
    const { WORKDIR } = base.parts.seen;
    return new WorkingState({ ...base.parts, rest, seen: WORKDIR ? { WORKDIR } : {} });
  }

  with(changes: Partial<Parts>): WorkingState {
    return new WorkingState({ ...this.parts, ...changes });
  }

  withConfig(changes: Partial<ContainerDefaults>): WorkingState {
    return this.with({ rest: { ...this.parts.rest, ...changes } });
  }

  /**
   * A variable that commands see.
   *
   * @throws {EngineError} invalid: they are too many to start a program with.
   */
  withVariable(name: string, value: string): WorkingState {
    const { scope, scopeSize } = this.parts;
    const before = scope.get(name);
    const size = scopeSize + sizeOf(name, value) - (before === undefined ? 0 : sizeOf(name, before));
    if (size > MAX_ENVIRONMENT) {
      throw invalid(`the stage's variables are larger than ${MAX_ENVIRONMENT} characters`);
    }
    return this.with({ scope: scope.with(name, value), scopeSize: size });
  }

  get config(): ContainerDefaults {
    return this.#config ??= {
      ...this.parts.rest,
      Env: pairs(this.parts.imageEnv),
      ...unlessEmpty("Labels", this.parts.labels),
      ...unlessEmpty("ExposedPorts", this.parts.ports),
      ...unlessEmpty("Volumes", this.parts.volumes),
    };
  }

  get author(): string {
    return this.parts.author;
  }

  get args(): ReadonlyMap<string, string> {
    const args = new Map<string, string>();
    for (const [name, value] of this.parts.declared.all()) {
      const current = this.parts.scope.get(name) ?? value;
      if (current !== undefined) args.set(name, current);
    }
    return args;
  }

  get env(): readonly string[] {
    return this.#env ??= pairs(this.parts.scope);
  }

  get workingDir(): string {
    return this.parts.rest.WorkingDir || "/";
  }
}

export function splitPair(text: string): [string, string] {
  const equals = text.indexOf("=");
  return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
}

/** "NAME=value" and what ends it. */
const sizeOf = (name: string, value: string): number => name.length + value.length + 2;

const pairs = (map: LayeredMap<string>): string[] =>
  Array.from(map.all(), ([name, value]) => `${name}=${value}`);

/** The field with its names in order: the same content is the same text, whatever the order of the instructions. None when it is empty. */
function unlessEmpty<V>(field: string, map: LayeredMap<V>): Record<string, Record<string, V>> {
  const entries = [...map.all()].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  return entries.length === 0 ? {} : { [field]: Object.fromEntries(entries) };
}
