import { conflict } from "../base/errors.ts";
import { shortId } from "./digest.ts";
import type { ImageRow, ImageTables, RefRow } from "./image_tables.ts";
import { canonicalName, familiarString, parseReference } from "../base/reference.ts";

export interface RemoveOptions {
  readonly force: boolean;
  /** Keep parents that have no other use. */
  readonly noPrune: boolean;
  /** The containers made from an image. */
  readonly inUse: (
    imageId: string,
  ) => readonly { readonly id: string; readonly running: boolean; readonly name: string }[];
}

export interface RemovedItem {
  readonly Untagged?: string;
  readonly Deleted?: string;
}

/**
 * What `rmi` does, step by step as Docker (moby, daemon/images/image_delete.go), on the tables only: the layers are
 * collected by the caller.
 */
export class ImageRemoval {
  readonly #tables: ImageTables;
  readonly #options: RemoveOptions;
  readonly items: RemovedItem[] = [];

  constructor(tables: ImageTables, options: RemoveOptions) {
    this.#tables = tables;
    this.#options = options;
  }

  /** @throws {EngineError} conflict */
  run(image: ImageRow, given: string): void {
    const { force } = this.#options;
    let refs = this.#tables.refs(image.id);
    if (isIdPrefix(image.id, given)) {
      if (isSingleReference(refs)) {
        this.#checkContainers(image, { running: true, stopped: !force, children: true });
        for (const { ref } of refs) this.#untag(ref);
      }
      this.#delete(image, { quiet: false, force });
      return;
    }
    if (!force && isSingleReference(refs)) {
      const [user] = this.#options.inUse(image.id);
      if (user) {
        throw conflict(
          `conflict: unable to remove repository reference ${
            JSON.stringify(given)
          } (must force) - container ` +
            `${shortId(user.id)} is using its referenced image ${shortId(image.id)}`,
        );
      }
    }
    const target = this.#refOf(refs, given);
    if (target !== undefined) {
      this.#untag(target.ref);
      refs = this.#tables.refs(image.id);
      refs = this.#dropLonelyDigests(target, refs);
    }
    // what containers run, or other images were committed from, has lost its name and stays
    if (refs.length === 0) this.#delete(image, { quiet: true, force });
  }

  /** The reference that the user named. */
  #refOf(refs: readonly RefRow[], given: string): RefRow | undefined {
    const reference = parseReference(given);
    const name = canonicalName(reference);
    const wanted = reference.digest !== undefined
      ? `${name}@${reference.digest}`
      : `${name}:${reference.tag ?? "latest"}`;
    return refs.find(({ ref }) => ref === wanted);
  }

  /** When the last tag of a repository goes, its digests go with it. */
  #dropLonelyDigests(removed: RefRow, refs: readonly RefRow[]): RefRow[] {
    const nameOf = ({ ref }: RefRow) => canonicalName(parseReference(ref));
    const name = nameOf(removed);
    const sameName = refs.filter((ref) => nameOf(ref) === name);
    if (removed.kind === "digest" || sameName.some(({ kind }) => kind === "tag")) return [...refs];
    for (const { ref } of sameName) this.#untag(ref);
    return refs.filter((ref) => nameOf(ref) !== name);
  }

  #untag(ref: string): void {
    this.#tables.deleteRef(ref);
    this.items.push({ Untagged: familiarString(parseReference(ref)) });
  }

  /** @param how.quiet leave an image that is wanted, instead of refusing. */
  #delete(image: ImageRow, how: { quiet: boolean; force: boolean }): void {
    const { noPrune, inUse } = this.#options;
    const { force, quiet } = how;
    const refs = this.#tables.refs(image.id);
    if (quiet) {
      const users = inUse(image.id);
      const wanted = this.#tables.childrenOf(image.id).length > 0 || users.some(({ running }) => running) ||
        (!force && (refs.length > 0 || users.length > 0));
      if (wanted) return;
    } else {
      this.#checkContainers(image, { running: true, stopped: !force, children: true });
      if (!force && refs.length > 0) {
        throw conflict(unable(image, "must be forced", "image is referenced in multiple repositories"));
      }
    }
    for (const { ref } of refs) this.#untag(ref);
    // containers that were forced to lose their image still have its layers below them
    if (inUse(image.id).length > 0) this.#tables.hideImage(image.id);
    else this.#tables.deleteImage(image.id);
    this.items.push({ Deleted: image.id });
    if (noPrune || image.parent === "") return;
    const parent = this.#tables.image(image.parent);
    if (parent && parent.hidden === 0) this.#delete(parent, { quiet: true, force: false });
  }

  #checkContainers(image: ImageRow, check: { running: boolean; stopped: boolean; children: boolean }): void {
    if (check.children && this.#tables.childrenOf(image.id).length > 0) {
      throw conflict(unable(image, "cannot be forced", "image has dependent child images"));
    }
    const users = this.#options.inUse(image.id);
    const running = users.find((user) => user.running);
    if (check.running && running) {
      const reason = `image is being used by running container ${shortId(running.id)}`;
      throw conflict(unable(image, "cannot be forced", reason));
    }
    const stopped = users.find((user) => !user.running);
    if (check.stopped && stopped) {
      const reason = `image is being used by stopped container ${shortId(stopped.id)}`;
      throw conflict(unable(image, "must be forced", reason));
    }
  }
}

function unable(image: ImageRow, force: string, reason: string): string {
  return `conflict: unable to delete ${shortId(image.id)} (${force}) - ${reason}`;
}

function isIdPrefix(id: string, given: string): boolean {
  return id.startsWith(given) || id.slice("sha256:".length).startsWith(given);
}

/** At most one tag, and all digests belong to its repository. */
function isSingleReference(refs: readonly RefRow[]): boolean {
  if (refs.length <= 1) return true;
  const names = new Set(refs.map(({ ref }) => canonicalName(parseReference(ref))));
  return refs.filter(({ kind }) => kind === "tag").length <= 1 && names.size === 1;
}
