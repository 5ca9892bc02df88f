/** What `POST /build` and its relatives are asked for (moby: api/server/router/build/build_routes.go). */
import * as z from "zod/mini";
import { invalid } from "../../base/errors.ts";
import { familiarString, parseReference, withDefaultTag } from "../../base/reference.ts";
import { type AppContext, atLeast, readQuery } from "../context.ts";
import { int64, list, map, opt, struct, text, textMap, texts } from "./go.ts";
import { filters, flag, flagOr, word } from "./query.ts";
import { onWire } from "./wire.ts";

/** Docker's Int64ValueOrZero: what is no number counts as nothing. */
const number = onWire(
  z.pipe(
    z.optional(z.string()),
    z.transform((value: string | undefined) =>
      value !== undefined && /^[+-]?\d{1,18}$/.test(value) ? Number(value) : 0
    ),
  ),
  { type: "integer", format: "int64", default: 0 },
);

export const buildQuery = z.object({
  dockerfile: word,
  remote: word,
  q: flag,
  nocache: flag,
  pull: flag,
  rm: flagOr(true),
  forcerm: flag,
  squash: flag,
  memory: number,
  memswap: number,
  cpushares: number,
  cpuperiod: number,
  cpuquota: number,
  cpusetcpus: word,
  cpusetmems: word,
  cgroupparent: word,
  networkmode: word,
  shmsize: word,
  isolation: word,
  platform: word,
  target: word,
  session: word,
  buildid: word,
  version: word,
  ulimits: word,
  buildargs: word,
  labels: word,
  cachefrom: word,
  outputs: word,
});

const ulimit = struct("container.Ulimit", { Name: opt(text), Soft: opt(int64), Hard: opt(int64) });
const output = struct("types.ImageBuildOutput", { Type: opt(text), Attrs: opt(textMap) });

/** The parameters of a build, checked. */
export interface BuildOptions {
  /** "1" is the classic builder's protocol, "2" BuildKit's. */
  readonly version: "1" | "2";
  readonly session: string | undefined;
  readonly buildId: string | undefined;
  /** Path in the context; undefined: "Dockerfile". */
  readonly dockerfile: string | undefined;
  /** Where the context is when it is not the body. */
  readonly remote: string | undefined;
  readonly quiet: boolean;
  readonly noCache: boolean;
  readonly pull: boolean;
  /** Intermediate containers are told to be removed. */
  readonly remove: boolean;
  readonly squash: boolean;
  readonly target: string | undefined;
  readonly platform: string | undefined;
  /** In familiar form, with a tag, each once. */
  readonly tags: readonly string[];
  readonly extraHosts: readonly string[];
  readonly networkMode: string;
  readonly shmSize: number | undefined;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly cacheFrom: readonly string[];
  readonly resources: Readonly<Record<string, number | string>>;
  readonly outputs: readonly {
    readonly type: string;
    readonly attributes: Readonly<Record<string, string>>;
  }[];
}

/**
 * The query of `POST /build`.
 *
 * @throws {EngineError} invalid, in Docker's words.
 */
