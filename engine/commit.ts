import { conflict } from "../base/errors.ts";
import type { TreeThreads } from "../fs/tree_threads.ts";
import type { ImageStore } from "../image/image_store.ts";
import { familiarString, parseReference, withDefaultTag } from "../base/reference.ts";
import type { ContainerDefaults } from "../image/types.ts";
import type { Container } from "./container.ts";
import { mergeImageConfig } from "./container_config.ts";
import { diffSource } from "./container_tree.ts";
import { containerEvent, type EngineContext } from "./context.ts";
import type { CommitRequest } from "./file_types.ts";
import type { ContainerConfig } from "./types.ts";
import { whilePaused } from "./pause.ts";
import { imageEvent } from "./image_events.ts";

/** What an image takes over of a container's configuration. */
const KEPT = [
  "User",
  "ExposedPorts",
  "Env",
  "Cmd",
  "Healthcheck",
  "Volumes",
  "WorkingDir",
  "Entrypoint",
  "OnBuild",
  "Labels",
  "StopSignal",
  "Shell",
] as const satisfies readonly (keyof ContainerConfig)[];

/**
 * Makes an image of a container, whose processes are paused while its files are read. Where there is no cgroup they go on: what they
 * write meanwhile may or may not be in the image.
 *
 * @throws {EngineError} invalid for a bad name or change, conflict when the container is being removed.
 */
export async function commitContainer(
  ctx: EngineContext,
  images: ImageStore,
  threads: TreeThreads,
  container: Container,
  request: CommitRequest,
): Promise<{ Id: string }> {
  const { record } = container;
  if (record.state.status === "removing") {
    throw conflict(`You cannot commit container ${record.name} which is being removed`);
  }
  if (record.state.status === "dead") {
    throw conflict(`You cannot commit container ${record.name} which is Dead`);
  }
  const reference = request.reference === undefined
    ? undefined
    : familiarString(withDefaultTag(parseReference(request.reference)));
  const base = images.getForContainer(record.imageId);
  const file = images.content.temporary();
  try {
    const read = () => threads.run({ op: "layer", source: diffSource(ctx, container), file });
    const layer = await (request.pause ? whilePaused(container, read) : read());
    const { id } = await images.commit({
      base,
      layer,
      file,
      container: record.id,
      defaults: defaultsOf(record.config, request.config),
      changes: request.changes,
      author: request.author ?? "",
      comment: request.comment ?? "",
      createdBy: (record.config.Cmd ?? []).join(" "),
      reference,
    });
    imageEvent(ctx, "create", id);
    if (reference !== undefined) imageEvent(ctx, "tag", id, reference);
    containerEvent(ctx, record, "commit", {
      comment: request.comment ?? "",
      imageID: id,
      imageRef: reference ?? "",
    });
    return { Id: id };
  } finally {
    await Deno.remove(file).catch(() => {});
  }
}

/** The container's configuration under the request's, without what only a container has. */
function defaultsOf(own: ContainerConfig, over: ContainerConfig | undefined): ContainerDefaults {
  const merged = over === undefined ? own : mergeImageConfig(over, own as ContainerDefaults, "", false);
  const kept = KEPT.flatMap((key) => {
    const value = merged[key];
    return value === undefined || value === null || value === "" ? [] : [[key, value] as const];
  });
  return Object.fromEntries(kept) as ContainerDefaults;
}
