/** Carries out the operations of a Dockerfile: files below → files with one layer more. */
import { EngineError } from "../../base/errors.ts";
import {
  copyFiles,
  type CopySource,
  digestFiles,
  type FileSelection,
  makeDirectory,
  type SourceTree,
} from "../../fs/build_copy.ts";
import { STUBS } from "../../fs/diff.ts";
import type { ViewSpec } from "../../fs/tree_job.ts";
import type { CopyItem, CopyOp, RunOp, WorkdirOp } from "../../image/build/types.ts";
import { formatPlatform, type Platform } from "../../image/platform.ts";
import type { StoreInternals } from "../../image/store_internals.ts";
import type { HostConfig } from "../types.ts";
import { type AddedSource, addedSource, type AddTools } from "./add_sources.ts";
import { requireRunnable } from "./base_image.ts";
import type { BuildContext, LayerStack } from "./build_context.ts";
import { type CachedStep, keyOf } from "./cache.ts";
import type { CacheMounts } from "./cache_mounts.ts";
import { commitLayer, type CommittedLayer } from "./commit_layer.ts";
import { openLayerTree } from "./layer_tree.ts";
import type { StepProgress } from "./progress.ts";
import { runInContainer } from "./run_container.ts";
import { prepareMounts } from "./run_mounts.ts";
import type { Semaphore } from "./semaphore.ts";
import { type FileSource, type FindNamed, type FindSource, hostMounts, withSourceTree } from "./sources.ts";
import type { BuildClient, BuildRequest } from "./types.ts";

/** What steps of all builds share. */
export interface StepTools extends AddTools {
  readonly ctx: BuildContext;
  readonly store: StoreInternals;
  readonly caches: CacheMounts;
  /** How many commands run at once. */
  readonly runs: Semaphore;
  readonly digests: SelectionDigests;
}

/** What the steps of one stage share. */
export interface StepScope {
  readonly request: BuildRequest;
  readonly platform: Platform;
  /** Seconds since 1970: nothing that is made is younger. */
  readonly epoch: number | undefined;
  readonly client: BuildClient;
  readonly find: FindSource;
  readonly findNamed: FindNamed;
  readonly signal: AbortSignal;
}

/** An operation that is ready to be looked up, and carried out if it must be. */
export interface PreparedStep {
  readonly key: string;
  readonly type: CachedStep["type"];
  /** Nothing below matters (`COPY --link`): the layer is made, and looked up, on nothing, and put on top of what there is. */
  readonly isLinked?: boolean;
  make(progress: StepProgress): Promise<CommittedLayer>;
}

/** Raised when keys come to mean something else. */
const KEY_VERSION = 2;

/** Digests of files in stacks of layers, and in contexts whose content is known: a build that has nothing to do does not read them again. */
export class SelectionDigests {
  readonly #known = new Map<string, string>();
  static readonly #MOST = 2000;

