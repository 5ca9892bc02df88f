/** A builder that does as a test says, for what happens between clients and the solver. */
import type { Builder, BuildEvent, BuildRequest, BuildResult } from "../../engine/build/types.ts";
import { EngineError } from "../../base/errors.ts";

export interface ScriptedBuilder extends Builder {
  readonly requests: BuildRequest[];
  /** Contexts that were made and not disposed of. */
  readonly contexts: Set<string>;
  /** Archives that were unpacked, in order. */
  readonly archives: Uint8Array<ArrayBuffer>[];
}

type Script = (
  request: BuildRequest,
  signal: AbortSignal,
  emit: (event: BuildEvent) => void,
) => Promise<Partial<BuildResult>>;

/** @param files of any context, by path. */
export function scriptedBuilder(
  script: Script,
  files: Readonly<Record<string, string>> = {},
): ScriptedBuilder {
  const requests: BuildRequest[] = [];
  const contexts = new Set<string>();
  const archives: Uint8Array<ArrayBuffer>[] = [];
  let made = 0;
  const present = new Map(Object.entries(files));
  return {
    requests,
    contexts,
    archives,
    async build(request, signal, emit) {
      requests.push(request);
      const result = await script(request, signal, emit);
      return {
        imageId: `sha256:${"f".repeat(64)}`,
        config: { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } },
        chainIds: [],
        files: undefined,
        release() {},
        ...result,
      };
    },
    check: () => Promise.resolve(),
    cacheRecords: () => [],
    prune: () => Promise.resolve({ ids: [], space: 0 }),
    newContextDirectory() {
      const path = `/contexts/${made++}`;
      contexts.add(path);
      return { path, dispose: () => void contexts.delete(path) };
    },
    newSocketPath: () => `/tmp/berth-agent-${crypto.randomUUID()}`,
    async fetchContext(directory, url) {
      await Deno.writeTextFile(`${directory}/Dockerfile`, `FROM ${url}\n`);
    },
    async unpackContext(_directory, archive) {
      const parts = await Array.fromAsync(archive);
      archives.push(await new Response(new Blob(parts.map((part) => Uint8Array.from(part)))).bytes());
    },
    openContext(_origin, listed) {
      const { path, dispose } = this.newContextDirectory();
      return {
        path,
        // as an engine that has never seen the directory
        wanted: [...listed.keys()],
        receive: async (archive, signal) => {
          await this.unpackContext(path, archive, signal);
          return "content";
        },
        [Symbol.dispose]: dispose,
      };
    },
    readContextFile: (_directory, path) => Promise.resolve(present.get(path)),
    removeContextFile(_directory, path) {
      present.delete(path);
      return Promise.resolve();
    },
  };
}

/** What a failing step throws. */
export const failure = (message: string): EngineError => new EngineError("invalid", message);
