/** The options of BuildKit's frontend `dockerfile.v0`, as clients send them. */
import { EngineError, invalid } from "../../base/errors.ts";

/** Where files come from. */
export type ContextSource =
  /** A directory of the client's. */
  | { readonly kind: "local"; readonly directory: string }
  /** What the client has read from its standard input. */
  | { readonly kind: "upload"; readonly path: string }
  | { readonly kind: "remote"; readonly url: string }
  | { readonly kind: "image"; readonly reference: string };

export interface FrontendOptions {
  readonly filename: string;
  readonly context: ContextSource;
  /** Directory of the client's that has the Dockerfile; undefined: it is in the context. */
  readonly dockerfileDirectory: string | undefined;
  readonly namedContexts: Readonly<Record<string, ContextSource>>;
  readonly target: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly platform: string | undefined;
  readonly noCache: boolean;
  readonly noCacheStages: readonly string[];
  readonly cacheFrom: readonly string[];
  readonly pull: boolean;
  readonly networkMode: string;
  readonly extraHosts: readonly string[];
  readonly shmSize: number | undefined;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly cgroupParent: string | undefined;
  readonly sourceDateEpoch: number | undefined;
}

/** Where buildx lets the engine fetch what it has uploaded to its own session. */
const UPLOADS = "http://buildkit-session/";

/**
 * @param cacheImports references of images whose layers count as cached.
 * @throws {EngineError} invalid
 */
export function frontendOptions(
  options: Readonly<Record<string, string>>,
  cacheImports: readonly { readonly Type: string; readonly Attrs: Readonly<Record<string, string>> }[],
): FrontendOptions {
  const { requestid } = options;
  if (requestid !== undefined) {
    throw new EngineError("not-implemented", `unsupported request ${requestid}`);
  }
  // what clients ask for unasked, the provenance of an image beside it, is left out
  const attested = options["attest:sbom"] ?? options["attest:provenance"]?.match(/mode=max/)?.[0];
  if (attested !== undefined && !/disabled=true/.test(attested)) {
    throw new EngineError(
      "not-implemented",
      "berth makes no attestations: leave --attest, --sbom and --provenance out",
    );
  }
  const platform = options["platform"];
  if (platform?.includes(",")) {
    throw invalid(
      `multiple platforms (${platform}) cannot be built at once: build one at a time with --platform`,
    );
  }
  const buildArgs = prefixed(options, "build-arg:");
  const remote = options[options["contextkey"] ?? "context"] ?? options["context"];
  const context = remote === undefined || remote === ""
    ? { kind: "local", directory: options["contextkey"] ?? "context" } as const
    : remote.startsWith(UPLOADS)
    ? { kind: "upload", path: remote.slice(UPLOADS.length - 1) } as const
    : { kind: "remote", url: remote } as const;
  const { dockerfilekey } = options;
  const noCache = options["no-cache"];
  return {
    filename: options["filename"] ?? "Dockerfile",
    context,
    dockerfileDirectory: dockerfilekey ?? (context.kind === "local" ? "dockerfile" : undefined),
    namedContexts: Object.fromEntries(
      Object.entries(prefixed(options, "context:")).map(([name, value]) => [name, namedContext(name, value)]),
    ),
    target: options["target"] || undefined,
    buildArgs,
    labels: prefixed(options, "label:"),
    platform: platform || undefined,
    noCache: noCache === "",
    noCacheStages: noCache ? noCache.split(",") : [],
    cacheFrom: [
      ...cacheImports.flatMap(({ Type, Attrs }) => Type === "registry" && Attrs["ref"] ? [Attrs["ref"]] : []),
      ...(options["cache-from"] ? options["cache-from"].split(",") : []),
    ],
    pull: options["image-resolve-mode"] === "pull",
    networkMode: networkMode(options["force-network-mode"]),
    extraHosts: csv(options["add-hosts"]).map((field) => {
      const [host = "", address] = field.split(/=(.*)/s);
      if (address === undefined) throw invalid(`invalid key-value pair ${field}`);
      return `${host}:${address}`;
    }),
    shmSize: numberOf(options["shm-size"], "shm-size"),
    ulimits: csv(options["ulimit"]).map(ulimit),
    cgroupParent: options["cgroup-parent"] || undefined,
    sourceDateEpoch: numberOf(buildArgs["SOURCE_DATE_EPOCH"], "SOURCE_DATE_EPOCH"),
  };
}

function prefixed(options: Readonly<Record<string, string>>, prefix: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(options).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value] as const] : []
    ),
  );
}

function namedContext(name: string, value: string): ContextSource {
  const [scheme = "", rest] = value.split(/:(.*)/s);
  if (rest === undefined) throw invalid(`invalid context specifier ${value} for ${name}`);
  if (scheme === "local") return { kind: "local", directory: rest };
  if (scheme === "docker-image") return { kind: "image", reference: rest.replace(/^\/\//, "") };
  if (scheme === "git" || scheme === "http" || scheme === "https" || scheme.startsWith("git@")) {
    return { kind: "remote", url: value };
  }
  if (scheme === "oci-layout") {
    throw new EngineError(
      "not-implemented",
      `the context ${name} is an OCI layout, which berth's BuildKit API does not take. ` +
        "Load it first (berth load) and name the image:  --build-context NAME=docker-image://IMAGE",
    );
  }
  throw invalid(`unsupported context source ${scheme} for ${name}`);
}

function networkMode(mode: string | undefined): string {
  if (mode === undefined || mode === "" || mode === "sandbox") return "default";
  if (mode === "none" || mode === "host") return mode;
  throw invalid(`invalid netmode ${mode}`);
}

/** One line of comma-separated values, as Go's encoding/csv reads them. */
function csv(text: string | undefined): string[] {
  if (text === undefined || text === "") return [];
  return [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain = ""]) =>
    quoted?.replaceAll('""', '"') ?? plain
  );
}

function ulimit(text: string): { Name: string; Soft: number; Hard: number } {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) throw invalid(`invalid ulimit argument: ${text}`);
  const [, Name = "", soft, hard = soft] = match;
  return { Name, Soft: Number(soft), Hard: Number(hard) };
}

function numberOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalid(`invalid ${name}: ${text}`);
  return Number(text);
}