  async of(
    ctx: BuildContext,
    source: FileSource,
    selection: Omit<FileSelection, "tree">,
    signal: AbortSignal,
  ): Promise<string> {
    const digest = (tree: SourceTree) => digestFiles(ctx.trees, { ...selection, tree }, signal);
    const files = source.kind === "stack" ? source.stack : source.content;
    if (files === undefined) return await withSourceTree(ctx, source, digest);
    const key = keyOf([files, selection]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = await withSourceTree(ctx, source, digest);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= SelectionDigests.#MOST && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, found);
    return found;
  }
}

/** What the keys of all operations begin with. */
const common = (op: string, below: LayerStack, { platform, epoch }: StepScope) => [
  KEY_VERSION,
  op,
  below.chainIds.at(-1) ?? "",
  below.hostDirs,
  formatPlatform(platform),
  epoch ?? null,
];

export async function prepareRun(
  tools: StepTools,
  scope: StepScope,
  below: LayerStack,
  op: RunOp,
): Promise<PreparedStep> {
  if (op.security === "insecure") {
    throw new EngineError("forbidden", "security.insecure is not allowed", {
      hint: "berth never gives a build's commands rights over the machine; leave --security=insecure out.",
    });
  }
  const mounts = [];
  for (const mount of op.mounts) {
    if (mount.type !== "bind") mounts.push(mount);
    else mounts.push([mount.target, mount.readWrite, await bindDigest(tools, scope, mount)]);
  }
  const { args, env, user, cwd, network, scripts } = op;
  const { extraHosts, networkMode } = scope.request;
  const key = keyOf([
    ...common("run", below, scope),
    args,
    env,
    user,
    cwd,
    mounts,
    network,
    networkMode,
    extraHosts,
    scripts,
  ]);
  return { key, type: "regular", make: (progress) => run(tools, scope, below, op, progress) };
}

/**
 * The content of a bind mount; without its source there is nothing to bind. This machine's own directories are not read for it: they go by
 * their names, as below a command.
 */
async function bindDigest(
  { ctx, digests }: StepTools,
  { findNamed, signal }: StepScope,
  { from, source }: { readonly from: string | undefined; readonly source: string },
): Promise<string> {
  const tree = await findNamed(from);
  if (tree.kind === "stack" && tree.stack.hostDirs.length > 0) return keyOf([tree.stack, source]);
  const selection = { patterns: [source], wildcards: false, parents: false, exclude: [] };
  return await digests.of(ctx, tree, selection, signal);
}

async function run(
  tools: StepTools,
  scope: StepScope,
  below: LayerStack,
  op: RunOp,
  progress: StepProgress,
): Promise<CommittedLayer> {
  const { ctx, caches, runs, store } = tools;
  const { request, platform, client, findNamed, signal } = scope;
  requireRunnable(ctx, platform);
  await using prepared = await prepareMounts({ ctx, caches, client, find: findNamed, signal }, op);
  const names = new Set(op.env.map((entry) => entry.split("=", 1)[0]));
  const proxies = op.proxyEnv.filter((entry) => !names.has(entry.split("=", 1)[0]));
  const layer = await runs.run(signal, () =>
    runInContainer(
      ctx,
      {
        below,
        architecture: platform.architecture,
        args: op.args,
        range: op.range,
        env: [...proxies, ...op.env, ...prepared.env],
        user: op.user,
        cwd: op.cwd,
        hostConfig: { ...hostConfigOf(request, op), Mounts: prepared.mounts },
        onContainer: (id) => progress.container(id),
        onOutput: (stream, data) => progress.log(stream, data),
      },
      signal,
      (id) =>
        commitLayer(
          ctx,
          store,
          { id, below, stubs: [...STUBS, ...prepared.stubs], latest: scope.epoch },
          signal,
        ),
    ));
  return layer;
}

function hostConfigOf(request: BuildRequest, op: RunOp): HostConfig {
  return {
    ...request.resources,
    NetworkMode: op.network === "default" ? request.networkMode || "default" : op.network,
    ExtraHosts: request.extraHosts,
    Ulimits: request.ulimits,
    ...(request.shmSize === undefined ? {} : { ShmSize: request.shmSize }),
  };
}

/** Where `COPY --link` copies to. */
const NOTHING: LayerStack = { chainIds: [], hostDirs: [] };

/**
 * Whether `--link` means what it says. As in BuildKit it does not together with `--chmod`; and names of users are looked up in the files
 * below, which are then not nothing.
 */
function isLinked({ link, chmod, chown }: CopyOp): boolean {
  return link && chmod === undefined &&
    (chown === undefined || /^(?:\d+|root)(?::(?:\d+|root))?$/.test(chown));
}

export async function prepareCopy(
  tools: StepTools,
  scope: StepScope,
  given: LayerStack,
  op: CopyOp,
): Promise<PreparedStep> {
  const linked = isLinked(op);
  const below = linked ? NOTHING : given;
  const source = await scope.find(op.from);
  const parts: CopyPart[] = [];
  for (const part of copyParts(op)) {
    const remote = part.kind === "url" || part.kind === "git";
    parts.push(remote ? { kind: "added", ...await addedSource(tools, scope, op, part) } : part);
  }
  const contents: unknown[] = [];
  for (const part of parts) {
    if (part.kind === "inline") contents.push([part.name, part.content]);
    else if (part.kind === "added") contents.push(part.identity);
    else {
      const { kind: _kind, unpack, ...selection } = part;
      contents.push([await tools.digests.of(tools.ctx, source, selection, scope.signal), unpack]);
    }
  }
  const { dest, parents } = op;
  // the only name that is known without any files
  const chown = linked ? op.chown?.replaceAll("root", "0") : op.chown;
  const { chmod } = op;
  const key = keyOf([
    ...common("copy", below, scope),
    contents,
    // whether one file or many: the destination is a directory then
    parts.map((part) =>
      part.kind === "files" ? part.patterns.map(baseOf) : part.kind === "inline" ? part.name : null
    ),
    dest,
    chown ?? null,
    chmod ?? null,
    parents,
  ]);
  const make = async () => {
    using cleanup = new DisposableStack();
    const sources: (CopySource | LocalFiles)[] = [];
    for (const part of parts) sources.push(part.kind === "added" ? await part.source(cleanup) : part);
    return await withSourceTree(tools.ctx, source, (tree) =>
      intoLayer(tools, scope, below, (view) => {
        const options = { chown, chmod, epoch: scope.epoch };
        const whole = sources.map((part): CopySource => part.kind === "files" ? { tree, ...part } : part);
        return copyFiles(tools.ctx.trees, view, dest, whole, options, scope.signal);
      }));
  };
  return { key, type: "regular", isLinked: linked, make };
}

/** The name that a source may have in the destination. */
const baseOf = (pattern: string): string => pattern.slice(pattern.replace(/\/+$/, "").lastIndexOf("/") + 1);

/** Files of what the instruction names as its source. */
type LocalFiles = Omit<Extract<CopySource, { kind: "files" }>, "tree">;

type CopyPart =
  | Extract<CopySource, { kind: "inline" }>
  | LocalFiles
  | ({ readonly kind: "added" } & AddedSource);

/** What is to be copied, in the order of the instruction; paths that follow each other together. */
function copyParts(
  { items, add, unpack, parents, exclude }: CopyOp,
): (LocalFiles | Exclude<CopyItem, { kind: "path" }>)[] {
  const parts: (LocalFiles | Exclude<CopyItem, { kind: "path" }>)[] = [];
  let patterns: string[] = [];
  const flush = () => {
    if (patterns.length === 0) return;
    const how = add && unpack !== false ? "auto" : "never";
    parts.push({ kind: "files", patterns, wildcards: true, parents, exclude, unpack: how });
    patterns = [];
  };
  for (const item of items) {
    if (item.kind === "path") patterns.push(item.pattern);
    else {
      flush();
      parts.push(item);
    }
  }
  flush();
  return parts;
}

export function prepareWorkdir(
  tools: StepTools,
  scope: StepScope,
  below: LayerStack,
  { path, user }: WorkdirOp,
): PreparedStep {
  const chown = user === "" ? undefined : user;
  return {
    key: keyOf([...common("workdir", below, scope), path, user]),
    type: "regular",
    make: () =>
      intoLayer(tools, scope, below, (view) => {
        const options = { chown, chmod: undefined, epoch: scope.epoch };
        return makeDirectory(tools.ctx.trees, view, path, options, scope.signal);
      }),
  };
}

/** Lets `work` write to the files below, and makes a layer of what it has written. */
async function intoLayer(
  { ctx, store }: StepTools,
  { epoch, signal }: StepScope,
  below: LayerStack,
  work: (view: ViewSpec) => Promise<unknown>,
): Promise<CommittedLayer> {
  const tree = await openLayerTree(ctx, ctx.images.refs(below.chainIds));
  try {
    const mounts = hostMounts(ctx, tree.id, tree.dir, below);
    await work({ kind: "rootfs", at: tree.dir, rootfs: tree.rootfs, mounts, writable: true });
    await ctx.driver.release(tree.id);
    return await commitLayer(ctx, store, { id: tree.id, below, stubs: [], latest: epoch }, signal);
  } finally {
    await tree.remove();
  }
}
