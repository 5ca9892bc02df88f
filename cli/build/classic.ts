/** Builds by an engine that is not berth's: Docker's classic API, in its own words. */
import type { ApiClient } from "../api_client.ts";
import { CliError } from "../errors.ts";
import { jsonValues } from "../json_lines.ts";
import { showProgress } from "../output/progress.ts";
import { ConfigFile } from "../registry/config_file.ts";
import type { BuildSource } from "./context.ts";
import { packContext } from "./pack.ts";
import type { Ignored } from "./walk.ts";
import type { Settings } from "./request.ts";

export interface ClassicOptions {
  readonly quiet: boolean;
  readonly remove: boolean;
  readonly forceRemove: boolean;
}

/** @param write takes what the engine says. Answers the image's id. */
export async function buildClassic(
  client: ApiClient,
  source: BuildSource,
  settings: Settings,
  options: ClassicOptions,
  write: (text: string) => void,
  terminal: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { context, dockerfile, dockerfilePath } = source;
  // one that is not in the context travels with it under a name that nothing else has
  const extra = dockerfile !== undefined && dockerfilePath === undefined
    ? { name: `.dockerfile.${crypto.randomUUID().replaceAll("-", "").slice(0, 20)}`, text: dockerfile.text }
    : undefined;
  const stream = context.kind === "directory"
    ? packContext(context.path, keeping(context.ignored, dockerfilePath), extra === undefined ? [] : [extra])
    : context.kind === "archive"
    ? context.chunks
    : context.kind === "none"
    ? packContext(undefined, undefined, extra === undefined ? [] : [extra])
    : undefined;
  const json = (value: object) => Object.keys(value).length === 0 ? undefined : JSON.stringify(value);
  const { resources } = settings;
  const response = await client.request("POST", "/build", {
    query: {
      dockerfile: extra?.name ?? dockerfilePath,
      remote: context.kind === "remote" ? context.url : undefined,
      t: settings.tags.length === 0 ? undefined : settings.tags,
      buildargs: json(settings.buildArgs),
      labels: json(settings.labels),
      cachefrom: settings.cacheFrom.length === 0 ? undefined : JSON.stringify(settings.cacheFrom),
      target: settings.target,
      platform: settings.platform,
      nocache: settings.noCache || undefined,
      pull: settings.pull || undefined,
      q: options.quiet || undefined,
      rm: options.remove,
      forcerm: options.forceRemove || undefined,
      squash: settings.squash || undefined,
      networkmode: settings.networkMode,
      extrahosts: settings.extraHosts.length === 0 ? undefined : settings.extraHosts,
      shmsize: settings.shmSize,
      ulimits: settings.ulimits.length === 0 ? undefined : JSON.stringify(settings.ulimits),
      memory: resources["Memory"],
      memswap: resources["MemorySwap"],
      cpushares: resources["CpuShares"],
      cpuperiod: resources["CpuPeriod"],
      cpuquota: resources["CpuQuota"],
      cpusetcpus: resources["CpusetCpus"],
      cpusetmems: resources["CpusetMems"],
      cgroupparent: resources["CgroupParent"],
      version: "1",
    },
    headers: { "Content-Type": "application/x-tar", "X-Registry-Config": await registryConfig() },
    signal,
    ...(stream === undefined ? {} : { stream }),
  });
  let imageId: string | undefined;
  const seen = async function* (bytes: AsyncIterable<Uint8Array>) {
    for await (const value of jsonValues(bytes)) {
      const { aux, stream } = value as { aux?: { ID?: string }; stream?: string };
      if (aux?.ID !== undefined) imageId = aux.ID;
      else if (options.quiet && stream !== undefined) imageId = stream.trim();
      else yield new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    }
  };
  await showProgress(seen(response.body()), write, terminal);
  return imageId;
}

/** The engine has to find the Dockerfile and `.dockerignore`, be they ignored or not; it leaves them out itself. */
function keeping(ignored: Ignored, dockerfile: string | undefined): Ignored {
  const kept = new Set([".dockerignore", dockerfile]);
  return {
    // what is kept may be in a directory that is ignored
    hasExceptions: ignored.hasExceptions || dockerfile?.includes("/") === true,
    ignores: (path) => !kept.has(path) && ignored.ignores(path),
  };
}

/** Who the user is to all registries: the engine picks. */
async function registryConfig(): Promise<string> {
  const all = await ConfigFile.load().all().catch((error) => {
    throw new CliError(error instanceof Error ? error.message : String(error));
  });
  const configs = Object.fromEntries(
    Object.entries(all).map(([server, { username, password, identityToken }]) => [server, {
      username,
      password,
      serveraddress: server,
      ...(identityToken === "" ? {} : { identitytoken: identityToken }),
    }]),
  );
  return new TextEncoder().encode(JSON.stringify(configs)).toBase64({ alphabet: "base64url" });
}
