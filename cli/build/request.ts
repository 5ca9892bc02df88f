/** From flags to what an engine is asked for. */
import type { SessionRequest, SessionSource } from "../../base/build_session.ts";
import { parseReference } from "../../base/reference.ts";
import { CliError } from "../errors.ts";
import { pairs } from "../flags/pairs.ts";
import { csvFields } from "../flags/csv.ts";
import { type ContextSource, isRemote, namedDirectory } from "./context.ts";
import type { BuildFlags } from "./flags.ts";
import { IMAGE_OUTPUT, type Output, parseOutput } from "./output.ts";

/** All of a request that does not depend on where its files come from. */
export type Settings = Omit<
  SessionRequest,
  "dockerfile" | "dockerfilePath" | "context" | "namedContexts" | "output" | "check"
>;

const isInline = (cacheTo: string): boolean =>
  cacheTo === "inline" || pairs(csvFields(cacheTo))["type"] === "inline";

/** @throws {CliError} for what berth's builds do not have. */
export function refuseMissing(flags: BuildFlags): void {
  const off = (value: string) => value === "" || /^(?:0|f|false|disabled=true)$/i.test(value);
  if (!off(flags.provenance) || !off(flags.sbom) || flags.attest.some((one) => !/disabled=true/.test(one))) {
    throw new CliError(
      "berth makes no attestations: leave --attest, --sbom and --provenance out, or say --provenance=false",
    );
  }
  if (flags.annotation.length > 0) throw new CliError("berth writes no annotations: use --label");
  if (flags["cache-to"].some((one) => !isInline(one))) {
    throw new CliError(
      "berth exports its build cache with the image alone (--cache-to type=inline, and --cache-from takes that image); " +
        "its own cache is kept between builds",
    );
  }
  if (flags["security-opt"].length > 0) throw new CliError("security options are not supported on linux");
  if (flags.platform.length > 1) {
    throw new CliError("Multi-platform build is not supported: build for one platform at a time");
  }
  if (!["build", "check"].includes(flags.call)) {
    throw new CliError(`unknown call method ${JSON.stringify(flags.call)}: there are "build" and "check"`);
  }
}

/** @throws {CliError} */
export function settingsOf(flags: BuildFlags): Settings {
  return {
    target: flags.target || undefined,
    buildArgs: {
      ...buildArgs(flags["build-arg"]),
      ...(flags["cache-to"].some(isInline) ? { BUILDKIT_INLINE_CACHE: "1" } : {}),
    },
    labels: pairs(flags.label),
    tags: flags.tag.map(checkedTag),
    platform: flags.platform[0] || Deno.env.get("DOCKER_DEFAULT_PLATFORM") || undefined,
    noCache: flags["no-cache"],
    noCacheStages: flags["no-cache-filter"],
    cacheFrom: flags["cache-from"].flatMap(cacheImage),
    pull: flags.pull,
    squash: flags.squash,
    networkMode: flags.network,
    extraHosts: flags["add-host"],
    shmSize: flags["shm-size"] || undefined,
    ulimits: flags.ulimit,
    resources: Object.fromEntries(
      Object.entries({
        CpuPeriod: flags["cpu-period"],
        CpuQuota: flags["cpu-quota"],
        CpuShares: flags["cpu-shares"],
        CpusetCpus: flags["cpuset-cpus"],
        CpusetMems: flags["cpuset-mems"],
        Memory: flags.memory,
        MemorySwap: flags["memory-swap"],
        CgroupParent: flags["cgroup-parent"],
      }).filter(([, value]) => value !== 0 && value !== ""),
    ),
  };
}

/** `--build-arg NAME` takes the value of our own environment, and is nothing when there is none. */
function buildArgs(given: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  const epoch = Deno.env.get("SOURCE_DATE_EPOCH");
  if (epoch) values["SOURCE_DATE_EPOCH"] = epoch;
  for (const one of given) {
    const equals = one.indexOf("=");
    if (equals === 0 || one === "") throw new CliError(`invalid build argument ${JSON.stringify(one)}`);
    const name = equals < 0 ? one : one.slice(0, equals);
    const value = equals < 0 ? Deno.env.get(name) : one.slice(equals + 1);
    if (value !== undefined) values[name] = value;
  }
  return values;
}

function checkedTag(tag: string): string {
  try {
    parseReference(tag);
  } catch (error) {
    throw new CliError(
      `invalid tag ${JSON.stringify(tag)}: ${error instanceof Error ? error.message : error}`,
    );
  }
  return tag;
}

/** `user/app:cache`, or `type=registry,ref=…`. What is cached elsewhere is no help here, and no harm. */
function cacheImage(text: string): string[] {
  if (!text.includes("=")) return [text];
  const values = pairs(csvFields(text));
  return values["type"] === "registry" && values["ref"] ? [values["ref"]] : [];
}

/** Of `--output`, `--load` and `--push`. @throws {CliError} */
export function outputOf(flags: BuildFlags): Output {
  const outputs = flags.output.map((one) => parseOutput(one, Deno.stdout.isTerminal()));
  if (outputs.length > 1) throw new CliError("multiple outputs are not supported: build again, it is cached");
  const [output = IMAGE_OUTPUT] = outputs;
  if ((flags.push || output.push) && output.kind !== "image") {
    throw new CliError("push and an output of files cannot be used together");
  }
  return { ...output, push: flags.push || output.push };
}

/** A named context as it was given: files of ours, or something that the engine gets itself. */
export type NamedSource =
  | { readonly kind: "local"; readonly source: ContextSource }
  | Exclude<SessionSource, { kind: "upload" }>;

/** Of `--build-context name=…`. @throws {CliError} */
export function namedContexts(given: readonly string[]): Readonly<Record<string, NamedSource>> {
  const contexts: Record<string, NamedSource> = {};
  for (const one of given) {
    const equals = one.indexOf("=");
    if (equals <= 0) throw new CliError(`invalid context value: ${one}, expected key=value`);
    const name = one.slice(0, equals), value = one.slice(equals + 1);
    const image = /^docker-image:\/\/(.+)$/.exec(value)?.[1];
    if (image !== undefined) contexts[name] = { kind: "image", reference: image };
    else if (/^(?:oci-layout|target):/.test(value)) {
      throw new CliError(
        `invalid context ${name}: ${value.replace(/:.*/, "")}: is not supported, load it as an image first`,
      );
    } else if (isRemote(value)) contexts[name] = { kind: "remote", url: value };
    else contexts[name] = { kind: "local", source: namedDirectory(value) };
  }
  return contexts;
}
