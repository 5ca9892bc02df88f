import type { ApiClient } from "../api_client.ts";
import type { ImageSummary } from "../api_types.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { filter, filterQuery, type Filters } from "../flags/filter.ts";
import { bool, text } from "../flags/spec.ts";
import { LIST_FORMAT_HELP } from "../output/help_texts.ts";
import { IMAGE_HEADERS, IMAGE_TYPE, type ImageLine, imageRow } from "../output/images.ts";
import { formatList } from "../output/list_format.ts";
import { familiarName, splitReference } from "../output/names.ts";
import { rawImage } from "../output/raw_formats.ts";
import { print } from "../stdio.ts";

const NONE = "<none>";

export const command = defineCommand({
  flags: {
    "all": bool("Show all images (default hides intermediate images)", { short: "a" }),
    "digests": bool("Show digests"),
    "filter": filter("Filter output based on conditions provided", { short: "f" }),
    "format": text(LIST_FORMAT_HELP),
    "no-trunc": bool("Don't truncate output"),
    "quiet": bool("Only show image IDs", { short: "q" }),
    "tree": bool("List multi-platform images as a tree (EXPERIMENTAL)"),
  },
  usage: "[REPOSITORY[:TAG]]",
  formatKey: "imagesFormat",
  count: { min: 0, max: 1 },
  async run({ flags, args: [reference], client }) {
    const filters = reference === undefined
      ? flags.filter
      : { ...flags.filter, reference: { ...flags.filter.reference, [reference]: true as const } };
    if (flags.tree) return await printTree(client, flags, filters);
    const images = await client.json<ImageSummary[] | null>("GET", "/images/json", {
      query: { all: flags.all || undefined, filters: filterQuery(filters) },
    });
    const digests = flags.digests || flags.format.includes("{{.Digest}}");
    print(
      await formatList({
        items: (images ?? []).flatMap((image) => lines(image, digests)),
        row: (line) => imageRow(line, !flags["no-trunc"]),
        type: IMAGE_TYPE,
        headers: IMAGE_HEADERS,
        columns: flags.digests
          ? ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
          : ["Repository", "Tag", "ID", "CreatedSince", "Size"],
        format: flags.format === "raw" ? rawImage(flags.quiet, flags.digests) : flags.format,
        quiet: flags.quiet ? "ID" : undefined,
      }),
    );
  },
});

interface TreeFlags {
  readonly all: boolean;
  readonly quiet: boolean;
  readonly digests: boolean;
  readonly format: string;
  readonly "no-trunc": boolean;
}

async function printTree(client: ApiClient, flags: TreeFlags, filters: Filters): Promise<void> {
  const clashes: [boolean, string][] = [
    [flags.quiet, "quiet"],
    [flags["no-trunc"], "no-trunc"],
    [flags.digests, "show-digest"],
    [flags.format !== "", "format"],
  ];
  for (const [given, name] of clashes) {
    if (given) throw new CliError(`--${name} is not yet supported with --tree`);
  }
  const { imageTree } = await import("./images_tree.ts");
  const images = await client.json<ImageSummary[] | null>("GET", "/images/json", {
    query: { all: flags.all || undefined, filters: filterQuery(filters), manifests: true },
  });
  print(imageTree(images ?? [], flags.all, Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR")));
}

/** An image has a line for each of its tags, and one for each repository that knows it by digest only. */
function lines(image: ImageSummary, showDigests: boolean): ImageLine[] {
  const tags = byRepository((image.RepoTags ?? []).filter((tag) => tag !== `${NONE}:${NONE}`), "tag");
  const digests = byRepository(
    (image.RepoDigests ?? []).filter((name) => name !== `${NONE}@${NONE}`),
    "digest",
  );
  if (tags.size === 0 && digests.size === 0) return [{ image, repository: NONE, tag: NONE, digest: NONE }];
  const result: ImageLine[] = [];
  for (const [repository, names] of tags) {
    const known = showDigests ? digests.get(repository) ?? [NONE] : [NONE];
    for (const tag of names) for (const digest of known) result.push({ image, repository, tag, digest });
    digests.delete(repository);
  }
  for (const [repository, names] of digests) {
    for (const digest of showDigests ? names : [""]) result.push({ image, repository, tag: NONE, digest });
  }
  return result;
}

function byRepository(references: readonly string[], part: "tag" | "digest"): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const reference of references) {
    const split = splitReference(reference);
    if (split[part] === "") continue;
    const name = familiarName(split.repository);
    result.set(name, [...result.get(name) ?? [], split[part]]);
  }
  return result;
}
