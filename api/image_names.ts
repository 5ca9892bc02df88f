/** Names of images that come in two parameters. */
import { invalid } from "../base/errors.ts";
import { canonicalName, canonicalString, isTag, parseReference } from "../base/reference.ts";

/**
 * `repo` and `tag`: a tag of its own wins over one in the name (moby: RepoTagReference).
 *
 * @throws {EngineError} invalid
 */
export function withTag(repo: string, tag: string | undefined): string {
  const name = parseReference(repo);
  if (name.digest !== undefined) throw invalid("cannot import digest reference");
  if (tag === undefined) return repo;
  if (!isTag(tag)) throw invalid("invalid tag format");
  return `${canonicalName(name)}:${tag}`;
}

/**
 * `fromImage` and `tag` of a pull: the tag, which may be a digest, wins over one in the name. "pull -a" leaves a colon at the name's end.
 *
 * @throws {EngineError} invalid
 */
export function pullReference(fromImage: string, tag: string | undefined): string {
  const named = fromImage.replace(/:$/, "");
  if (tag === undefined) return named;
  const { domain, path, digest } = parseReference(named);
  if (tag.includes(":")) return canonicalString({ domain, path, tag: undefined, digest: tag });
  if (!isTag(tag)) throw invalid("invalid tag format");
  return canonicalString({ domain, path, tag, digest });
}
