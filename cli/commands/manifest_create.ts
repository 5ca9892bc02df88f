import { messageOf } from "../../base/errors.ts";
import { canonicalString, type Reference } from "../../base/reference.ts";
import { defineCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { bool } from "../flags/spec.ts";
import { manifestReference } from "../manifest/image_manifest.ts";
import { ManifestRegistry } from "../manifest/registry.ts";
import { findList, findManifest, saveManifest } from "../manifest/store.ts";
import { printLine } from "../stdio.ts";

export const command = defineCommand({
  flags: {
    amend: bool("Amend an existing manifest list", { short: "a" }),
    insecure: bool("Allow communication with an insecure registry"),
  },
  usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
  count: { min: 2 },
  async run({ flags, args: [name = "", ...images] }) {
    const list = listReference(name);
    if (findList(list) !== undefined && !flags.amend) {
      throw new CliError("refusing to amend an existing manifest list with no --amend flag");
    }
    for (const image of images) {
      const ref = manifestReference(image);
      using registry = new ManifestRegistry(ref.domain, flags.insecure);
      saveManifest(list, ref, findManifest(list, ref) ?? await registry.image(ref));
    }
    printLine(`Created manifest list ${canonicalString(list)}`);
  },
});

function listReference(name: string): Reference {
  try {
    return manifestReference(name);
  } catch (error) {
    throw new CliError(`error parsing name for manifest list ${name}: ${messageOf(error)}`);
  }
}