export function buildOptions(c: AppContext): BuildOptions {
  const query = readQuery(c, buildQuery);
  const many = (name: string) => c.req.queries(name) ?? [];
  if (many("securityopt").length > 0) throw invalid("security options are not supported on linux");
  const { isolation } = query;
  if (isolation !== undefined && !/^(?:default|process|hyperv)$/i.test(isolation)) {
    throw invalid(`unsupported isolation: ${JSON.stringify(isolation)}`);
  }
  if (isolation !== undefined && !/^default$/i.test(isolation)) {
    throw invalid(`invalid isolation (${isolation}): only "default" is supported on linux`);
  }
  const version = query.version ?? "1";
  if (version !== "1" && version !== "2") throw invalid(`invalid version ${JSON.stringify(version)}`);
  const shmSize = query.shmsize === undefined ? undefined : shmSizeOf(query.shmsize);
  const ulimits =
    parsed(query.ulimits, list(ulimit, {}, "[]*units.Ulimit"), "error reading ulimit settings") ?? [];
  const buildArgs = parsed(query.buildargs, map(z.nullable(text), null), "error reading build args") ?? {};
  const outputs = atLeast(c, "1.40")
    ? parsed(query.outputs, list(output, {}, "[]types.ImageBuildOutput"), "invalid outputs specified") ?? []
    : [];
  return {
    version,
    session: query.session,
    buildId: query.buildid,
    dockerfile: query.dockerfile,
    remote: query.remote,
    quiet: query.q,
    noCache: query.nocache,
    pull: query.pull,
    remove: query.forcerm || query.rm,
    squash: query.squash,
    target: query.target,
    platform: atLeast(c, "1.32") ? query.platform : undefined,
    tags: buildTags(many("t")),
    // dockerode joins them by commas where docker's clients repeat the parameter
    extraHosts: many("extrahosts").flatMap((one) => one.split(",")).filter((one) => one !== ""),
    networkMode: query.networkmode ?? "default",
    shmSize: shmSize || undefined,
    ulimits: ulimits.map(({ Name = "", Soft = 0, Hard = 0 }) => ({ Name, Soft, Hard })),
    // a name without a value is one that the client does not have either
    buildArgs: Object.fromEntries(
      Object.entries(buildArgs).filter((entry): entry is [string, string] => entry[1] !== null),
    ),
    labels: parsed(query.labels, textMap, "error reading labels") ?? {},
    cacheFrom: parsed(query.cachefrom, texts, "error reading cache-from") ?? [],
    resources: given({
      Memory: query.memory,
      MemorySwap: query.memswap,
      CpuShares: query.cpushares,
      CpuPeriod: query.cpuperiod,
      CpuQuota: query.cpuquota,
      CpusetCpus: query.cpusetcpus,
      CpusetMems: query.cpusetmems,
      CgroupParent: query.cgroupparent,
    }),
    outputs: outputs.map(({ Type = "", Attrs = {} }) => ({ type: Type, attributes: Attrs })),
  };
}

/** SOURCE_DATE_EPOCH among the build arguments, in seconds since 1970; undefined when it is none or no number. */
export function sourceDateEpoch(buildArgs: Readonly<Record<string, string>>): number | undefined {
  const epoch = buildArgs["SOURCE_DATE_EPOCH"];
  return epoch !== undefined && /^\d{1,12}$/.test(epoch) ? Number(epoch) : undefined;
}

/** Names for the result: familiar, with a tag, each once. @throws {EngineError} invalid */
export function buildTags(names: readonly string[]): string[] {
  const tags = names.filter((name) => name !== "").map((name) => {
    const reference = parseReference(name);
    if (reference.digest !== undefined) throw invalid("build tag cannot contain a digest");
    return familiarString(withDefaultTag(reference));
  });
  return [...new Set(tags)];
}

function shmSizeOf(value: string): number {
  if (!/^[+-]?\d{1,18}$/.test(value)) {
    throw invalid(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
  return Number(value);
}

function given(
  values: Readonly<Record<string, number | string | undefined>>,
): Record<string, number | string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number | string] =>
      entry[1] !== undefined && entry[1] !== 0
    ),
  );
}

/** A parameter that is JSON. `what` goes before the decoder's complaint. */
function parsed<T extends z.core.$ZodType>(
  value: string | undefined,
  schema: T,
  what: string,
): z.output<T> | undefined {
  if (value === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch (error) {
    throw invalid(`${what}: ${error instanceof Error ? error.message : error}`);
  }
  if (json === null) return undefined;
  const result = z.safeParse(schema, json);
  if (result.success) return result.data;
  throw invalid(`${what}: json: cannot unmarshal into Go value of type ${result.error.issues[0]?.message}`);
}

/** Bytes of the build cache that may stay; 0 where nothing is said. */
const bytesOf = (name: string) =>
  onWire(
    z.pipe(
      z.optional(z.string()),
      z.transform((value: string | undefined) => {
        if (!value) return 0;
        if (/^[+-]?\d{1,18}$/.test(value)) return Number(value);
        const text = JSON.stringify(value);
        throw invalid(
          `${name} is in bytes and expects an integer, got ${value}: strconv.Atoi: parsing ${text}: invalid syntax`,
        );
      }),
    ),
    { type: "integer", format: "int64", default: 0 },
  );

export const buildCancelQuery = z.object({ id: word });
export const buildPruneQuery = z.object({
  "all": flag,
  filters,
  "keep-storage": bytesOf("keep-storage"),
  "reserved-space": bytesOf("reserved-space"),
  "max-used-space": bytesOf("max-used-space"),
  "min-free-space": bytesOf("min-free-space"),
});
