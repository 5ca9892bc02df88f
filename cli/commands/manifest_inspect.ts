import { defineCommand } from "../command.ts";
import { bool } from "../flags/spec.ts";
import {
  type ImageManifest,
  jsonOf,
  manifestList,
  manifestReference,
  verboseForm,
} from "../manifest/image_manifest.ts";
import { ManifestRegistry } from "../manifest/registry.ts";
import { findList, storedManifest } from "../manifest/store.ts";
import { printLine } from "../stdio.ts";
import { goJson } from "../template/values.ts";

export const command = defineCommand({
  flags: {
    insecure: bool("Allow communication with an insecure registry"),
    verbose: bool("Output additional info including layers and platform", { short: "v" }),
  },
  usage: "[MANIFEST_LIST] MANIFEST",
  count: { min: 1, max: 2 },
  async run({ flags, args }) {
    const name = manifestReference(args.at(-1) ?? "");
    const image = (manifest: ImageManifest) =>
      printLine(
        flags.verbose ? goJson(verboseForm(manifest), "\t") : JSON.stringify(jsonOf(manifest), null, "\t"),
      );
    const list = (manifests: readonly ImageManifest[]) =>
      printLine(
        flags.verbose ? goJson(manifests.map(verboseForm), "\t") : manifestList(name, manifests).text,
      );

    if (args.length === 2) return image(storedManifest(manifestReference(args[0] ?? ""), name));
    const stored = findList(name);
    if (stored !== undefined) return list(stored);
    using registry = new ManifestRegistry(name.domain, flags.insecure);
    const found = await registry.fetch(name);
    if (found.kind === "image") image(found.manifest);
    else list(found.manifests);
  },
});
